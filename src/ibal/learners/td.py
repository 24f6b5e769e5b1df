"""The gradient of the squared TD errors of a batch of whole episodes, from block to block of time.

Both networks run forward together, block after block; then errors and gradients come back the other way. A block is
small enough for a core's cache and its dense layers see it at once; what is kept in between lies in a ``Work`` that is
used again and again. Every product is one that plain backpropagation through padded episodes makes too: losses and
gradients are equal (tests/unit/learners/test_value.py).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ibal import tree
from ibal.learners import lanes
from ibal.learners.config import PqnConfig, ValueConfig
from ibal.learners.lanes import Lanes, Plan
from ibal.learners.packing import Reobserve, Rows, goes_on, read, slots, told_of
from ibal.nets import gru
from ibal.nets.agents import PyMarlAgent
from ibal.nets.mixers import Mixer
from ibal.types import Episodes, Tells

UNAVAILABLE = -1e7  # the value of an action that cannot be chosen (PyMARL: -9999999)


class ValueParams(NamedTuple):
    """Weights of the agents (shared by the team) and of the mixer."""

    agent: PyMarlAgent
    mixer: Any


class Work(NamedTuple):
    """What the way forward leaves to the way back, agents of all lanes side by side; what stands in it before is of no
    meaning. ``fed`` is what the recurrent layer is given, ``hidden[t]`` its state before step ``t``, ``value`` the
    target network's judgement."""

    fed: Float[Array, "t ln h"]
    hidden: Float[Array, "t+1 ln h"]
    gates: Float[Array, "t ln 2*h"]
    candidate: Float[Array, "t ln h"]
    recurrent: Float[Array, "t ln h"]
    value: Float[Array, "t l *n"]


class Task(NamedTuple):
    """What does not change during a gradient step."""

    params: ValueParams
    target: ValueParams
    episodes: Episodes
    chosen: Int[Array, "b"]
    laid: Lanes
    plan: Plan
    mix: Mixer
    config: ValueConfig
    reobserve: Reobserve | None
    told: Float[Array, "b p"] | None


def work_for(params: ValueParams, episodes: Episodes, batch: int, mix: Mixer, tells: Tells | None = None) -> Work:
    """Make what gradients of batches of ``batch`` of these episodes work in (the arguments may be abstract)."""
    row, (n, a), h = episodes.obs.shape[1], episodes.avail.shape[2:], params.agent.hidden_size
    of = lanes.plan(n, batch, row)
    example = (jnp.zeros(n), jnp.zeros(seen_by(episodes.state.shape[2], tells)), jnp.zeros(n), jnp.zeros((n, a)))
    each = jax.eval_shape(mix.apply, params.mixer, *example).shape
    room = lambda width, more=0: jnp.zeros((of.room + more, of.lanes * n, width))  # noqa: E731
    return Work(room(h), room(h, 1), room(2 * h), room(h), room(h), jnp.zeros((of.room, of.lanes, *each)))


def seen_by(state_size: int, tells: Tells | None) -> int:
    """Return how many numbers a mixer looks at: the state, and what it is told."""
    return state_size + (0 if tells is None else tells.size)


