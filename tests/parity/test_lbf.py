"""A step of our foraging is one of lb-foraging 2.0.0; ``make_lbf_vectors.py`` wrote down what those are.

IBAL_LBF_VECTORS names another file of that script; ``benchmarks/foraging.py`` compares a million steps without a file.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from parity.lbf_steps import GAMES, comparer

FILE = os.environ.get("IBAL_LBF_VECTORS") or Path(__file__).parent / "fixtures" / "lbf.npz"
CHUNK = 20_000


@pytest.mark.parametrize("game", [0, 1, pytest.param(2, marks=pytest.mark.thorough)])
def test_a_step_is_that_of_lb_foraging(game: int) -> None:
    with np.load(FILE) as held:
        rows = {name.split("/")[1]: held[name] for name in held.files if name.startswith(f"{game}/")}
    count = len(rows["step"])
    assert count >= 100
    compare = comparer(GAMES[game], min(CHUNK, count))
    for first in range(0, count, CHUNK):
        compare({name: values[first : first + CHUNK] for name, values in rows.items()})
