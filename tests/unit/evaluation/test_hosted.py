"""Worlds and teams in Python in an evaluation: the same numbers as compiled ones, and one sentence where they die."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl
import pytest

import ibal
from ibal.adversaries.random import RandomConfig
from ibal.game.host import moment, plain_spec
from ibal.game.keys import world_seed
from ibal.types import Env, EnvSpec, TimeStep
from seeing import choose, seeing

ATTACK = RandomConfig(sigma=0.5, p=0.5)
SPEC = ibal.make("toy/leak").spec


def box(**named: Any) -> Any:
    return ibal.black_box(lambda obs, mask: choose(SPEC, obs, mask), name="seeing", **named)


@pytest.mark.parametrize("attack", ["natural", ATTACK], ids=["natural", "attacked"])
def test_a_function_plays_the_episodes_of_the_same_team_compiled(attack: Any) -> None:
    compiled = ibal.evaluate(seeing, attack, env="toy/leak", episodes=12, seed=4, quiet=True).rows
    asked = ibal.evaluate(box(), attack, env="toy/leak", episodes=12, seed=4, quiet=True).rows
    for column in ("return", "attacked", "replaced"):
        np.testing.assert_allclose(asked[column], compiled[column], rtol=1e-6)
    assert asked["length"].to_list() == compiled["length"].to_list()


def test_it_is_fitted_to_and_watched_like_any_other() -> None:
    attacker = ibal.fit("interaction", box(), env="toy/leak", episodes=16, steps=5, quiet=True)
    replay = ibal.watch(box(), attacker, env="toy/leak", seed=4, episode=2, quiet=True)
    table = ibal.evaluate(box(), attacker, env="toy/leak", episodes=3, seed=4, quiet=True)
    assert replay.trajectories[0].episode_return == pytest.approx(table.rows["return"][2])
    assert "seeing" in repr(replay)


def test_a_function_remembers_its_episode_and_no_other() -> None:
    seen: list[int] = []

    def act(obs: np.ndarray, mask: np.ndarray, memory: Any) -> Any:
        step = 0 if memory is None else memory
        seen.append(step)
        return mask.argmax(axis=1), step + 1

    ibal.evaluate(ibal.black_box(act, memory=True), env="toy/leak", episodes=2, quiet=True)
    assert seen == [*range(SPEC.horizon)] * 2


def test_what_an_attack_must_know_and_a_black_box_does_not_show_is_named() -> None:
    for attack in ("fgsm", "wolfpack-random"):
        with pytest.raises(ibal.ConfigError, match=f'"{attack}" needs the .*, and "seeing" has none'):
            ibal.evaluate(box(), attack, env="toy/leak", episodes=1, quiet=True)


class Hostile:
    """A world of two agents that goes wrong in its third episode, at step 2, in a way of its own."""

    def __init__(self, spec: EnvSpec, how: str) -> None:
        self.spec, self.how, self.episode = spec, how, -1

    def reset(self, key: jax.Array) -> TimeStep:
        self.draw, self.clock = np.random.default_rng(world_seed(key)), 0
        self.episode += 1
        return self.next(0.0)

    def step(self, actions: np.ndarray) -> TimeStep:
        self.clock += 1
        return self.next(float(actions.sum()))

    def next(self, reward: float) -> TimeStep:
        obs = self.draw.random((2, 3))
        if self.episode == 2 and self.clock == 2:
            if self.how == "dies":
                raise RuntimeError("the simulator has crashed\nwith a long trace")
            obs = {"shape": np.zeros((2, 4)), "nan": obs * np.nan, "nothing": None}[self.how]
        return moment(self.spec, obs, reward=reward, terminated=self.clock == 4)


def hostile(how: str) -> Env:
    spec = plain_spec("own/hostile", n_agents=2, n_actions=2, obs_size=3, horizon=4)

    def refuse(*args: Any) -> Any:
        raise AssertionError("not compiled")

    return Env(spec, (), lambda key, params: refuse(), lambda key, state, actions, params: refuse(),
               host=lambda: Hostile(spec, how))  # fmt: skip


@pytest.mark.parametrize(("how", "said"), [
    ("dies", "own/hostile died at step 2: RuntimeError: the simulator has crashed (episode 2 of 5)"),
    ("shape", "moment() gave obs (2, 4) but spec says n_agents=2, obs_size=3 (episode 2 of 5)"),
    ("nan", "own/hostile: the state is NaN or infinite in an entry (at step 2; step 0 is the reset) (episode 2 of 5)"),
])  # fmt: skip
def test_a_world_that_goes_wrong_costs_one_sentence_and_no_episode_before(how: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ibal.ContractError) as error:
        ibal.evaluate("random", env=lambda: hostile(how), episodes=5, out=tmp_path, quiet=True)
    assert str(error.value) == said
    held = pl.read_parquet(tmp_path / "unfinished.parquet")
    assert held["episode"].to_list() == [0, 1]
    assert held["policy"].unique().to_list() == ["random"]


def test_cells_before_a_team_that_dies_are_kept() -> None:
    def act(obs: np.ndarray, mask: np.ndarray) -> Any:
        raise ZeroDivisionError

    told: list[str] = []
    teams = {"good": box(), "bad": ibal.black_box(act)}
    done = ibal.evaluate(teams, env="toy/leak", episodes=3, note=told.append)
    assert done.rows["policy"].to_list() == ["good"] * 3
    assert not done.finished
    assert done.broken == "the team died at step 0: ZeroDivisionError (episode 0 of 3)"
    assert told[-1] == f"{done.broken}: these are 1 of 2 cells"


@pytest.mark.parametrize(("given", "said"), [
    (np.array([0, 0, 9]), "an action that is not available: 9"),
    (np.array([0.0, 1.0]), "float64[2]; integers [3] were expected"),
    ([0], "int64[1]; integers [3] were expected"),
    (None, "object[]; integers [3] were expected"),
])  # fmt: skip
def test_illegal_actions_are_answered_with_one_sentence(given: Any, said: str) -> None:
    with pytest.raises(ibal.ContractError) as error:
        ibal.evaluate(ibal.black_box(lambda obs, mask: given), env="toy/leak", episodes=1, quiet=True)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


TALK = """
import json, sys
for line in sys.stdin:
    said = json.loads(line)
    {}
    print(json.dumps(out), flush=True)
