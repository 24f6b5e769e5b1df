"""What environment, policy and attack must keep to is looked at in every game that is played."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import make, rng
from ibal.adversaries.base import Adversary, Threat, adversary, natural
from ibal.contract import ContractError
from ibal.evaluation.episodes import play
from ibal.evaluation.scripted import random_policy
from ibal.game import referee
from ibal.game.keys import attack_key
from ibal.game.referee import Turn
from ibal.training.rollout import collect
from ibal.types import Env, Policy, TimeStep

ENV = make("toy/two-step")  # 2 agents, 2 actions, observations of 3
SPEC, RANDOM = ENV.spec, random_policy(ENV.spec)
KEYS = rng.episodes(rng.root(0), 2)
OBS, ACT = ("obs",), ("act",)


def moment(**fields: Any) -> TimeStep:
    """A time-step in which agent 0 can do both actions, agent 1 only action 1."""
    step = TimeStep(
        jnp.zeros((2, 3)), jnp.zeros(6), jnp.array([[True, True], [False, True]]), jnp.ones(2, bool), jnp.float32(0),
        jnp.array(False), jnp.array(False), {"win": jnp.float32(0)},
    )  # fmt: skip
    return step._replace(**{name: jnp.asarray(value) if name != "metrics" else value for name, value in fields.items()})


def turn(seen: Any = None, intended: Any = (0, 1), executed: Any = None) -> Turn:
    clean, meant = moment().obs, jnp.asarray(intended, jnp.int32)
    done = meant if executed is None else jnp.asarray(executed, jnp.int32)
    return Turn(clean if seen is None else jnp.asarray(seen, jnp.float32), meant, done)


def sight(**entries: float) -> np.ndarray:
    """Zeros but for the entries a0 (agent 0, index 0) … b2 (agent 1, index 2)."""
    out = np.zeros((2, 3), np.float32)
    for name, value in entries.items():
        out["ab".index(name[0]), int(name[1])] = value
    return out


# what happened (threat, before, decision, after) -> the sentence, and at which of the steps 4 and 5
FAIR = Threat(channels=("obs", "act"), agents=1, dims=2, eps=0.5)
BROKEN: dict[str, tuple[tuple[Threat, TimeStep, Turn, TimeStep], str, int]] = {
    "reward": ((FAIR, moment(), turn(), moment(reward=jnp.float32(jnp.nan))), "the reward is NaN or infinite", 5),
    "infinite reward": ((FAIR, moment(), turn(), moment(reward=-jnp.float32(jnp.inf))), "the reward is NaN", 5),
    "state": ((FAIR, moment(), turn(), moment(state=jnp.full(6, jnp.nan))), "the state is NaN", 5),
    "metric": ((FAIR, moment(), turn(), moment(metrics={"win": jnp.float32(jnp.inf)})), "a metric is NaN", 5),
    "observation": ((FAIR, moment(), turn(), moment(obs=sight(b1=np.nan))), "the observation of agent 1 is NaN", 5),
    "no action": ((FAIR, moment(), turn(), moment(avail=[[True, True], [False] * 2])), "agent 1 has no available", 5),
    "policy": ((FAIR, moment(), turn(intended=(0, 2)), moment()), "policy.select chose an action that does", 4),
    "unknown": ((FAIR, moment(), turn(executed=(7, 1)), moment()), "gave agent 0 an action that does not exist", 4),
    "negative": ((FAIR, moment(), turn(executed=(-1, 1)), moment()), "an action that does not exist", 4),
    "illegal": ((FAIR, moment(), turn(executed=(0, 0)), moment()), "gave agent 1 an action that is not available", 4),
    "dead": ((FAIR, moment(alive=[False, True]), turn(executed=(1, 1)), moment()), "of agent 0, which is dead", 4),
    "hidden": ((Threat(), moment(), turn(sight(a0=1)), moment()), "observe changed what agent 0 sees, but", 4),
    "forced": ((Threat(), moment(), turn(executed=(1, 1)), moment()), "act changed what agent 0 does, but", 4),
    "two see": ((FAIR, moment(), turn(sight(a0=0.1, b0=0.1)), moment()), "observe touched more than threat.agents", 4),
    "two do": (
        (FAIR, moment(avail=np.ones((2, 2), bool)), turn(executed=(1, 0)), moment()),
        "act touched more than threat.agents=1", 4,
    ),
    "dims": ((FAIR, moment(), turn(sight(a0=0.1, a1=0.1, a2=0.1)), moment()), "more than threat.dims=2 entries", 4),
    "eps": ((FAIR, moment(), turn(sight(b2=0.6)), moment()), "what agent 1 sees by more than threat.eps=0.5", 4),
    "seen": ((FAIR, moment(), turn(sight(b2=np.nan)), moment()), "observe gave what agent 1 sees a number that is", 4),
}  # fmt: skip


WATCH = jax.jit(referee.watch, static_argnums=1)
FAIR_SO_FAR = referee.Fault(jnp.int32(-1), jnp.int32(0))


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_named_with_agent_and_step(case: str) -> None:
    (threat, before, done, after), sentence, step = BROKEN[case]
    fault = WATCH(FAIR_SO_FAR, threat, before, done, after, jnp.int32(4))
    said = str(referee.complaint(fault, SPEC, threat))
    assert sentence in said
    assert f"(at step {step}, episode 0" in said


def test_what_is_allowed_is_no_fault() -> None:
    legal = turn(sight(a0=0.5, a1=-0.5), executed=(1, 1))
    fault = WATCH(FAIR_SO_FAR, FAIR, moment(), legal, moment(), jnp.int32(0))
    assert int(fault.code) == -1
    assert referee.complaint(fault, SPEC, FAIR) is None


def test_the_first_fault_stays() -> None:
    fault = referee.at_start(moment(obs=sight(a0=np.inf)))
    later = WATCH(fault, FAIR, moment(), turn(executed=(7, 1)), moment(), jnp.int32(3))
    assert "the observation of agent 0" in str(referee.complaint(later, SPEC, FAIR))
    assert "at step 0" in str(referee.complaint(later, SPEC, FAIR))


def test_what_float16_cannot_hold_is_said_before_it_is_stored_as_infinite() -> None:
    seen = moment(obs=sight(a0=70_000.0))
    assert int(referee.at_start(seen).code) == -1
    stored = referee.at_start(seen, referee.STORED_LARGEST)
    said = str(referee.complaint(stored, SPEC, FAIR, referee.STORED_LARGEST, "iteration"))
    assert "NaN or infinite or beyond 65504 (training keeps float16)" in said


def changed(env: Env, when: str, change: Callable[[Any, TimeStep], tuple[Any, TimeStep]]) -> Env:
    if when == "reset":
        return env._replace(reset=lambda key, params: change(*env.reset(key, params)))
    return env._replace(step=lambda key, state, actions, params: change(*env.step(key, state, actions, params)))


WRONG_SHAPES: dict[str, tuple[Env | Adversary | Policy, str]] = {
    "reset": (changed(ENV, "reset", lambda s, t: (s, t._replace(obs=jnp.zeros((2, 9))))), r"reset\(\) gave obs \(2, 9"),
    "type": (changed(ENV, "step", lambda s, t: (s, t._replace(reward=jnp.int32(0)))), r"step\(\) gave reward of int32"),
    "state": (changed(ENV, "step", lambda s, t: ((s, s), t)), r"step\(\) changes the structure of the state"),
    "nothing": (changed(ENV, "step", lambda s, t: t), r"step\(\) must return \(state, TimeStep\), got TimeStep"),
    "sight": (
        adversary(observe=lambda k, s, m, v: (v.step.obs[:1], m), threat=Threat(channels=OBS)),
        r"observe gave float32\[1, 3\]; float32\[2, 3\] was expected",
    ),
    "floats": (
        adversary(act=lambda k, s, m, v: (v.actions.astype(jnp.float32), m), threat=Threat(channels=ACT)),
        r"act gave float32\[2\]; integers \[2\] were expected",
    ),
    "memory": (
        adversary(act=lambda k, s, m, v: (v.actions, jnp.zeros(3)), threat=Threat(channels=ACT)),
        "act changes the structure of its memory",
    ),
    "alone": (
        adversary(act=lambda k, s, m, v: v.actions, threat=Threat(channels=ACT)),
        "act must return two values, got an array",
    ),
    "scores": (RANDOM._replace(scores=lambda c, o, a, last: (c, jnp.zeros(2))), r"policy.scores gave scores float32"),
    "choice": (RANDOM._replace(select=lambda k, s, a: s), r"policy.select gave float32\[2, 2\]; integers \[2\]"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_SHAPES)
def test_a_wrong_shape_is_one_sentence_instead_of_pages_of_jax(case: str) -> None:
    thing, sentence = WRONG_SHAPES[case]
    env = thing if isinstance(thing, Env) else ENV
    policy = thing if isinstance(thing, Policy) else RANDOM
    attack = thing if isinstance(thing, Adversary) else natural()
    with pytest.raises(ContractError, match=sentence):
        play(env, policy, KEYS, adversary=attack)


@pytest.mark.parametrize(
    ("attack", "sentence"),
    [
        (natural()._replace(act=lambda k, s, m: (k, m)), r"act takes \(k, s, m\); it is called with \(key, state"),
        (natural()._replace(begin=3), r"begin is a int; a function \(key, state, step\) was expected"),
        (natural()._replace(threat={"channels": ACT}), "threat is a dict; a Threat was expected"),
        (adversary(threat=Threat(channels=("observation",))), r"threat.channels is \('observation',\); any of"),
        (adversary(threat=Threat(knowledge=("thoughts",))), r"threat.knowledge is \('thoughts',\); any of"),
        (adversary(threat=Threat(agents=-1)), "threat.agents is -1; None or a whole number"),
        (adversary(threat=Threat(eps=float("nan"))), "threat.eps is nan"),
        (adversary(threat=Threat(p=2.0)), "threat.p is 2.0; a share of the steps"),
        (None, r"must return an ibal.adversaries.base.Adversary, got a NoneType"),
    ],
    ids=["too few", "no function", "no threat", "channel", "knowledge", "agents", "eps", "p", "nothing"],
)  # fmt: skip
def test_functions_that_cannot_be_called_are_refused_before_anything_is_played(attack: Any, sentence: str) -> None:
    with pytest.raises(ContractError, match=sentence):
        referee.check_functions(attack)


def test_a_reward_that_is_nan_late_is_no_result() -> None:
    late = changed(ENV, "step", lambda s, t: (s, t._replace(reward=jnp.where(s.t == 2, jnp.nan, t.reward))))
    with pytest.raises(ContractError, match=r"toy/two-step: the reward is NaN or infinite \(at step 2, episode 0;"):
        play(late, RANDOM, KEYS)


def test_a_rollout_says_which_game_was_not_fair() -> None:
    """Only an attack on games whose first key bit is set: one of many is found."""
    strikes = adversary(
        begin=lambda key, state, step: jax.random.bernoulli(key),
        act=lambda key, state, memory, view: (jnp.where(memory, view.actions + 2, view.actions), memory),
        threat=Threat(channels=ACT),
    )
    keys = rng.episodes(rng.root(0), 8)
    struck = [bool(jax.random.bernoulli(attack_key(key, "begin"))) for key in keys]
    assert 0 < sum(struck) < 8
    fault = jax.jit(lambda: collect(ENV, RANDOM, strikes, (), keys).fault)()
    np.testing.assert_array_equal(np.asarray(fault.code) >= 0, struck)
    assert int(referee.first(fault).code) >= 0
