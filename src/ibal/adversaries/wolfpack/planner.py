"""The planner of the Wolfpack attack: when would an attack cost the team most? Two small transformers.

The first sees the states of the last ``window`` steps and says for every agent by how much the team's value will fall
if an attack on it starts 0, 1, ... steps ahead (``expect``). What it learns from is imagined by the second one, which
predicts how state and scores go on after an action (``imagine``):

    fall(t, i) = sum_{k=0..f} V_k(nobody attacked) - V_k(agent i does its worst at t, followers do at t+1..t+f),

V_k being the sum of the agents' values of the actions they take at step t+k. An imagined action is legal if it was at
step t. The fall at t is the target of output h at step t-h, for all steps of the window that ends at t.

Source: Lee et al. 2025 (WALL), its "Q-difference" and "planning" transformers and their shapes. Other than there:

- An attacker sees the team through its ``Policy`` only, and not at all while it learns. So V is the plain sum, not the
  mixed value; and as the team's network cannot be asked about imagined observations, the second transformer predicts
  the agents' scores themselves in place of observations, and reads them in place of hidden states.
- V without an attack is imagined too, so that what the model gets wrong cancels in the difference; the recorded steps
  may be attacked ones. For the same reason the initial agent and its followers are drawn at random in every target.
- Attention is causal in both (there the second may look at the step it shall predict), heads have no dropout, a layer
  of the second one is as wide as one of the first, and what goes on is predicted as a change.
- The first has an output of its own for every agent: there a one-hot is added before one shared output, so that who is
  worth most could not depend on the state.
- Falls and scores are learned in units of their own spread, so that few gradient steps do.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Float16, Int

from ibal import rng, tree
from ibal.adversaries.base import Feedback, worst
from ibal.adversaries.wolfpack.nets import (
    Falls,
    Moment,
    Plan,
    causal,
    embed_states,
    embed_steps,
    new_falls,
    new_plan,
    onward,
    through,
)
from ibal.adversaries.wolfpack.options import WolfpackOptions
from ibal.nets.agents import linear
from ibal.ops.adam import adam
from ibal.ops.among import among, drawn
from ibal.types import EnvSpec, Episodes, PRNGKey

KEPT = 0.9  # of the units of scores and falls at each lesson


class State(NamedTuple):
    """What lasts. Falls are ``spread`` times the output plus ``centre``, scores are ``unit`` times what the second
    transformer reads and writes (0: none seen yet). Evaluation needs the first two only."""

    falls: Falls
    spread: Float[Array, ""]
    centre: Float[Array, ""] | None = None
    unit: Float[Array, ""] | None = None
    plan: Plan | None = None
    opt: Any = None


class Window(NamedTuple):
    """The steps up to one of an episode, and the one after; ``valid`` where the episode has them. ``meant`` and
    ``left``, how many steps follow, are those of the last but one."""

    time: Int[Array, "w"]
    valid: Bool[Array, "w+1"]
    moment: Moment
    avail: Bool[Array, "w+1 n a"]
    executed: Int[Array, "w n"]
    meant: Int[Array, "n"]
    left: Int[Array, ""]


def init(key: PRNGKey, config: WolfpackOptions, spec: EnvSpec) -> State:
    """Draw both transformers, or the one that evaluation needs; a new one expects the same of every moment."""
    n, steps, size = spec.n_agents, spec.horizon, spec.state_size
    outputs = n * min(config.window, steps)
    falls = new_falls(rng.stream(key, "falls"), size, config.hidden, steps, outputs)
    if config.evaluation:
        return State(falls, jnp.float32(1))
    imagined = steps + config.follow_steps
    plan = new_plan(rng.stream(key, "plan"), size, n * spec.n_actions, config.hidden, imagined)
    optimiser = adam(config.lr)
    opt = optimiser.init(_any(falls)), optimiser.init(_any(plan))
    return State(falls, jnp.float32(1), jnp.float32(0), jnp.float32(0), plan, opt)


def expect(
    net: Falls, seen: Float16[Array, "w h"], state: Float[Array, "s"], time: Int[Array, ""]
) -> tuple[Float[Array, "n w"], Float16[Array, "w h"]]:
    """Return what every agent's attack is worth per steps to its start, in units of ``State.spread``, and the embedded
    states with this one, at ``time``, in the row of the oldest."""
    rows = jnp.arange(seen.shape[0])
    x = embed_states(net, state[None], time[None])
    seen = jnp.where((rows == time % seen.shape[0])[:, None], x.astype(seen.dtype), seen)
    out = through(net.block, x, seen.astype(x.dtype), (rows <= time)[None])
    return linear(out, *net.head).reshape(-1, seen.shape[0]), seen


def update(
    key: PRNGKey, config: WolfpackOptions, spec: EnvSpec, state: State, episodes: Episodes,
    scores: Float16[Array, "b t n a"], feedback: Feedback,
) -> tuple[State, dict[str, Array]]:  # fmt: skip
    """Take a lesson in every ``config.every``-th iteration; ``scores`` are the team's, recorded while playing."""
    iteration = feedback.now
    due = iteration % config.every == config.every - 1
    state = jax.lax.cond(due, lambda s: lesson(key, config, spec, s, episodes, scores), lambda s: s, state)
    assert state.centre is not None
    return state, {"attack_fall": state.centre, "attack_fall_spread": state.spread}


