"""Environments, attacks, policies and methods of one's own: found by name, held to their contract, and when they fail
it is said whose error it is."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ibal import make, rng
from ibal.adversaries.base import Threat
from ibal.cli.main import main
from ibal.experiments.config import RunConfig
from ibal.experiments.methods import adversary_of
from ibal.game import referee
from ibal.game.referee import Fault
from ibal.nets import agents
from ibal.nets.bundle import find_policies, save_bundle
from ibal.registry import Own, UnknownName
from ibal.training import runner
from ibal.training.state import Counters, TrainState

OWN = '''
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from ibal.adversaries.base import Threat, adversary
from ibal.envs.toy import two_step
from ibal.evaluation.scripted import random_policy

not_a_function = 3


def good():
    return two_step()


def nan_reward():
    env = two_step()
    def step(key, state, actions, params):
        state, seen = env.step(key, state, actions, params)
        return state, seen._replace(reward=seen.reward * jnp.nan)
    return env._replace(step=step)


def wide():
    env = two_step()
    def reset(key, params):
        state, seen = env.reset(key, params)
        return state, seen._replace(obs=jnp.zeros((2, 7)))
    return env._replace(reset=reset)


def fails():
    return 1 / 0


def nothing():
    return None


def needs(size):
    return two_step()


@dataclass(frozen=True)
class Push:
    """Agent 0 does the other thing."""

    agents: int = 1

    def build(self, spec):
        def act(key, state, memory, view):
            who = jnp.arange(spec.n_agents) < self.agents
            return jnp.where(who, 1 - view.actions, view.actions), memory
        return adversary(act=act, threat=Threat(channels=("act",), agents=1))


@dataclass(frozen=True)
class Floats(Push):
    def build(self, spec):
        return adversary(act=lambda k, s, m, v: (v.actions.astype(jnp.float32), m), threat=Threat(channels=("act",)))


@dataclass(frozen=True)
class Fails(Push):
    def build(self, spec):
        return {}["nothing"]


def policy(spec):
    return random_policy(spec)


def no_policy(spec):
    return 3
'''


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_code.py").write_text(OWN)
    (folder / "own_syntax.py").write_text("def (")
    (folder / "own_end.py").write_text("import sys\nsys.exit(0)\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path])
        yield folder
    for name in ("own_code", "own_syntax", "own_end"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("./own_code.py:good", '"./own_code.py:good" names no environment: write it as own_code:good'),
        ("own_code.py", 'unknown environment "own_code.py"'),
        ("own code:good", "write it as my_pkg.mod:make"),
        ("own_code:", "write it as my_pkg.mod:make"),
        ("own_cod:good", 'there is no module "own_cod"'),
        ("own_code:god", '"own_code" has no "god"; did you mean "good"?'),
        ("own_code:nothing", '"own_code:nothing" returned a NoneType; an environment function returns'),
        ("own_code:not_a_function", "is of type int, not a function"),
        ("own_code:needs", "cannot be made: missing a required argument: 'size'"),
        ("own_end:good", 'the module "own_end" ends the program when it is imported'),
    ],
)
def test_a_name_that_makes_no_environment_is_one_sentence(
    name: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "random", "--env", name]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (["--env", "own_code:fails"], "ibal evaluate: ZeroDivisionError: division by zero (your code failed in "),
        (["--env", "own_syntax:make"], "ibal evaluate: SyntaxError: invalid syntax (own_syntax.py, line 1) (your code"),
        (["--env", "two-step", "--attacks", "own_code:Fails"], "ibal evaluate: KeyError: 'nothing' (your code failed "),
    ],
    ids=["environment", "syntax", "attack"],
)  # fmt: skip
def test_an_error_of_ones_own_keeps_its_traceback_after_a_sentence(
    words: list[str], first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "random", *words]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(first)
    assert said[1] == "Traceback (most recent call last):"
    assert said[-1].partition(":")[0] == said[0].split(": ")[1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["random", "--env", "own_code:nan_reward"],
         'toy/two-step: the reward is NaN or infinite (at step 1, episode 0; step 0 is the reset); "ibal env check'),
        (["random", "--env", "own_code:wide"],
         'reset() gave obs (2, 7) but spec says n_agents=2, obs_size=3; "ibal env check my_pkg.mod:make" tells more'),
        (["random", "--env", "two-step", "--attacks", "own_code:Floats"],
         'act gave float32[2]; integers [2] were expected; "ibal attack check my_pkg.mod:MyConfig" tells more'),
        (["random", "--env", "two-step", "--attacks", "own_code:Push[agents=2]"],
         "act touched more than threat.agents=1 agents"),
    ],
    ids=["NaN", "shape", "floats", "too many"],
)  # fmt: skip
def test_a_broken_contract_is_no_win_rate(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", *words, "--episodes", "2", "--json"]) == 1
    streams = capsys.readouterr()
    assert streams.out == ""
    assert sentence in streams.err.splitlines()[-1]
    assert "Traceback" not in streams.err


def test_policies_of_ones_own_are_evaluated(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ibal.evaluation.teams import teams_of

    label, team = teams_of(["own_code:policy"], "two-step")[0]
    assert (label, team.method, team.own) == ("own_code:policy", "scripted", True)
    for name, sentence in (("no_policy", "an ibal.types.Policy was expected, got a int"), ("good", "takes ()"),
                           ("polcy", 'has no "polcy"; did you mean "policy"?')):  # fmt: skip
        assert main(["evaluate", f"own_code:{name}", "--env", "two-step"]) == 2
        assert sentence in capsys.readouterr().err


def test_attack_check_prints_every_rule_or_the_one_that_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["attack", "check", "own_code:Push", "--env", "two-step", "--episodes", "2", "--quiet"]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "ok  actions exist and are available; the dead keep theirs" in lines
    assert "ok  at most 1 agents a step (threat.agents)" in lines
    # Both steps of both episodes: agent 0 always does the other thing.
    assert lines[-1].endswith("4 steps of 2 episodes; something else was seen on 0, done on 4")
    assert main(["attack", "check", "own_code:Floats", "--env", "two-step", "--json", "--quiet"]) == 1
    assert json.loads(capsys.readouterr().out)["error"] == "act gave float32[2]; integers [2] were expected"
    assert main(["attack", "check", "interaction", "--env", "two-step"]) == 2
    assert "try another environment with --env NAME" in capsys.readouterr().err


def test_an_attack_that_cannot_be_fitted_here_says_which_can(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line of the README on a toy."""
    assert main(["attack", "random", "--env", "two-step", "--out", str(tmp_path / "a")]) == 2
    said = capsys.readouterr().err
    assert 'names no block of kind "ally"' in said
    assert "can be fitted here: --attack atla" in said
    assert not (tmp_path / "a").exists()


