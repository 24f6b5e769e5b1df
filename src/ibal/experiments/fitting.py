"""Fit an attack that learns to a given victim.

    fitted = fit_attacker(InteractionConfig(), env, policy, FitPlan(seed=1))       # its state, for save_attacker

An attack with a method ``fit`` learns from episodes that nobody attacks; one with ``learns_by_playing`` attacks the
victim, which stays as it is, and improves by its own ``update``, as beside a team that trains.

Source: IBAL Appendix D.1 (attackers fitted on policies of held-out seeds) and B.1 (what they learn from).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ibal import rng, tree
from ibal.adversaries import learns
from ibal.adversaries.base import Feedback, natural, refusal
from ibal.adversaries.bundle import adapted, save_attacker
from ibal.evaluation.bank import as_evaluated
from ibal.evaluation.matrix import Team
from ibal.evaluation.room import check_room
from ibal.game import referee
from ibal.nets.agents import Agent
from ibal.options import ConfigError, check_count, check_seed
from ibal.training.hosted import collect_hosted
from ibal.training.rollout import collect
from ibal.types import Env, Episodes, HostPolicy, Policy

AT_ONCE = 128  # natural episodes that are played side by side
PLAYED = 32  # episodes of a round of an attack that learns by playing, as in an iteration of training


@dataclass(frozen=True)
class FitPlan:
    """How much is played and learned."""

    episodes: int = 512
    """Natural episodes to learn from."""
    steps: int = 1000
    """Gradient steps of each model of an attack that learns from natural episodes."""
    rounds: int | None = None
    """Iterations of an attack that learns by playing, ``PLAYED`` episodes each; None: as many as it says itself."""
    epsilon: float = 0.05
    """Share of the victim's actions that are random legal ones: a team that never deviates teaches little."""
    seed: int = 0
    """Of the episodes and of the models."""

    def __post_init__(self) -> None:
        counts = {"episodes": self.episodes, "steps": self.steps, "rounds": self.rounds}
        for name, value in counts.items():
            if value is not None:
                check_count(name, value, 1)
        check_seed("seed", self.seed)
        if not 0 <= self.epsilon <= 1:
            raise ConfigError(f"epsilon must be between 0 and 1, not {self.epsilon}")


def fit_attacker(config: Any, env: Env, policy: Policy | HostPolicy, plan: FitPlan) -> Any:
    """Return what ``config``'s adversary has learned of ``policy``: the state that ``as_fitted(config)`` plays with.

    Raises ValueError for an attack that learns nothing, or needs to know more of the policy than there is.
    """
    if not learns(config):
        raise ValueError(f"{type(config).__name__} learns nothing, so there is nothing to fit; evaluate it as it is")
    if missing := refusal(config.build(env.spec).threat, policy):
        raise ValueError(f"{type(config).__name__} needs the {missing}, and this policy has none")
    key = rng.stream(rng.root(plan.seed), "fit")
    if not hasattr(config, "fit"):
        learn_by = _by_playing_hosted if referee.is_hosted(env, policy) else _by_playing
        return learn_by(key, config, env, policy, plan)
    episodes = natural_episodes(rng.stream(key, "play"), env, policy, plan.episodes, plan.epsilon)
    learn = jax.jit(lambda key, episodes: config.fit(key, env.spec, episodes, plan.steps))
    return learn(rng.stream(key, "learn"), episodes)


def as_fitted(config: Any) -> Any:
    """Return the options that a fitted attack is kept with: who has learned by playing is done with learning."""
    return config if hasattr(config, "fit") else as_evaluated(config)


def _by_playing(key: jax.Array, config: Any, env: Env, policy: Policy | HostPolicy, plan: FitPlan) -> Any:
    """Let the attack play against the policy and update itself; return what its evaluated form needs."""
    attack, team = config.build(env.spec), exploring(policy, plan.epsilon)
    rounds = config.rounds if plan.rounds is None else plan.rounds

    def one(carry: tuple[Any, jax.Array], index: jax.Array) -> tuple[tuple[Any, jax.Array], referee.Fault]:
        state, steps = carry
        here = rng.at(key, index)
        played = collect(env, team, attack, state, rng.episodes(rng.stream(here, "play"), PLAYED))
        steps = steps + played.episodes.length.sum(dtype=jnp.float32)
        nothing = jnp.full(PLAYED, jnp.nan)
        success = played.metrics.get("win", nothing).mean(dtype=jnp.float32)
        feedback = Feedback(success, played.returns.mean(), steps, index, (index + 1).astype(jnp.float32) / rounds)
        state, _ = attack.update(rng.stream(here, "update"), state, played.episodes, feedback)
        return (state, steps), referee.first(played.fault)

    begin = attack.init(rng.stream(key, "init")), jnp.float32(0)
    (learned, _), faults = jax.jit(lambda begin: jax.lax.scan(one, begin, jnp.arange(rounds)))(begin)
    referee.require_fair(faults, env.spec, attack.threat)
    return adapted(learned, as_fitted(config).build(env.spec).init)


