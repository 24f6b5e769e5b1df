"""Play complete episodes, many at a time, in one compiled program.

    keys = rng.episodes(rng.root(0), 512)
    results = play(env, policy, keys)                        # a Policy: its weights are compiled in
    results = play(env, agent, keys, params)                 # an Agent (weights apart): one compilation for all weights
    results = play(env, agent, keys, params, adversary=attack, attacker=state)       # ... and for all attackers

Episode ``i`` meets the same world under every policy and every attack: whatever the environment draws depends on
``keys[i]`` and the step number only, and so does what a policy or an adversary draws, each from its own stream.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from ibal import rng, tree
from ibal.adversaries.base import Adversary, natural
from ibal.contract import ContractError
from ibal.evaluation.hosted import play_hosted
from ibal.evaluation.outcome import EpisodeResults
from ibal.evaluation.room import check_room
from ibal.game import referee, turn
from ibal.game.referee import Fault
from ibal.game.turn import Game
from ibal.nets.agents import Agent
from ibal.types import Env, HostPolicy, Policy

PLENTY = 10_000  # episodes; fewer fit anywhere, and are not worth a forecast
SLOTS = 128  # environments that step together; more only costs cache on a CPU

_NOBODY = natural()  # one object: a new one per call would compile anew


class _Rows(NamedTuple):
    """What is kept of a finished episode."""

    returns: Float[Array, "b"]
    length: Int[Array, "b"]
    metrics: dict[str, Array]
    chosen: Int[Array, "b"]
    touched: Int[Array, "b"]
    replaced: Int[Array, "b"]
    fault: Fault


class _Slots(NamedTuple):
    """The environments that step together; ``episode`` is the row a slot plays, ``b`` when it has nothing left.
    ``chosen`` counts the turns of living agents so far, ``touched`` those in which an adversary changed anything,
    ``replaced`` those in which it changed the action; ``fault`` is the first rule that was broken."""

    episode: Int[Array, "e"]
    clock: Int[Array, "e"]
    total: Float[Array, "e"]
    game: Game
    chosen: Int[Array, "e"]
    touched: Int[Array, "e"]
    replaced: Int[Array, "e"]
    fault: Fault


def episode_keys(seed: int, count: int) -> Key[Array, "b"]:
    """Return the keys of the ``count`` episodes of an evaluation. Raises MemoryRefused if there is no room for them."""
    check_room(f"{count:,} episodes", 40 * count, "Ask for fewer episodes")
    return rng.episodes(rng.root(seed), count)


def check_games(
    env: Env, policy: Policy | HostPolicy | Agent, count: int, params: Any = None, *, env_params: Any = None,
    adversary: Adversary | None = None, attacker: Any = None,
) -> None:  # fmt: skip
    """Raise MemoryRefused if ``count`` games, all of which ``play`` sets up before it begins, take more memory than
    there is. Arguments are those of ``play``; ``params`` and ``attacker`` may be abstract."""
    if count <= PLENTY:
        return
    adversary = _NOBODY if adversary is None else adversary
    attacker = adversary.init(rng.root(0)) if attacker is None else attacker
    key = jax.eval_shape(lambda: rng.root(0))

    def begin(key: jax.Array, params: Any, attacker: Any) -> Game:
        team: Any = policy.bind(params) if isinstance(policy, Agent) else policy
        return turn.begin(env, team, adversary, attacker, key, env.params if env_params is None else env_params)

    game = jax.eval_shape(begin, key, params, attacker)
    size = sum(leaf.size * (8 if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf.dtype.itemsize)
               for leaf in jax.tree.leaves(game))  # fmt: skip
    check_room(f"{count:,} games of {env.spec.name}", 2 * count * size, "Ask for fewer episodes")


def play(
    env: Env, policy: Policy | HostPolicy | Agent, keys: Key[Array, "b"], params: Any = None, *, env_params: Any = None,
    slots: int = SLOTS, adversary: Adversary | None = None, attacker: Any = None,
) -> EpisodeResults:  # fmt: skip
    """Play one episode per key to its end and return what came of it.

    ``params`` are the parameters of an ``Agent`` (ignored for a ``Policy``), ``env_params`` replace ``env.params``,
    ``attacker`` is the state of the ``adversary`` (None: as its ``init`` makes it). None of them recompiles.
    ``slots`` environments step together; a slot whose episode ends takes up the next one, so no step is wasted on
    waiting for the longest game, and results do not depend on ``slots``.

    Raises ContractError where environment, policy or adversary break their contract: there is no result then.
    """
    if keys.shape[0] == 0:
        raise ValueError("play: no episode asked for (keys is empty)")
    if referee.is_hosted(env, policy):
        return play_hosted(env, policy, keys, params, env_params, _NOBODY if adversary is None else adversary, attacker)
    env_params = env.params if env_params is None else env_params
    check_games(env, policy, keys.shape[0], params, env_params=env_params, adversary=adversary, attacker=attacker)
    slots = min(slots, keys.shape[0])
    adversary = _NOBODY if adversary is None else adversary
    attacker = adversary.init(rng.root(0)) if attacker is None else attacker
    world = referee.bare(env)
    # Its state is given: attacks that differ in what they begin with share one program.
    adversary = adversary._replace(init=_unasked, update=_unasked)
    rows = _play(world, policy, adversary, slots, False, keys, params, env_params, attacker)
    unfair = np.flatnonzero(np.asarray(rows.fault.code) >= 0)
    if unfair.size:
        which = int(unfair[0])
        again = _play(world, policy, adversary, 1, True, keys[which : which + 1], params, env_params, attacker)
        raise _broken(again.fault, which, env, adversary)
    results, finite = _results(rows)
    if not bool(finite):
        more = "the rewards of an episode add up to more than float32 can hold"
        raise ContractError(f"{env.spec.name}: {more}", "environment")
    return results


def _unasked(*args: Any) -> Any:
    raise AssertionError("an evaluation neither begins nor teaches an attacker")


@jax.jit  # as a whole: operation by operation it would be a dozen programs for every number of episodes
def _results(rows: _Rows) -> tuple[EpisodeResults, Array]:
    """Return what ``play`` returns, and whether all returns are finite."""
    win = jnp.clip(rows.metrics.get("win", jnp.zeros_like(rows.length)).astype(jnp.float32), 0.0, 1.0)
    attacked, replaced = (count / jnp.maximum(rows.chosen, 1) for count in (rows.touched, rows.replaced))
    results = EpisodeResults(rows.returns, rows.length, win, rows.metrics, attacked, replaced)
    return results, jnp.isfinite(rows.returns).all()


def _broken(fault: Fault, episode: int, env: Env, adversary: Adversary) -> ContractError:
    """Say which rule was broken in an episode that was played once more and watched closely."""
    found = Fault(jnp.full(episode + 1, -1).at[episode].set(fault.code[0]), jnp.full(episode + 1, fault.step[0]))
    unknown = f"{env.spec.name}: a rule was broken in episode {episode}, but not when it was played again alone"
    return referee.complaint(found, env.spec, adversary.threat) or ContractError(unknown)


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _play(
    env: Env, policy: Policy | Agent, adversary: Adversary, slots: int, closely: bool, keys: Key[Array, "b"],
    params: Any, env_params: Any, attacker: Any,
) -> _Rows:  # fmt: skip
    episodes, horizon = keys.shape[0], env.spec.horizon
    team = policy.bind(params) if isinstance(policy, Agent) else policy

    def begin(key: jax.Array) -> Game:
        return turn.begin(env, team, adversary, attacker, key, env_params)

    def advance(key: jax.Array, slot: _Slots) -> _Slots:
        """One step of one environment."""
        before, alive = slot.game.step, slot.game.step.alive
        game, done = turn.advance(env, team, adversary, attacker, key, slot.clock, slot.game, env_params)
        other = (done.executed != done.intended) & alive
        touched = other
        if "obs" in adversary.threat.channels:
            touched |= (done.seen != before.obs).any(1) & alive
        count = (slot.chosen + alive.sum(dtype=jnp.int32), slot.touched + touched.sum(dtype=jnp.int32),
                 slot.replaced + other.sum(dtype=jnp.int32))  # fmt: skip
        look = referee.watch if closely else referee.glance
        fault = look(slot.fault, adversary.threat, before, done, game.step, slot.clock)
        return _Slots(slot.episode, slot.clock + 1, slot.total + game.step.reward, game, *count, fault)

    # All games are set up before the loop: a reset inside would be computed for every slot at every step.
    fresh = jax.lax.map(begin, keys, batch_size=slots)

    def start(episode: Int[Array, "e"]) -> _Slots:
        none = jnp.zeros(slots, jnp.int32)
        game = tree.at(fresh, jnp.minimum(episode, episodes - 1))
        fault = jax.vmap(referee.at_start)(game.step)
        return _Slots(episode, none, jnp.zeros(slots, jnp.float32), game, none, none, none, fault)

    def body(loop: tuple[_Slots, Int[Array, ""], _Rows]) -> tuple[_Slots, Int[Array, ""], _Rows]:
        slot, queued, rows = loop
        slot = jax.vmap(advance)(keys[jnp.minimum(slot.episode, episodes - 1)], slot)
        over = slot.game.step.terminated | slot.game.step.truncated | (slot.clock >= horizon)
        done = over & (slot.episode < episodes)
        row = jnp.where(done, slot.episode, episodes)  # rows beyond the last are dropped
        count = slot.chosen, slot.touched, slot.replaced
        ended = _Rows(slot.total, slot.clock, slot.game.step.metrics, *count, slot.fault)
        rows = jax.tree.map(lambda kept, new: kept.at[row].set(new, mode="drop"), rows, ended)
        turn = queued + jnp.cumsum(done.astype(jnp.int32)) - 1
        episode = jnp.where(done, jnp.minimum(turn, episodes), slot.episode)
        slot = tree.where(done, start(episode), slot)
        return slot, jnp.minimum(queued + done.sum(dtype=jnp.int32), episodes), rows

    first = start(jnp.arange(slots, dtype=jnp.int32))
    nothing = jnp.zeros(episodes, jnp.int32)
    metrics = jax.tree.map(lambda m: jnp.zeros((episodes, *m.shape[1:]), m.dtype), first.game.step.metrics)
    fault = Fault(nothing, nothing)
    rows = _Rows(jnp.zeros(episodes, jnp.float32), nothing, metrics, nothing, nothing, nothing, fault)
    loop = (first, jnp.int32(slots), rows)
    return jax.lax.while_loop(lambda c: (c[0].episode < episodes).any(), body, loop)[2]
