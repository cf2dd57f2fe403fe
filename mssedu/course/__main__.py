"""Build notebooks from their text, or check that the built ones are fresh.

python -m mssedu.course.notebook build 02     run notebook 02 and keep its outputs
python -m mssedu.course.notebook check all    compare without running; exit 1 if stale
"""

import argparse
import sys

from mssedu.course.build import build, stale, texts
from mssedu.errors import MssEduError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m mssedu.course.notebook",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=["build", "check"])
    parser.add_argument("number", nargs="?", default="all", help="such as 02, or all")
    options = parser.parse_args(arguments)
    try:
        chosen = texts(options.number)
    except MssEduError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if options.command == "build":
        for text in chosen:
            print(f"built {build(text).name}")
        return 0
    reasons = [reason for text in chosen if (reason := stale(text))]
    for reason in reasons:
        print(reason)
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
