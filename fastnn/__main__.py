"""Lets `python -m fastnn` be the command `fastnn`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
