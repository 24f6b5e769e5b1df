"""The group of agents whose failure costs a team most (``--attacks subset[k=2]``).

With up to ``SMALL`` agents every group of k is tried; with more, groups are drawn at random and the worst of them is
improved by exchanging one agent at a time, and what may have been missed is said (``Found.gap``). The search has
episodes of its own: what the evaluation then measures is not the luck that made a group look worst.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from ibal.adversaries.faults import SubsetConfig, setting
from ibal.evaluation.episodes import episode_keys, play
from ibal.evaluation.matrix import Attack, Team

SMALL = 10  # agents; all groups of up to ten are 252 at most
FINALISTS = 8  # groups that are tried on more episodes
MORE = 4  # times as many
ROUNDS = 3  # of exchanges, with many agents


class Found(NamedTuple):
    """``who`` [k] fails worst, with mean score ``score`` on the episodes of the search (the share won where games can
    be won, else the return). ``tried`` of ``groups`` groups were tried; ``gap``: with 95 % confidence at most this
    share of all groups is worse (0 where all were tried). ``scores``: of every group that was tried."""

    who: tuple[int, ...]
    score: float
    tried: int
    groups: int
    gap: float
    scores: dict[tuple[int, ...], float]


def attack(name: str, config: SubsetConfig, team: Team, note: Callable[[str], None] = lambda message: None) -> Attack:
    """Return the fault of the group that the search found, as an attack. Raises ValueError where the environment cannot
    have the fault."""
    adversary = config.build(team.env.spec)  # without names: all groups share it
    found = search(team, config, note)
    chosen = config.of(found.who)
    state = setting(chosen, team.env.spec)
    about = {"config": {"k": config.k, "fault": config.fault, "who": list(found.who)}}
    about["search"] = {"tried": found.tried, "groups": found.groups, "gap": found.gap, "score": found.score}
    return Attack(name, adversary, [state], f"{config!r} {found.who}", about, team.own)


def search(team: Team, config: SubsetConfig, note: Callable[[str], None] = lambda message: None) -> Found:
    """Look for the worst group. Raises ValueError where the environment cannot have the fault."""
    spec = team.env.spec
    adversary = config.build(spec)
    keys = episode_keys(config.seed, config.episodes * (1 + MORE))
    first, rest = keys[: config.episodes], keys[config.episodes :]
    groups = math.comb(spec.n_agents, config.k)

    def scores(asked: Iterable[tuple[int, ...]], keys: jax.Array) -> dict[tuple[int, ...], tuple[float, float]]:
        """Return share won and mean return of every group: the second tells apart what is always lost."""
        out = {}
        for who in asked:
            state = setting(config.of(who), spec)
            played = play(team.env, team.player, keys, team.params, adversary=adversary, attacker=state)
            won = float(np.mean(played.win)) if spec.has_win else 0.0
            out[who] = won, float(np.mean(played.returns))
        return out

    is_all = spec.n_agents <= SMALL
    asked = list(itertools.combinations(range(spec.n_agents), config.k)) if is_all else drawn(spec.n_agents, config)
    note(f"looking for the {config.k} agents whose failure costs {team.policy} most: {len(asked)} of {groups} groups …")
    found = scores(asked, first)
    for _ in range(0 if is_all else ROUNDS):
        best = min(found, key=found.__getitem__)
        near = [who for who in exchanges(best, spec.n_agents, config) if who not in found]
        found |= scores(near, first)
        if min(found, key=found.__getitem__) == best:
            break
    final = sorted(found, key=found.__getitem__)[:FINALISTS]
    again = scores(final, rest)
    pooled = {
        who: tuple((a + MORE * b) / (1 + MORE) for a, b in zip(found[who], again[who], strict=True)) for who in final
    }
    worst = min(pooled, key=pooled.__getitem__)
    which = 0 if spec.has_win else 1
    gap = 0.0 if len(found) == groups else missed(len(asked))
    scored = {who: value[which] for who, value in (found | pooled).items()}
    return Found(worst, scored[worst], len(found), groups, gap, scored)


def _pooled(few: tuple[float, float], many: tuple[float, float]) -> tuple[float, float]:
    """Return the means over all episodes of both."""
    won, returns = ((a + MORE * b) / (1 + MORE) for a, b in zip(few, many, strict=True))
    return won, returns


def missed(tries: int) -> float:
    """Return the share of all groups that are worse than the worst of ``tries`` drawn ones, at most, with 95 %
    confidence: if more were, one of them would have been drawn."""
    return 1 - 0.05 ** (1 / tries)


def drawn(n_agents: int, config: SubsetConfig) -> list[tuple[int, ...]]:
    """Draw groups of k, each once."""
    draw = np.random.default_rng(config.seed)
    picked = (tuple(sorted(draw.choice(n_agents, config.k, replace=False).tolist())) for _ in range(20 * config.tries))
    return list(itertools.islice(dict.fromkeys(picked), config.tries))


def exchanges(who: Sequence[int], n_agents: int, config: SubsetConfig) -> list[tuple[int, ...]]:
    """Return the groups that differ in one agent; at most ``tries`` of them, drawn at random."""
    others = [i for i in range(n_agents) if i not in who]
    near = [tuple(sorted({*who} - {out} | {new})) for out in who for new in others]
    order = np.random.default_rng(config.seed + 1).permutation(len(near))[: config.tries]
    return [near[i] for i in order]
