"""What does not fit into memory is refused in one sentence, before anything is allocated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ibal import rng
from ibal.cli.main import main
from ibal.envs.toy import two_step
from ibal.evaluation import episodes, room
from ibal.evaluation.room import MemoryRefused
from ibal.evaluation.scripted import random_policy
from ibal.experiments.fitting import natural_episodes

ENV = two_step()
POLICY = random_policy(ENV.spec)
LITTLE = 2**26


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "available", lambda: LITTLE)


@pytest.mark.usefixtures("little")
def test_keys_games_and_records_are_forecast() -> None:
    with pytest.raises(MemoryRefused, match=r"2,000,000,000 episodes would take 74\.51 GiB of memory; only 64 MiB"):
        episodes.episode_keys(0, 2_000_000_000)  # 40 bytes each
    with pytest.raises(MemoryRefused, match=r"^1,000,000 games of toy/two-step would take .* Ask for fewer episodes$"):
        episodes.check_games(ENV, POLICY, 1_000_000)
    with pytest.raises(MemoryRefused, match="recorded episodes of toy/two-step would take"):
        natural_episodes(rng.root(0), ENV, POLICY, 1_000_000, 0.0)
    episodes.check_games(ENV, POLICY, 100_000)


def test_where_nothing_is_known_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "available", lambda: None)
    room.check_room("everything", 2**60, "")


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "random", "--env", "two-step", "--episodes", "2147483647"],
        ["evaluate", "random", "--env", "two-step", "--episodes", "1000000", "--attacks", "natural"],
        ["bench", "train", "--maps", "two-step", "--presets", "smoke", "--seeds", "1000000"],
        ["attack", "random", "--env", "two-step", "--check", "1000000", "--out", "bank"],
    ],
)
@pytest.mark.usefixtures("little")
def test_a_command_is_not_killed_for_its_memory(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--quiet"]) == 1
    streams = capsys.readouterr()
    assert re.search(r"; only .* are there\. (Ask for fewer episodes|Try fewer --seeds)", streams.err)
    assert (streams.out, streams.err.count("\n")) == ("", 1)
    assert list(tmp_path.iterdir()) == []
