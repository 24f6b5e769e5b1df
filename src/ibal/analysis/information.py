"""Why the interaction-breaking attack works: what its masks hit, and what its actions tell (``redundancy.py``: what its
estimate leaves out).

Two questions to a fitted attacker (``adversaries.interaction``) and to episodes that nobody attacked:

    groups = groups_of(spec.n_agents, most)                          # every G1 of K agents
    hidden = masks(scores, spec, groups, "block")                    # D* of every agent, per group
    aim(scores, spec, groups, hidden), found(scores, spec, groups)   # does D* hit the other group?   (Fig. 2)
    told(candidates(key, config, spec, params, episodes, most), spec)        # what an action tells   (Fig. 7d)

Informations are in nats. Source: IBAL Definitions 4.4 and 4.5.
"""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ibal import rng
from ibal.adversaries import masks as masking
from ibal.adversaries.groups import sizes
from ibal.mi import action, club, descent, samples
from ibal.mi.action import ActionParams
from ibal.mi.config import ActionConfig, ClubConfig
from ibal.types import EnvSpec, Episodes, PRNGKey

Rule = Literal["block", "dimension"]
FIGHTS = ("attack", "heal")  # beginnings of the names of actions that are legal in combat only


# Observations: what the masks hit


def groups_of(n_agents: int, size: int, most: int = 256, seed: int = 0) -> np.ndarray:
    """Return bool[g, n]: every group of ``size`` agents, or ``most`` of them drawn at random if there are more."""
    if math.comb(n_agents, size) <= most:
        members = np.array(list(itertools.combinations(range(n_agents), size)))
    else:
        draw = np.random.default_rng(seed)
        members = np.argsort(draw.random((most, n_agents)), axis=1)[:, :size]
    groups = np.zeros((len(members), n_agents), bool)
    np.put_along_axis(groups, members, True, axis=1)
    return groups


def apart(groups: np.ndarray) -> np.ndarray:
    """Return bool[g, n, n]: whether i and j are in different groups."""
    return groups[:, :, None] != groups[:, None, :]


def truth(spec: EnvSpec, groups: np.ndarray) -> np.ndarray:
    """Return bool[g, n, o]: the entries of agent i that describe an agent of the other group."""
    return np.asarray(jax.vmap(partial(masking.truth, spec.obs_layout))(jnp.asarray(apart(groups))))


def masks(scores: np.ndarray, spec: EnvSpec, groups: np.ndarray, rule: Rule, dims: int | None = None) -> np.ndarray:
    """Return D* as bool[g, n, o] for ``scores`` S [n, n, o] and groups G1 [g, n].

    "block": for every j of the other group the block of another agent that tells most about j's actions; "dimension":
    the L = c x (size of the other group) entries of highest score, the paper to the letter. ``dims`` is c (None: as
    the attack has it). Raises ValueError where the layout names no block of another agent.
    """
    members, s = masking.blocks(spec), jnp.asarray(scores, jnp.float32)
    if rule == "block":
        one = lambda others: masking.by_block(s, others, members, dims)  # noqa: E731
    else:
        c = sizes(spec).dims if dims is None else dims
        one = lambda others: masking.by_dimension(masking.summed(s, others), others, c)  # noqa: E731
    return np.asarray(jax.vmap(one)(jnp.asarray(apart(groups))))


def aim(scores: np.ndarray, spec: EnvSpec, groups: np.ndarray, hidden: np.ndarray) -> dict[str, dict[str, float]]:
    """Compare masks [g, n, o] with the ground truth, over the agents of G1 ("first") and over all ("all").

    precision: share of the hidden entries that describe the other group; recall: share of such entries that are hidden;
    chance: precision to expect of as many entries drawn from all; chance_blocks: of whole blocks of other agents drawn;
    removed: share of the information on the other group's actions (S summed over them, negative values as 0) that lies
    in hidden entries; chance_removed: share of the entries that is hidden.
    """
    right, others = truth(spec, groups), apart(groups)
    told = np.maximum(np.einsum("gij,ijd->gid", others, np.asarray(scores, np.float64)), 0.0)
    ally = masking.blocks(spec).any(0)
    out = {}
    for name, who in {"first": groups, "all": np.ones_like(groups)}.items():
        h, r, s = hidden[who], right[who], told[who]  # [agents, o]
        count = h.sum(1)
        out[name] = {
            "precision": _share((h & r).sum(), count.sum()),
            "recall": _share((h & r).sum(), r.sum()),
            "chance": _share((count * r.mean(1)).sum(), count.sum()),
            "chance_blocks": _share((count * r.sum(1) / ally.sum()).sum(), count.sum()),
            "removed": _share(s[h].sum(), s.sum()),
            "chance_removed": float(h.mean()),
        }
    return out


