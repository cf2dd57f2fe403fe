"""Songs with their stems: one Track type, every folder layout, random segments.

folder of songs ──layouts──▶ list of Track ──segments──▶ training items
                              check: mixtures that are not what they should be
"""

from typing import Literal

# What to do where the files of one song differ in length. It stands here, where no
# torch is, because commands make a flag of it.
OnLength = Literal["error", "pad", "cut"]
