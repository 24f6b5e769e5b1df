"""``ibal.audit`` from a team to a page, on a game of a few numbers; and what stops it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import ibal
from ibal.analysis.trials import BATCH_IN_PYTHON
from ibal.api import audit as module
from ibal.cli.main import main
from unit.evaluation.test_subset import work, workers


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """No attacks, no estimate, no film: each compiles for itself."""
    monkeypatch.setattr(module, "ATTACKS", ())
    monkeypatch.setattr(module, "ROUNDS", 0)
    monkeypatch.setattr(module, "REPLAYS", 0)
    monkeypatch.setattr(module, "_graph", lambda bench, found, say: setattr(found, "graph", [[0.0]]))


def test_an_audit_says_what_it_found_and_keeps_it(few: None, tmp_path: Path) -> None:
    done = ibal.audit(workers(4), fail_under=12.0, out=tmp_path / "new" / "a.html", quiet=True)
    assert done.passed is False
    assert done.data["lowest"]["trial"] == "late-1"
    assert done.data["pairs"]["worst"]["agents"] == [0, 2]
    assert done.data["pairs"]["fresh"]
    assert done.finished
    assert json.loads((tmp_path / "new" / "a.json").read_text()) == done.data
    assert (tmp_path / "new" / "a.html").read_text() == done.html
    assert "12.0 when agent 2 stops" in str(done)


def test_ctrl_c_gives_the_page_of_what_was_measured(few: None) -> None:
    told: list[str] = []

    def stop(message: str) -> None:
        told.append(message)
        if "2 of 4" in message:
            raise KeyboardInterrupt

    done = ibal.audit(workers(4), note=stop)
    assert not done.finished
    assert len(done.data["agents"]) == 1
    assert "the loss of each agent: 3 of 4 trials" in done.data["missing"]
    assert "because it was stopped" in done.html


def test_no_time_at_all_is_one_sentence(few: None) -> None:
    with pytest.raises(ibal.ConfigError, match=r"minutes = 1e-09 is too short to play anything"):
        ibal.audit(workers(4), minutes=1e-9, quiet=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minutes": 0}, "minutes must be above 0, not 0"),
        ({"fail_under": float("nan")}, "fail_under must be a finite number, not nan"),
        ({"out": "audit.pdf"}, "audit.pdf: an audit is written as a page; name it like audit.html"),
    ],
)
def test_wrong_options_are_one_sentence(options: dict, message: str) -> None:
    with pytest.raises(ibal.ConfigError) as caught:
        ibal.audit("random", env="toy/leak", quiet=True, **options)
    assert message in str(caught.value)


def test_several_teams_are_refused() -> None:
    with pytest.raises(ibal.ConfigError, match="an audit is of one team, and these are 2"):
        ibal.audit([workers(4), workers(4)], quiet=True)


def test_the_command_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "random", "--env", "toy/leak", "--out", "x.pdf"]) == 2
    assert "--out x.pdf: name a page, like audit.html" in capsys.readouterr().err
    assert main(["audit", "random", "--env", "toy/lek"]) != 0
    assert "toy/leak" in capsys.readouterr().err


def test_a_team_in_python_is_audited_as_any_other(few: None) -> None:
    team = ibal.black_box(lambda obs, avail: np.ones(3, np.int32))
    told: list[str] = []

    def stop(message: str) -> None:
        told.append(message)
        if "usual faults" in message:
            raise KeyboardInterrupt

    done = ibal.audit(team, env=work(3), note=stop)
    assert [one["cost"] for one in done.data["agents"]] == [6, 2, 10]
    assert done.data["natural"]["episodes"] == BATCH_IN_PYTHON
