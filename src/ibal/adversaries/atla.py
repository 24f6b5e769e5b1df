"""ATLA: an attacker that learns, by reinforcement, how to bend what one agent sees. PPO on the team's losses.

At every step one random agent sees o + eps clip(delta, -1, 1), delta drawn from a Gaussian whose mean is a network of o
and of the agent's number; the reward is what the team does not get. In training the attacker and the team take turns:
every second iteration is the attacker's, in which the team stays as it is, and none of its steps counts towards the
budget of the team; in the others the attacker stays as it is.

Source: Zhang et al. 2021 ("alternating training with learned adversaries") and its official settings; IBAL Appendix D.2
(one agent per step). Other than there: lessons are ``updates`` minibatches drawn with replacement, the learning rate is
constant, and rewards are divided by the root mean square of the returns so far.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, UInt32

from ibal import rng, tree
from ibal.adversaries.base import Adversary, Feedback, ObsView, Threat, adversary
from ibal.adversaries.limits import at_least, within
from ibal.nets.agents import linear
from ibal.nets.layers import Mlp, orthogonal_mlp
from ibal.ops.adam import adam
from ibal.ops.among import among, drawn
from ibal.ops.ppo import clipped_gain, gae, standardised
from ibal.ops.returns import lambda_returns
from ibal.types import EnvSpec, Episodes, PRNGKey, TimeStep


@dataclass(frozen=True)
class AtlaConfig:
    """A network that learns by reinforcement how to change what one random agent sees (Zhang et al. 2021)."""

    eps: float = 0.1
    """Largest change of an entry of the observation."""
    hidden: int = 64
    """Size of the two hidden layers of policy and value."""
    lr: float = 3e-4
    """Learning rate (Adam)."""
    every: int = 2
    """One of so many iterations is the attacker's: it alone learns from it, and the steps played are extra ones. 1: it
    learns beside the team in every iteration, from the same episodes."""
    updates: int = 64
    """Gradient steps of a lesson."""
    minibatch: int = 128
    """Steps of the environment in a gradient step."""
    clip: float = 0.2
    """How far PPO lets the probability of a change move in a lesson."""
    gamma: float = 0.99
    """Discount per step."""
    gae_lambda: float = 0.95
    """Lambda of the advantages."""
    grad_clip: float = 0.5
    """Largest global norm of the gradient."""
    rounds: int = 400
    """Iterations when it is fitted to a victim."""
    evaluation: bool = False
    """Attack as in evaluation: the mean of what was learned, no noise, no learning."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        for key in ("eps", "lr", "clip", "grad_clip"):
            at_least(f"{name}.{key}", getattr(self, key), 0)
        for key in ("hidden", "every", "updates", "minibatch", "rounds"):
            at_least(f"{name}.{key}", getattr(self, key), 1)
        for key in ("gamma", "gae_lambda"):
            within(f"{name}.{key}", getattr(self, key), 0, 1)

    @property
    def learns_by_playing(self) -> bool:
        return True

    def build(self, spec: EnvSpec) -> Adversary:
        return atla(self, spec)


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


class _Samples(NamedTuple):
    """Steps to learn from, [m] each but ``x`` and ``delta``."""

    x: Float[Array, "m i"]
    delta: Float[Array, "m o"]
    logp: Float[Array, "m"]
    advantage: Float[Array, "m"]
    target: Float[Array, "m"]


def atla(config: AtlaConfig, spec: EnvSpec) -> Adversary:
    """Make the attack for an environment; in evaluation it shows the mean of what it has learned."""
    n = spec.n_agents

    def begin(key: jax.Array, state: State, step: TimeStep) -> Memory:
        return Memory(jax.random.key_data(key))

    def observe(key: jax.Array, state: State, memory: Memory, view: ObsView) -> tuple[jax.Array, Memory]:
        who, noise = _drawn(memory, view.time, spec)
        x = jnp.concatenate((view.step.obs[who], jax.nn.one_hot(who, n)))
        delta = perceptron(state.net.actor, x)
        if state.net.spread is not None:
            delta = delta + jnp.exp(state.net.spread) * noise
        change = config.eps * jnp.clip(delta, -1.0, 1.0)
        touched = (jnp.arange(n) == who) & view.step.alive
        return view.step.obs + jnp.where(touched[:, None], change[None], 0.0), memory

    def due(iteration: jax.Array) -> Bool[Array, ""]:
        return iteration % config.every == config.every - 1

    def update(key: jax.Array, state: State, episodes: Episodes, feedback: Feedback) -> tuple[State, dict[str, Array]]:
        state = jax.lax.cond(due(feedback.now), lambda s: _lesson(key, config, spec, s, episodes), lambda s: s, state)
        assert state.net.spread is not None
        return state, {"attacker_spread": jnp.exp(state.net.spread).mean()}

    return adversary(
        threat=Threat(channels=("obs",), agents=1, eps=config.eps),
        init=lambda key: _init(key, config, spec),
        begin=begin,
        observe=observe,
        update=None if config.evaluation else update,
        alone=None if config.evaluation or config.every == 1 else due,
    )