def found(scores: np.ndarray, spec: EnvSpec, groups: np.ndarray) -> dict[str, dict[str, float]]:
    """Return the share of pairs (i, j of the other group) in which the block chosen for j is the one that describes j.

    ``precision`` for the agents of G1 ("first") and for all, ``chance`` that of a block drawn at random.
    """
    members = masking.blocks(spec)
    chosen = np.einsum("ijd,sd->ijs", np.asarray(scores, np.float64), members).argmax(2)
    owner = spec.obs_layout.agents(spec.n_agents)[:, members.argmax(1)]  # [n, s]
    right = np.take_along_axis(owner, chosen, axis=1) == np.arange(spec.n_agents)[None]
    others = apart(groups)
    first = others & groups[:, :, None]
    return {
        name: {"precision": _share((who & right[None]).sum(), who.sum()), "chance": 1 / len(members)}
        for name, who in {"first": first, "all": others}.items()
    }


def by_role(scores: np.ndarray, spec: EnvSpec) -> dict[str, dict[str, float]]:
    """Return what an entry of agent i tells about j's action by what it describes, mean over all pairs and blocks.

    Keys: "partner" (the block of j itself), "other ally", and the layout's other kinds ("enemy", "own", ...); then the
    feature's name.
    """
    layout, n = spec.obs_layout, spec.n_agents
    owner = layout.agents(n)
    found: dict[str, dict[str, list[float]]] = {}
    for i, j in itertools.permutations(range(n), 2):
        for block in layout.blocks:
            role = block.kind
            if role == "ally":
                role = "partner" if owner[i, block.start] == j else "other ally"
            for d, feature in enumerate(block.features, block.start):
                found.setdefault(role, {}).setdefault(feature, []).append(float(scores[i, j, d]))
    order = sorted(found, key=lambda role: {"partner": 0, "other ally": 1, "enemy": 2}.get(role, 3))
    return {role: {feature: float(np.mean(values)) for feature, values in found[role].items()} for role in order}


