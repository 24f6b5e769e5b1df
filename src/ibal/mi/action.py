"""How much the actions of one group tell about those of the other, and the action that tells least.

One model p_phi(a^j | a^{G1}, tau) serves every division into groups: its input is everybody's one-hot action with those
of G2 set to zero, the group bits and the history tau; its output one categorical per agent, of which only those of
G2 mean anything.

    params = init(key, config, spec)
    opt = descent.optimiser(config).init(params)
    params, opt, losses = fit(key, config, spec, params, opt, episodes, most=4, steps=1000)
    actions = least_informative(config, params, tau, actions, avail, group, alive)

Source: IBAL Definition 4.5, Appendix B.1.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from ibal import rng
from ibal.mi import samples
from ibal.mi.config import BOTTLENECK, ActionConfig
from ibal.mi.descent import descend, repeat
from ibal.mi.samples import JointBatch
from ibal.nets.agents import linear, uniform
from ibal.nets.layers import Linear, Mlp, after_first, mlp, multiply_adds
from ibal.types import Actions, EnvSpec, Episodes, PRNGKey

ILLEGAL = -1e9  # logit of an action that is not allowed


class ActionParams(NamedTuple):
    """The first layer in one piece per input, then the other layers; ``encoder`` squeezes the history (T2, T3)."""

    action: Float[Array, "n a h"]
    group: Float[Array, "n h"]
    tau: Float[Array, "w h"]
    bias: Float[Array, "h"]
    rest: Mlp
    encoder: Linear | None


def init(key: PRNGKey, config: ActionConfig, spec: EnvSpec, hidden_size: int = 0) -> ActionParams:
    """Draw the model from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the first layer as one layer on all its inputs.

    ``hidden_size`` is the size of one agent's hidden state (T1 and T2 only).
    """
    n, n_actions, first = spec.n_agents, spec.n_actions, config.hidden[0]
    width = samples.context_size(config, spec, hidden_size)
    if config.tau in ("T1", "T2") and not hidden_size:
        raise ValueError(
            f"the action model with tau={config.tau} needs hidden_size, the size of an agent's hidden state"
        )
    encoder = None
    if config.tau in BOTTLENECK:
        narrow, parts = BOTTLENECK[config.tau], n if config.tau == "T2" else 1
        encoder = mlp(rng.stream(key, "encoder"), (width // parts, narrow))[0]
        width = parts * narrow
    shapes = ((n, n_actions, first), (n, first), (width, first), (first,))
    action, group, tau, bias = uniform(rng.stream(key, "first"), shapes, [n * n_actions + n + width] * 4)
    rest = mlp(rng.stream(key, "rest"), (*config.hidden, n * n_actions))
    return ActionParams(action, group, tau, bias, rest, encoder)


def log_probabilities(
    params: ActionParams, tau: Float[Array, "c w"], action: Int[Array, "c n"], group: Bool[Array, "c n"],
    legal: Bool[Array, "c n a"],
) -> Float[Array, "c n a"]:  # fmt: skip
    """Return log p_phi(a^j | a^{G1}, tau) for a batch; the rows of G1 mean nothing."""
    shown = jax.nn.one_hot(jnp.where(group, action, -1), params.action.shape[1], dtype=params.action.dtype)
    first = jnp.einsum("cna,nah->ch", shown, params.action) + _given(params, tau, group)
    return _log_softmax(params, first, legal)


def loss(params: ActionParams, batch: JointBatch) -> Float[Array, ""]:
    """Cross-entropy in nats, mean over the living agents of G2 of all transitions."""
    predicted = log_probabilities(params, batch.tau, batch.action, batch.group, batch.legal)
    right = jnp.take_along_axis(predicted, batch.target[..., None], axis=-1)[..., 0]
    return -jnp.where(batch.counts, right, 0.0).sum() / jnp.maximum(batch.counts.sum(), 1).astype(jnp.float32)


def update(
    config: ActionConfig, params: ActionParams, opt_state: optax.OptState, batch: JointBatch
) -> tuple[ActionParams, optax.OptState, Float[Array, ""]]:
    """Take one gradient step; return the loss before it too."""
    return descend(config, lambda p: loss(p, batch), params, opt_state)


def fit(
    key: PRNGKey, config: ActionConfig, spec: EnvSpec, params: ActionParams, opt_state: optax.OptState,
    episodes: Episodes, most: int, steps: int, hidden: Float[Array, "b t n h"] | None = None,
) -> tuple[ActionParams, optax.OptState, Float[Array, "steps"]]:  # fmt: skip
    """Take ``steps`` gradient steps on transitions drawn from ``episodes``; return the losses too.

    ``most`` and ``hidden`` as in ``samples.joint_actions``.
    """

    def step(
        index: Array, params: ActionParams, opt_state: optax.OptState
    ) -> tuple[ActionParams, optax.OptState, Array]:
        batch = samples.joint_actions(rng.at(key, index), config, spec, episodes, most, hidden=hidden)
        return update(config, params, opt_state, batch)

    return repeat(step, params, opt_state, steps)


def counterfactual(
    config: ActionConfig, params: ActionParams, tau: Float[Array, "w"], actions: Actions, avail: Bool[Array, "n a"],
    group: Bool[Array, "n"], alive: Bool[Array, "n"], *, weights: Float[Array, "n a"] | None = None,
    most: int | None = None,
) -> Float[Array, "n a"]:  # fmt: skip
    """Return I[i, x]: what G2's actions would owe to agent i of G1 doing x, in nats; for one environment.

    I[i, x] = sum over living j in G2 of KL(p(a^j | a^{G1} with a^i = x, tau) || marginal), the other agents of G1 at
    ``actions``. Zero for everybody else; illegal x have a value too, which means nothing. With ``marginal`` "M2",
    ``weights`` [n, a] are the policy's probabilities. ``most``, if no group is larger, saves the passes for the others.
    """
    n, n_actions, size = params.action.shape
    most = n if most is None else most
    # Members of the group first: the rest needs no passes.
    who = jnp.argsort(~group, stable=True)[:most]
    legal = jnp.ones_like(avail) if config.tau == "T5" else avail

    # The first layer is linear in the one-hots, so a replaced action is one row of weights less and another one more.
    shown = jnp.where(group[:, None], params.action[jnp.arange(n), actions], 0.0)
    given = _given(params, tau[None], group[None])[0]
    without = given[None] + shown.sum(0, keepdims=True) - shown[who]  # [k, h]
    first = without[:, None, :] + params.action[who]  # [k, a, h]
    allowed = jnp.broadcast_to(legal[None], (most * n_actions, n, n_actions))
    log_p = _log_softmax(params, first.reshape(-1, size), allowed).reshape(most, n_actions, n, n_actions)
    p = jnp.exp(log_p)

    if config.marginal == "M1":
        empty = _given(params, tau[None], jnp.zeros((1, n), bool))
        marginal = jnp.broadcast_to(_log_softmax(params, empty, legal[None])[None], (most, 1, n, n_actions))
    else:
        share = _candidate_weights(config, avail, weights)[who]
        mixed = jnp.einsum("kx,kxja->kja", share, p)[:, None]
        marginal = jnp.log(jnp.maximum(mixed, jnp.finfo(p.dtype).tiny))
    divergence = jnp.where(p > 0, p * (log_p - marginal), 0.0).sum(-1)  # [k, a, j]
    listeners = ~group & alive
    found = jnp.where(listeners[None, None], divergence, 0.0).sum(-1)
    return jnp.where((group & alive)[:, None], jnp.zeros((n, n_actions)).at[who].set(found), 0.0)


def least_informative(
    config: ActionConfig, params: ActionParams, tau: Float[Array, "w"], actions: Actions, avail: Bool[Array, "n a"],
    group: Bool[Array, "n"], alive: Bool[Array, "n"], *, weights: Float[Array, "n a"] | None = None,
    most: int | None = None,
) -> Actions:  # fmt: skip
    """Replace the action of every living agent of G1 by the legal one that tells G2 least; ties: the lowest index.

    All agents are searched side by side, each with the others at ``actions``. Arguments as in ``counterfactual``.
    """
    told = counterfactual(config, params, tau, actions, avail, group, alive, weights=weights, most=most)
    quietest = jnp.argmin(jnp.where(avail, told, jnp.inf), axis=1).astype(actions.dtype)
    return jnp.where(group & alive, quietest, actions)


def flops(config: ActionConfig, spec: EnvSpec) -> int:
    """Count the operations of the layers after the first for one row, forward; a gradient step costs three times
    that, plus the first layer's, and ``counterfactual`` takes ``most * a`` rows."""
    return 2 * multiply_adds((*config.hidden, spec.n_agents * spec.n_actions))


