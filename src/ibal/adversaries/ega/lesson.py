"""What evolutionary attackers learn from, and how: soft temporal differences, and a term that keeps them different.

Source: ROMANCE (Yuan et al. 2023), formulas of the paper and its appendix, numbers of the official settings.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from ibal import rng
from ibal.adversaries.ega.archive import Member, divergence, probabilities, soft_value
from ibal.adversaries.ega.options import EgaOptions
from ibal.nets.layers import Mlp, apply
from ibal.ops.among import among, drawn
from ibal.ops.rmsprop import rmsprop
from ibal.types import EnvSpec, Episodes, PRNGKey

BUDGETS = {"smac/3m": 6}  # the official archives have 8, its code 6 where it does not say
BUDGET = 8


class Steps(NamedTuple):
    """Steps to learn from, row by row; the row after one is what it led to. ``played`` is False for padding."""

    x: Float[Array, "b i"]
    choice: Int[Array, "b"]
    reward: Float[Array, "b"]
    terminated: Bool[Array, "b"]
    played: Bool[Array, "b"]


class Replay(NamedTuple):
    """The last steps of a ring; the next one goes to ``head``."""

    steps: Steps
    head: Int[Array, ""]


def budget(config: EgaOptions, spec: EnvSpec) -> int:
    """Return how many attacks may be issued in an episode."""
    return BUDGETS.get(spec.name, BUDGET) if config.budget is None else config.budget


def recorded(config: EgaOptions, spec: EnvSpec, episodes: Episodes) -> Steps:
    """Return the steps of all episodes one after another, each followed by one row for what it ended in.

    Attacks on the dead count as issued: the attacker wastes them.
    """
    horizon = episodes.reward.shape[1]
    choice = episodes.memory.log.choices[:, :horizon].astype(jnp.int32)
    played = jnp.arange(horizon)[None, :] < episodes.length[:, None]
    choice = jnp.where(played, choice, spec.n_agents)
    used = jnp.cumsum(choice < spec.n_agents, axis=1).astype(jnp.float32)
    left = 1 - jnp.pad(used, ((0, 0), (1, 0))) / budget(config, spec)
    x = jnp.concatenate((episodes.state.astype(jnp.float32), left[..., None]), axis=2)

    def row(values: Array) -> Array:
        return jnp.pad(values, ((0, 0), (0, 1))).reshape(-1)

    reward = -episodes.reward - config.penalty * (choice < spec.n_agents).astype(jnp.float32)
    return Steps(x.reshape(-1, x.shape[-1]), row(choice), row(reward), row(episodes.terminated), row(played))


def remembered(replay: Replay | None, steps: Steps) -> Replay:
    """Write the steps that were played, and those after the last of each episode, over the oldest ones."""
    assert replay is not None
    size = replay.steps.played.shape[0]
    wanted = steps.played | jnp.roll(steps.played, 1)
    count = wanted.sum(dtype=jnp.int32)
    index = jnp.cumsum(wanted, dtype=jnp.int32) - 1
    # A row of the ring is written at most once: what a small one cannot hold is left out.
    place = jnp.where(wanted & (index >= count - size), (replay.head + index) % size, size)
    kept = jax.tree.map(lambda old, new: old.at[place].set(new.astype(old.dtype), mode="drop"), replay.steps, steps)
    return Replay(kept, (replay.head + count) % size)


def targets(config: EgaOptions, target: Mlp, steps: Steps, rows: Int[Array, "k"]) -> Float[Array, "k"]:
    """Return y = r + gamma (1 - terminated) lambda log sum_a p_ref(a) exp(Q_target(s', a) / lambda)."""
    x = steps.x[(rows + 1) % steps.x.shape[0]].astype(jnp.float32)
    goes_on = 1 - steps.terminated[rows].astype(jnp.float32)
    return steps.reward[rows] + config.gamma * goes_on * soft_value(config, apply(target, x), x)


def lesson(
    key: PRNGKey, config: EgaOptions, population: Member, steps: Steps
) -> tuple[Member, Float[Array, ""], Float[Array, ""]]:
    """Take ``config.updates`` gradient steps on mean_j (y_j - Q_j)^2 - alpha JSD; return their mean error and JSD."""
    nobody = population.net[-1].b.shape[-1] - 1
    played = among(steps.played)
    attacked = among(steps.played & (steps.choice < nobody))
    spared = among(steps.played & (steps.choice == nobody))
    half = config.states // 2

    def step(population: Member, index: Array) -> tuple[Member, tuple[Array, Array]]:
        here = rng.at(key, index)
        rows = drawn(rng.stream(here, "steps"), played, config.minibatch)
        seen = steps.x[rows].astype(jnp.float32)
        y = jax.vmap(lambda target: targets(config, target, steps, rows))(population.target)
        states = jnp.concatenate(
            (
                drawn(rng.stream(here, "attacked"), attacked, half),
                drawn(rng.stream(here, "spared"), spared, config.states - half),
            )
        )
        weight = jnp.concatenate((jnp.full(half, attacked.many > 0), jnp.full(config.states - half, spared.many > 0)))

        def loss(nets: Mlp) -> tuple[Array, tuple[Array, Array]]:
            q = jax.vmap(lambda net: apply(net, seen))(nets)
            taken = jnp.take_along_axis(q, steps.choice[rows].astype(jnp.int32)[None, :, None], axis=2)[..., 0]
            error = ((y - taken) ** 2).mean()
            x = steps.x[states].astype(jnp.float32)
            p = jax.vmap(lambda net: probabilities(config, apply(net, x), x))(nets)
            differ = jnp.where(weight, divergence(p), 0.0).sum() / jnp.maximum(weight.sum(), 1).astype(jnp.float32)
            return error - config.diversity * differ, (error, differ)

        gradient: Any
        gradient, said = jax.grad(loss, has_aux=True)(population.net)
        change, opt = jax.vmap(optimiser(config).update)(gradient, population.opt)
        net: Any = jax.tree.map(jnp.add, population.net, change)
        target = jax.tree.map(lambda old, new: old + config.soft * (new - old), population.target, net)
        return Member(net, target, opt), said

    population, (error, differ) = jax.lax.scan(step, population, jnp.arange(config.updates))
    return population, error.mean(), differ.mean()


def optimiser(config: EgaOptions) -> optax.GradientTransformation:
    """Return clipping and PyTorch's RMSProp, for one attacker."""
    return optax.chain(optax.clip_by_global_norm(config.grad_clip), rmsprop(config.lr))