def lesson(
    key: PRNGKey, config: WolfpackOptions, spec: EnvSpec, state: State, episodes: Episodes,
    scores: Float16[Array, "b t n a"],
) -> State:  # fmt: skip
    """Take ``config.updates`` gradient steps of the second transformer, imagine, and take as many of the first."""
    old, plan, optimiser = state.unit, state.plan, adam(config.lr)
    assert old is not None
    assert plan is not None
    assert state.centre is not None
    steps = episodes.action.shape[1]
    scores = scores[:, :steps].astype(jnp.float32)
    played = jnp.arange(steps)[None] < episodes.length[:, None]
    legal = episodes.avail[:, :steps] & played[:, :, None, None]
    square = jnp.where(legal, scores**2, 0.0).sum() / jnp.maximum(legal.sum(), 1).astype(jnp.float32)
    now = jnp.maximum(jnp.sqrt(square), 1e-3)
    unit = jnp.where(old > 0, KEPT * old + (1 - KEPT) * now, now)

    count = config.updates * config.windows
    width = min(config.window, spec.horizon)
    where = draw_steps(rng.stream(key, "steps"), played, count)
    windows = jax.vmap(lambda b, t: window(episodes, scores / unit, b, t, width))(*where)
    batches = jax.tree.map(lambda x: x.reshape(config.updates, config.windows, *x.shape[1:]), windows)

    def learn(loss: Any, net: Any, opt: Any, data: Any) -> tuple[Any, Any]:
        def step(carry: tuple[Any, Any], batch: Any) -> tuple[tuple[Any, Any], None]:
            net, opt = carry
            change, opt = optimiser.update(jax.grad(loss)(net, batch), opt)
            return (optax.apply_updates(net, change), opt), None

        return jax.lax.scan(step, (net, opt), data)[0]

    plan, plan_opt = learn(plan_loss, plan, state.opt[1], batches)
    keys = jax.vmap(lambda i: rng.at(rng.stream(key, "imagine"), i))(jnp.arange(count))
    followers = (spec.n_agents - 1) // 2 if config.followers is None else config.followers
    who, falls = jax.vmap(lambda k, w: imagine(k, plan, w, config.follow_steps, followers))(keys, windows)
    falls = unit * falls
    seen = old > 0
    centre = jnp.where(seen, KEPT * state.centre + (1 - KEPT) * falls.mean(), falls.mean())
    spread = jnp.sqrt(((falls - centre) ** 2).mean()) + 1e-6
    spread = jnp.where(seen, KEPT * state.spread + (1 - KEPT) * spread, spread)
    targets = ((falls - centre) / spread).reshape(config.updates, -1)
    data = batches, who.reshape(config.updates, -1), targets
    first, first_opt = learn(falls_loss, state.falls, state.opt[0], data)
    return State(first, spread, centre, unit, plan, (first_opt, plan_opt))


def draw_steps(key: PRNGKey, played: Bool[Array, "b t"], count: int) -> tuple[Int[Array, "m"], Int[Array, "m"]]:
    """Draw ``count`` steps, with replacement, of those that were played: their episodes and times."""
    rows = drawn(key, among(played.reshape(-1)), count)
    return rows // played.shape[1], rows % played.shape[1]


def window(
    episodes: Episodes, scores: Float[Array, "b t n a"], episode: Int[Array, ""], time: Int[Array, ""], width: int
) -> Window:
    """Cut the ``width`` steps that end with ``time``, and the next one, from an episode."""
    assert episodes.executed is not None
    times = time - width + 1 + jnp.arange(width + 1)
    length = episodes.length[episode].astype(times.dtype)
    rows = jnp.clip(times, 0, episodes.action.shape[1] - 1)
    moment = Moment(episodes.state[episode, rows].astype(jnp.float32), scores[episode, rows])
    return Window(
        rows[:-1], (times >= 0) & (times < length), moment, episodes.avail[episode, rows],
        episodes.executed[episode, rows[:-1]].astype(jnp.int32), episodes.action[episode, time].astype(jnp.int32),
        length - 1 - time,
    )  # fmt: skip


