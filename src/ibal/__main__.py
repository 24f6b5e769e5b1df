"""``python -m ibal`` is the ``ibal`` command."""

import os
import sys

if __name__ == "__main__":
    # Python looks for libraries in the current folder first, with -m; where data lie, a file may be called torch.py.
    if not sys.flags.safe_path and sys.path[0] == os.getcwd():
        del sys.path[0]

    from ibal.cli.main import main

    sys.exit(main())
