"""``python -m styleclip`` is the command line."""

import sys

from styleclip.apps.cli import main

if __name__ == "__main__":
    sys.exit(main())
