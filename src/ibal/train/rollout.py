"""Play whole episodes side by side under a policy and an adversary, and record both sides of them."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from ibal import rng, tree
from ibal.adversaries.base import ActView, Adversary, ObsView
from ibal.types import Env, Episodes, Policy, TimeStep

STORED = jnp.float16  # observations and states lie within a few units of zero


class Rollout(NamedTuple):
    """The episodes, and what the last step of each said (``metrics``, each [e])."""

    episodes: Episodes
    returns: Float[Array, "e"]
    metrics: dict[str, Array]


class _Game(NamedTuple):
    """One environment and its team in the middle of an episode."""

    state: Any
    step: TimeStep
    carry: Any
    last_action: Int[Array, "n"]
    memory: Any
    length: Int[Array, ""]
    over: Bool[Array, ""]


class _Shown(NamedTuple):
    """What one environment shows before an action."""

    obs: Float[Array, "n o"]
    seen: Float[Array, "n o"] | None
    state: Float[Array, "s"]
    avail: Bool[Array, "n a"]


class _Done(NamedTuple):
    """The action, and what it brought."""

    action: Int[Array, "n"]
    executed: Int[Array, "n"] | None
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]


def collect(
    env: Env, policy: Policy, adversary: Adversary, attacker: Any, keys: Key[Array, "e"], env_params: Any = None,
    axis: str | None = None,
) -> Rollout:  # fmt: skip
    """Play one episode per key, in lockstep until the last one ends.

    ``attacker`` is the adversary's state. The streams "env", "policy" and "attack" of an episode's key are
    independent: an attack changes nothing that the environment or the policy draws. ``axis`` names the axis over
    which the caller vmaps (seeds), if any: they all stop together, so that the loop need not select between
    finished and unfinished ones.
    """
    env_params = env.params if env_params is None else env_params
    horizon, count = env.spec.horizon, keys.shape[0]
    small = jnp.uint8 if env.spec.n_actions <= 256 else jnp.int16

    def begin(key: jax.Array) -> _Game:
        state, step = env.reset(rng.at(rng.stream(key, "env"), 0), env_params)
        memory = adversary.begin(rng.stream(rng.stream(key, "attack"), "begin"), attacker, step)
        nobody = jnp.full(env.spec.n_agents, -1, jnp.int32)
        return _Game(state, step, policy.start(), nobody, memory, jnp.int32(0), jnp.array(False))

    def look(key: jax.Array, t: jax.Array, game: _Game) -> tuple[jax.Array, Any]:
        view = ObsView(game.step, game.carry, game.last_action, policy, t)
        return adversary.observe(
            rng.at(rng.stream(rng.stream(key, "attack"), "observe"), t), attacker, game.memory, view
        )

    def show(step: TimeStep, seen: jax.Array) -> _Shown:
        attacked = None if adversary.reobserve is not None else seen.astype(STORED)
        return _Shown(step.obs.astype(STORED), attacked, step.state.astype(STORED), step.avail)

    def advance(key: jax.Array, t: jax.Array, game: _Game) -> tuple[_Game, tuple[_Shown, _Done]]:
        seen, memory = look(key, t, game)
        carry, scores = policy.scores(game.carry, seen, game.step.avail, game.last_action)
        action = policy.select(rng.at(rng.stream(key, "policy"), t), scores, game.step.avail)
        view = ActView(game.step, game.carry, game.last_action, policy, t, seen, scores, action)
        attack = rng.at(rng.stream(rng.stream(key, "attack"), "act"), t)
        executed, memory = adversary.act(attack, attacker, memory, view)
        state, after = env.step(rng.at(rng.stream(key, "env"), t + 1), game.state, executed, env_params)
        replaced = executed.astype(small) if "act" in adversary.threat.channels else None
        row = show(game.step, seen), _Done(action.astype(small), replaced, after.reward, after.terminated)
        over = after.terminated | after.truncated
        # A finished game goes on being computed (its neighbours need the time) but shows its last moment for ever.
        kept = tree.where(game.over, (game.step, game.memory, game.length, game.over), (after, memory, t + 1, over))
        return _Game(state, kept[0], carry, action, *kept[1:]), row

    games = jax.vmap(begin)(keys)

    def room(leaf: Any, rows: int) -> jax.Array:
        return jnp.zeros((count, rows, *leaf.shape[1:]), leaf.dtype)

    shown, done = jax.eval_shape(lambda g: jax.vmap(advance, (0, None, 0))(keys, jnp.int32(0), g)[1], games)
    # One row more of what is shown: the one to bootstrap from.
    record = jax.tree.map(partial(room, rows=horizon + 1), shown), jax.tree.map(partial(room, rows=horizon), done)

    def running(loop: tuple[jax.Array, _Game, tuple[_Shown, _Done]]) -> Bool[Array, ""]:
        on = (loop[0] < horizon) & ~loop[1].over.all()
        return tree.common(on.astype(jnp.int32), axis) > 0

    def body(loop: tuple[jax.Array, _Game, tuple[_Shown, _Done]]) -> tuple[jax.Array, _Game, tuple[_Shown, _Done]]:
        t, games, record = loop
        games, row = jax.vmap(advance, (0, None, 0))(keys, t, games)
        return t + 1, games, jax.tree.map(lambda a, new: jax.lax.dynamic_update_index_in_dim(a, new, t, 1), record, row)

    _, games, (shown, done) = jax.lax.while_loop(running, body, (jnp.int32(0), games, record))
    last = jax.vmap(lambda key, game: show(game.step, look(key, game.length, game)[0]))(keys, games)
    shown = jax.tree.map(lambda a, new: a.at[jnp.arange(count), games.length].set(new), shown, last)
    episodes = Episodes(**shown._asdict(), **done._asdict(), length=games.length, memory=games.memory)
    inside = jnp.arange(horizon)[None, :] < games.length[:, None]
    return Rollout(episodes, jnp.where(inside, done.reward, 0.0).sum(1), games.step.metrics)
