"""Claims are judged as one would by hand, and the list holds only what the paper's own numbers support."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ibal.cli.main import main
from ibal.evaluation.results import EPISODES
from ibal.report.claims import CLAIMS, Claim, Side, as_markdown, decided, in_the_paper, judged, long_form

GAMES = 1000


def cell(method: str, shares: list[float], env: str = "3m", attack: str = "interaction", perturbed: str = "none"):
    """A method whose seeds win these shares of ``GAMES`` games."""
    frames = []
    for seed, share in enumerate(shares):
        win = (np.arange(GAMES) < round(share * GAMES)).astype(float)
        frames.append(pl.DataFrame({
            "policy": method, "method": method, "seed": seed, "env": f"smac/{env}", "version": "x", "attack": attack,
            "perturbation": perturbed, "episode": np.arange(GAMES), "key_seed": 0, "win": win, "return": 20 * win,
        }))  # fmt: skip
    return pl.concat(frames)


def ours_above(*others: str, maps: tuple[str, ...] = ("3m",)) -> Claim:
    column = ("Interaction",)
    return Claim("above", (Side("ibal", column),), tuple(Side(name, column) for name in others), maps)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.text} {len(claim.maps)}")
def test_the_paper_supports_every_claim_in_the_list(claim: Claim) -> None:
    assert in_the_paper(claim) == "holds"


def test_the_paper_does_not_support_that_ibal_is_best_everywhere() -> None:
    wall, ibal = Side("wall", ("Wolfpack",)), Side("ibal", ("Wolfpack",))
    assert in_the_paper(Claim("", (ibal,), (wall,))) == "does not"
    # 77.3 and 76.0: nothing can be said with three runs
    assert in_the_paper(Claim("", (Side("atla", ("HP-10",)),), (Side("ibal", ("HP-10",)),), ("3m",))) == "undecided"


def test_the_closest_difference_decides_and_one_that_is_below_refutes() -> None:
    assert decided([(0.5, 0.4, 0.6), (0.2, 0.1, 0.3)]) == (1, "holds")
    assert decided([(0.5, 0.4, 0.6), (0.2, -0.1, 0.3)]) == (1, "undecided")
    assert decided([(0.2, -0.3, 0.3), (-0.2, -0.3, -0.1)]) == (1, "does not")


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ([0.81, 0.80, 0.79], [0.11, 0.10, 0.09], "holds"), ([0.11, 0.10, 0.09], [0.81, 0.80, 0.79], "does not"),
        # a difference of .1 whose seeds differ by .5: t of some 2 degrees of freedom is far wider than that
        ([0.9, 0.6, 0.4], [0.8, 0.5, 0.3], "undecided"), ([0.81], [0.10], "undecided"),
    ],
)  # fmt: skip
def test_a_claim_about_made_up_teams(ours: list[float], theirs: list[float], verdict: str) -> None:
    rows = pl.concat([cell("ibal", ours), cell("wall", theirs)])
    (found,) = judged(rows, [ours_above("wall")])
    assert (found.verdict, found.more, found.less, found.seeds) == (verdict, "IBAL", "WALL", len(ours))
    assert found.apart is not None
    assert found.apart[0] == pytest.approx(np.mean(ours) - np.mean(theirs))


def test_the_best_of_the_others_decides() -> None:
    shares = {"ibal": [0.5, 0.51, 0.49], "wall": [0.1, 0.11, 0.09], "romance": [0.8, 0.81, 0.79]}
    rows = pl.concat([cell(name, of) for name, of in shares.items()])
    (found,) = judged(rows, [ours_above("wall", "romance")])
    assert (found.verdict, found.less) == ("does not", "ROMANCE")


def test_a_mean_over_maps_is_that_of_the_maps_that_all_have_played() -> None:
    rows = pl.concat([
        cell("ibal", [0.8, 0.81, 0.79]), cell("wall", [0.4, 0.41, 0.39]), cell("ibal", [0.6, 0.61, 0.59], "8m"),
        cell("wall", [0.5, 0.51, 0.49], "8m"), cell("ibal", [0.1, 0.1, 0.1], "MMM"),
    ])  # fmt: skip
    (found,) = judged(rows, [ours_above("wall", maps=("3m", "8m", "MMM"))])
    assert found.maps == ("3m", "8m")
    assert found.apart is not None
    assert found.apart[0] == pytest.approx((0.4 + 0.1) / 2)
    # the paper's numbers over the same two maps: (78.3 + 88.4 - 0.0 - 13.5) / 2
    assert found.paper is not None
    assert found.paper[0] == pytest.approx(0.766)
    assert "2 of 3: 3m, 8m" in as_markdown([found])


def test_dis_1_is_judged_by_both_readings() -> None:
    """A team that wins while one stands idle and loses while one is missing: the two verdicts differ."""
    idle = {"ibal": [0.8, 0.81, 0.79], "other": [0.1, 0.11, 0.09]}
    others = sorted({side.method for claim in CLAIMS for side in claim.less if isinstance(side, Side)} - {"ibal"})
    frames = []
    for name in ("ibal", *others):
        good, bad = idle["ibal"], idle["other"]
        frames.append(cell(name, good if name == "ibal" else bad, attack="natural", perturbed="dis-1"))
        frames.append(cell(name, bad if name == "ibal" else good, attack="natural", perturbed="abs-1"))
    verdicts = {found.claim.text: found.verdict for found in judged(pl.concat(frames))}
    assert verdicts["IBAL is the most robust to an agent that is disabled (Dis-1: idle, in sight)"] == "holds"
    assert verdicts["the same, if Dis-1 means an agent that is absent"] == "does not"
    assert verdicts["IBAL is the best in the mean over the six attacks"] == "not played"


def test_a_claim_with_a_threshold_and_one_of_columns() -> None:
    rows = pl.concat([
        cell("vanilla", [0.01, 0.02, 0.0]), cell("vanilla", [0.9, 0.91, 0.89], attack="natural"),
    ])  # fmt: skip
    attacked, calm = Side("vanilla", ("Interaction",)), Side("vanilla", ("Natural",))
    small, strong = judged(rows, [Claim("a", (0.15,), (attacked,), ("3m",)), Claim("b", (calm,), (attacked,), ("3m",))])
    assert (small.verdict, small.more, small.less) == ("holds", "15 %", "Vanilla QMIX")
    assert (strong.verdict, strong.more) == ("holds", "Vanilla QMIX under Natural")
    assert strong.apart is not None
    assert strong.apart[0] == pytest.approx(0.89)


def test_the_command_prints_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = pl.concat([cell("ibal", [0.81, 0.8]), cell("wall", [0.11, 0.1])])
    (tmp_path / "x").mkdir()
    rows.write_parquet(tmp_path / "x" / EPISODES)
    assert main(["report", str(tmp_path / "x"), "--claims"]) == 0
    said = capsys.readouterr().out
    assert "| claim | verdict |" in said
    assert f"{len(CLAIMS)} claims" in said
    assert main(["report", str(tmp_path / "x"), "--claims", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["claims"]
    assert [one["claim"] for one in data] == [one["claim"] for one in long_form(judged(rows))]
    assert main(["report", str(tmp_path / "x"), "--claims", "--table", "7"]) == 2
    assert "one at a time" in capsys.readouterr().err