"""


def program(body: str, seconds: float = 20.0) -> Any:
    return ibal.black_box([sys.executable, "-c", TALK.format(body)], seconds=seconds, name="program")


def test_a_program_that_speaks_json_plays_like_the_function_it_holds() -> None:
    mine = program("out = {'actions': [row.index(1) for row in said['mask']]}")
    told = ibal.evaluate(mine, env="toy/leak", episodes=3, quiet=True).rows["return"].to_list()
    first = ibal.black_box(lambda obs, mask: mask.argmax(axis=1))
    assert told == ibal.evaluate(first, env="toy/leak", episodes=3, quiet=True).rows["return"].to_list()


@pytest.mark.parametrize(("body", "said"), [
    ("import time; time.sleep(60); out = 0", "gave no answer within 0.5 s"),
    ("sys.exit(3)", "ended with status 3 instead of answering"),
    ("print('hello', flush=True); out = 0", "answered 'hello\\n', which is no JSON"),
    ("out = [0, [1]]", "which is no list of actions"),
    ("out = {'actions': [0, 0, 99]}", "an action that is not available: 99"),
])  # fmt: skip
def test_a_program_that_hangs_or_ends_or_babbles_is_answered_with_one_sentence(body: str, said: str) -> None:
    begin = time.monotonic()
    with pytest.raises(ibal.ContractError) as error:
        ibal.evaluate(program(body, 0.5 if "sleep" in body else 20.0), env="toy/leak", episodes=1, quiet=True)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert time.monotonic() - begin < 40


def test_a_program_that_is_not_there_is_said() -> None:
    with pytest.raises(ibal.ContractError, match=r'the program "./no-such-team" cannot be started: No such file'):
        ibal.evaluate(ibal.black_box(["./no-such-team"]), env="toy/leak", episodes=1, quiet=True)
