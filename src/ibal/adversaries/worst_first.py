"""A mixture of failures, of which a team meets most what it is worst at.

    WorstFirstConfig(failures=("natural", "interaction", "stop-1", "hp-20")).build(spec)

All episodes of an iteration of training have one failure, drawn for the next iteration with the weights

    w_k = floor + (1 - K floor) softmax(eta debt)_k,    debt_k <- keep debt_k + (target_k - success_k)

where ``debt`` changes for the failure that was played. A replay holds the failures of hundreds of iterations, so the
learner sees them mixed. The target is what a specialist reaches, where that is known; else what this team has reached
itself, and a ``margin`` more: so that what nobody can win does not take the budget, and what was known and is lost
comes first.

Source: the multiplicative weights of Freund and Schapire 1997, over failures as in distributionally robust training
(Sagawa et al. 2020); here the sum forgets, since a team that learns makes old losses wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ibal import rng, tree
from ibal.adversaries import configured, fault_names, learns
from ibal.adversaries.base import ActView, Adversary, ObsView, Tells, Threat, adversary
from ibal.adversaries.groups import GroupConfig
from ibal.adversaries.limits import at_least, within
from ibal.game.host import UNTOUCHED
from ibal.game.perturb import perturb
from ibal.options import ConfigError
from ibal.types import KNOWLEDGE, Actions, Env, EnvSpec, Episodes, Feedback, PRNGKey, TimeStep

NATURAL = "natural"


@dataclass(frozen=True)
class WorstFirstConfig:
    """Failures of all kinds, most of all those that the team is worst at."""

    failures: tuple[str, ...] = (NATURAL, "random", "wolfpack-random", "interaction")
    """What is met: attacks, faults and perturbations by their names, with one option in brackets if need be, the first
    "natural". Attacks that learn do so from the natural games and their own; P of groups stays as it begins."""
    targets: tuple[float, ...] = ()
    """The success that is reached by who knows each of the failures best; (): what this team has reached, and
    ``margin`` more."""
    margin: float = 0.2
    """How much more."""
    eta: float = 1.5
    """How strictly the worst comes first."""
    keep: float = 0.7
    """What stays of a debt, and of a mean of successes, when a failure is played again."""
    floor: float = 0.03
    """Least share of every failure."""
    calm: int = 25
    """Iterations at the beginning in which nothing fails, and attacks learn."""

    def __post_init__(self) -> None:
        name, count = type(self).__name__, len(self.failures)
        if self.failures[:1] != (NATURAL,) or count < 2 or len(set(self.failures)) < count:
            given = " ".join(self.failures)
            raise ValueError(f'{name}.failures must be "{NATURAL}" and at least one more, each once, not "{given}"')
        if self.targets and len(self.targets) != count:
            raise ValueError(f"{name}.targets are {len(self.targets)} numbers, but there are {count} failures")
        for target in self.targets:
            within(f"{name}.targets", target, 0, 1)
        for field in ("margin", "keep"):
            within(f"{name}.{field}", getattr(self, field), 0, 1)
        within(f"{name}.floor", self.floor, 0, 1 / count)
        for field in ("eta", "calm"):
            at_least(f"{name}.{field}", getattr(self, field), 0)

    def build(self, spec: EnvSpec) -> Adversary:
        return worst_first(self, spec)


class State(NamedTuple):
    """``parts`` is what the attacks have learned, in ``lessons`` iterations each; ``which`` the failure of the episodes
    that come next; ``mean`` its success of late and ``best`` the best mean so far."""

    parts: tuple[Any, ...]
    lessons: Int[Array, "k"]
    which: Int[Array, ""]
    played: Int[Array, "k"]
    mean: Float[Array, "k"]
    best: Float[Array, "k"]
    debt: Float[Array, "k"]


class Memory(NamedTuple):
    """The failure of the episode, and what each attack remembers of it: zeros of those that are not there."""

    which: Int[Array, ""]
    parts: tuple[Any, ...]


class _Part(NamedTuple):
    """One failure: ``world`` is its perturbation ("none": no such part); ``learns``: whether its attack does."""

    world: str
    attack: Adversary
    learns: bool


def worst_first(config: WorstFirstConfig, spec: EnvSpec) -> Adversary:
    """Make the mixture for an environment. Raises ValueError where games cannot be won, or for a failure that is none,
    is impossible there, or has to be learned by playing."""
    if not spec.has_win:
        raise ValueError(f"worst first is told by how often a team wins, and {spec.name} cannot be won (no metric win)")
    parts = [_part(name, spec) for name in config.failures]
    attacks = [part.attack for part in parts]
    count = len(parts)
    sees, acts = (
        [k for k, attack in enumerate(attacks) if not getattr(getattr(attack, name), UNTOUCHED, False)]
        for name in ("observe", "act")
    )

    def init(key: PRNGKey) -> State:
        learned = tuple(attack.init(rng.stream(key, str(k))) for k, attack in enumerate(attacks))
        none, nothing = jnp.zeros(count, jnp.int32), jnp.zeros(count)
        return State(learned, none, jnp.int32(0), none, nothing, nothing, nothing)

    def begin(key: PRNGKey, state: State, step: TimeStep) -> Memory:
        def of(k: int) -> Any:
            memory = attacks[k].begin(rng.stream(key, str(k)), state.parts[k], step)
            return tree.where(state.which == k, memory, jax.tree.map(jnp.zeros_like, memory))

        return Memory(state.which, tuple(of(k) for k in range(count)))

    def observe(key: PRNGKey, state: State, memory: Memory, view: ObsView) -> tuple[Array, Memory]:
        def do(k: int, own: Any) -> tuple[Array, Any]:
            return attacks[k].observe(rng.stream(key, str(k)), state.parts[k], own, view)

        return _only(state.which, memory, sees, view.step.obs, do)

    def act(key: PRNGKey, state: State, memory: Memory, view: ActView) -> tuple[Actions, Memory]:
        def do(k: int, own: Any) -> tuple[Actions, Any]:
            actions, own = attacks[k].act(rng.stream(key, str(k)), state.parts[k], own, view)
            return actions.astype(jnp.int32), own

        return _only(state.which, memory, acts, view.actions.astype(jnp.int32), do)

    def update(key: PRNGKey, state: State, episodes: Episodes, feedback: Feedback) -> tuple[State, dict[str, Array]]:
        learned, lessons = [], state.lessons
        for k, part in enumerate(parts):
            taught = (state.which == 0) | (state.which == k)
            if part.learns:
                mine = episodes._replace(memory=episodes.memory.parts[k])
                told = feedback._replace(iteration=lessons[k])
                lesson = lambda s, k=k, mine=mine, told=told: attacks[k].update(  # noqa: E731
                    rng.stream(key, str(k)), s, mine, told
                )[0]
                learned.append(jax.lax.cond(taught, lesson, lambda s: s, state.parts[k]))
            else:
                learned.append(state.parts[k])
            lessons = lessons.at[k].add(jnp.where(taught & part.learns, 1, 0))
        state = scored(config, state._replace(parts=tuple(learned), lessons=lessons), feedback.success)
        share = weights(config, state.debt)
        drawn = jax.random.categorical(rng.stream(key, "which"), jnp.log(share)).astype(jnp.int32)
        state = state._replace(which=jnp.where(state.played.sum() < config.calm, 0, drawn))
        names = config.failures
        said = {f"share/{name}": share[k] for k, name in enumerate(names)}
        return state, said | {f"success/{name}": state.mean[k] for k, name in enumerate(names)}

    def reobserve(memory: Memory, obs: Float[Array, "n o"]) -> Float[Array, "n o"]:
        seen = obs
        for k, attack in enumerate(attacks):
            assert attack.reobserve is not None
            seen = jnp.where(memory.which == k, attack.reobserve(memory.parts[k], obs), seen)
        return seen

    threat = together([attack.threat for attack in attacks])
    return adversary(
        threat=threat,
        init=init,
        begin=begin,
        observe=observe if sees else None,
        act=act if acts else None,
        update=update,
        reobserve=reobserve if all(attack.reobserve is not None for attack in attacks) else None,
        world=_world([part.world for part in parts]) if any(part.world != "none" for part in parts) else None,
        tells=_telling(attacks),
    )


def _only(which: Array, memory: Memory, able: list[int], alone: Array, do: Any) -> tuple[Array, Memory]:
    """Let the failure of now ``do(k, its memory)`` if it is ``able`` to, or leave ``alone`` what is there. Its
    index ``which`` is that of a whole iteration, not of one game among many: so nobody else is computed."""
    place = jnp.array([able.index(k) + 1 if k in able else 0 for k in range(len(memory.parts))])

    def of(k: int) -> Any:
        def branch() -> tuple[Array, Memory]:
            found, own = do(k, memory.parts[k])
            return found, memory._replace(parts=(*memory.parts[:k], own, *memory.parts[k + 1 :]))

        return branch

    return jax.lax.switch(place[which], [lambda: (alone, memory), *(of(k) for k in able)])


def scored(config: WorstFirstConfig, state: State, success: Float[Array, ""]) -> State:
    """Count an iteration's success for the failure that was played."""
    k = state.which
    before = jnp.where(state.played[k] > 0, state.mean[k], success)
    mean = config.keep * before + (1 - config.keep) * success
    best = jnp.maximum(state.best[k], mean)
    target = jnp.array(config.targets)[k] if config.targets else jnp.minimum(best + config.margin, 1.0)
    debt = config.keep * state.debt[k] + target - success
    return state._replace(
        played=state.played.at[k].add(1), mean=state.mean.at[k].set(mean), best=state.best.at[k].set(best),
        debt=state.debt.at[k].set(debt),
    )  # fmt: skip


