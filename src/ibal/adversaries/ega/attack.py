"""EGA: a population of attackers that learn at which steps whose action to replace by the worst one, and evolve.

At every step the episode's attacker picks an agent or nobody from its sparse policy; the agent does its worst legal
action. Every attacker learns Q by soft temporal differences from everybody's episodes, and the population is told to
differ; after a generation its members ask for places in an archive, from which the next population is drawn. In
evaluation each episode's attacker is one of the archive. No step of the environment is played for the attackers alone.

Source: ROMANCE (Yuan et al. 2023), formulas of the paper and its appendix, numbers of the official settings. Other than
in the official code: its formulas of policy and value are not those of the paper; it trains on the last step of an
episode only; it keeps a replay of 1000 episodes (here: some 10^4 steps) and plays episodes apart for qualities (here: a
generation's own episodes, whose first ones also judge the members of the archive it came from anew). Other than in the
paper: who has no budget left has nothing to choose, in the value too; new attackers start at about the level of the
others' values, which changes nothing that they do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ibal import rng, tree
from ibal.adversaries.base import ActView, Adversary, Feedback, Threat, adversary, worst
from ibal.adversaries.ega.archive import Entry, Member, choose, consider, probabilities
from ibal.adversaries.ega.lesson import Replay, Steps, budget, lesson, optimiser, recorded, remembered
from ibal.adversaries.ega.options import EgaOptions
from ibal.nets.layers import apply, mlp
from ibal.types import EnvSpec, Episodes, PRNGKey, TimeStep


@dataclass(frozen=True)
class EgaConfig(EgaOptions):
    """A population of networks that learn when to force which agent to its worst action (ROMANCE; Yuan et al. 2023)."""

    def build(self, spec: EnvSpec) -> Adversary:
        return ega(self, spec)


class Tally(NamedTuple):
    """The generation so far: where its attackers come from (a place of the archive; -1: new), the returns that the team
    has had against each, in how many episodes; and in which share of episodes attacks are suppressed at times."""

    origin: Int[Array, "m"]
    returns: Float[Array, "m"]
    episodes: Float[Array, "m"]
    suppressed: Float[Array, ""]


class State(NamedTuple):
    """What lasts; in evaluation there is only the archive."""

    archive: Entry
    population: Member | None = None
    tally: Tally | None = None
    replay: Replay | None = None


class Log(NamedTuple):
    """What the update needs: the choices at all steps (the number of agents: nobody); for ``quiet`` steps at the
    beginning, or in a ``third`` of all, nobody could be chosen."""

    choices: Int[Array, "t"]
    quiet: Int[Array, ""]
    third: Bool[Array, ""]


class Memory(NamedTuple):
    """The episode's attacker, its attacks so far, and in training what it did."""

    member: Int[Array, ""]
    used: Int[Array, ""]
    log: Log | None