def _by_playing_hosted(key: jax.Array, config: Any, env: Env, policy: Any, plan: FitPlan) -> Any:
    """Do the same where the world or the team is in Python: the updates are compiled, the games are not."""
    attack, team = config.build(env.spec), exploring(policy, plan.epsilon)
    rounds = config.rounds if plan.rounds is None else plan.rounds
    update, state = jax.jit(attack.update), attack.init(rng.stream(key, "init"))
    steps = 0.0
    for index in range(rounds):
        here = rng.at(key, index)
        played = collect_hosted(env, team, attack, state, rng.episodes(rng.stream(here, "play"), PLAYED))
        steps += float(played.episodes.length.sum())
        won = played.metrics.get("win", jnp.full(PLAYED, jnp.nan)).mean(dtype=jnp.float32)
        part = jnp.float32((index + 1) / rounds)
        feedback = Feedback(won, played.returns.mean(), jnp.float32(steps), jnp.int32(index), part)
        state, _ = update(rng.stream(here, "update"), state, played.episodes, feedback)
    return adapted(state, as_fitted(config).build(env.spec).init)


def natural_episodes(key: jax.Array, env: Env, policy: Policy | HostPolicy, count: int, epsilon: float) -> Episodes:
    """Play ``count`` episodes without an attack, rounded up to whole batches of at most ``AT_ONCE``; where the world or
    the team is in Python, just so many, one after the other.

    Raises MemoryRefused if they do not fit into memory.
    """
    if referee.is_hosted(env, policy):
        return collect_hosted(env, exploring(policy, epsilon), natural(), (), rng.episodes(key, count)).episodes
    batches = -(-count // AT_ONCE)
    size = -(-count // batches)
    check_room(f"{count:,} episodes", 40 * count, "Ask for fewer episodes")
    keys = rng.episodes(key, batches * size).reshape(batches, size)
    team = exploring(policy, epsilon)
    nobody = natural()
    play = jax.jit(lambda keys: jax.lax.map(lambda k: collect(env, team, nobody, (), k), keys))
    stored = tree.nbytes(jax.eval_shape(play, keys).episodes)
    check_room(f"{count:,} recorded episodes of {env.spec.name}", 2 * stored, "Ask for fewer episodes")
    played = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), play(keys))
    referee.require_fair(played.fault, env.spec, nobody.threat)
    return played.episodes


def exploring(policy: Any, epsilon: float) -> Any:
    """Return ``policy``, compiled or in Python, with a share ``epsilon`` of its actions replaced by random legal ones,
    drawn per agent."""
    if referee.is_in_python(policy):

        def choose(generator: np.random.Generator, scores: np.ndarray, avail: np.ndarray) -> np.ndarray:
            other = np.argmax(generator.random(avail.shape) * avail, axis=1)
            return np.where(generator.random(len(avail)) < epsilon, other, policy.select(generator, scores, avail))

        return policy._replace(select=choose)

    def select(key: jax.Array, scores: Float[Array, "n a"], avail: Bool[Array, "n a"]) -> Int[Array, "n"]:
        noise = jnp.where(avail, jax.random.uniform(rng.stream(key, "action"), avail.shape), -1.0)
        explore = jax.random.uniform(rng.stream(key, "explore"), avail.shape[:1]) < epsilon
        return jnp.where(explore, jnp.argmax(noise, axis=1).astype(jnp.int32), policy.select(key, scores, avail))

    return policy._replace(select=select)


def policy_of(team: Team) -> Policy | HostPolicy:
    """Return what plays for a team of an evaluation."""
    return team.player.bind(team.params) if isinstance(team.player, Agent) else team.player


def save_fitted(path: Path, attack: str, config: Any, team: Team, plan: FitPlan) -> Any:
    """Fit an attack to a team, write the bundle and return the state."""
    state = fit_attacker(config, team.env, policy_of(team), plan)
    save_attacker(path, attack, as_fitted(config), team.env.spec, state, about(team, plan))
    return state


def about(team: Team, plan: FitPlan) -> dict[str, Any]:
    """Return what a card says of an attacker: to whom it was fitted, and how long."""
    return {"victim": team.policy, "victim_seed": team.seed, "victim_sha256": team.digest, **asdict(plan)}