def test_an_attack_of_ones_own_is_a_method() -> None:
    spec = make("two-step").spec
    attack = adversary_of(Own("own_code:Push"), spec, {"agents": 2})
    assert attack.threat == Threat(channels=("act",), agents=1)
    assert RunConfig(method="own_code:Push").method == "own_code:Push"
    with pytest.raises(UnknownName, match="is code, and no file may name code as its method"):
        adversary_of("own_code:Push", spec)  # as a run folder says it


def test_training_on_a_nan_reward_blames_the_reward_and_no_learning_rate(tmp_path: Path) -> None:
    spec = make("two-step").spec
    nothing = np.full((1, 3), -1, np.int32)
    code = nothing.copy()
    code[0, 1] = 11 * spec.n_agents  # after the eleven rules of decisions comes the reward
    host = {
        runner.LEARNING: {"updates": np.ones((1, 3)), "loss": np.full((1, 3), np.nan)},
        runner.FAULT: Fault(code, nothing + 3),
    }
    progress = Counters._make(np.array([7]) if name == "env_steps" else None for name in Counters._fields)
    state = TrainState._make(progress if name == "progress" else None for name in TrainState._fields)
    given = {"env": make("two-step"), "seeds": (5,), "out": tmp_path, "threat": Threat()}
    this = runner._Run._make(given.get(name) for name in runner._Run._fields)
    with pytest.raises(runner.TrainingError) as error:
        runner._report(this, state, host, 1.0)
    said = str(error.value)
    assert "seed 5: toy/two-step: the reward is NaN or infinite (at step 2, iteration 1" in said
    assert '"ibal env check my_pkg.mod:make" tells more. There is no checkpoint yet to go on from' in said
    assert "learner.lr" not in said
    assert referee._WORLD[0] == "the reward is NaN or infinite"
    assert len(referee._DECISION) == 11


@pytest.mark.parametrize("name", ["p.safetensors", "p.json", "p"])
def test_a_bundle_is_named_by_either_file_or_by_what_they_share(name: str, tmp_path: Path) -> None:
    spec = make("two-step").spec
    params = agents.init(rng.root(0), spec.obs_size + spec.n_actions + spec.n_agents, spec.n_actions, 4)
    save_bundle(tmp_path / "p.safetensors", params, spec)
    assert find_policies(tmp_path / name) == [tmp_path / "p.safetensors"]