def ega(config: EgaConfig, spec: EnvSpec) -> Adversary:
    """Make the attack for an environment; in training the episodes are dealt to the population."""
    n, horizon, most = spec.n_agents, spec.horizon, budget(config, spec)
    if (n + 1) * config.smoothing >= 1:
        raise ValueError(
            f"EgaConfig.smoothing is {config.smoothing}; with {n} agents a number below {1 / (n + 1):.3f} was expected"
        )
    small = jnp.int8 if n < 127 else jnp.int32

    def begin(key: jax.Array, state: State, step: TimeStep) -> Memory:
        who = rng.stream(key, "member")
        if state.tally is None:
            # Before the first generation has ended, all places hold attackers that have learned nothing.
            open_to = jnp.where(state.archive.valid | ~state.archive.valid.any(), 0.0, -jnp.inf)
            return Memory(jax.random.categorical(who, open_to).astype(jnp.int32), jnp.int32(0), None)
        quiet, third = _suppression(rng.stream(key, "suppressed"), horizon, state.tally.suppressed)
        log = Log(jnp.full(horizon, n, small), quiet, third)
        return Memory(jax.random.randint(who, (), 0, config.population), jnp.int32(0), log)

    def act(key: jax.Array, state: State, memory: Memory, view: ActView) -> tuple[jax.Array, Memory]:
        attackers = state.archive.member if state.population is None else state.population
        x = jnp.append(view.step.state, 1 - memory.used.astype(jnp.float32) / most)
        p = probabilities(config, apply(tree.at(attackers.net, memory.member), x), x)
        choice = jax.random.categorical(rng.stream(key, "choice"), jnp.log(p)).astype(jnp.int32)
        log = memory.log
        if log is not None:
            now = jax.random.bernoulli(rng.stream(key, "suppressed"), 1 / 3)
            choice = jnp.where((view.time < log.quiet) | (log.third & now), n, choice)
            log = log._replace(choices=log.choices.at[view.time].set(choice.astype(small)))
        bad = worst(view.scores, view.step.avail).astype(view.actions.dtype)
        struck = (jnp.arange(n) == choice) & view.step.alive
        used = memory.used + (choice < n).astype(jnp.int32)
        return jnp.where(struck, bad, view.actions), Memory(memory.member, used, log)

    def update(key: jax.Array, state: State, episodes: Episodes, feedback: Feedback) -> tuple[State, dict[str, Array]]:
        iteration, part = feedback.now, scheduled(config, feedback)
        generation, steps = iteration // config.length, recorded(config, spec, episodes)
        replay = remembered(state.replay, steps)
        frozen = (part >= config.freeze) & (config.freeze < 1)
        state = _tallied(state, episodes, iteration % config.length == 0)
        population, loss, differ = jax.lax.cond(
            frozen,
            lambda p: (p, jnp.float32(0), jnp.float32(0)),
            lambda p: lesson(rng.stream(key, "lesson"), config, p, replay.steps),
            state.population,
        )
        whose = _attacked_by(config, spec, episodes, steps)
        state = jax.lax.cond(
            iteration % config.length == config.length - 1,
            lambda s: _evolved(rng.stream(key, "evolve"), config, spec, s, steps, whose, generation, part, frozen),
            lambda s: s,
            state._replace(population=population, replay=None),
        )
        metrics = {
            "attackers": state.archive.valid.sum().astype(jnp.float32),
            "attacker_loss": loss,
            "attacker_divergence": differ,
            "attacks": episodes.memory.used.mean(dtype=jnp.float32),
        }
        return state._replace(replay=replay), metrics

    return adversary(
        threat=Threat(knowledge=("scores", "values", "state"), channels=("act",), agents=1),
        init=lambda key: _init(key, config, spec),
        begin=begin,
        act=act,
        update=None if config.evaluation else update,
    )


def scheduled(config: EgaConfig, feedback: Feedback) -> Float[Array, ""]:
    """Return the share of the schedule that is over: of the ``generations``, else of the training or fitting as a
    whole; 0 where nobody says how long that is."""
    if config.generations is not None:
        return (feedback.now + 1).astype(jnp.float32) / (config.generations * config.length)
    return jnp.float32(0) if feedback.part is None else feedback.part


