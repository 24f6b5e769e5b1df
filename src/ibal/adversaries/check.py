"""``check_adversary``: holds an adversary to its ``Threat``, as assertions that anyone can run on their own attack.

    from ibal.adversaries.check import check_adversary
    check_adversary(my_attack, env, policy)

This is the one module of ``ibal.adversaries`` that compiles: it plays a few episodes the way a rollout does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ibal import rng, tree
from ibal.adversaries.base import ActView, Adversary, Feedback, ObsView
from ibal.contract import ContractError
from ibal.game import referee, turn
from ibal.game.referee import TOLERANCE
from ibal.game.turn import Game
from ibal.types import Env, Episodes, Policy, TimeStep

__all__ = ["ContractError", "Report", "check_adversary"]


@dataclass(frozen=True)
class Report:
    """What was played: steps, and on how many of them observations and actions were changed; and the rules that were
    checked."""

    steps: int
    seen_otherwise: int
    replaced: int
    rules: tuple[str, ...] = ()


class _Row(NamedTuple):
    """One step: the world, what the team saw and meant, what was done, and what was rebuilt of the sight."""

    step: Any  # a TimeStep of NumPy arrays
    seen: Any
    rebuilt: Any
    intended: Any
    executed: Any
    over: Any


def check_adversary(
    attack: Adversary, env: Env, policy: Policy, *, state: Any = None, key: jax.Array | None = None,
    episodes: int = 2, steps: int | None = None,
) -> Report:  # fmt: skip
    """Play ``episodes`` games of at most ``steps`` steps (None: the horizon); raise ContractError at the first rule
    that is broken.

    ``state`` is what the adversary has learned (None: nothing, ``init``). The rules: shapes and types; only legal
    actions; dead agents keep their action; nothing outside the declared channels; at most ``agents`` agents a step,
    ``dims`` entries of one, ``eps`` per entry, ``p`` of the steps; ``reobserve`` gives what was seen; until the first
    change the game is, bit for bit, the one without an adversary; ``update`` keeps the structure of the state.
    """
    key = rng.root(0) if key is None else key
    referee.check_functions(attack)
    state = attack.init(rng.stream(key, "adversary")) if state is None else state
    steps = env.spec.horizon if steps is None else min(steps, env.spec.horizon)
    keys = rng.episodes(key, episodes)
    _check_shapes(attack, env, policy, state)
    # One program for both: two programs round differently, and games are chaotic.
    play = jax.jit(jax.vmap(_player(attack, env, policy, steps), (0, None, None)))
    rows, memory = jax.tree.map(np.asarray, play(keys, state, True))
    plain, _ = jax.tree.map(np.asarray, play(keys, state, False))
    _check_update(attack, env, state, rows, memory)

    live = ~rows.over  # what a finished game shows is nobody's business
    changed = (rows.seen != rows.step.obs) & live[..., None, None]
    replaced = (rows.executed != rows.intended) & live[..., None]
    numbers = np.isfinite(rows.seen) | ~live[..., None, None]
    _first_bad(~numbers, "observe gave a number that is NaN or infinite", "agent", "index")
    _check_actions(rows, replaced, live)
    _check_budgets(attack, rows, changed, replaced, live)
    _check_before(rows, plain, changed.any((2, 3)) | replaced.any(2), live)
    if attack.reobserve is not None:
        close = np.abs(rows.rebuilt - rows.seen) <= TOLERANCE
        _first_bad(~close & live[..., None, None], "reobserve gives something else than was seen", "agent", "index")
    return Report(int(live.sum()), int(changed.any((2, 3)).sum()), int(replaced.any(2).sum()), _rules(attack))


def _rules(attack: Adversary) -> tuple[str, ...]:
    """Say which rules were checked; those that its Threat does not limit are left out."""
    threat, rules = attack.threat, ["its functions give the shapes and types of the environment; memory and state last"]
    rules.append("what the team sees is a number everywhere" if "obs" in threat.channels else "observe changes nothing")
    if "act" in threat.channels:
        rules.append("actions exist and are available; the dead keep theirs")
    else:
        rules.append("act changes nothing")
    for name, what in (("agents", "agents a step"), ("dims", "entries of an observation")):
        if (most := getattr(threat, name)) is not None:
            rules.append(f"at most {most} {what} (threat.{name})")
    if threat.eps is not None:
        rules.append(f"no entry changes by more than {threat.eps:g} (threat.eps)")
    if threat.p < 1:
        rules.append(f"actions are replaced on no more steps than a share of {threat.p:g} explains (threat.p)")
    if attack.reobserve is not None:
        rules.append("reobserve gives what was seen")
    rules.append("until the first change the game is, bit for bit, the one without an adversary")
    return tuple(rules)


def _player(attack: Adversary, env: Env, policy: Policy, steps: int) -> Any:
    """Return a function (key, state of the adversary, attacked) -> (rows [t], the memory at the end)."""

    def episode(key: jax.Array, state: Any, attacked: Any) -> tuple[_Row, Any]:
        switched = _switched(attack, attacked)

        def advance(carry: tuple[Game, Any], t: jax.Array) -> tuple[tuple[Game, Any], _Row]:
            game, over = carry
            after, done = turn.advance(env, policy, switched, state, key, t, game, env.params)
            rebuilt = done.seen if attack.reobserve is None else attack.reobserve(after.memory, game.step.obs)
            row = _Row(game.step, done.seen, rebuilt, done.intended, done.executed, over)
            after = after._replace(memory=tree.where(over, game.memory, after.memory))
            return (after, over | after.step.terminated | after.step.truncated), row

        game = turn.begin(env, policy, attack, state, key, env.params)
        (last, _), rows = jax.lax.scan(advance, (game, jnp.array(False)), jnp.arange(steps))
        return rows, last.memory

    return episode


def _switched(attack: Adversary, attacked: Any) -> Adversary:
    """Return the adversary if ``attacked``, else one that computes the same and changes nothing."""

    def observe(key: jax.Array, state: Any, memory: Any, view: ObsView) -> tuple[jax.Array, Any]:
        seen, memory = attack.observe(key, state, memory, view)
        return jnp.where(attacked, seen, view.step.obs), memory

    def act(key: jax.Array, state: Any, memory: Any, view: ActView) -> tuple[jax.Array, Any]:
        executed, memory = attack.act(key, state, memory, view)
        return jnp.where(attacked, executed, view.actions.astype(executed.dtype)), memory

    return attack._replace(observe=observe, act=act)


def _check_shapes(attack: Adversary, env: Env, policy: Policy, state: Any) -> None:
    """Nothing runs: what a turn looks at while it is traced, and what is rebuilt of its sight."""
    key = rng.root(0)

    def first() -> Any:
        game = turn.begin(env, policy, attack, state, key, env.params)
        turn.advance(env, policy, attack, state, key, jnp.int32(0), game, env.params)
        if attack.reobserve is not None:
            rebuilt = attack.reobserve(game.memory, game.step.obs)
            referee.seen_of(env.spec, "reobserve", rebuilt, game.step.obs)
        return game.memory

    jax.eval_shape(first)


def _check_update(attack: Adversary, env: Env, state: Any, rows: _Row, memory: Any) -> None:
    """Nothing runs: only structure, shapes and types are compared."""

    def padded(x: np.ndarray) -> jax.Array:
        return jnp.asarray(np.concatenate([x, x[:, -1:]], axis=1))

    length = jnp.asarray((~rows.over).sum(1), jnp.int32)
    record = Episodes(
        padded(rows.step.obs), None, padded(rows.step.state), padded(rows.step.avail), jnp.asarray(rows.intended),
        jnp.asarray(rows.executed), jnp.asarray(rows.step.reward), jnp.asarray(rows.step.terminated), length, memory,
    )  # fmt: skip
    feedback = Feedback(jnp.float32(0), jnp.float32(0), jnp.float32(0), jnp.int32(0))
    after, metrics = jax.eval_shape(lambda s: attack.update(rng.root(0), s, record, feedback), state)
    _require(_alike(jax.eval_shape(lambda s: s, state), after), "update gave back another kind of state than init")
    bad = [name for name, value in metrics.items() if value.shape != ()]
    _require(not bad, f"update gave the metric {bad[:1]}, which is no scalar")


def _check_actions(rows: _Row, replaced: np.ndarray, live: np.ndarray) -> None:
    most = rows.step.avail.shape[-1] - 1
    within = (rows.executed >= 0) & (rows.executed <= most)
    _first_bad(~within & live[..., None], "act gave an action that does not exist", "agent")
    done = np.take_along_axis(rows.step.avail, rows.executed.clip(0, most)[..., None].astype(int), axis=-1)[..., 0]
    _first_bad(~done & replaced, "act gave an action that is not available", "agent")
    _first_bad(replaced & ~rows.step.alive, "act replaced the action of a dead agent", "agent")


def _check_budgets(attack: Adversary, rows: _Row, changed: np.ndarray, replaced: np.ndarray, live: np.ndarray) -> None:
    threat = attack.threat
    if "obs" not in threat.channels:
        _first_bad(changed, f"observe changed something, but threat.channels is {threat.channels}", "agent", "index")
    if "act" not in threat.channels:
        _first_bad(replaced, f"act changed something, but threat.channels is {threat.channels}", "agent")
    if threat.agents is not None:
        for name, who in (("observe", changed.any(3)), ("act", replaced)):
            _first_bad(who.sum(2) > threat.agents, f"{name} touched more than threat.agents={threat.agents} agents")
    if threat.dims is not None:
        _first_bad(
            changed.sum(3) > threat.dims, f"observe changed more than threat.dims={threat.dims} entries", "agent"
        )
    if threat.eps is not None:
        room = threat.eps + TOLERANCE * np.maximum(np.abs(rows.step.obs), 1)
        far = np.abs(rows.seen - rows.step.obs) > room
        _first_bad(far & live[..., None, None], f"observe went beyond threat.eps={threat.eps}", "agent", "index")
    if threat.p < 1:
        struck, of = int(replaced.any(2).sum()), int(live.sum())
        limit = threat.p * of + 5 * math.sqrt(of * threat.p)  # five standard deviations of chance
        _require(struck <= limit, f"act struck on {struck} of {of} steps, more than threat.p={threat.p:g} can explain")


def _check_before(rows: _Row, plain: _Row, touched: np.ndarray, live: np.ndarray) -> None:
    """Up to the first change, that step's world included, everything must be as without an adversary."""
    before = np.cumsum(touched, axis=1) - touched == 0
    message = "the game differs from the one without an adversary before anything was changed; it shows in"
    for name in TimeStep._fields:
        a, b = getattr(rows.step, name), getattr(plain.step, name)
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
            same = (x == y).reshape(*x.shape[:2], -1).all(2)
            _first_bad(~same & before & live, f"{message} {name}")
    untouched = before & ~touched
    same = (rows.intended == plain.intended).all(2)
    _first_bad(~same & untouched & live, f"{message} the actions of the team")


def _alike(a: Any, b: Any) -> bool:
    if jax.tree.structure(a) != jax.tree.structure(b):
        return False
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(x.shape == y.shape and x.dtype == y.dtype for x, y in pairs)


def _require(holds: bool | np.bool_, message: str) -> None:
    if not holds:
        raise ContractError(message, "attack")


def _first_bad(bad: np.ndarray, message: str, *axes: str) -> None:
    if bad.any():
        where = zip(("episode", "step", *axes), np.argwhere(bad)[0], strict=True)
        found = ", ".join(f"{name} {index}" for name, index in where)
        raise ContractError(f"{message} (at {found})", "attack")
