"""Play whole episodes side by side under a policy and an adversary, and record both sides of them."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from ibal import tree
from ibal.adversaries.base import Adversary
from ibal.game import referee, turn
from ibal.game.referee import STORED_LARGEST, Fault
from ibal.game.turn import Game
from ibal.types import Env, Episodes, Policy, TimeStep

STORED = jnp.float16  # observations and states lie within a few units of zero


class Rollout(NamedTuple):
    """The episodes, what the last step of each said (``metrics``, each [e]), and the first rule that each broke."""

    episodes: Episodes
    returns: Float[Array, "e"]
    metrics: dict[str, Array]
    fault: Fault


class _Play(NamedTuple):
    """A game, how long it has lasted and whether it was fair; once it is over it stands still."""

    game: Game
    length: Int[Array, ""]
    over: Bool[Array, ""]
    fault: Fault


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

    ``attacker`` is the adversary's state; ``env_params`` None: those of ``env``, or what the adversary makes of them.
    The streams "env", "policy" and "attack" of an episode's key are independent: an attack changes nothing that the
    environment or the policy draws. ``axis`` names the axis over which the caller vmaps (seeds), if any: they all stop
    together, so that the loop need not select between finished and unfinished ones.
    """
    if env_params is None:
        env_params = env.params if adversary.world is None else adversary.world(attacker, env)
    horizon, small = env.spec.horizon, _small(env)
    show = partial(_show, adversary)

    def advance(key: jax.Array, t: jax.Array, play: _Play) -> tuple[_Play, tuple[_Shown, _Done]]:
        before = play.game
        game, done = turn.advance(env, policy, adversary, attacker, key, t, before, env_params)
        after = game.step
        replaced = done.executed.astype(small) if "act" in adversary.threat.channels else None
        row = show(before.step, done.seen), _Done(done.intended.astype(small), replaced, after.reward, after.terminated)
        over = after.terminated | after.truncated
        fault = referee.watch(play.fault, adversary.threat, before.step, done, after, t, STORED_LARGEST)
        # A finished game goes on being computed (its neighbours need the time) but shows its last moment for ever.
        kept = (before.step, before.memory, play.length, play.over, play.fault)
        step, memory, length, over, fault = tree.where(play.over, kept, (after, game.memory, t + 1, over, fault))
        return _Play(game._replace(step=step, memory=memory), length, over, fault), row

    def last_look(key: jax.Array, play: _Play) -> _Shown:
        return show(play.game.step, turn.look(env.spec, policy, adversary, attacker, key, play.length, play.game)[0])

    plays, record = _begin(env, policy, adversary, attacker, keys, env_params)

    def running(loop: tuple[jax.Array, _Play, tuple[_Shown, _Done]]) -> Bool[Array, ""]:
        on = (loop[0] < horizon) & ~loop[1].over.all()
        return tree.common(on.astype(jnp.int32), axis) > 0

    def body(loop: tuple[jax.Array, _Play, tuple[_Shown, _Done]]) -> tuple[jax.Array, _Play, tuple[_Shown, _Done]]:
        t, plays, record = loop
        plays, row = jax.vmap(advance, (0, None, 0))(keys, t, plays)
        return t + 1, plays, jax.tree.map(lambda a, new: jax.lax.dynamic_update_index_in_dim(a, new, t, 1), record, row)

    _, plays, (shown, done) = jax.lax.while_loop(running, body, (jnp.int32(0), plays, record))
    last, each = jax.vmap(last_look)(keys, plays), jnp.arange(keys.shape[0])
    shown = jax.tree.map(lambda a, new: a.at[each, plays.length].set(new), shown, last)
    episodes = _episodes(plays, shown, done)
    inside = jnp.arange(horizon)[None, :] < plays.length[:, None]
    returns = jnp.where(inside, done.reward, 0.0).sum(1)
    return Rollout(episodes, returns, plays.game.step.metrics, plays.fault)


def blank(env: Env, policy: Policy, adversary: Adversary, attacker: Any, keys: Key[Array, "e"]) -> Episodes:
    """Return episodes of the shapes that ``collect`` records, with nothing in them. No step is played or traced."""
    plays, (shown, done) = _begin(env, policy, adversary, attacker, keys, env.params)
    return _episodes(plays, shown, done)


def _begin(
    env: Env, policy: Policy, adversary: Adversary, attacker: Any, keys: Key[Array, "e"], env_params: Any
) -> tuple[_Play, tuple[_Shown, _Done]]:
    """Set up a game per key, and room for what is recorded of them."""

    def begin(key: jax.Array) -> _Play:
        game = turn.begin(env, policy, adversary, attacker, key, env_params)
        return _Play(game, jnp.int32(0), jnp.array(False), referee.at_start(game.step, STORED_LARGEST))

    def row(step: TimeStep) -> tuple[_Shown, _Done]:
        action = jnp.zeros(env.spec.n_agents, _small(env))
        executed = action if "act" in adversary.threat.channels else None
        return _show(adversary, step, step.obs), _Done(action, executed, step.reward, step.terminated)

    def room(leaf: Any, rows: int) -> jax.Array:
        return jnp.zeros((leaf.shape[0], rows, *leaf.shape[1:]), leaf.dtype)

    plays, horizon = jax.vmap(begin)(keys), env.spec.horizon
    shown, done = jax.eval_shape(jax.vmap(row), plays.game.step)
    # One row more of what is shown: the one to bootstrap from.
    return plays, (
        jax.tree.map(partial(room, rows=horizon + 1), shown), jax.tree.map(partial(room, rows=horizon), done)
    )  # fmt: skip


def _show(adversary: Adversary, step: TimeStep, seen: Float[Array, "n o"]) -> _Shown:
    attacked = None if adversary.reobserve is not None else seen.astype(STORED)
    return _Shown(step.obs.astype(STORED), attacked, step.state.astype(STORED), step.avail)


def _small(env: Env) -> Any:
    """Return the type that actions are kept as."""
    return jnp.uint8 if env.spec.n_actions <= 256 else jnp.int16


def _episodes(plays: _Play, shown: _Shown, done: _Done) -> Episodes:
    return Episodes(**shown._asdict(), **done._asdict(), length=plays.length, memory=plays.game.memory)