def weights(config: WorstFirstConfig, debt: Float[Array, "k"]) -> Float[Array, "k"]:
    """Return how often each failure is met: the more it owes the more often, none less than ``floor``."""
    return config.floor + (1 - config.floor * debt.shape[0]) * jax.nn.softmax(config.eta * debt)


def together(threats: list[Threat]) -> Threat:
    """Return what adversaries may know and change of which one at a time is there; None, no limit, stays None."""
    attacking = [threat for threat in threats if threat.channels]
    seen = [threat for threat in attacking if "obs" in threat.channels]

    def most(values: list[Any]) -> Any:
        return None if not values or None in values else max(values)

    return Threat(
        knowledge=tuple(word for word in KNOWLEDGE if any(word in threat.knowledge for threat in threats)),
        channels=tuple(c for c in ("obs", "act") if any(c in threat.channels for threat in threats)),
        agents=most([threat.agents for threat in attacking]),
        eps=most([threat.eps for threat in seen]),
        dims=most([threat.dims for threat in seen]),
    )


def _part(name: str, spec: EnvSpec) -> _Part:
    """Read a failure. Raises ValueError for one that is none or cannot be learned beside others."""
    world, rest = fault_names.split(name)
    config: Any = configured(rest)
    if isinstance(config, GroupConfig):
        config = replace(config, alpha=1.0)  # a success is told of all failures together
    learning = learns(config)
    if learning and not hasattr(config, "fit"):
        raise ConfigError(
            f'"{name}" learns by playing all the time, which it cannot among other failures; take one that learns from '
            "natural games (interaction) or not at all (wolfpack-random)"
        )
    attack = config.build(spec)
    if attack.alone is not None or attack.world is not None:
        raise ConfigError(f'"{name}" needs whole iterations of its own and cannot be one of several failures')
    return _Part(world, attack, learning)


def _world(names: list[str]) -> Any:
    """Return the function that makes the world's parameters."""

    def world(state: State, env: Env) -> Any:
        options = [_perturbed(env, name) for name in names]
        return tree.select(state.which, options)

    return world


def _perturbed(env: Env, name: str) -> Any:
    if name != "none" and env.perturb is None:  # ``perturb`` would make another world of it
        raise ValueError(f'{env.spec.name} cannot follow "{name}": its parameters know no perturbation')
    return perturb(env, name)[1]


def _telling(attacks: list[Adversary]) -> Tells:
    """Tell which failure it is, and what those tell that are there."""
    known = [(k, attack.tells) for k, attack in enumerate(attacks) if attack.tells is not None]

    def tell(memory: Memory) -> Float[Array, "p"]:
        words = [jax.nn.one_hot(memory.which, len(attacks))]
        words += [jnp.where(memory.which == k, tells.of(memory.parts[k]), 0.0) for k, tells in known]
        return jnp.concatenate(words)

    return Tells(len(attacks) + sum(tells.size for _, tells in known), tell)