def measured(
    key: PRNGKey, config: ClubConfig, spec: EnvSpec, episodes: Episodes, steps: int, rows: int = 2048,
    mask: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Fit the observation model anew and return its S [n, n, o].

    With ``mask`` [n, o] the hidden entries are zero in all observations, past ones too: what those that are left can
    still tell, which no assumption says is what they told before.
    """
    if mask is not None:
        seen = jnp.asarray(~mask)[None, None]
        episodes = episodes._replace(obs=jnp.where(seen, episodes.obs, jnp.zeros_like(episodes.obs)))

    return np.asarray(_measured(config, spec, steps, rows, key, episodes))


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _measured(
    config: ClubConfig, spec: EnvSpec, steps: int, rows: int, key: PRNGKey, episodes: Episodes
) -> Float[Array, "n n o"]:
    params: Any = club.init(rng.stream(key, "init"), config, spec)
    opt = descent.optimiser(config).init(params)
    params, _, _ = club.fit(rng.stream(key, "fit"), config, spec, params, opt, episodes, steps)
    data = samples.transitions(rng.stream(key, "rows"), config, spec, episodes, rows)
    return club.scores(rng.stream(key, "drawn"), config, spec, params, data)


# Actions: what they tell


class Candidates(NamedTuple):
    """What each action of an attacked agent would tell the others, for ``r`` moments.

    Shapes: information [r, n, a] in nats (0 for who is not attacked); legal [r, n, a]; intended [r, n] the team's
    action; attacked [r, n]: alive, in G1, and somebody lives in G2; combat [r, n]: attacked, and can attack or heal
    (attacked, where no action does either).
    """

    information: np.ndarray
    legal: np.ndarray
    intended: np.ndarray
    attacked: np.ndarray
    combat: np.ndarray

    @property
    def executed(self) -> np.ndarray:
        """The legal action that tells least, [r, n]; ties: the lowest index."""
        return np.where(self.legal, self.information, np.inf).argmin(2)


def candidates(
    key: PRNGKey, config: ActionConfig, spec: EnvSpec, params: ActionParams, episodes: Episodes, most: int,
    count: int = 4096,
) -> Candidates:  # fmt: skip
    """Draw ``count`` moments of ``episodes``, each with a group of ``most`` agents, and evaluate all their actions.

    The same key draws the same moments and groups for any attacker. Raises ValueError for the marginal M2, whose
    weights (the policy's values) are not recorded, and for histories of hidden states.
    """
    if config.marginal == "M2" or config.tau in ("T1", "T2"):
        raise ValueError(
            f"an action model with marginal={config.marginal}, tau={config.tau} needs the policy's values or hidden "
            "states, which episodes do not record; analyse one with marginal M1 or M3 and tau T3, T4 or T5"
        )
    if most < 1:
        raise ValueError("candidates: no agent is attacked (most is 0); at least 1 was expected")

    found = _candidates(config, spec, most, count, key, params, episodes)
    told, avail, intended, attacked = map(np.asarray, found)
    fights = _fights(spec)
    combat = attacked & avail[..., fights].any(2) if fights.any() else attacked
    return Candidates(told, avail, intended, attacked, combat)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _candidates(
    config: ActionConfig, spec: EnvSpec, most: int, count: int, key: PRNGKey, params: ActionParams, episodes: Episodes
) -> tuple[Array, ...]:
    """Return information, avail, intended and attacked of ``Candidates``."""
    episode, t = samples.rows(rng.stream(key, "row"), episodes.length, count)
    order = jnp.argsort(jax.random.uniform(rng.stream(key, "group"), (count, spec.n_agents)), axis=1)
    group = order < most
    earlier = episodes.state[episode, jnp.maximum(t - 1, 0)]
    past = jax.vmap(lambda state: samples.context(config, spec, state))(earlier)
    past = jnp.where((t > 0)[:, None], past, 0.0)
    avail, intended = episodes.avail[episode, t], episodes.action[episode, t].astype(jnp.int32)
    alive = samples.alive(avail, spec.noop_action)
    one = partial(action.counterfactual, config, params, most=most)
    told = jax.lax.map(lambda row: one(*row), (past, intended, avail, group, alive), batch_size=64)
    attacked = group & alive & (~group & alive).any(1, keepdims=True)
    return told, avail, intended, attacked


def told(found: Candidates, spec: EnvSpec) -> dict[str, Any]:
    """Sum up ``candidates``; all figures except ``replaced_everywhere`` are of attacked agents in combat, or wherever
    they are attacked in an environment that has none (``combat`` says which).

    information: mean I of an action where it is legal, nats, None where it never is; legal, intended, executed: share
    of the moments, by action; spread: median of max - min over the legal actions; replaced: share of moments in which
    the action that tells least is not the intended one; rank_of_intended: mean rank of the intended action among the
    legal ones, 0 tells least, 1 most; moments: how many.
    """
    here = found.combat
    values, legal = found.information[here], found.legal[here]  # [c, a]
    intended, executed = found.intended[here], found.executed[here]
    count, actions = len(values), np.arange(spec.n_actions)
    seen = legal.sum(0)
    mean = np.where(seen > 0, np.where(legal, values, 0.0).sum(0) / np.maximum(seen, 1), np.nan)
    ranks, choice = _ranks(values, legal), legal.sum(1) > 1
    own = np.take_along_axis(ranks, intended[:, None], axis=1)[:, 0] / np.maximum(legal.sum(1) - 1, 1)
    spread = np.where(legal, values, -np.inf).max(1, initial=-np.inf) - np.where(legal, values, np.inf).min(
        1, initial=np.inf
    )
    everywhere = (found.executed != found.intended)[found.attacked]
    return {
        "actions": list(spec.action_names),
        "combat": bool(_fights(spec).any()),
        "information": mean,
        "legal": seen / max(count, 1),
        "intended": (intended[:, None] == actions).sum(0) / max(count, 1),
        "executed": (executed[:, None] == actions).sum(0) / max(count, 1),
        "spread": float(np.median(spread)) if count else math.nan,
        "replaced": _share((executed != intended).sum(), count),
        "replaced_everywhere": _share(everywhere.sum(), everywhere.size),
        "rank_of_intended": float(own[choice].mean()) if choice.any() else math.nan,
        "moments": count,
    }


def _fights(spec: EnvSpec) -> np.ndarray:
    return np.array([name.startswith(FIGHTS) for name in spec.action_names])


def agreement(one: Candidates, other: Candidates) -> dict[str, float]:
    """Compare two attackers on the same moments (combat, at least three legal actions).

    rank_correlation: Spearman's, over the legal actions, mean over the moments; same: share of moments with the same
    action that tells least; chance: what a choice at random would give.
    """
    if not np.array_equal(one.intended, other.intended):
        raise ValueError("agreement: the two were evaluated on different moments; use the same key and episodes")
    here = one.combat & (one.legal.sum(2) >= 3)
    legal = one.legal[here]
    a, b = (_centred(_ranks(c.information[here], legal), legal) for c in (one, other))
    lengths = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    varied = lengths > 0
    same = one.executed[here] == other.executed[here]
    return {
        "rank_correlation": float(((a * b).sum(1)[varied] / lengths[varied]).mean()) if varied.any() else math.nan,
        "same": _share(same.sum(), same.size),
        "chance": float((1 / legal.sum(1)).mean()) if len(legal) else math.nan,
        "moments": float(len(legal)),
    }


def _share(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if whole else math.nan


def _ranks(values: np.ndarray, legal: np.ndarray) -> np.ndarray:
    """Rank every row's legal entries from 0, ties at their mean; NaN-free: illegal entries get 0."""
    less = (values[:, None, :] < values[:, :, None]) & legal[:, None, :]
    equal = (values[:, None, :] == values[:, :, None]) & legal[:, None, :]
    return np.where(legal, less.sum(2) + (equal.sum(2) - 1) / 2, 0.0)


def _centred(ranks: np.ndarray, legal: np.ndarray) -> np.ndarray:
    mean = np.where(legal, ranks, 0.0).sum(1, keepdims=True) / np.maximum(legal.sum(1, keepdims=True), 1)
    return np.where(legal, ranks - mean, 0.0)