def _candidate_weights(
    config: ActionConfig, avail: Bool[Array, "n a"], weights: Float[Array, "n a"] | None
) -> Float[Array, "n a"]:
    if config.marginal == "M2":
        if weights is None:
            raise ValueError("the marginal M2 needs weights, the policy's probability of every action; none given")
        share = jnp.where(avail, weights, 0.0)
    else:
        share = avail.astype(jnp.float32)
    return share / jnp.maximum(share.sum(1, keepdims=True), 1e-30)


def _given(params: ActionParams, tau: Float[Array, "c w"], group: Bool[Array, "c n"]) -> Float[Array, "c h"]:
    """Sum the first layer over everything but the actions."""
    if params.encoder is not None:
        parts = tau.reshape(tau.shape[0], -1, params.encoder.w.shape[0])
        tau = linear(parts, *params.encoder).reshape(tau.shape[0], -1)
    return linear(tau, params.tau, params.bias) + group.astype(params.group.dtype) @ params.group


def _log_softmax(
    params: ActionParams, first: Float[Array, "c h"], legal: Bool[Array, "c n a"]
) -> Float[Array, "c n a"]:
    logits = after_first(params.rest, first).reshape(legal.shape)
    return jax.nn.log_softmax(jnp.where(legal, logits, ILLEGAL), axis=-1)
