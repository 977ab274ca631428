"""`python -m foldry` runs the command line."""

import sys

from foldry.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
