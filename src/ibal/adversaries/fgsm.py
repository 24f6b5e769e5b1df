"""White-box noise: a step, or several, of what an agent sees against its best action. FGSM and PGD.

Source: IBAL Appendix D.2 (FGSM: one agent at every step, eps 0.1); Goodfellow et al. 2015; Madry et al. 2018 (PGD).
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ibal.adversaries.base import Adversary, ObsView, Threat, adversary
from ibal.adversaries.groups import draw_members
from ibal.adversaries.limits import among, at_least
from ibal.adversaries.masks import within_box
from ibal.ops.categorical import ILLEGAL
from ibal.types import EnvSpec


@dataclass(frozen=True)
class FgsmConfig:
    """Steps of what an agent sees against its own best action (Appendix D.2); white box."""

    eps: float = 0.1
    """Largest change of an entry of the observation."""
    steps: int = 1
    """Gradient steps: 1 is FGSM, more are PGD."""
    agents: int = 1
    """How many agents, drawn anew at every step, see something else."""

    def __post_init__(self) -> None:
        at_least(f"{type(self).__name__}.eps", self.eps, 0)
        for key in ("steps", "agents"):
            at_least(f"{type(self).__name__}.{key}", getattr(self, key), 1)

    def build(self, spec: EnvSpec) -> Adversary:
        return fgsm(self, spec)


@dataclass(frozen=True)
class PgdConfig(FgsmConfig):
    """The same with ten small steps instead of a large one."""

    steps: int = 10


def fgsm(config: FgsmConfig, spec: EnvSpec) -> Adversary:
    """At every step ``config.agents`` random agents see up to eps more or less in every entry: ``config.steps`` steps
    of sign(dQ_i(a*) / do_i) downhill, a* being the best action of the clean observation (of a team that chooses by
    chance: d log pi_i(a*) / do_i). The dead are drawn too, and left alone. Results are not clipped to the range of
    observations. Raises ValueError where there are not so many."""
    n, agents = spec.n_agents, among(f"{type(config).__name__}.agents", config.agents, spec)
    count = jnp.int32(agents)
    size = config.eps if config.steps == 1 else 2.5 * config.eps / config.steps  # PGD's usual: it can cross the box

    def observe(key: jax.Array, state: tuple[()], memory: tuple[()], view: ObsView) -> tuple[jax.Array, tuple[()]]:
        clean = view.step.obs
        who = draw_members(key, n, count) & view.step.alive
        best = best_actions(view)

        def down(_: Array, obs: Float[Array, "n o"]) -> Float[Array, "n o"]:
            return within_box(obs - size * uphill(view, obs, best), clean, config.eps)

        changed = jax.lax.fori_loop(0, config.steps, down, clean)
        return jnp.where(who[:, None], changed, clean), memory

    return adversary(
        observe=observe,
        threat=Threat(knowledge=("gradient",), channels=("obs",), agents=agents, eps=config.eps),
    )


def best_actions(view: ObsView) -> Int[Array, "n"]:
    """Return everybody's best legal action as they see the world without an attack, after all attacks so far."""
    _, scores = view.policy.scores(view.carry, view.step.obs, view.step.avail, view.last_action)
    return jnp.argmax(jnp.where(view.step.avail, scores, -jnp.inf), axis=1)


def uphill(view: ObsView, obs: Float[Array, "n o"], actions: Int[Array, "n"]) -> Float[Array, "n o"]:
    """Return the sign of d Q_i(actions_i) / d o_i at ``obs`` for every agent; the hidden state is a constant.

    Of a team that chooses by chance it is that of d log pi_i(actions_i) / d o_i, taken from log pi(a) - log(1 - pi(a)):
    the same sign, also where pi(a) is 1 as far as float32 can tell.
    """

    def total(obs: Float[Array, "n o"]) -> Float[Array, ""]:
        _, scores = view.policy.scores(view.carry, obs, view.step.avail, view.last_action)
        taken = jnp.take_along_axis(scores, actions[:, None], axis=1)
        if view.policy.kind != "logit":
            return taken.sum()
        others = view.step.avail & (jnp.arange(scores.shape[1])[None] != actions[:, None])
        rest = jax.nn.logsumexp(jnp.where(others, scores, ILLEGAL), axis=1)
        # Nothing to be done where there is no other action: the sum over none would be of illegal ones.
        return jnp.where(others.any(1), taken[:, 0] - rest, 0.0).sum()

    return jnp.sign(jax.grad(total)(obs))