def perceptron(layers: Mlp, x: Float[Array, "*b i"]) -> Float[Array, "*b o"]:
    """Return the last layer's output; tanh in between."""
    for layer in layers[:-1]:
        x = jnp.tanh(linear(x, *layer))
    return linear(x, *layers[-1])


def _init(key: PRNGKey, config: AtlaConfig, spec: EnvSpec) -> State:
    inputs, h = spec.obs_size + spec.n_agents, config.hidden
    actor = orthogonal_mlp(rng.stream(key, "actor"), (inputs, h, h, spec.obs_size), last=0.01)
    if config.evaluation:
        return State(Net(actor, None, None))
    net: Any = Net(
        actor, jnp.zeros(spec.obs_size), orthogonal_mlp(rng.stream(key, "critic"), (inputs, h, h, 1), last=1.0)
    )
    return State(net, _optimiser(config).init(net), jnp.float32(0))


def _optimiser(config: AtlaConfig) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(config.grad_clip), adam(config.lr, eps=1e-5))


def _drawn(memory: Memory, time: Int[Array, ""], spec: EnvSpec) -> tuple[Int[Array, ""], Float[Array, "o"]]:
    """Return who is attacked at a step, and the noise before it is scaled."""
    here = rng.at(jax.random.wrap_key_data(memory.key), time)
    who = jax.random.randint(rng.stream(here, "who"), (), 0, spec.n_agents)
    return who, jax.random.normal(rng.stream(here, "noise"), (spec.obs_size,))


def _lesson(key: PRNGKey, config: AtlaConfig, spec: EnvSpec, state: State, episodes: Episodes) -> State:
    """Take ``config.updates`` steps of PPO on the episodes, which this very attacker has disturbed."""
    samples, valid, square = _samples(config, spec, state, episodes)
    played = among(valid)

    def step(carry: tuple[Net, Any], index: Array) -> tuple[tuple[Net, Any], None]:
        net, opt = carry
        rows = drawn(rng.at(key, index), played, config.minibatch)
        gradient: Any = jax.grad(_loss)(net, tree.at(samples, rows), config)
        change: Any
        change, opt = _optimiser(config).update(gradient, opt)
        return (jax.tree.map(jnp.add, net, change), opt), None

    (net, opt), _ = jax.lax.scan(step, (state.net, state.opt), jnp.arange(config.updates))
    return State(net, opt, square)


def _samples(
    config: AtlaConfig, spec: EnvSpec, state: State, episodes: Episodes
) -> tuple[_Samples, Bool[Array, "m"], Float[Array, ""]]:
    """Return all steps, which of them were played, and the mean squared return with these episodes in it."""
    net, old = state.net, state.square
    assert net.spread is not None
    assert net.critic is not None
    assert old is not None
    times = jnp.arange(episodes.obs.shape[1])
    who, noise = jax.vmap(lambda m: jax.vmap(lambda t: _drawn(m, t, spec))(times))(episodes.memory)
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
    flat = _Samples(*(a.reshape(-1, *a.shape[2:]) for a in steps))
    return flat, played.reshape(-1), square


def _loss(net: Net, batch: _Samples, config: AtlaConfig) -> Float[Array, ""]:
    """PPO's clipped loss and half the squared error of the value. Constants of log p cancel in the ratio."""
    assert net.spread is not None
    assert net.critic is not None
    off = (batch.delta - perceptron(net.actor, batch.x)) * jnp.exp(-net.spread)[None]
    ratio = jnp.exp((-0.5 * off**2).sum(-1) - net.spread.sum() - batch.logp)
    gain = clipped_gain(ratio, batch.advantage, config.clip).mean()
    return 0.5 * ((perceptron(net.critic, batch.x)[:, 0] - batch.target) ** 2).mean() - gain
