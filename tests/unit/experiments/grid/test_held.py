"""What is kept and what may go, where several studies lie in one folder; nothing is trained here."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibal.experiments.grid.held import Held
from ibal.experiments.study import studies_in
from ibal.options import ConfigError

ONE = """
engine = "test"
[defaults]
preset = "smoke"
seeds = 1
env = "toy/climbing"
[[train]]
name = "start"
"""
OTHER = f"""{ONE}
[[train]]
name = "more"
init = "start"
[[train]]
name = "most"
init = "more"
"""


def finish(held: Held, *names: str) -> dict[str, Path]:
    """Say that trainings are done, and give them a checkpoint; return its file by name."""
    held.store.open()
    files: dict[str, Path] = {}
    for run, (name, _) in held.planned.trainings.items():
        if name in names:
            files[name] = held.store.folder(run) / "run" / "checkpoints" / "1.safetensors"
            files[name].parent.mkdir(parents=True)
            files[name].write_bytes(b"weights")
            claim = held.store.claim(run)
            assert claim is not None
            assert claim.finish({})
    return files


def test_studies_of_a_folder_are_told_from_the_configuration_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("")  # all that is there is one, whatever stands in it
    (tmp_path / "other.toml").write_text(OTHER)
    (tmp_path / "config.toml").write_text('env = "3m"\n[train]\nsteps = 1\n')
    assert [file.name for file in studies_in(tmp_path)] == ["other.toml", "study.toml"]


def test_cleaning_one_study_leaves_what_another_of_its_folder_needs(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(ONE)
    (tmp_path / "other.toml").write_text(OTHER)
    one, other = Held(tmp_path), Held(tmp_path / "other.toml")
    saved = finish(other, "start", "more")
    assert one.clean(everything=True) == len(b"weights")  # of "start"; "most" begins with "more", and is not done
    assert not saved["start"].exists()
    assert saved["more"].exists()
    assert [run.label for run in other.missing()] == ["most on toy/climbing, seed 0"]
    (tmp_path / "other.toml").write_text("[[train]]\nmethod = 3\n")
    with pytest.raises(ConfigError, match=r"other\.toml, line 2: method"):
        one.clean(everything=True)
    (tmp_path / "other.toml").unlink()
    assert one.clean(everything=True) == len(b"weights")
    assert not saved["more"].exists()


def test_what_was_cleaned_away_is_trained_again_for_one_that_begins_with_it(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(OTHER)
    held = Held(tmp_path)
    saved = finish(held, "start", "more")
    assert held.emptied() == []
    saved["start"].unlink()
    assert held.emptied() == []  # "more" is done and still there
    saved["more"].unlink()
    emptied = held.emptied()
    assert [run.label for run in emptied] == ["start on toy/climbing, seed 0", "more on toy/climbing, seed 0"]
    for run in emptied:
        held.store.reopen(run.id)
    assert len(held.missing()) == 3
    assert held.store.claim(emptied[0].id) is not None
