"""Wolfpack: one agent is made to do its worst, then for a few steps those whom that changes most are.

An attack is one step on the initial agent and ``follow_steps`` on its followers; each takes its worst legal action
argmin_a Q_i(a), and an episode has a budget of attacked steps. It starts only if the initial agent would have done
something else. When it starts is drawn from softmax(D / temperature), D[h] being the fall of the team's value that is
expected if it starts h steps ahead (``planner``; zero if it starts "random"): it starts if h = 0 is drawn. Of D only
the steps up to ``window`` after the last start count, so a start is due by then.

Source: Lee et al. 2025 (Wolfpack attack, WALL) and its official code. Other than there: the dead are neither chosen
as followers nor touched, starts without a planner are uniform up to ``window`` steps after the last one (there: one
step in ten), and what ``changes`` and ``planner`` say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float16, Int

from ibal import rng
from ibal.adversaries.base import ActView, Adversary, Feedback, Threat, adversary, worst
from ibal.adversaries.wolfpack import planner
from ibal.adversaries.wolfpack.options import Start, WolfpackOptions
from ibal.ops.compact import sparsely
from ibal.types import Actions, EnvSpec, Episodes, Policy, PRNGKey, TimeStep


@dataclass(frozen=True)
class WolfpackConfig(WolfpackOptions):
    """One agent does its worst, then for some steps those whom that changes most do theirs (Lee et al. 2025)."""

    def build(self, spec: EnvSpec) -> Adversary:
        return wolfpack(self, spec)


@dataclass(frozen=True)
class RandomWolfpackConfig(WolfpackConfig):
    """The same attack starting anywhere: nothing is learned."""

    start: Start = "random"


BUDGET, EVALUATED = 12, 8  # attacked steps in training and in evaluation


class Memory(NamedTuple):
    """How the episode's attacks stand. ``last`` is the step of the last start (at first 0), ``left`` the steps on which
    ``followers`` are still to be attacked, ``spent`` the attacked steps. ``seen`` holds the embedded states of the last
    steps, step t in row t modulo their number; ``scores`` what the update learns from. None: not needed."""

    last: Int[Array, ""]
    left: Int[Array, ""]
    spent: Int[Array, ""]
    followers: Bool[Array, "n"]
    seen: Float16[Array, "w h"] | None
    scores: Float16[Array, "t n a"] | None


def wolfpack(config: WolfpackConfig, spec: EnvSpec) -> Adversary:
    """Make the attack for an environment. Raises ValueError if more agents are to follow than there are others."""
    n, planned = spec.n_agents, config.learns_by_playing
    learning = planned and not config.evaluation
    window = min(config.window, spec.horizon)
    followers = (n - 1) // 2 if config.followers is None else config.followers
    budget = (EVALUATED if config.evaluation else BUDGET) if config.budget is None else config.budget
    if followers >= n:
        raise ValueError(f"followers is {followers}, but {spec.name} has {n} agents: at most {n - 1} can follow one")

    def begin(key: jax.Array, state: Any, step: TimeStep) -> Memory:
        seen = jnp.zeros((window, config.hidden), jnp.float16) if planned else None
        scores = jnp.zeros((spec.horizon, n, spec.n_actions), jnp.float16) if learning else None
        return Memory(jnp.int32(0), jnp.int32(0), jnp.int32(0), jnp.zeros(n, bool), seen, scores)

    def expected(state: Any, memory: Memory, view: ActView) -> tuple[Float[Array, "n w"], Memory]:
        """Return the expected fall of value per agent and steps to the start, and the memory with this step in it."""
        if memory.seen is None:
            return jnp.zeros((n, window)), memory
        falls, seen = planner.expect(state.falls, memory.seen, view.step.state, view.time)
        scores = memory.scores
        if scores is not None:
            shown = jnp.where(view.step.avail, view.scores, 0.0)
            scores = scores.at[view.time].set(shown.astype(jnp.float16))
        return state.spread * falls, memory._replace(seen=seen, scores=scores)

    def act(key: jax.Array, state: Any, memory: Memory, view: ActView) -> tuple[Actions, Memory]:
        alive, bad = view.step.alive, worst(view.scores, view.step.avail).astype(view.actions.dtype)
        falls, memory = expected(state, memory, view)
        guess = falls.max(0) if config.start == "planner" else jnp.zeros(window)
        now = starts(rng.stream(key, "start"), guess / config.temperature, view.time - memory.last)
        if config.initial == "planner":
            initial = jnp.argmax(falls[:, 0])
        else:
            initial = jax.random.randint(rng.stream(key, "initial"), (), 0, n)

        room, follows = memory.spent < budget, (memory.left > 0) & (memory.spent < budget)
        first = (jnp.arange(n) == initial) & alive & (bad != view.actions)
        begins = now & room & (memory.left == 0) & first.any()
        forced = jnp.where(begins, first, memory.followers & follows & alive)
        chosen = memory.followers
        if followers > 0:
            pack = jnp.where(first, bad, view.actions)
            points = (
                changes(begins, view, pack, config.nudge) if config.followup == "change" else alikeness(view, initial)
            )
            chosen = jnp.where(begins, most(points, alive & (jnp.arange(n) != initial), followers), chosen)
        memory = memory._replace(
            last=jnp.where(begins, view.time, memory.last),
            left=jnp.where(begins, config.follow_steps, jnp.maximum(memory.left - 1, 0)),
            spent=memory.spent + (begins | follows).astype(jnp.int32),
            followers=chosen,
        )
        return jnp.where(forced, bad, view.actions), memory

    def update(key: jax.Array, state: Any, episodes: Episodes, feedback: Feedback) -> tuple[Any, dict[str, Array]]:
        scores = jnp.asarray(episodes.memory.scores)
        return planner.update(key, config, spec, state, episodes, scores, feedback)

    knowledge = (
        ("scores", "values") + ("weights",) * (config.followup == "change" and followers > 0) + ("state",) * planned
    )
    return adversary(
        threat=Threat(knowledge=knowledge, channels=("act",), agents=max(1, followers)),
        init=(lambda key: planner.init(key, config, spec)) if planned else None,
        begin=begin,
        act=act,
        update=update if learning else None,
    )


def starts(key: PRNGKey, guess: Float[Array, "w"], since: Int[Array, ""]) -> Bool[Array, ""]:
    """Say whether to start now: draw from the softmax of ``guess`` over the steps up to as many after the last start as
    there are guesses, ``since`` of which have passed; at least over this one step."""
    ahead = jnp.arange(guess.shape[0])
    within = ahead < jnp.maximum(guess.shape[0] - since, 1)
    return jax.random.categorical(key, jnp.where(within, guess, -jnp.inf)) == 0


def changes(needed: Bool[Array, ""], view: ActView, pack: Actions, nudge: float) -> Float[Array, "n"]:
    """Return how much everybody's values change if the team learns that ``pack`` is as good as what it meant to do.

        loss = (sum_i Q_i(pack_i) - sum_i Q_i(actions_i))^2, the second sum constant;
        change_i = KL(softmax z(Q_i) || softmax z(Q_i')), Q' after one step of Adam, z(Q) = (Q - mean) / deviation.

    Only where ``needed``, elsewhere of no meaning. Other than in the source: illegal actions do not count; the values
    are those of the hidden state the team decided with (there: one step further), z divides by the deviation once
    (there: twice). The team's mixer is not known to an attacker, so the plain sum stands for it. That matters little:
    the first step of Adam moves every weight by nudge * sign(gradient), so the size of the error and any weight that
    all agents share drop out, and the mixers' weights are all positive.
    """
    policy = view.policy
    assert policy.weights is not None

    def compare(weights: Any, own: tuple[Any, ...]) -> Float[Array, "n"]:
        carry, obs, avail, last, meant, done = own

        def values(weights: Any) -> Float[Array, "n a"]:
            return _apply(policy, weights, carry, obs, avail, last)

        before = values(weights)
        aim = jnp.take_along_axis(before, meant[:, None], axis=1).sum()
        loss = lambda w: (jnp.take_along_axis(values(w), done[:, None], axis=1).sum() - aim) ** 2  # noqa: E731
        moved = jax.tree.map(lambda w, g: w - nudge * g / (jnp.abs(g) + 1e-8), weights, jax.grad(loss)(weights))
        return divergence(before, values(moved), avail)

    own = view.carry, view.obs, view.step.avail, view.last_action, view.actions, pack
    return sparsely(compare)(needed, policy.weights(), own)


def divergence(before: Float[Array, "n a"], after: Float[Array, "n a"], legal: Bool[Array, "n a"]) -> Float[Array, "n"]:
    """Return KL(softmax z(before) || softmax z(after)) over each agent's legal actions."""

    def log_preference(q: Float[Array, "n a"]) -> Float[Array, "n a"]:
        count = jnp.maximum(legal.sum(1, keepdims=True), 1).astype(q.dtype)
        off = jnp.where(legal, q - jnp.where(legal, q, 0.0).sum(1, keepdims=True) / count, 0.0)
        z = off / (jnp.sqrt((off**2).sum(1, keepdims=True) / count) + 1e-6)  # one legal action has no deviation
        return jax.nn.log_softmax(jnp.where(legal, z, -1e9), axis=1)

    p, q = log_preference(before), log_preference(after)
    return jnp.where(legal, jnp.exp(p) * (p - q), 0.0).sum(1)


def alikeness(view: ActView, initial: Int[Array, ""]) -> Float[Array, "n"]:
    """Return minus the squared distance of what everybody sees from what ``initial`` does."""
    return -((view.obs - view.obs[initial][None]) ** 2).sum(1)


def most(points: Float[Array, "n"], eligible: Bool[Array, "n"], count: int) -> Bool[Array, "n"]:
    """Mark the ``count`` eligible agents of most points; the lowest index wins a tie."""
    rank = jnp.argsort(jnp.argsort(jnp.where(eligible, -points, jnp.inf), stable=True))
    return eligible & (rank < count)


def _apply(policy: Policy, weights: Any, carry: Any, obs: Array, avail: Array, last: Array) -> Float[Array, "n a"]:
    assert policy.apply is not None
    return policy.apply(weights, carry, obs, avail, last)[1]
