"""Studies as files: what they come to, what a change redoes, and what is said of a wrong one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ibal.envs.smac.rules import NEWEST
from ibal.experiments import runs, study
from ibal.experiments.paper import FIGURES, TABLES, paper_study
from ibal.experiments.runs import config_of, runs_of
from ibal.experiments.study import load_study, read_study
from ibal.experiments.toml_text import to_toml
from ibal.options import ConfigError

TEXT = """name = "two"
[defaults]
preset = "smoke"
seeds = 2
train.steps = 2_000

[[train]]
name = "start"
env = ["toy/leak", "3m"]

[[train]]
method = ["vanilla", "ibal"]
env = ["toy/leak", "3m"]
init = "start"

[[attackers]]
attack = ["ega", "interaction"]
on = "start"

[[evaluate]]
teams = ["vanilla", "ibal"]
attacks = ["natural", "ega", "interaction[fill=mean]"]
perturbations = ["none", "dis-1"]
attackers = "attackers"
episodes = 64
"""


@pytest.fixture(autouse=True)
def engine(monkeypatch):
    """Hashing the sources takes a second; here they do not change."""
    monkeypatch.setattr(runs, "_installed", lambda kind: f"1+{kind}")


def planned(tmp_path: Path, text: str = TEXT):
    (tmp_path / "study.toml").write_text(text)
    return runs_of(load_study(tmp_path), tmp_path)


def test_a_study_comes_to_the_runs_that_one_counts_by_hand(tmp_path: Path) -> None:
    made = planned(tmp_path)
    kinds = [run.kind for run in made.runs]
    # 3 teams x 2 maps x 2 seeds; 2 attacks fitted to 2 starts on 2 maps; 2 teams x 2 maps x 2 seeds x 3 x 2
    assert (kinds.count("train"), kinds.count("fit"), kinds.count("cell")) == (12, 8, 48)
    place = {run.id: i for i, run in enumerate(made.runs)}
    assert len(place) == len(made.runs)
    assert all(place[need] < place[run.id] for run in made.runs for need in run.needs)
    cell = next(run for run in made.runs if run.label == "ibal on 3m, seed 1: ega, dis-1")
    trained, *fitted = (made.runs[place[need]] for need in cell.needs)
    assert (trained.label, {run.label for run in fitted}) == (
        "ibal on 3m, seed 1", {"ega fitted to start on 3m, seed 0", "ega fitted to start on 3m, seed 1"},
    )  # fmt: skip
    assert [made.runs[place[need]].label for need in trained.needs] == ["start on 3m, seed 1"]


def test_a_run_carries_its_whole_configuration_and_begins_with_the_last_exploration(tmp_path: Path) -> None:
    run = next(run for run in planned(tmp_path).runs if run.label == "ibal on 3m, seed 1")
    config = config_of(run.what, "../x/run")
    assert (config.env, config.method, config.seed, config.seeds) == ("smac/3m", "ibal", 1, 1)
    assert (config.train.steps, config.train.epsilon_start, config.train.replay) == (2000, 0.05, 64)
    assert (config.init, dict(config.env_options)) == ("../x/run", {"version": NEWEST})


def changed(tmp_path: Path, old: str, new: str) -> set[str]:
    """The labels of the runs that a change gives new names to."""
    before = {run.id for run in planned(tmp_path).runs}
    assert old in TEXT
    return {run.label for run in planned(tmp_path, TEXT.replace(old, new)).runs if run.id not in before}


def test_changing_a_method_redoes_that_method_only(tmp_path: Path) -> None:
    two = '[[train]]\nmethod = "vanilla"\nenv = ["toy/leak", "3m"]\ninit = "start"\n\n[[train]]\nmethod = "ibal"\n'
    two += 'method_options.alpha = 1.2\nenv = ["toy/leak", "3m"]\ninit = "start"\n'
    old = TEXT[TEXT.index("[[train]]\nmethod") : TEXT.index("[[attackers]]")]
    labels = changed(tmp_path, old, two + "\n")
    assert labels
    assert all(label.startswith("ibal on") for label in labels)
    assert len(labels) == 4 + 4 * 6  # its trainings, and its cells


def test_changing_a_start_redoes_all_that_began_with_it_or_was_fitted_to_it(tmp_path: Path) -> None:
    labels = changed(tmp_path, 'name = "start"\nenv = ["toy/leak", "3m"]', 'name = "start"\nenv = ["toy/leak", "3m"]\n'
                     "learner.lr = 1e-3")  # fmt: skip
    assert len(labels) == 12 + 8 + 48


def test_a_further_perturbation_or_seed_redoes_nothing(tmp_path: Path) -> None:
    labels = changed(tmp_path, '"dis-1"]', '"dis-1", "hp-15"]')
    assert len(labels) == 24
    assert all(label.endswith("hp-15") for label in labels)
    # a further start is a further victim: cells of attacks that are fitted change, no training of an old seed does
    labels = changed(tmp_path, "seeds = 2", "seeds = 3")
    assert not any(re.search(r", seed [01]$", label) for label in labels if "fitted" not in label and ":" not in label)


def test_how_a_training_is_kept_decides_nothing(tmp_path: Path) -> None:
    assert changed(tmp_path, "train.steps = 2_000", "train.steps = 2_000\ntrain.checkpoint_every = 5") == set()
    assert changed(tmp_path, 'name = "two"', 'name = "other"') == set()


def test_other_sources_redo_everything_unless_they_are_pinned(tmp_path: Path, monkeypatch) -> None:
    pinned = TEXT.replace('name = "two"', 'name = "two"\nengine = "then"')
    before = {run.id for run in planned(tmp_path).runs}, {run.id for run in planned(tmp_path, pinned).runs}
    monkeypatch.setattr(runs, "_installed", lambda kind: f"2+{kind}")
    assert not before[0] & {run.id for run in planned(tmp_path).runs}
    assert before[1] == {run.id for run in planned(tmp_path, pinned).runs}


def test_attackers_are_fitted_to_teams_that_are_there_already(tmp_path: Path) -> None:
    there = Path(runs.__file__).parents[3] / "zoo/files/smac/3m/vanilla-2026-12b-0.safetensors"
    given = f'[[teams]]\nname = "there"\nfiles = ["{there}"]\n\n[[attackers]]\nname = "unseen"\nattack = ["ega"]\n'
    text = 'name = "one"\n[[train]]\nenv = "3m"\n\n' + given + 'on = "there"\n\n[[evaluate]]\nteams = ["vanilla"]\n'
    made = planned(tmp_path, text + 'attacks = ["ega"]\nattackers = "unseen"\n')
    assert [run.label for run in made.runs if run.kind == "fit"] == ["ega fitted to there on 3m, seed 0"]
    assert [len(run.needs) for run in made.runs if run.kind == "cell"] == [2]
    both = planned(tmp_path, text.replace('teams = ["vanilla"]', 'teams = ["vanilla", "there"]'))
    assert [(cell.team, cell.method) for cell in both.cells] == [("vanilla", "vanilla"), ("there", "there")]
    alone = planned(tmp_path, given.partition("[[attackers]]")[0] + '[[evaluate]]\nteams = ["there"]\n')
    assert [(cell.team, cell.method) for cell in alone.cells] == [("there", "vanilla")]


def test_seeds_in_one_program_are_one_run(tmp_path: Path) -> None:
    made = planned(tmp_path, TEXT.replace("seeds = 2", "seeds = [0, 1, 2, 5]\npack = 2"))
    labels = [run.label for run in made.runs if run.kind == "train" and "start on 3m" in run.label]
    assert labels == ["start on 3m, seeds 0–1", "start on 3m, seed 2", "start on 3m, seed 5"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('method = ["vanilla", "ibal"]', 'method = ["vanila"]', 'line 12: method must be .* did you mean "vanilla"'),
        ("train.steps", "train.step", 'line 5: .*has no field "step"; did you mean "steps"'),
        ('init = "start"', 'init = "strat"', 'line 14: init: there is no training "strat" .*Closest: "start"'),
        ('attackers = "attackers"', 'attackers = "atackers"', 'line 24: attackers: .*Closest: "attackers"'),
        ('teams = ["vanilla", "ibal"]', 'teams = ["ibl"]', 'line 21: teams: there is no team "ibl".*"ibal"'),
        ('attack = ["ega"', 'attack = ["egaa"', 'line 17: attack: unknown attack "egaa".*Closest: "ega"'),
        ('name = "start"\nenv = ["toy/leak", "3m"]', 'env = ["3mm"]', 'line 8: unknown environment "3mm".*smac/3m'),
        ("[[evaluate]]", "[[evalute]]", 'line 20: .*"evalute"; did you mean "evaluate"'),
        ("episodes = 64", "episods = 64", 'line 25: .*"episods"; did you mean "episodes"'),
        ("episodes = 64", 'episodes = "64"', "line 25: episodes must be a whole number"),
        ('preset = "smoke"', 'preset = "smok"', 'line 3: unknown preset "smok".*Closest: "smoke"'),
        ("seeds = 2", "seeds = -1", "line 4: seeds must be how many"),
        ('name = "two"', "name = two", "not TOML: .*line 1"),
    ],
)
def test_a_wrong_file_is_told_in_one_sentence_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        planned(tmp_path, TEXT.replace(old, new, 1))
    assert "\n" not in str(error.value)


def test_code_of_ones_own_is_hashed_by_its_source_and_not_run(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").write_text("raise SystemExit('run')")
    file = tmp_path / "my_package" / "world.py"
    monkeypatch.syspath_prepend(str(tmp_path))
    text = '[[train]]\nenv = "my_package.world:make"\n[[evaluate]]\n'
    names: list[set[str]] = []
    for source in ("raise SystemExit('run')", "raise SystemExit('run')", "raise SystemExit('edited')"):
        file.write_text(source)
        names.append({run.id for run in planned(tmp_path, text).runs})
    assert names[0] == names[1]
    assert not names[1] & names[2]


def test_a_circle_of_starts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="begins with"):
        planned(tmp_path, TEXT.replace('name = "start"\n', 'name = "start"\ninit = "ibal"\n'))


def test_an_attack_that_nobody_can_be_fitted_to_there_is_told(tmp_path: Path) -> None:
    text = TEXT.replace('on = "start"', 'on = "other"') + '\n[[train]]\nname = "other"\nenv = "8m"\n'
    with pytest.raises(ConfigError, match='"ega" cannot be fitted for "vanilla"'):
        planned(tmp_path, text)


@pytest.mark.parametrize("kind", ["tables", "figures"])
def test_every_table_and_figure_is_a_study(tmp_path: Path, kind: str) -> None:
    for number in TABLES if kind == "tables" else FIGURES:
        made = paper_study(**{kind: (number,)}, seeds=2, budget="smoke")
        (tmp_path / "study.toml").write_text(to_toml(made))
        assert load_study(tmp_path) == read_study(made, tmp_path.name)
        assert runs_of(read_study(made), tmp_path).cells


def test_table_7_has_nine_methods_on_three_maps_under_six_attacks(tmp_path: Path) -> None:
    cells = runs_of(read_study(paper_study(tables=(7,), seeds=5)), tmp_path).cells
    assert len(cells) == 9 * 3 * 6 * 5
    assert len({cell.team for cell in cells}) == 9


def test_every_team_of_mappo_begins_with_what_its_seed_has_learned_vanilla() -> None:
    made = read_study(paper_study(tables=(13,), seeds=2)).trainings
    begun = {one.init for one in made if one.name in ("mappo", "mappo-ibal", "mappo-fgsm")}
    assert begun == {"start-mappo"}
    assert {one.name for one in made if not one.init} == {"start-mappo", "held-out-mappo"}


def test_what_the_paper_does_not_have_is_told() -> None:
    with pytest.raises(ConfigError, match=r"table 6 .* there are tables 1, 7"):
        paper_study(tables=(6,))
    with pytest.raises(ConfigError, match=r'none of these is about "8mm".*Closest: "8m"'):
        paper_study(tables=(8,), maps=("8mm",))
    with pytest.raises(ConfigError, match='Closest: "laptop"'):
        paper_study(tables=(7,), budget="laptp")
    assert study.EACH == "each"
