"""How many cases the fuzz tries: few in the suite, the same ones every time; more where ``IBAL_FUZZ_CASES`` says so.

``benchmarks/fuzz.py --cases 10000`` sets it. ``CASES`` of it fall to each module of this folder.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

USUAL = 150
CASES = int(os.environ.get("IBAL_FUZZ_CASES", USUAL))
COUNT: Counter[str] = Counter()  # of the cases that were tried, by what was fuzzed


def share(tests: int) -> Callable[[Any], Any]:
    """Return the settings of one of a module's ``tests``, which share its cases evenly."""
    return settings(
        max_examples=max(1, -(-CASES // tests)),
        derandomize=CASES == USUAL,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