def _attacked_by(config: EgaConfig, spec: EnvSpec, episodes: Episodes, steps: Steps) -> Bool[Array, "m b"]:
    """Say at which steps each of the population attacked."""
    member = jnp.repeat(episodes.memory.member, steps.played.shape[0] // episodes.length.shape[0])
    attacked = steps.played & (steps.choice < spec.n_agents)
    return attacked[None] & (member[None] == jnp.arange(config.population)[:, None])


def _suppression(
    key: PRNGKey, horizon: int, share: Float[Array, ""]
) -> tuple[Int[Array, ""], Bool[Array, ""]]:  # fmt: skip
    """Draw whether attacks are suppressed for some steps at the beginning (how many) or at a third of all steps."""
    low, high = (5, 20) if horizon >= 40 else (min(10, horizon // 4), horizon // 2)
    some = jax.random.bernoulli(rng.stream(key, "some"), share)
    third = jax.random.bernoulli(rng.stream(key, "third"))
    quiet = jax.random.randint(rng.stream(key, "quiet"), (), low, high + 1)
    return jnp.where(some & ~third, quiet, 0), some & third


def _tallied(state: State, episodes: Episodes, first: Bool[Array, ""]) -> State:
    """Count the returns; a generation's ``first`` ones are also those of the members of the archive it came from."""
    tally, archive = state.tally, state.archive
    assert tally is not None
    assert archive.quality is not None
    played = jnp.arange(episodes.reward.shape[1])[None, :] < episodes.length[:, None]
    whole = jnp.where(played, episodes.reward, 0.0).sum(1)
    whose = jax.nn.one_hot(episodes.memory.member, tally.episodes.shape[0])
    returns, count = whole @ whose, whose.sum(0)
    parent = jax.nn.one_hot(tally.origin, archive.quality.shape[0])
    again = count @ parent
    quality = jnp.where(first & (again > 0), -(returns @ parent) / jnp.maximum(again, 1.0), archive.quality)
    tally = tally._replace(returns=tally.returns + returns, episodes=tally.episodes + count)
    return state._replace(archive=archive._replace(quality=quality), tally=tally)


def _evolved(
    key: PRNGKey, config: EgaConfig, spec: EnvSpec, state: State, steps: Steps,
    whose: Bool[Array, "m b"], generation: Int[Array, ""], part: Float[Array, ""], frozen: Bool[Array, ""],
) -> State:  # fmt: skip
    """End a generation: its members ask for places in the archive, and the next one is chosen. ``part`` of the schedule
    is over."""
    tally = state.tally
    assert tally is not None
    places = jnp.arange(config.population)
    # Who has not played is taken for average.
    mean = tally.returns.sum() / jnp.maximum(tally.episodes.sum(), 1.0)
    quality = -jnp.where(tally.episodes > 0, tally.returns / jnp.maximum(tally.episodes, 1.0), mean)
    lots = jax.vmap(lambda i: rng.at(rng.stream(key, "points"), i))(places)
    points, attacked = jax.vmap(lambda k, rows: _points(k, config, steps, rows))(lots, whose)
    born = (generation * config.population + places).astype(jnp.int32)
    ones = Entry(state.population, jnp.ones(config.population, bool), quality, points, attacked, born)  # pyright: ignore[reportArgumentType]
    # When it began: generations are about equally long.
    begun = part * (generation / (generation + 1)).astype(jnp.float32)
    rho = _between(config.rho_start, config.rho_end, begun)

    def ask(archive: Entry, index: Array) -> tuple[Entry, None]:
        return consider(rng.at(rng.stream(key, "compete"), index), config, archive, tree.at(ones, index), rho), None

    archive = jax.lax.cond(frozen, lambda a: a, lambda a: jax.lax.scan(ask, a, places)[0], state.archive)
    early = max(config.early, 1e-6)
    share = jnp.where(frozen, 0.0, _between(config.fresh_start, config.fresh_end, begun / early))
    # Halfway through an episode half of the return is still to come.
    fresh = _members(rng.stream(key, "fresh"), config, spec, config.population, -mean / 2)
    population, origin = choose(rng.stream(key, "choose"), config, archive, fresh, share)
    nothing = jnp.zeros(config.population)
    suppressed = jnp.where(frozen, 0.0, _between(config.suppressed, 0.0, part / early))
    return State(archive, population, Tally(origin, nothing, nothing, suppressed))


def _points(
    key: PRNGKey, config: EgaConfig, steps: Steps, wanted: Bool[Array, "b"]
) -> tuple[Float[Array, "k i"], Bool[Array, "k"]]:
    """Draw inputs from the wanted steps, and say where there are any."""
    lot = jnp.where(wanted, jax.random.uniform(key, wanted.shape), -1.0)
    best, rows = jax.lax.top_k(jnp.pad(lot, (0, config.points), constant_values=-1.0), config.points)
    return steps.x[jnp.minimum(rows, len(wanted) - 1)].astype(jnp.float16), best >= 0


def _between(start: float, end: float, part: Float[Array, ""]) -> Float[Array, ""]:
    """Return what goes from start to end while ``part`` goes from 0 to 1, then stays."""
    return start + (end - start) * jnp.clip(part, 0.0, 1.0)


def _init(key: PRNGKey, config: EgaConfig, spec: EnvSpec) -> State:
    places, inputs = config.archive, spec.state_size + 1
    member = _members(rng.stream(key, "archive"), config, spec, places)
    valid = jnp.zeros(places, bool)
    if config.evaluation:
        return State(Entry(Member(member.net), valid))
    archive = Entry(
        member, valid, jnp.zeros(places), jnp.zeros((places, config.points, inputs), jnp.float16),
        jnp.zeros((places, config.points), bool), jnp.zeros(places, jnp.int32),
    )  # fmt: skip
    nothing = jnp.zeros(config.population)
    tally = Tally(jnp.full(config.population, -1), nothing, nothing, jnp.float32(config.suppressed))
    rows = config.replay
    empty = Steps(
        jnp.zeros((rows, inputs), jnp.float16), jnp.zeros(rows, jnp.int8 if spec.n_agents < 127 else jnp.int32),
        jnp.zeros(rows), jnp.zeros(rows, bool), jnp.zeros(rows, bool),
    )  # fmt: skip
    population = _members(rng.stream(key, "population"), config, spec, config.population)
    return State(archive, population, tally, Replay(empty, jnp.int32(0)))


def _members(key: PRNGKey, config: EgaConfig, spec: EnvSpec, count: int, level: Any = 0.0) -> Member:
    """Draw attackers that have learned nothing, with values about ``level``."""
    sizes = (spec.state_size + 1, config.hidden, config.hidden, spec.n_agents + 1)
    net = jax.vmap(lambda i: mlp(rng.at(key, i), sizes))(jnp.arange(count))
    net = (*net[:-1], net[-1]._replace(b=net[-1].b + level))
    return Member(net, net, jax.vmap(optimiser(config).init)(net))
