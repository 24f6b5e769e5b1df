"""Every adversary of the table keeps to its Threat, and who does nothing changes nothing."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import jax
import numpy as np
import pytest

from ibal import make, rng
from ibal.adversaries import TABLE, build
from ibal.adversaries.base import Adversary, Threat, adversary, natural
from ibal.adversaries.check import ContractError, Report, check_adversary
from ibal.adversaries.combine import chain, during, with_probability
from ibal.adversaries.fault_names import FAULTS
from ibal.adversaries.interaction import fixed, init
from ibal.evaluation.episodes import EpisodeResults, play
from ibal.evaluation.scripted import random_policy
from ibal.nets.agents import init as agent
from ibal.nets.pymarl import pymarl_agent
from ibal.types import Env, Policy
from unit.viz import skirmish

LEAK = make("toy/leak", n_agents=4, noise=1)
# These need nothing to be declared. What the first do is in the others too (pgd of one step is fgsm, say).
PARTS = ("natural", "random-obs", "random-act", "fgsm", "wolfpack-random")
ALIKE = ("random", "pgd", "atla", "ega", "wolfpack", "random-group")


@cache
def smac() -> Env:
    return make("smac/3m")


def network(env: Env) -> Policy:
    """A victim with scores, gradients and weights: none of them trained."""
    spec = env.spec
    size = spec.obs_size + spec.n_actions + spec.n_agents
    return pymarl_agent(spec, 8).bind(agent(rng.root(0), size, spec.n_actions, 8))


def checked(attack: Adversary, env: Env, **options: Any) -> Report:
    victim = network(env) if set(attack.threat.knowledge) - {"state"} else random_policy(env.spec)
    return check_adversary(attack, env, victim, key=rng.root(3), **options)


def unfitted(env: Env, name: str = "interaction", **options: Any) -> Adversary:
    """The attack of evaluation with models that have learned nothing: its budget is the same."""
    config = TABLE.make(name, **options)
    return fixed(config, env.spec, jax.jit(init, static_argnums=(1, 2))(rng.root(0), config, env.spec))


def with_all(fast: tuple[str, ...], names: list[str]) -> list[Any]:
    """The fast ones by default, the others as well with --all."""
    return [name if name in fast else pytest.param(name, marks=pytest.mark.thorough) for name in names]


# Where agents die and not all is legal, all of them; here those that are about the leak.
ABOUT_THE_LEAK = ("interaction", "interaction-literal")


@pytest.mark.parametrize("name", with_all(ABOUT_THE_LEAK, [name for name in TABLE if name != "occlude-retreat"]))
def test_every_entry_keeps_its_threat_on_a_toy(name: str) -> None:
    attack = unfitted(LEAK, name) if name.startswith("interaction") else build(name, LEAK.spec)
    report = checked(attack, LEAK, episodes=6)
    touched = report.seen_otherwise + report.replaced
    assert touched > 0 if name != "natural" else touched == 0


@pytest.mark.parametrize("name", with_all(ALIKE, [*PARTS, *ALIKE]))
def test_every_entry_that_can_be_keeps_its_threat_where_nothing_is_declared(name: str) -> None:
    env = make("toy/two-step")
    report = checked(build(name, env.spec), env, episodes=16)
    assert (report.seen_otherwise + report.replaced > 0) == (name != "natural")


@pytest.mark.parametrize("name", [name for name in TABLE if name != "occlude-retreat"])
def test_every_entry_keeps_its_threat_where_agents_die_and_not_all_is_legal(name: str) -> None:
    env = skirmish.make()
    attack = unfitted(env, name) if name.startswith("interaction") else build(name, env.spec)
    report = checked(attack, env, episodes=6)
    assert (report.seen_otherwise + report.replaced > 0) == (name != "natural")


# One program for several: what is compiled is what takes the time. All of them by themselves with --all.
TOGETHER = (
    "delay-2+burst-30+noise-10+frozen-1+late-1", "jitter-2+lost-30+drop-20+stuck-1@3+sticky-20",
    "range-50+vanish-1@2-9", "stop-1@2-9", "subset-2",
)  # fmt: skip


@pytest.mark.parametrize("name", with_all(TOGETHER, [*TOGETHER, *FAULTS]))
def test_every_fault_keeps_its_threat_where_agents_die_and_not_all_is_legal(name: str) -> None:
    env = skirmish.make()
    report = checked(build(name, env.spec), env, episodes=6)
    assert report.seen_otherwise + report.replaced > 0


def test_no_kind_of_fault_is_left_out_of_these() -> None:
    assert {re.split("[-@]", part)[0] for name in TOGETHER for part in name.split("+")} == set(FAULTS)


# The one that can play nowhere else; how "interaction" reads the layout of 3m is in tests/unit/viz/test_record.py.
LAID_OUT = ("occlude-retreat",)


@pytest.mark.slow
@pytest.mark.parametrize("name", with_all(LAID_OUT, list(TABLE)))
def test_every_entry_keeps_its_threat_on_3m(name: str) -> None:
    env = smac()
    attack = unfitted(env, name) if name.startswith("interaction") else build(name, env.spec)
    report = checked(attack, env, episodes=4, steps=30)
    assert (report.seen_otherwise + report.replaced > 0) == (name != "natural")


@pytest.mark.parametrize("env", [LEAK, skirmish.make()], ids=["leak", "skirmish"])
def test_an_archive_of_attackers_keeps_its_threat(env: Env) -> None:
    assert checked(build("ega", env.spec, evaluation=True), env, episodes=4, steps=30).replaced > 0


OPTIONS = [
    {"masks": "dimension", "dims": 3, "sides": "first", "actions": "random"},
    {"masks": "random", "fill": "gaussian", "p": 0.3}, {"masks": "truth", "dims": 2, "fill": "mean", "actions": "off"},
    {"masks": "off"},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=[" ".join(map(str, o.values())) for o in OPTIONS])
def test_the_options_of_interaction_keep_their_threat(options: dict[str, Any]) -> None:
    report = checked(unfitted(LEAK, most=2, **options), LEAK, episodes=4)
    assert (report.seen_otherwise > 0) == (options.get("masks") != "off")
    assert (report.replaced > 0) == (options.get("actions") != "off")


def test_a_step_against_the_best_action_keeps_to_its_size() -> None:
    attack = unfitted(LEAK, most=2, fill="fgsm", eps=0.2, actions="off")
    assert attack.threat.eps == 0.2
    assert attack.threat.knowledge == ("gradient",)
    assert check_adversary(attack, LEAK, network(LEAK)).seen_otherwise > 0


@pytest.mark.parametrize("options", [{"most": 0}, {"most": 2}], ids=["nobody", "not yet"])
def test_an_attack_that_is_off_or_has_not_learned_changes_nothing(options: dict[str, Any]) -> None:
    report = checked(build("interaction", LEAK.spec, **options), LEAK, episodes=4)
    assert report.seen_otherwise == report.replaced == 0


def results(env: Env, attack: Adversary, episodes: int) -> EpisodeResults:
    played = play(env, random_policy(env.spec), rng.episodes(rng.root(4), episodes), adversary=attack)
    return jax.tree.map(np.asarray, played)


@cache
def untouched(where: str, episodes: int) -> EpisodeResults:
    return results(smac() if where == "3m" else LEAK, natural(), episodes)


OFF = {
    "nobody to attack": lambda env: unfitted(env, most=0),
    "no episode": lambda env: with_probability(0.0, chain(build("random", env.spec), unfitted(env))),
    "no step": lambda env: during(build("random", env.spec), first=env.spec.horizon),
    "no fault": lambda env: build("lost-0+delay-0+noise-0+sticky-0", env.spec),
    "no size": lambda env: build("random", env.spec, sigma=0.0, p=0.0),
}


@pytest.mark.parametrize(
    ("where", "off"), [*(("leak", off) for off in OFF), pytest.param("3m", "no episode", marks=pytest.mark.thorough)]
)
def test_who_is_off_leaves_the_games_as_they_are_bit_for_bit(where: str, off: str) -> None:
    env, count = (smac(), 4) if where == "3m" else (LEAK, 16)
    played = results(env, OFF[off](env), count)
    jax.tree.map(np.testing.assert_array_equal, played, untouched(where, count))
    assert not played.attacked.any()


def test_combinations_keep_their_threat() -> None:
    noise, group = build("random", LEAK.spec), unfitted(LEAK, most=2)
    checked(with_probability(0.5, chain(noise, group)), LEAK, episodes=4)
    late = checked(during(group, first=LEAK.spec.horizon), LEAK)
    assert late.seen_otherwise == late.replaced == 0


def test_where_nothing_is_declared_the_attack_says_so() -> None:
    with pytest.raises(ValueError, match="nothing to retreat from, or no way to"):
        build("occlude-retreat", LEAK.spec)
    with pytest.raises(ValueError, match='names no block of kind "ally"'):
        build("interaction", make("two-step").spec)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"observe": lambda k, s, m, v: (v.step.obs * 0.5, m), "threat": Threat()}, "threat.channels"),
        (
            {"observe": lambda k, s, m, v: (v.step.obs - 1, m), "threat": Threat(channels=("obs",), dims=2)},
            "threat.dims=2",
        ),
        (
            {"observe": lambda k, s, m, v: (v.step.obs - 1, m), "threat": Threat(channels=("obs",), eps=0.5)},
            "threat.eps=0.5",
        ),
        (
            {"act": lambda k, s, m, v: ((v.actions + 1) % 4, m), "threat": Threat(channels=("act",), agents=1)},
            "threat.agents=1",
        ),
        ({"act": lambda k, s, m, v: ((v.actions + 1) % 4, m), "threat": Threat(channels=("act",), p=0.1)}, "threat.p"),
        ({"act": lambda k, s, m, v: (v.actions + 9, m), "threat": Threat(channels=("act",))}, "does not exist"),
        (
            {
                "observe": lambda k, s, m, v: (v.step.obs - 1, m),
                "reobserve": lambda m, obs: obs,
                "threat": Threat(channels=("obs",)),
            },
            "reobserve",
        ),
        ({"observe": lambda k, s, m, v: (v.step.obs[:1], m), "threat": Threat(channels=("obs",))}, "float32"),
        ({"act": lambda k, s, m, v: (v.actions, 1.0), "threat": Threat(channels=("act",))}, "memory"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_who_breaks_a_rule_is_caught(broken: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        checked(adversary(**broken), LEAK)


def test_the_dead_are_left_alone_and_only_legal_actions_pass() -> None:
    def last(key: jax.Array, state: Any, memory: Any, view: Any) -> Any:
        return np.full(3, 8, np.int32) + 0 * view.actions, memory  # the last enemy: out of reach at first

    with pytest.raises(ContractError, match="not available"):
        checked(adversary(act=last, threat=Threat(channels=("act",))), skirmish.make(), steps=10)
