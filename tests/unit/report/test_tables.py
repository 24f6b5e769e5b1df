"""An evaluation beside the paper's numbers: hand-made episodes whose rates can be counted."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from ibal.report import formats
from ibal.report.overview import ALL, Line, Part, as_markdown, overview
from ibal.report.published import Number, numbers, table
from ibal.report.tables import Cell, Table, as_sample, difference, estimate, lay_out, long_form, marks

SIX = ("natural", "random", "fgsm", "ega", "wolfpack", "interaction")


def episodes(method: str, wins: Sequence[int], attack: str = "natural", **about: Any) -> pl.DataFrame:
    """Return rows of one cell; ``wins`` has a 0 or a 1 per episode."""
    names = {"policy": f"runs/{method}", "method": method, "seed": 0, "env": "smac/3m", "perturbation": "none",
             "key_seed": 0} | about  # fmt: skip
    columns = {"attack": attack, "episode": range(len(wins)), "win": [bool(w) for w in wins], "return": wins}
    return pl.DataFrame(columns).with_columns(**{name: pl.lit(value) for name, value in names.items()})


def share(rate: int) -> list[int]:
    """Ten episodes, the first ``rate`` of them won."""
    return [1] * rate + [0] * (10 - rate)


def cells(made: Table, name: str, block: int = 0) -> dict[str, Cell]:
    return next(row.cells for row in made.blocks[block].rows if row.name == name)


def test_the_published_numbers_are_those_of_the_text() -> None:
    # Tables 7 to 14 as they are printed.
    for number, scenario, model, column, mean, sd in (
        (7, "3m", "IBAL", "Interaction", 78.3, 1.84), (7, "3s_vs_3z", "ROMANCE", "Interaction", 39.2, 4.02),
        (7, "2s3z", "Vanilla QMIX", "Natural", 97.6, 0.65), (8, "MMM", "WALL", "Rand", 93.0, 10.4),
        (8, "8m", "ERNIE", "Wolfpack", 26.7, 4.43), (8, "1c3s5z", "Rand-Act", "EGA", 86.5, 3.61),
        (9, "8m", "IBAL", "Dis-1", 87.0, 5.17), (9, "3m", "Rand-Obs", "HP-20", 6.0, 9.54),
        (10, "1c3s5z", "ERNIE", "HP-20", 47.7, 45.2), (10, "MMM", "IBAL", "Dis-2", 58.1, 8.72),
        (11, "15p", "ATLA", "FGSM", 96.0, 0.3), (12, "terran_5_vs_5", "Vanilla QMIX", "Rand", 55.6, 0.9),
        (13, "2s3z", "MAPPO+IBAL", "Natural", 100.0, 0.0), (1, "MMM", "IBAL with FGSM", "Interaction", 77.6, 3.6),
    ):  # fmt: skip
        assert table(number).data[scenario][model][column] == Number(mean, sd), (number, scenario, model, column)
    assert table(14).data["MMM"]["ROMANCE"]["Time"].mean == 130 * 60 + 10


def test_the_tables_have_the_papers_columns_and_rows() -> None:
    assert table(7).columns == ("Natural", "Rand", "FGSM", "EGA", "Wolfpack", "Interaction", "Mean")
    assert (tuple(table(9).data), table(9).columns[0]) == (("3m", "3s_vs_3z", "2s3z", "8m"), "Dis-1")
    assert table(10).columns == ("Dis-1", "Dis-2", "HP-10", "HP-15", "HP-20", "Mean")
    rows = {n: sum(len(models) for models in table(n).data.values()) for n in numbers()}
    assert rows == {1: 6, 7: 27, 8: 27, 9: 36, 10: 18, 11: 18, 12: 18, 13: 18, 14: 35}


def test_a_printed_mean_that_is_not_its_rows_is_the_rows() -> None:
    assert table(8).data["MMM"]["ROMANCE"]["Mean"] == Number(71.28, 3.63, printed=62.9)
    again = 0
    for number in (7, 8, 9, 10):
        for models in table(number).data.values():
            for row in models.values():
                mean = np.mean([value.mean for column, value in row.items() if column != "Mean"])
                assert abs(row["Mean"].mean - mean) < 0.1 + 1e-9
                again += row["Mean"].printed is not None
    assert again == 24


def test_an_unknown_table_is_said() -> None:
    with pytest.raises(ValueError, match="no table 6 of results; there are 1, 7, 8, 9, 10, 11, 12, 13, 14"):
        table(6)
    with pytest.raises(ValueError, match=r"table 14 holds minutes .* win rates: 1, 7, 8, 9, 10, 11, 12, 13"):
        lay_out(episodes("ibal", [1]), 14)


def test_best_and_second_as_shown() -> None:
    assert marks([96.0, 98.6, 97.2, 97.21]) == ["", "best", "second", "second"]
    assert marks([50.02, 50.0, 1.0]) == ["best", "best", "second"]
    assert marks([None, 3.0, None]) == ["", "", ""]
    assert marks([0.0, 0.0]) == ["", ""]


def test_the_papers_marks_are_those_it_prints() -> None:
    # Underlined in the text of Table 7 on 2s3z, and the bold ones, which are its largest.
    made = lay_out(episodes("ibal", [1], env="smac/2s3z"), 7)
    second = {column: [row.name for row in made.blocks[0].rows if row.cells[column].published_mark == "second"]
              for column in table(7).columns}  # fmt: skip
    assert second == {"Natural": ["WALL"], "Rand": ["WALL"], "FGSM": ["IBAL"], "EGA": ["WALL"], "Wolfpack": ["IBAL"],
                      "Interaction": ["WALL"], "Mean": ["WALL"]}  # fmt: skip
    assert cells(made, "FGSM")["FGSM"].published_mark == "best"
    assert cells(made, "WALL")["Wolfpack"].published_mark == "best"


def test_seeds_are_pooled_by_method_over_run_folders() -> None:
    made = lay_out(
        pl.concat(
            [
                episodes("ibal", share(8), "interaction"),
                episodes("ibal", share(6), "interaction", seed=1),
                episodes("ibal", share(4), "interaction", policy="runs/again"),
                episodes("vanilla", share(1), "interaction"),
            ]
        ),
        7,
    )
    found = cells(made, "IBAL")["Interaction"].ours
    assert (found.mean, found.sd, found.seeds, found.episodes) == (pytest.approx(60.0), pytest.approx(20.0), 3, 30)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 60 < found.high
    assert cells(made, "Vanilla QMIX")["Interaction"].ours[:2] == (pytest.approx(10.0), None)
    assert [cells(made, name)["Interaction"].mark for name in ("IBAL", "Vanilla QMIX", "WALL")] == [
        "best",
        "second",
        "",
    ]
    assert made.absent == ("3s_vs_3z", "2s3z")


def test_the_interval_of_one_seed_is_about_episodes_of_several_about_seeds() -> None:
    # One: Wilson's of 30 of 100, 0.2189 to 0.3958 (Newcombe's formula by hand).
    one = estimate([np.repeat([1.0, 0.0], [30, 70])])
    assert (one.low, one.high) == (pytest.approx(21.89, abs=0.01), pytest.approx(39.58, abs=0.01))
    # Two that never vary, one all won and one all lost: t of one degree of freedom knows next to nothing.
    two = estimate([np.ones(50), np.zeros(50)])
    assert two[:2] == (50.0, pytest.approx(math.sqrt(2) * 50))
    assert (two.low, two.high) == (pytest.approx(0, abs=1), pytest.approx(100, abs=1))


def test_the_papers_mean_is_one_of_three_runs_of_32_episodes() -> None:
    found = as_sample(Number(70.0, 6.0))
    assert found[:4] == pytest.approx((0.7, 0.06**2 / 3, 2, 0.7 * 0.3 / 96))
    assert found.episodes == 96


def test_the_difference_carries_both_uncertainties() -> None:
    ours = estimate([np.repeat([1.0, 0.0], [100 * k, 1000 - 100 * k]) for k in (7, 8, 9)])
    found = difference(Cell(ours, Number(70.0, 10.0)))
    # Equal deviations of three runs each: Welch has 4 degrees of freedom, and t = 2.776. Symmetric to first order.
    half = 2.776 * 10 * math.sqrt(2 / 3)
    assert found[0] == pytest.approx(10.0)
    assert found[2] - found[1] == pytest.approx(2 * half, rel=0.15)
    sure = difference(Cell(ours, Number(70.0, 0.0)))
    assert ours.low is not None
    assert ours.high is not None
    assert sure == pytest.approx((10.0, 10 - (80 - ours.low), 10 + ours.high - 80))  # ours alone differ between runs
    alike = difference(Cell(estimate([np.repeat([1.0, 0.0], [800, 200])] * 3), Number(70.0, 0.0)))
    half = 1.96 * 100 * math.sqrt(0.7 * 0.3 / 96 + 0.8 * 0.2 / 3000)
    assert alike[2] - alike[1] == pytest.approx(2 * half, rel=0.05)
    assert difference(Cell(None, Number(70.0, 5.0))) is None
    assert difference(Cell(ours, None)) is None
    assert difference(Cell(ours, Number(70.0, None))) is None  # nothing is known of its error
    assert difference(Cell(ours._replace(low=None, high=None, of="EGA"), Number(70.0, 5.0))) is None


def test_mean_and_worst_go_episode_by_episode() -> None:
    # Won under all but one attack, which is another one in every episode: mean 5/6, and the worst case loses all.
    wins = {attack: [int(i != k) for i in range(6)] for k, attack in enumerate(SIX)}
    made = lay_out(pl.concat([episodes("ibal", won, attack) for attack, won in wins.items()]), 7)
    assert made.columns[-3:] == ("Mean", "worst attack", "hindsight minimum")
    assert cells(made, "IBAL")["Mean"].ours.mean == pytest.approx(500 / 6)
    least = cells(made, "IBAL")["hindsight minimum"].ours
    assert least[:3] == (0.0, None, 0.0)
    assert least.high == pytest.approx(100 * (1 - 1 / (1 + 1.96**2 / 6)), abs=0.1)  # Wilson's of 0 of 6
    assert cells(made, "IBAL")["hindsight minimum"].published is None


def test_the_worst_attack_was_a_minimum_in_hindsight() -> None:
    rates = {"natural": 10, "random": 8, "fgsm": 7, "ega": 9, "wolfpack": 3, "interaction": 5}
    made = lay_out(pl.concat([episodes("ibal", share(rate), attack) for attack, rate in rates.items()]), 7)
    worst = cells(made, "IBAL")["worst attack"].ours
    assert (worst.mean, worst.of, worst.low, worst.high) == (pytest.approx(30.0), "Wolfpack", None, None)
    text = formats.markdown(made)
    assert "30.0 (Wolfpack)" in text
    assert "worst attack is the lowest column" in text
    record = next(line for line in long_form(made) if line["column"] == "worst attack")
    assert (record["of"], record["low"], record["difference"]) == ("Wolfpack", None, None)


def test_what_was_not_played_stays_missing() -> None:
    rows = pl.concat(
        [episodes("ibal", share(9)), episodes("ibal", share(5), "interaction"), episodes("vanilla", share(9)),
         episodes("vanilla", share(2), "interaction[fill=mean]"), episodes("vanilla", share(2), perturbation="hp-10")]
    )  # fmt: skip
    made = lay_out(rows, 7)
    mine, base = cells(made, "IBAL"), cells(made, "Vanilla QMIX")
    assert (mine["Mean"].ours, mine["EGA"].ours, base["Interaction"].ours) == (None, None, None)
    assert made.blocks[0].worst_over == ("Natural", "Interaction")
    for column in ("worst attack", "hindsight minimum"):
        assert mine[column].ours.mean == pytest.approx(50.0)
        assert base[column].ours is None  # it was not played under all of them
    assert base["Natural"].ours.mean == pytest.approx(90.0)  # not the one with less health
    assert lay_out(rows, 9).blocks[0].rows[0].cells["HP-10"].ours.mean == pytest.approx(20.0)
    text = formats.markdown(made)
    assert "| IBAL " in text
    assert "–" in next(line for line in text.splitlines() if line.startswith("| IBAL "))


def test_other_methods_follow_under_their_own_names() -> None:
    rows = [episodes("ibal-fixed-p", share(3)), episodes("scripted", share(2), policy="random")]
    made = lay_out(pl.concat([*rows, episodes("scripted", share(1), policy="heuristic")]), 7)
    assert [row.name for row in made.blocks[0].rows][9:] == ["ibal-fixed-p", "random", "heuristic"]
    found = cells(made, "random")["Natural"].ours
    assert (found.mean, found.sd, found.seeds, found.episodes) == (20.0, None, 1, 10)


def test_teams_without_mappo_are_not_taken_for_it() -> None:
    made = lay_out(
        pl.concat([episodes("ibal", share(3), env="smac/8m"), episodes("mappo", share(4), env="smac/8m")]), 13
    )
    assert [row.name for row in made.blocks[0].rows][-1] == "ibal"
    assert cells(made, "MAPPO+IBAL")["Natural"].ours is None
    assert cells(made, "MAPPO")["Natural"].ours.mean == pytest.approx(40.0)


def test_an_episode_that_comes_twice_is_refused() -> None:
    rows = episodes("ibal", share(3), "interaction", seed=2)
    with pytest.raises(ValueError, match=r'"runs/ibal \(seed 2\)" in smac/3m under interaction come twice'):
        lay_out(pl.concat([rows, rows]), 7)
    more = lay_out(pl.concat([rows, rows.with_columns(key_seed=1)]), 7)  # other episodes of the same team
    assert cells(more, "IBAL")["Interaction"].ours[4:6] == (1, 20)


def test_nothing_of_the_table_is_said() -> None:
    with pytest.raises(ValueError, match=r"nothing of table 9 \(3m, .*; Dis-1, .*\); it has smac/3m under natural$"):
        lay_out(episodes("ibal", [1]), 9)
    with pytest.raises(ValueError, match="it has toy/climbing under natural with dis-1"):
        lay_out(episodes("ibal", [1], env="toy/climbing", perturbation="dis-1"), 9)


def test_markdown_reads_line_by_line() -> None:
    rows = [episodes("ibal", share(8)), episodes("ibal", share(6), seed=1), episodes("vanilla", share(4))]
    text = formats.markdown(lay_out(pl.concat(rows), 7))
    lines = [[part.strip() for part in line.split("|")[1:4]] for line in text.splitlines() if line.startswith("|")]
    assert lines[0] == ["method", "", "Natural"]
    assert lines[2][:2] == ["Vanilla QMIX", "ours"]
    assert lines[2][2].startswith("<u>40.0</u> [")
    assert lines[3] == ["", "paper", "96.0 ± 3.1"]
    assert lines[-3][2].startswith("**70.0 ± 14.1** [")
    assert lines[-2] == ["", "paper", "**98.6 ± 1.0**"]
    assert lines[-1][2].startswith("−28.6 [−")
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1
    assert "Played: Vanilla QMIX 1 seed, 10 episodes per cell; IBAL 2 seeds, 20 episodes per cell." in text
    assert "the paper prints Rand-Obs 55.4." in text


def test_a_table_of_the_paper_was_250_columns_wide() -> None:
    rates = {"natural": 10, "random": 8, "fgsm": 7, "ega": 9, "wolfpack": 3, "interaction": 5}
    rows = [episodes("ibal", share(rate), attack, seed=k) for attack, rate in rates.items() for k in range(3)]
    text = formats.text(lay_out(pl.concat([*rows, episodes("vanilla", share(9))]), 7))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    start = lines.index("3m, IBAL (3 seeds, 30 episodes per cell)")
    assert lines[start + 1].split() == ["ours", "paper", "difference"]
    assert lines[start + 2].split()[:8] == ["Natural", "100.0", "±", "0.0*", "[88.6,", "100.0]", "98.6", "±"]
    assert lines[start + 9].split()[:4] == ["worst", "attack", "30.0", "±"]
    assert "(Wolfpack)" in lines[start + 9]
    assert "3m, Vanilla QMIX (1 seed, 10 episodes per cell)" in lines
    assert "WALL" not in "".join(line for line in lines if line.startswith("3m, "))  # not played
    assert "worst attack is the lowest column" in " ".join(lines)


def test_latex_escapes_and_closes_what_it_opens() -> None:
    assert formats.escape_latex("a_b & 5% {x} #1 $") == r"a\_b \& 5\% \{x\} \#1 \$"
    assert formats.escape_latex("\\^~") == r"\textbackslash{}\textasciicircum{}\textasciitilde{}"
    rows = [episodes("ibal", share(8), env="smac/3s_vs_3z"), episodes("unknown", share(4), policy="my_50%.safetensors",
            env="smac/3s_vs_3z")]  # fmt: skip
    text = formats.latex(lay_out(pl.concat(rows), 7))
    assert r"my\_50\%.safetensors & ours & \underline{40.0} & -- & " in text
    assert r" &  & {\tiny [16.8, 68.7]} &  & " in text
    assert r"\emph{3s\_vs\_3z}" in text
    assert r" & paper & \textbf{99.5 $\pm$ 0.5} & " in text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert text.isascii()
    body = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.replace(r"\&", "").count("&") for line in body} == {10}  # name, what, nine columns
    assert not any(line.startswith(("[", "*")) for line in text.splitlines())  # would be an argument of \\
    for name in ("table*", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 1


def test_the_long_form_has_a_line_per_number() -> None:
    made = lay_out(pl.concat([episodes("ibal", share(8)), episodes("vanilla", share(4))]), 7)
    read = list(csv.DictReader(io.StringIO(formats.comma_separated(made))))
    assert list(read[0]) == [
        "table", "scenario", "method", "column", "ours_mean", "ours_sd", "low", "high", "published_mean",
        "published_sd", "difference", "difference_low", "difference_high", "seeds", "episodes", "best", "of", "version",
    ]  # fmt: skip
    assert len(read) == 9 * 7  # nothing of ours beyond the paper's cells
    found = next(line for line in read if (line["method"], line["column"]) == ("IBAL", "Natural"))
    assert (float(found["ours_mean"]), found["ours_sd"], found["best"]) == (pytest.approx(80.0), "", "best")
    assert (float(found["published_mean"]), float(found["difference"])) == (98.6, pytest.approx(-18.6))
    missing = next(line for line in read if (line["method"], line["column"]) == ("WALL", "EGA"))
    assert (missing["ours_mean"], missing["difference"], missing["seeds"], missing["best"]) == ("", "", "", "")
    assert all(value is None or value == value for record in long_form(made) for value in record.values())


def test_the_overview_counts_runs_and_attacks() -> None:
    rows = pl.concat(
        [episodes("vanilla", share(4)), episodes("vanilla", share(2), seed=1),
         episodes("vanilla", share(1), "random"), episodes("vanilla", share(0), "random", seed=1),
         episodes("ibal", share(4)), episodes("ibal", share(6), seed=1),
         episodes("ibal", share(1)[::-1], "random"), episodes("ibal", share(8)[::-1], "random", seed=1),
         episodes("rand-act", share(9))]
    )  # fmt: skip
    (part,) = overview(rows)
    vanilla, ibal, lacking = part.lines
    assert (part.env, part.tasks) == ("smac/3m", ["natural", "random"])
    assert ibal.scores == {"natural": pytest.approx(0.5), "random": pytest.approx(0.45)}
    assert ibal.iqm == pytest.approx((0.4 + 0.6) / 2)  # of 0.1, 0.4, 0.6, 0.8
    # natural: 4 = 4, 4 > 2, 6 > 4, 6 > 2: 3.5 of 4; random: 1 = 1, 1 > 0, 8 > 1, 8 > 0: 3.5 of 4.
    assert ibal.improvement == pytest.approx(0.875)
    # Means over both tasks: 0.25 and 0.7 against 0.25 and 0.1.
    assert ibal.above == pytest.approx(0.475 - 0.175)
    assert ibal.above_interval[0] < -0.4 < 0.3 < ibal.above_interval[1]  # two runs a side tell next to nothing
    # Seed 0 wins its first 4 and its last 1, none under both; seed 1 its first 6 and its last 8, 4 under both.
    assert ibal.hindsight == pytest.approx((0.0 + 0.4) / 2)
    assert (ibal.worst, ibal.of) == (pytest.approx(0.45), "random")
    assert (vanilla.improvement, vanilla.above, vanilla.runs) == (None, None, 2)
    assert (lacking.iqm, lacking.worst, lacking.hindsight) == (None, None, None)
    assert (lacking.improvement, lacking.above) == (1.0, pytest.approx(0.6))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in as_markdown([part]).splitlines()]
    assert lines[2] == ["method", "vanilla", "ibal", "rand-act"]
    assert ["natural", "30.0", "50.0", "90.0"] in lines
    assert ["random", "5.0", "45.0", "–"] in lines
    assert ["worst attack", "5.0 (random)", "45.0 (random)", "–"] in lines


def test_a_summary_of_many_methods_and_attacks_was_too_wide() -> None:
    attacks = [f"{attack}, {harm}" for attack in SIX for harm in ("dis-1", "hp-15")]
    for count in (1, 2, 9):
        lines = [Line(f"method-{k}", 3, dict.fromkeys(attacks, 0.5), 0.5, (0.4, 0.6), 0.1, (-0.1, 0.3), 0.5, 0.4,
                      attacks[0], 0.3) for k in range(count)]  # fmt: skip
        text = as_markdown([Part("smac/8m", "win rate", attacks, lines)])
        table = text[: text.index("worst attack: ")]
        assert max(map(len, table.splitlines())) <= 100
        assert table.count("+10.0 [-10.0, +30.0]") == count


def test_the_overview_puts_environments_together_where_all_can_be_won() -> None:
    lost = episodes("ibal", share(0), env="smac/8m")
    free = episodes("ibal", [3, 5], env="toy/climbing").with_columns(win=pl.lit(None, pl.Boolean))
    parts = overview(pl.concat([episodes("ibal", share(8)), lost, free]))
    assert [(part.env, part.score) for part in parts] == [
        ("smac/3m", "win rate"), ("smac/8m", "win rate"), ("toy/climbing", "return"), (ALL, "win rate"),
    ]  # fmt: skip
    assert (parts[2].lines[0].iqm, parts[3].lines[0].iqm, parts[3].lines[0].hindsight) == (4.0, 0.4, 0.4)
    assert (parts[3].lines[0].worst, parts[3].lines[0].of) == (0.0, "smac/8m, natural")
    assert "### toy/climbing: return" in as_markdown(parts)
