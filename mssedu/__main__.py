"""`python -m mssedu` is the command `mssedu`."""

import sys

from mssedu.cli import main

sys.exit(main())