def gradient(
    params: ValueParams, target: ValueParams, episodes: Episodes, chosen: Int[Array, "b"], work: Work, mix: Mixer,
    config: ValueConfig, reobserve: Reobserve | None = None, axis: str | None = None, tells: Tells | None = None,
) -> tuple[ValueParams, dict[str, Array], Work]:  # fmt: skip
    """Return the gradient of the sum of squared TD errors over all steps, and sums of what is logged: "steps" and
    "worked" count the steps learned from and all slots that were worked on. ``axis`` is that over which the caller
    vmaps, if any."""
    row = episodes.obs.shape[1]
    of = lanes.plan(episodes.obs.shape[2], chosen.shape[0], row)
    laid = lanes.lay(slots(episodes)[chosen], of, row)
    laid = laid._replace(blocks=tree.common(laid.blocks, axis))  # loops whose lengths seeds share need no masks
    task = Task(params, target, episodes, chosen, laid, of, mix, config, reobserve, told_of(tells, episodes, chosen))
    nothing = jax.tree.map(jnp.zeros_like, params)
    zeros = {name: jnp.float32(0) for name in ("loss", "td_error", "q_taken", "target")}

    def wave(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        index, found, sums, work = carry
        work = forward(task, index, work)
        found, sums = backward(task, index, work, found, sums)
        return index + 1, found, sums, work

    used = (laid.blocks > 0).sum()
    _, found, sums, work = jax.lax.while_loop(lambda c: c[0] < used, wave, (jnp.int32(0), nothing, zeros, work))
    worked = (laid.blocks.sum() * of.span * of.lanes).astype(jnp.float32)
    steps = episodes.length[chosen].sum().astype(jnp.float32)
    return found, sums | {"steps": steps, "worked": worked}, work


def block_of(task: Task, wave: Int[Array, ""], index: Int[Array, ""]) -> Rows:
    """Read a block of a wave's lanes."""
    size, at = (task.plan.span, task.plan.lanes), (index * task.plan.span, wave * task.plan.lanes)
    episode, time = (jax.lax.dynamic_slice(a, at, size) for a in (task.laid.episode, task.laid.time))
    return read(task.episodes, task.chosen, episode, time, task.reobserve, task.told)


def _inputs(batch: Rows) -> Float[Array, "tln i"]:
    """What agents see and did last; who they are comes as a bias."""
    t, r, n, a = batch.avail.shape
    return jnp.concatenate((batch.obs, jax.nn.one_hot(batch.last_action, a)), axis=-1).reshape(t * r * n, -1)


def _named(agent: PyMarlAgent, n: int) -> tuple[Float[Array, "i h"], Float[Array, "n h"]]:
    """Return the first layer as weights of ``_inputs`` and a bias of each agent: the product with a one-hot name is a
    row of the weights."""
    return agent.fc1_w[:-n], agent.fc1_w[-n:] + agent.fc1_b[None]


def forward(task: Task, wave: Int[Array, ""], work: Work) -> Work:
    """Run both networks along the lanes of a wave and fill ``work``."""
    span, n, h = task.plan.span, task.episodes.avail.shape[2], task.params.agent.hidden_size
    width = task.plan.lanes * n
    pair = (task.params.agent, task.target.agent)
    both: PyMarlAgent = tree.stack(pair)
    first_w, first_b = (jnp.concatenate(parts, axis=1) for parts in zip(*(_named(a, n) for a in pair), strict=True))
    x_b, h_b = both.gru_x_b[:, None], both.gru_h_b[:, None]

    def block(carry: tuple[jax.Array, jax.Array, Work]) -> tuple[jax.Array, jax.Array, Work]:
        index, hidden, work = carry
        batch = block_of(task, wave, index)
        start, keep = index * span, goes_on(batch)
        first = (_inputs(batch) @ first_w).reshape(-1, n, 2 * h) + first_b[None]
        fed = jax.nn.relu(first).reshape(-1, 2, h).transpose(1, 0, 2)
        given = (fed @ both.gru_x_w + x_b).reshape(2, span, width, 3 * h)

        def step(t: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            hidden, others, hiddens, gates, candidates, recurrents = carry
            hidden = hidden * jax.lax.dynamic_index_in_dim(keep, t, 0, False)[None, :, None]
            now = jax.lax.dynamic_index_in_dim(given, t, 1, False)
            # The target's products ride along with the online network's: half as many launches.
            hidden, gate, candidate, recurrent = gru.cell(both.gru_h_w, h_b, hidden, now)
            return (
                hidden, _put(others, hidden[1], t), _put(hiddens, hidden[0], start + t + 1),
                _put(gates, gate[0], start + t), _put(candidates, candidate[0], start + t),
                _put(recurrents, recurrent[0], start + t),
            )  # fmt: skip

        kept = (work.hidden, work.gates, work.candidate, work.recurrent)
        hidden, others, *rest = jax.lax.fori_loop(0, span, step, (hidden, jnp.zeros((span, width, h)), *kept))
        hiddens, gates, candidates, recurrents = rest
        mine = jax.lax.dynamic_slice_in_dim(hiddens, start + 1, span)
        best = first_greatest(_values(task.params.agent, mine, batch))  # the online network chooses, the other judges
        value = mixed(task.mix, task.target.mixer, _values(task.target.agent, others, batch), best, batch)
        put = lambda room, new: jax.lax.dynamic_update_slice_in_dim(room, new, start, 0)  # noqa: E731
        fed_now = put(work.fed, fed[0].reshape(span, width, h))
        return index + 1, hidden, Work(fed_now, hiddens, gates, candidates, recurrents, put(work.value, value))

    work = work._replace(hidden=work.hidden.at[0].set(0.0))
    blocks = task.laid.blocks[wave]
    begin = (jnp.int32(0), jnp.zeros((2, width, h)), work)
    return jax.lax.while_loop(lambda c: c[0] < blocks, block, begin)[2]


def backward(
    task: Task, wave: Int[Array, ""], work: Work, found: ValueParams, sums: dict[str, Array]
) -> tuple[ValueParams, dict[str, Array]]:
    """Add the gradient of a wave's errors, and what is logged of them; the last block first."""
    span, n, h = task.plan.span, task.episodes.avail.shape[2], task.params.agent.hidden_size
    agent, width = task.params.agent, task.plan.lanes * n
    back_h, back_x, back_q = agent.gru_h_w.T, agent.gru_x_w.T, agent.fc2_w.T

    def block(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        index, later, change, found, sums = carry
        index -= 1
        batch = block_of(task, wave, index)
        keep, start = goes_on(batch), index * span
        fed, gates, candidate, recurrent, value = (
            jax.lax.dynamic_slice_in_dim(room, start, span)
            for room in (work.fed, work.gates, work.candidate, work.recurrent, work.value)
        )
        hiddens = jax.lax.dynamic_slice_in_dim(work.hidden, start, span + 1)
        before = hiddens[:-1] * keep[:, :, None]
        goal, valid = goals(task.config, batch, value, later)

        def head(q: jax.Array, mixer: Any) -> tuple[jax.Array, dict[str, Array]]:
            return squares(mixed(task.mix, mixer, q, batch.action, batch), goal, valid, batch)

        (to_q, of_mixer), new = jax.grad(head, (0, 1), has_aux=True)(
            _values(agent, hiddens[1:], batch), task.params.mixer
        )
        to_q = jnp.where(batch.avail, to_q, 0.0).reshape(span * width, -1)
        arriving = (to_q @ back_q).reshape(span, width, h)
        factors, to_candidate = gru.factors(before, gates, candidate, recurrent)

        def step(t: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            change, changes, to_recurrent = carry
            t = span - 1 - t
            now = lambda a: jax.lax.dynamic_index_in_dim(a, t, 0, False)  # noqa: E731
            change = change + now(arriving)
            spread = jnp.concatenate((change,) * 3, axis=-1) * now(factors)
            passed = change * now(gates)[:, h:] + spread @ back_h
            return passed * now(keep)[:, None], _put(changes, change, t), _put(to_recurrent, spread, t)

        room = (jnp.zeros((span, width, h)), jnp.zeros((span, width, 3 * h)))
        change, changes, to_recurrent = jax.lax.fori_loop(0, span, step, (change, *room))
        flat = lambda a: a.reshape(-1, a.shape[-1])  # noqa: E731
        to_recurrent, fed = flat(to_recurrent), flat(fed)
        to_given = jnp.concatenate((to_recurrent[:, : 2 * h], flat(changes * to_candidate)), axis=-1)
        to_first = jnp.where(fed > 0, to_given @ back_x, 0.0)
        named = to_first.reshape(-1, n, h).sum(0)
        part = PyMarlAgent(
            jnp.concatenate((_inputs(batch).T @ to_first, named)), named.sum(0),
            fed.T @ to_given, to_given.sum(0), flat(before).T @ to_recurrent, to_recurrent.sum(0),
            (to_q.T @ flat(hiddens[1:])).T, to_q.sum(0),  # few actions: fast this way round only
        )  # fmt: skip
        found, sums = jax.tree.map(jnp.add, (found, sums), (ValueParams(part, of_mixer), new))
        return index, (value[0], goal[0]), change, found, sums

    nothing = jnp.zeros_like(work.value[0])
    begin = (task.laid.blocks[wave], (nothing, nothing), jnp.zeros((width, h)), found, sums)
    return jax.lax.while_loop(lambda c: c[0] > 0, block, begin)[3:]


def _put(room: Float[Array, "t *b"], new: Float[Array, "*b"], at: Int[Array, ""]) -> Float[Array, "t *b"]:
    return jax.lax.dynamic_update_index_in_dim(room, new, at, 0)


def goals(
    config: ValueConfig | PqnConfig, batch: Rows, value: Float[Array, "t l *n"], later: tuple[jax.Array, jax.Array]
) -> tuple[Float[Array, "t l *n"], Bool[Array, "t l *n"]]:
    """TD(lambda) targets of a block as ``ops.returns.lambda_returns`` defines them, and which of them count. ``later``:
    values and targets at the first slot of the next block."""
    each = (1,) * (value.ndim - 2)  # independent learners have one value per agent
    spread = lambda a: jnp.broadcast_to(a.reshape(a.shape + each), value.shape)  # noqa: E731
    valid, end, reward = spread(batch.valid), spread(batch.end), spread(batch.reward)
    discount = config.gamma * (1 - spread(batch.terminated).astype(jnp.float32))
    following = jnp.concatenate((value[1:], later[0][None]))
    if config.td_lambda == 0:
        return jnp.where(valid, reward + discount * following, 0.0), valid
    # Every step is a map y_{t+1} -> offset + slope y_{t+1}; the maps compose in any order.
    trace = jnp.where(valid & ~end, config.td_lambda, 0.0)
    offset = jnp.where(valid, reward + discount * (1 - trace) * following, 0.0)
    slope = jnp.where(valid, discount * trace, 0.0)
    offset = offset.at[-1].add(slope[-1] * later[1])

    def compose(after: tuple[Array, Array], before: tuple[Array, Array]) -> tuple[Array, Array]:
        return before[0] + before[1] * after[0], before[1] * after[1]

    return jax.lax.associative_scan(compose, (offset, slope), reverse=True)[0], valid


def squares(
    taken: Float[Array, "t l *n"], goal: Float[Array, "t l *n"], valid: Bool[Array, "t l *n"], batch: Rows
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Sum of the squared errors, and the sums of what is logged."""
    error = jnp.where(valid, taken - goal, 0.0)
    share = batch.valid.size / error.size  # independent learners: the mean over agents
    sums = {
        "loss": (error**2).sum() * share,
        "td_error": jnp.abs(error).sum() * share,
        "q_taken": jnp.where(valid, taken, 0.0).sum() * share,
        "target": jnp.where(valid, goal, 0.0).sum() * share,
    }
    return sums["loss"], sums


def _values(agent: PyMarlAgent, hidden: Float[Array, "t rn h"], batch: Rows) -> Float[Array, "t r n a"]:
    """Values of all actions at every slot; unavailable ones count ``UNAVAILABLE``."""
    q = hidden.reshape(-1, hidden.shape[-1]) @ agent.fc2_w + agent.fc2_b[None]
    return jnp.where(batch.avail, q.reshape(batch.avail.shape), UNAVAILABLE)


def first_greatest(q: Float[Array, "*b a"]) -> Int[Array, "*b"]:
    """Return the argmax over the last axis from two plain reductions: XLA's own does not vectorise on a CPU."""
    index = jnp.arange(q.shape[-1]).reshape((1,) * (q.ndim - 1) + (-1,))
    return jnp.where(q == q.max(-1, keepdims=True), index, q.shape[-1]).min(-1)


def mixed(
    mix: Mixer, params: Any, q: Float[Array, "t r n a"], action: Int[Array, "t r n"], batch: Rows
) -> Float[Array, "t r *n"]:
    """The team's value of the given actions at every slot."""
    t, r, _, a = q.shape
    one_hot = jax.nn.one_hot(action, a)
    chosen = jnp.where(one_hot > 0, q, 0.0).sum(-1)
    flat = [x.reshape(t * r, *x.shape[2:]) for x in (chosen, batch.state, q.max(-1), one_hot)]
    total = jax.vmap(mix.apply, (None, 0, 0, 0, 0))(params, *flat)
    return total.reshape(t, r, *total.shape[1:])
