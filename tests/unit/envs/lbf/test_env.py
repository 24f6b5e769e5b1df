"""Whole games of foraging: names, sizes, success, who is disabled or absent, pictures."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import rng
from ibal.adversaries.groups import Sizes, sizes
from ibal.envs import TABLE, make
from ibal.envs.check import check_frame, check_steps
from ibal.envs.lbf.env import make as foraging
from ibal.envs.lbf.rules import Rules, rules
from ibal.game.perturb import perturb

SMALL = foraging(Rules(rows=5, cols=5, players=3, foods=2, sight=1, limit=40, state="observations"))
STEPS = 42


@pytest.fixture(scope="module")
def games() -> Any:
    """Play 64 games of any actions; the same program for all parameters."""

    def episode(key: jax.Array, params: Any) -> Any:
        def advance(carry: Any, t: jax.Array) -> Any:
            state, step = carry
            wanted = jax.random.uniform(rng.at(rng.stream(key, "policy"), t), step.avail.shape)
            action = jnp.argmax(wanted, axis=1).astype(jnp.int32)
            state, step = SMALL.step(key, state, action, params)
            return (state, step), (state, step)

        first = SMALL.reset(key, params)
        _, rest = jax.lax.scan(advance, first, jnp.arange(STEPS))
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, rest)

    play = jax.jit(jax.vmap(episode, (0, None)))
    keys = jax.random.split(jax.random.key(0), 64)
    return lambda params: jax.tree.map(np.asarray, play(keys, params))


@pytest.mark.parametrize(
    ("name", "obs", "state"),
    [
        ("lbf/5p", 147, 2028), ("lbf/10p", 147, 2028), ("lbf/15p", 147, 2028),
        ("lbf/5p-v3", 33, 165), ("lbf/10p-v3", 48, 480), ("lbf/15p-v3", 63, 945),
    ],
)  # fmt: skip
def test_sizes(name: str, obs: int, state: int) -> None:
    n = int(name[4:].split("p")[0])
    spec = make(name).spec
    assert (spec.n_agents, spec.n_actions, spec.obs_size, spec.state_size, spec.horizon) == (n, 6, obs, state, 50)
    assert (
        spec.name
        == TABLE.resolve(name.removeprefix("lbf/"))
        == "lbf/Foraging-20x20-" + name[4:].replace("p", "p-6f-s3", 1)
    )
    assert sizes(spec) == Sizes({5: 1, 10: 3, 15: 5}[n], 5)  # Table 6


def test_ids() -> None:
    assert rules("Foraging-2s-8x8-2p-2f-coop-v3") == Rules(
        8, 8, 2, 2, 2, "vector", "observations", max_player_level=2, food_margin=0, force_coop=True
    )
    assert rules("Foraging-10x10-3p-3f-v3").sight == 10
    with pytest.raises(ValueError, match='"Foraging-8x8" is no id of foraging; write it like Foraging-20x20-5p-6f-s3'):
        rules("Foraging-8x8")
    with pytest.raises(ValueError, match='no option "max_player_levle"; did you mean "max_player_level"'):
        foraging("Foraging-8x8-2p-2f-s2", max_player_levle=2)
    with pytest.raises(ValueError, match="9 players can cover all 9 cells that food may lie on"):
        Rules(rows=5, cols=5, players=9)
    with pytest.raises(ValueError, match="max_player_level must be at least 3, not 2"):
        Rules(min_player_level=3, max_player_level=2)


def test_success_is_the_share_of_the_food_and_so_the_return(games: Any) -> None:
    _, steps = games(SMALL.params)
    returns = np.cumsum(steps.reward, axis=1)
    np.testing.assert_allclose(returns, steps.metrics["win"], atol=1e-6)
    everything = steps.metrics["all"][:, -1] == 1
    assert everything.any()
    assert not everything.all()
    np.testing.assert_allclose(returns[everything, -1], 1.0, atol=1e-6)
    np.testing.assert_array_equal(everything, steps.metrics["foods_left"][:, -1] == 0)
    for i in range(4):
        check_steps(SMALL.spec, jax.tree.map(lambda leaf, i=i: leaf[i], steps))


def test_who_is_disabled_stands_still_whatever_it_chooses(games: Any) -> None:
    world, params = perturb(SMALL, "dis-2")
    assert world is SMALL
    states, steps = games(params)
    still = (states.place == states.place[:, :1]).all((1, 3))
    idle = (steps.avail == [True, *[False] * 5]).all((1, 3))
    np.testing.assert_array_equal(idle.sum(1), 2)
    assert still[idle].all()
    assert not still[~idle].all()
    assert steps.alive.all()


def test_who_is_absent_is_seen_by_nobody_and_sees_nothing(games: Any) -> None:
    states, steps = games(perturb(SMALL, "abs-1")[1])
    gone = ~steps.alive[:, 0]
    np.testing.assert_array_equal(gone.sum(1), 1)
    players = steps.obs[..., :9]
    assert (steps.obs.transpose(0, 2, 1, 3)[gone] == 0).all()
    assert (players.transpose(0, 2, 1, 3)[~gone][..., 4] == 1).all()  # oneself
    near = (np.abs(states.place[:, :, :, None] - states.place[:, :, None]).max(-1) <= 1).sum(-1)  # oneself counted
    together = (states.place[:, :, :, None] == states.place[:, :, None]).all(-1).sum(-1) > 1
    crowd = players.sum(-1)
    alone = ~together.any(-1)[..., None] & steps.alive
    np.testing.assert_array_equal(crowd[alone], near[alone])
    for i in range(4):
        check_steps(SMALL.spec, jax.tree.map(lambda leaf, i=i: leaf[i], steps))
        at = jax.tree.map(lambda leaf, i=i: leaf[i, 3], (states, steps))
        check_frame(SMALL, *at)


def test_health_is_nothing_that_players_have() -> None:
    with pytest.raises(ValueError, match="hp-15 on lbf/own: players have no health; this environment can be perturbed"):
        perturb(SMALL, "hp-15")
