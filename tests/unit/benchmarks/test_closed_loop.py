"""The closed loop: what is compared with the paper and with the real learning curves, and how."""

import json
import sys
from pathlib import Path

import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import closed_loop
from closed_loop import apart, curve, finished, means, paper_row, told, verdict


def row(seed: int, **changes: object) -> dict[str, object]:
    wins = dict.fromkeys(closed_loop.COLUMNS, 0.5)
    return {"map": "8m", "steps": 1_000_000, "seed": seed, "method": "vanilla", "version": "2026-12", **wins,
            "curve": {"500000": 0.8, "1000000": None}, **changes}  # fmt: skip


def test_the_row_of_the_paper_comes_from_its_tables():
    """Tables 8 and 9, "Vanilla QMIX" on 8m, in percent."""
    assert paper_row("8m") == pytest.approx(
        {"Natural": 0.928, "Rand": 0.83, "FGSM": 0.757, "HP-10": 0.543, "HP-15": 0.525, "HP-20": 0.0, "Dis-1": 0.133}
    )
    assert paper_row("5m_vs_6m") == {}


def test_a_point_of_a_curve_is_the_mean_of_the_evaluations_around_it():
    entries = [{"kind": "eval", "env_steps": s, "win": w} for s, w in ((439_999, 0.0), (440_000, 0.2), (560_000, 0.6))]
    assert curve([*entries, {"kind": "chunk", "env_steps": 500_000, "win": 1.0}], 500_000) == pytest.approx(0.4)
    assert curve(entries, 1_000_000) is None


def test_only_what_both_have_is_compared():
    assert apart({"Rand": 0.5, "HP-10": 0.9, "Natural": 1.0}, {"Rand": 0.8, "HP-10": 0.8, "Natural": 0.0}) == (
        pytest.approx(0.2)
    )
    assert means([row(0, Rand=0.2), row(1, Rand=0.6)], ["Rand"]) == {"Rand": pytest.approx(0.4)}
    assert means([row(0), row(1, Rand=None)], ["Rand"]) == {}


def test_a_value_is_in_or_out_of_the_range_of_the_real_runs():
    assert verdict(0.764, 0.76, 0.93) == "in"
    assert verdict(0.756, 0.76, 0.93) == "in"  # .76, with the two digits that the real ones have
    assert verdict(1.0, 0.76, 0.93) == "0.07 above"
    assert verdict(0.7, 0.76, 0.93) == "0.06 below"


def test_the_table_gives_the_mean_of_the_seeds_beside_the_paper():
    real = json.loads(Path(closed_loop.__file__).with_name("learning.json").read_text())
    page = told([row(0, Rand=0.73), row(1, Rand=0.93)], real)
    # |.83 - .83|, |.5 - .543|, |.5 - .525|, |.5 - 0|, |.5 - .133|: .935 / 5
    assert "| 8m | 1M, 2 | here | 0.50 ±0.00 | 0.83 ±0.14 |" in page
    assert "Mean difference from the paper over 1 maps, 1M steps: 0.187" in page
    assert "| 8m, 1M | 0.5M | 0.80 0.80 | 0.80 | 0.88 (0.76-0.93) | in |" in page


def test_a_policy_of_the_real_game_stands_beside_and_is_no_seed():
    page = told([row(0, steps=0, method=closed_loop.THERE, Rand=0.6, **{"Dis-1": 0.1}), row(1)], [])
    assert "| 8m | 1M, 1 | here | 0.50 | 0.50 |" in page
    assert "| QMIX of the real game, here | 0.50 | 0.60 | 0.50 | 0.50 | 0.50 | 0.50 | 0.10 | 0.50 | 0.10 |" in page
    assert "Mean difference from QMIX of the real game, here over 1 maps, 1M steps: 0.100" in page


def test_a_training_that_goes_on_is_left_out(tmp_path):
    assert not finished(tmp_path)
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "seed-0.safetensors").touch()
    (tmp_path / "config.toml").write_text('env = "smac/3m"\n[train]\nsteps = 100\n')
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"env_steps": 99, "seed": 0}\n')
    assert not finished(tmp_path)
    log.write_text('{"env_steps": 99, "seed": 0}\n{"env_steps": 101, "seed": 0}\n')
    assert finished(tmp_path)
    (tmp_path / "config.toml").write_text('env = "smac/3m"\nseeds = 2\n[train]\nsteps = 100\n')
    assert not finished(tmp_path)
    log.write_text('{"env_steps": 101, "seed": 0}\n{"env_steps": 101, "seed": 1}\n')
    assert finished(tmp_path)


def test_a_row_tells_how_games_are_won():
    """Of four natural games two are won, in 20 and 30 steps, one without a loss."""
    natural = {"attack": "natural", "perturbation": "none", "win": [1.0, 1.0, 0.0, 0.0], "length": [20, 30, 9, 9],
               "dead_allies": [0.0, 3.0, 8.0, 8.0]}  # fmt: skip
    harmed = natural | {"perturbation": "hp-10", "win": [0.0, 0.0, 0.0, 1.0]}
    games = pl.concat([pl.DataFrame(natural), pl.DataFrame(harmed)])
    found = closed_loop._of_seed(games, [{"kind": "eval", "env_steps": 500_000, "win": 0.4}])
    assert (found["Natural"], found["HP-10"], found["curve"]) == (0.5, 0.25, {"500000": 0.4, "1000000": None})
    assert (found["won length"], found["won dead"], found["unhurt"]) == (25.0, 1.5, 0.5)
