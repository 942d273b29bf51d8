"""``python -m mcubench``."""

import sys

from mcubench.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
