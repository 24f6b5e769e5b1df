"""``python -m ibal`` is the ``ibal`` command."""

import sys

from ibal.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
