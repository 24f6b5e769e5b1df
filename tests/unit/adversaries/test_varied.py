"""Failures of every kind: how often, how many, when, and who loses sight of what."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import make, rng
from ibal.adversaries import masks
from ibal.adversaries.check import check_adversary
from ibal.adversaries.varied import IDLE, VariedConfig
from ibal.nets.agents import init as agent
from ibal.nets.pymarl import pymarl_agent
from ibal.types import ActView, Env, Policy
from unit.viz import skirmish

LEAK = make("toy/leak", n_agents=6, noise=1)
FIGHT = skirmish.make()
MANY = 4000


def victim(env: Env) -> Policy:
    spec = env.spec
    size = spec.obs_size + spec.n_actions + spec.n_agents
    return pymarl_agent(spec, 8).bind(agent(rng.root(0), size, spec.n_actions, 8))


def begun(config: VariedConfig, env: Env = LEAK) -> Any:
    attack, step = config.build(env.spec), env.reset(rng.root(0), env.params)[1]
    keys = jax.random.split(rng.root(2), MANY)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(lambda key: attack.begin(key, (), step)))(keys))


def test_who_is_broken_is_drawn_apart_from_who_sees_what() -> None:
    memory = begun(VariedConfig(breaks=0.6, hides=0.5, bursts=0.25))
    broken, blind = memory.broken.any(1), memory.mask.any((1, 2))
    assert broken.mean() == pytest.approx(0.6, abs=0.03)
    assert blind.mean() == pytest.approx(0.5, abs=0.03)
    assert (broken & blind).mean() == pytest.approx(0.3, abs=0.03)
    assert memory.bursts.mean() == pytest.approx(0.25, abs=0.03)
    np.testing.assert_array_equal(memory.now, ~memory.bursts)
    sizes = memory.broken.sum(1)[broken]  # 1, 2 or 3 of six, as often
    np.testing.assert_allclose([(sizes == k).mean() for k in (1, 2, 3)], 1 / 3, atol=0.03)
    assert set(np.unique(memory.way)) == {1, 2}  # nobody can idle there


def test_whole_blocks_are_lost_and_single_entries() -> None:
    memory = begun(VariedConfig(hides=1.0, entries=0.0))
    members = masks.blocks(LEAK.spec)
    lost = memory.mask[:, :, None] & members[None, None]
    np.testing.assert_array_equal(lost.any(3), lost.sum(3) == members.sum(1))
    assert lost.any(3).mean() == pytest.approx(0.5, abs=0.03)  # a share that is uniform in 0..1
    single = begun(VariedConfig(hides=1.0, entries=0.4)).mask[:, :, ~members.any(0)]
    assert single.mean() == pytest.approx(0.2, abs=0.02)


def test_bursts_come_and_go() -> None:
    config = VariedConfig(most=1, breaks=1.0, bursts=1.0, hides=0.0, length=5.0)
    attack = config.build(LEAK.spec)
    step = LEAK.reset(rng.root(0), ())[1]
    meant, scores = jnp.zeros(6, jnp.int32), jnp.zeros(step.avail.shape).at[:, 3].set(-1.0)
    view = ActView(step, (), meant, victim(LEAK), jnp.int32(0), step.obs, scores, meant)
    memory = attack.begin(rng.root(3), (), step)._replace(way=jnp.full(6, 2, jnp.int32))

    def one(memory: Any, t: jax.Array) -> tuple[Any, Any]:
        actions, after = attack.act(rng.at(rng.root(7), t), (), memory, view)
        return after, (actions, memory.now)

    _, (actions, now) = jax.jit(lambda: jax.lax.scan(one, memory, jnp.arange(4000)))()
    now, replaced = np.asarray(now), np.asarray(actions != 0).any(1)
    np.testing.assert_array_equal(now, replaced)  # the worst action is the third, and it is done during bursts only
    assert set(np.unique(actions)) == {0, 3}
    assert now.mean() == pytest.approx(0.5, abs=0.06)
    assert (now[1:] & ~now[:-1]).sum() == pytest.approx(4000 / 10, rel=0.2)  # 5 steps on, 5 off


def test_an_idle_agent_idles() -> None:
    attack = VariedConfig(most=3, breaks=1.0, bursts=0.0, hides=0.0).build(FIGHT.spec)
    step = FIGHT.reset(rng.root(0), FIGHT.params)[1]
    meant = jnp.full(3, 2, jnp.int32)
    view = ActView(step, (), meant, victim(FIGHT), jnp.int32(0), step.obs, jnp.zeros(step.avail.shape), meant)
    memory = attack.begin(rng.root(0), (), step)
    memory = memory._replace(broken=jnp.array([True, False, True]), way=jnp.full(3, IDLE, jnp.int32))
    actions, _ = attack.act(rng.root(0), (), memory, view)
    np.testing.assert_array_equal(actions, [1, 2, 1])


@pytest.mark.parametrize("env", [LEAK, FIGHT, make("toy/two-step")], ids=["leak", "fight", "two-step"])
def test_it_keeps_its_threat(env: Env) -> None:
    attack = VariedConfig(most=2 if env is not LEAK else None).build(env.spec)
    report = check_adversary(attack, env, victim(env), key=rng.root(3), episodes=16)
    assert report.replaced > 0
    assert report.seen_otherwise > 0
    assert attack.tells is not None
    memory = attack.begin(rng.root(0), (), env.reset(rng.root(0), env.params)[1])
    assert attack.tells.of(memory).shape == (attack.tells.size,)


def test_with_nothing_left_it_does_nothing() -> None:
    report = check_adversary(VariedConfig(breaks=0.0, hides=0.0).build(LEAK.spec), LEAK, victim(LEAK), episodes=4)
    assert report.seen_otherwise == report.replaced == 0
    with pytest.raises(ValueError, match="most"):
        VariedConfig(most=9).build(LEAK.spec)