def imagine(
    key: PRNGKey, net: Plan, seen: Window, follow_steps: int, followers: int
) -> tuple[Int[Array, ""], Float[Array, ""]]:
    """Draw an agent, and return it with the fall of the team's value, in units, if it is attacked at the last step.

    Followers are drawn from the others, those that have a choice first. Nothing falls if the agent does its worst
    anyway: such an attack does not start. Steps beyond the end of the episode do not count.
    """
    n = seen.meant.shape[0]
    initial = jax.random.randint(rng.stream(key, "initial"), (), 0, n)
    legal, scores = seen.avail[-2], seen.moment.scores[-2]
    others = jnp.arange(n) != initial
    luck = jax.random.uniform(rng.stream(key, "followers"), (n,)) + (legal.sum(1) > 1).astype(jnp.float32)
    pack = others & (jnp.argsort(jnp.argsort(jnp.where(others, -luck, jnp.inf))) < followers)
    forced = jnp.where(others, seen.meant, worst(scores, legal))
    past = embed_steps(net, tree.at(seen.moment, slice(0, -1)), seen.executed, seen.time)

    def value(actions: Int[Array, "n"], pack: Bool[Array, "n"]) -> Float[Array, ""]:
        now, context, valid = Moment(seen.moment.state[-2], scores), past[:-1], seen.valid[:-2]
        total = jnp.take_along_axis(scores, actions[:, None], axis=1).sum()
        for k in range(follow_steps):
            token = embed_steps(net, tree.at(now, None), actions[None], seen.time[-1:] + k)
            context, valid = jnp.concatenate((context, token)), jnp.concatenate((valid, jnp.ones(1, bool)))
            now = tree.at(onward(net, tree.at(now, None), token, context, valid[None]), 0)
            context, valid = context[1:], valid[1:]
            best = jnp.argmax(jnp.where(legal, now.scores, -jnp.inf), axis=1)
            actions = jnp.where(pack, worst(now.scores, legal), best.astype(jnp.int32))
            gained = jnp.take_along_axis(now.scores, actions[:, None], axis=1).sum()
            total = total + jnp.where(k < seen.left, gained, 0.0)
        return total

    fall = value(seen.meant, jnp.zeros(n, bool)) - value(forced, pack)
    return initial, jnp.where((forced != seen.meant).any(), fall, 0.0)


def plan_loss(net: Plan, batch: Window) -> Float[Array, ""]:
    """Return the mean squared error of the next states and of the next legal scores, wherever there is a next step."""

    def errors(one: Window) -> Float[Array, "2"]:
        moments, after = tree.at(one.moment, slice(0, -1)), tree.at(one.moment, slice(1, None))
        tokens = embed_steps(net, moments, one.executed, one.time)
        guess = onward(net, moments, tokens, tokens, causal(one.valid[:-1]))
        known = (one.valid[:-1] & one.valid[1:]).astype(jnp.float32)
        legal = one.avail[1:].astype(jnp.float32) * known[:, None, None]
        of_states = (((guess.state - after.state) ** 2).mean(1) * known).sum() / jnp.maximum(known.sum(), 1)
        of_scores = (((guess.scores - after.scores) ** 2) * legal).sum() / jnp.maximum(legal.sum(), 1)
        return jnp.stack((of_states, of_scores))

    return jax.vmap(errors)(batch).mean(0).sum()


def falls_loss(net: Falls, batch: tuple[Window, Int[Array, "b"], Float[Array, "b"]]) -> Float[Array, ""]:
    """Return the mean squared error of output h, of the agent that was imagined to be attacked, h steps before."""

    def error(one: Window, who: Int[Array, ""], target: Float[Array, ""]) -> Float[Array, "2"]:
        width, valid = one.time.shape[0], one.valid[:-1]
        x = embed_states(net, one.moment.state[:-1], one.time)
        out = linear(through(net.block, x, x, causal(valid)), *net.head).reshape(width, -1, width)
        ahead = width - 1 - jnp.arange(width)
        guess = jnp.take_along_axis(out[:, who], ahead[:, None], axis=1)[:, 0]
        return jnp.stack((jnp.where(valid, (guess - target) ** 2, 0.0).sum(), valid.sum(dtype=jnp.float32)))

    total = jax.vmap(error)(*batch).sum(0)
    return total[0] / total[1]


def _any(net: Any) -> Any:
    """Optax takes nested tuples of arrays, but does not say so."""
    return net
