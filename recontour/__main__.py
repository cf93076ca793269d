"""`python -m recontour` is the command `recontour`."""

import sys

from recontour.cli import main

if __name__ == "__main__":
    sys.exit(main())
