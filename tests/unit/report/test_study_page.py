"""What the page of a study says, worked out by hand; how it behaves is tested in a browser."""

from __future__ import annotations

import json
import re

import pytest

from ibal.report import published
from ibal.report.study import Replay, study_data, study_html, times_table
from unit.report.study_rows import rows


@pytest.fixture(scope="module")
def data() -> dict:
    cards = {("vanilla", "smac/3m", "natural", "none"): {"attack": "natural", "engine": "1"}}
    return study_data(rows(seeds=2, episodes=20), title="a <study>", cards=cards)


def cell(data: dict, team: str, env: str, attack: str) -> dict:
    return next(one for one in data["cells"] if (one["team"], one["env"], one["attack"]) == (team, env, attack))


def test_a_cell_has_the_share_of_games_won_and_the_papers_number_beside(data: dict) -> None:
    found = cell(data, "vanilla", "smac/3m", "random")
    # the first of three methods under the second attack: 0.85 * (0.6 + 0.4 / 3) = 0.623, so 12 of 20 games
    assert (found["mean"], found["each"], found["seeds"], found["episodes"]) == (60.0, [60.0, 60.0], [0, 1], 40)
    assert found["low"] < 60 < found["high"]
    assert found["paper"] == published.table(7).data["3m"]["Vanilla QMIX"]["Rand"].mean == 45.0
    assert found["apart"][0] == pytest.approx(15.0)
    assert found["apart"][1] < 15 < found["apart"][2]


def test_the_papers_numbers_are_found_in_every_kind_of_world() -> None:
    frame = rows(["ibal"], ("lbf/Foraging-20x20-5p-6f-s3", "smacv2/zerg_5_vs_5"), attacks=["natural"])
    papers = [cell["paper"] for cell in study_data(frame, title="x")["cells"]]
    assert papers == [published.table(number).data[name]["IBAL"]["Natural"].mean
                      for number, name in ((11, "5p"), (12, "zerg_5_vs_5"))]  # fmt: skip


def test_of_two_readings_of_a_name_a_table_shows_one() -> None:
    name = "lbf/Foraging-20x20-5p-6f-s3"
    frame = rows(["ibal"], (f"{name}-v3", name), attacks=["natural"])  # 100 % and, in the second world, 90 %
    blocks = study_data(frame, title="x", numbers=(11,))["tables"][0]["blocks"]
    assert [(block["scenario"], block["rows"][-1]["cells"][0]["mean"]) for block in blocks] == [("5p", 90.0)]
    other = frame.filter(frame["env"] == f"{name}-v3")
    assert study_data(other, title="x", numbers=(11,))["tables"][0]["blocks"][0]["scenario"] == "5p"


def test_tables_of_the_paper_are_laid_out_where_there_is_something_of_both(data: dict) -> None:
    assert [table["number"] for table in data["tables"]] == [1, 7, 8]
    ours = {row["name"]: row["cells"] for row in data["tables"][1]["blocks"][0]["rows"]}
    natural = ours["IBAL"][0]
    assert (natural["mean"], natural["paper"], natural["mark"]) == (100.0, 98.6, "best")
    assert "mean" not in ours["WALL"][0]
    assert r"\toprule" in data["tables"][1]["latex"]
    assert data["tables"][1]["csv"].startswith("table,scenario")


def test_a_table_that_was_asked_for_and_has_nothing_is_told() -> None:
    made = study_data(rows(envs=("smac/3m",)), title="x", numbers=(7, 10))
    assert [table["number"] for table in made["tables"]] == [7]
    assert "nothing of table 10" in made["absent"][0]


def test_the_page_holds_its_data_whatever_stands_in_it(data: dict) -> None:
    page = study_html(data | {"title": "</script><b>{{data}}"}, "<svg></svg>", [Replay(0, "seed 0", "<p>play</p>")])
    assert page.count("<script") == 2
    assert "</script><b>" not in page
    held = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert held["title"] == "</script><b>{{data}}"
    assert len(held["cells"]) == 36
    assert held["cards"] == [{"attack": "natural", "engine": "1"}]
    assert "http" not in re.sub(r'http-equiv="[^"]*"', "", page.split('id="data">')[0])


def test_training_times_stand_beside_the_papers_as_minutes_to_ten_million_steps() -> None:
    runs = [{"method": "ibal", "env": "smac/3m", "seconds": seconds, "env_steps": 1_000_000} for seconds in (540, 660)]
    made = times_table([*runs, {"method": "ibal", "env": "toy/leak", "seconds": 1.0, "env_steps": 1}])
    assert made is not None
    assert [block["scenario"] for block in made["blocks"]] == ["3m"]
    cell = next(row["cells"][0] for row in made["blocks"][0]["rows"] if row["name"] == "IBAL")
    # 540 s and 660 s for a tenth: 90 and 110 minutes
    assert (cell["mean"], cell["seeds"]) == (pytest.approx(100.0), 2)
    assert cell["paper"] == published.table(14).data["3m"]["IBAL"]["Time"].mean
    assert times_table([]) is None
