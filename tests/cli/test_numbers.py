"""Counts and seeds of the command line: what no counter and no key can hold is refused before anything is done."""

from __future__ import annotations

import pytest

from ibal.cli.main import main

COUNTS = {
    "train": ("--steps", "--seeds", "--train.envs", "--train.replay", "--train.chunk", "--train.eval-episodes"),
    "evaluate": ("--episodes",),
    "attack": ("--episodes", "--steps", "--rounds", "--check"),
    "curves": ("--episodes",),
    "analyse": ("--episodes", "--steps", "--agent"),
    "replay": ("--episode", "--max-steps"),
    "env check": ("--steps",),
    "bench train": ("--cores", "--seeds"),
}
SEEDS = ("train", "evaluate", "attack", "curves", "analyse", "replay", "env check", "demo")
REST = {
    "evaluate": ["random", "--env", "two-step"],
    "attack": ["random", "--env", "two-step", "--out", "x"],
    "curves": ["x", "--out", "x"],
    "analyse": ["random", "--attacker", "x", "--out", "x"],
    "replay": ["--env", "3m", "--out", "x.html"],
    "env check": ["two-step"],
}


def refusal(command: str, flag: str, value: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([*command.split(), *REST.get(command, []), flag, value]) == 2
    streams = capsys.readouterr()
    assert (streams.out, streams.err.count("\n")) == ("", 1)
    return streams.err


@pytest.mark.parametrize("command", COUNTS)
def test_a_count_that_overflows_is_no_traceback(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for flag in COUNTS[command]:
        name = flag.removeprefix("--").replace("-", "_") if command == "train" else flag
        for value in ("2147483648", "100000000000"):  # 2^31 is the first that 32 bits with a sign do not hold
            error = refusal(command, flag, value, capsys)
            assert f"{name} must be at most " in error
            assert value in error
        assert f"{name} must be at most " in refusal(command, flag, "9" * 31, capsys)
        assert "must be a whole number" in refusal(command, flag, "1.5", capsys)


@pytest.mark.parametrize("command", SEEDS)
def test_two_seeds_are_never_the_same_games(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A key is made of 32 bits: 2^32 would be the games of seed 0, and -1 those of 2^32 - 1."""
    for value in ("4294967296", "9" * 31, str(2**63)):
        assert "seed must be at most 4294967295, not " in refusal(command, "--seed", value, capsys)
    assert "seed must be at least 0, not -1" in refusal(command, "--seed", "-1", capsys)
