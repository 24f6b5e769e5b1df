"""What ATLA's attacker is and how it learns: a network of one agent's observation, PPO on what the team loses."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, UInt32

from ibal import rng, tree
from ibal.adversaries.atla.options import AtlaOptions
from ibal.nets.agents import linear
from ibal.nets.layers import Mlp, orthogonal_mlp
from ibal.ops.adam import adam
from ibal.ops.among import among, drawn
from ibal.ops.ppo import clipped_gain, gae, standardised
from ibal.ops.returns import lambda_returns
from ibal.types import EnvSpec, Episodes, PRNGKey

KEPT = 0.95  # of the mean squared return at each lesson


class Net(NamedTuple):
    """Mean of the noise, logarithm of its standard deviation, and the value; in evaluation only the first."""

    actor: Mlp
    spread: Float[Array, "o"] | None
    critic: Mlp | None


class State(NamedTuple):
    """What lasts. ``square`` is the mean squared return (0: none seen yet); in evaluation there is only ``net``."""

    net: Net
    opt: Any = None
    square: Float[Array, ""] | None = None


class Memory(NamedTuple):
    """What the episode's noise is drawn from: the update draws it again instead of having it stored."""

    key: UInt32[Array, "2"]


class Samples(NamedTuple):
    """Steps to learn from, [m] each but ``x`` and ``delta``."""

    x: Float[Array, "m i"]
    delta: Float[Array, "m o"]
    logp: Float[Array, "m"]
    advantage: Float[Array, "m"]
    target: Float[Array, "m"]


def perceptron(layers: Mlp, x: Float[Array, "*b i"]) -> Float[Array, "*b o"]:
    """Return the last layer's output; tanh in between."""
    for layer in layers[:-1]:
        x = jnp.tanh(linear(x, *layer))
    return linear(x, *layers[-1])


def init(key: PRNGKey, config: AtlaOptions, spec: EnvSpec) -> State:
    """Draw the networks; evaluation needs the first one only."""
    inputs, h = spec.obs_size + spec.n_agents, config.hidden
    actor = orthogonal_mlp(rng.stream(key, "actor"), (inputs, h, h, spec.obs_size), last=0.01)
    if config.evaluation:
        return State(Net(actor, None, None))
    net: Any = Net(
        actor, jnp.zeros(spec.obs_size), orthogonal_mlp(rng.stream(key, "critic"), (inputs, h, h, 1), last=1.0)
    )
    return State(net, optimiser(config).init(net), jnp.float32(0))


def optimiser(config: AtlaOptions) -> optax.GradientTransformation:
    """Adam behind a clipped gradient."""
    return optax.chain(optax.clip_by_global_norm(config.grad_clip), adam(config.lr, eps=1e-5))


def noise_at(memory: Memory, time: Int[Array, ""], spec: EnvSpec) -> tuple[Int[Array, ""], Float[Array, "o"]]:
    """Return who is attacked at a step, and the noise before it is scaled."""
    here = rng.at(jax.random.wrap_key_data(memory.key), time)
    who = jax.random.randint(rng.stream(here, "who"), (), 0, spec.n_agents)
    return who, jax.random.normal(rng.stream(here, "noise"), (spec.obs_size,))


def lesson(key: PRNGKey, config: AtlaOptions, spec: EnvSpec, state: State, episodes: Episodes) -> State:
    """Take ``config.updates`` steps of PPO on the episodes, which this very attacker has disturbed."""
    samples, valid, square = samples_of(config, spec, state, episodes)
    played = among(valid)

    def step(carry: tuple[Net, Any], index: Array) -> tuple[tuple[Net, Any], None]:
        net, opt = carry
        rows = drawn(rng.at(key, index), played, config.minibatch)
        gradient: Any = jax.grad(loss)(net, tree.at(samples, rows), config)
        change: Any
        change, opt = optimiser(config).update(gradient, opt)
        return (jax.tree.map(jnp.add, net, change), opt), None

    (net, opt), _ = jax.lax.scan(step, (state.net, state.opt), jnp.arange(config.updates))
    return State(net, opt, square)


def samples_of(
    config: AtlaOptions, spec: EnvSpec, state: State, episodes: Episodes
) -> tuple[Samples, Bool[Array, "m"], Float[Array, ""]]:
    """Return all steps, which of them were played, and the mean squared return with these episodes in it."""
    net, old = state.net, state.square
    assert net.spread is not None
    assert net.critic is not None
    assert old is not None
    times = jnp.arange(episodes.obs.shape[1])
    who, noise = jax.vmap(lambda m: jax.vmap(lambda t: noise_at(m, t, spec))(times))(episodes.memory)
    seen = jnp.take_along_axis(episodes.obs, who[..., None, None], axis=2)[:, :, 0].astype(jnp.float32)
    x = jnp.concatenate((seen, jax.nn.one_hot(who, spec.n_agents)), axis=-1)
    played = times[None, :-1] < episodes.length[:, None]

    lost = jnp.where(played, -episodes.reward, 0.0).T
    discount = config.gamma * (1 - episodes.terminated.astype(jnp.float32)).T
    whole = lambda_returns(lost, discount, jnp.zeros_like(lost), 1.0, played.T)
    count = jnp.maximum(played.sum(), 1).astype(jnp.float32)
    now = (whole**2).sum() / count
    square = jnp.where(old > 0, KEPT * old + (1 - KEPT) * now, now)
    scaled = lost / jnp.sqrt(jnp.maximum(square, 1e-8))

    value = perceptron(net.critic, x)[..., 0].T
    advantage, target = gae(scaled, discount, value[:-1], value[1:], config.gae_lambda, played.T)
    advantage = standardised(advantage, played.T)

    delta = perceptron(net.actor, x) + jnp.exp(net.spread)[None, None] * noise
    logp = (-0.5 * noise**2).sum(-1) - net.spread.sum()
    steps = x[:, :-1], delta[:, :-1], logp[:, :-1], advantage.T, target.T
    flat = Samples(*(a.reshape(-1, *a.shape[2:]) for a in steps))
    return flat, played.reshape(-1), square


def loss(net: Net, batch: Samples, config: AtlaOptions) -> Float[Array, ""]:
    """PPO's clipped loss and half the squared error of the value. Constants of log p cancel in the ratio."""
    assert net.spread is not None
    assert net.critic is not None
    off = (batch.delta - perceptron(net.actor, batch.x)) * jnp.exp(-net.spread)[None]
    ratio = jnp.exp((-0.5 * off**2).sum(-1) - net.spread.sum() - batch.logp)
    gain = clipped_gain(ratio, batch.advantage, config.clip).mean()
    return 0.5 * ((perceptron(net.critic, batch.x)[:, 0] - batch.target) ** 2).mean() - gain
