"""Measure how fast trainings run here: the same as ``ibal bench train``, whose --help lists the options.

python benchmarks/train_speed.py --maps 3m,2s3z,8m,MMM --presets laptop,paper --json
"""

from __future__ import annotations

import sys

from ibal.cli.bench_train import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
