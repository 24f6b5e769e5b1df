"""Why the interaction-breaking attack works: what its masks hit, what its actions tell, what its estimate leaves out.

Three questions to a fitted attacker (``adversaries.interaction``) and to episodes that nobody attacked:

    groups = groups_of(spec.n_agents, most)                          # every G1 of K agents
    hidden = masks(scores, spec, groups, "block")                    # D* of every agent, per group
    aim(scores, spec, groups, hidden), found(scores, spec, groups)   # does D* hit the other group?   (Fig. 2)
    told(candidates(key, config, spec, params, episodes, most), spec)        # what an action tells   (Fig. 7d)
    redundancy(key, config, spec, train, test, most, steps)          # group-wise less sum of parts   (Fig. 14)

Informations are in nats. Source: IBAL Definitions 4.4 and 4.5, Lemma 4.3, Appendix F.1.
"""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ibal import rng
from ibal.adversaries import budget
from ibal.adversaries.groups import sizes
from ibal.mi import action, club, descent, samples
from ibal.mi.action import ActionParams
from ibal.mi.config import ActionConfig, ClubConfig
from ibal.nets.agents import linear, uniform
from ibal.nets.layers import Mlp, after_first, mlp
from ibal.types import EnvSpec, Episodes, PRNGKey

Rule = Literal["block", "dimension"]
PLAIN = ClubConfig(tau="obs", dead="exclude")  # which transitions the group's model is about
OUTLIERS, RANGE = 0.01, 2.0  # share of moments that no Gaussian describes, and what entries range over (SMAC: -1..1)
TEMPERS = np.array([0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0], np.float32)  # exponents of the density, tried in turn
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
    return np.asarray(jax.vmap(partial(budget.truth, spec.obs_layout))(jnp.asarray(apart(groups))))


def masks(scores: np.ndarray, spec: EnvSpec, groups: np.ndarray, rule: Rule, dims: int | None = None) -> np.ndarray:
    """Return D* as bool[g, n, o] for ``scores`` S [n, n, o] and groups G1 [g, n].

    "block": for every j of the other group the block of another agent that tells most about j's actions; "dimension":
    the L = c x (size of the other group) entries of highest score, the paper to the letter. ``dims`` is c (None: as
    the attack has it). Raises ValueError where the layout names no block of another agent.
    """
    members, s = budget.blocks(spec), jnp.asarray(scores, jnp.float32)
    if rule == "block":
        one = lambda others: budget.by_block(s, others, members, dims)  # noqa: E731
    else:
        c = sizes(spec).dims if dims is None else dims
        one = lambda others: budget.by_dimension(budget.summed(s, others), others, c)  # noqa: E731
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
    ally = budget.blocks(spec).any(0)
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
    members = budget.blocks(spec)
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
    action; attacked [r, n]: alive, in G1, and somebody lives in G2; combat [r, n]: attacked, and can attack or heal.
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
    fights = np.array([name.startswith(FIGHTS) for name in spec.action_names])
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
    """Sum up ``candidates``; all figures are of attacked agents in combat except ``replaced_everywhere``.

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


# Groups: what the sum over pairs and dimensions leaves out


class Redundancy(NamedTuple):
    """Group-wise information I(o^{G1}; a^{G2} | a^{G1}, tau) and the sum of its parts I(o^i_d; a^j | a^i, tau), per
    moment, by two readings of the same model: "club" (the bound that the attack uses) and "mixture" (log of the mean
    density instead of mean of the log-density, which for the true model is the information itself).

    Shapes: time [r]; club_group, club_parts, mixture_group, mixture_parts [r] in nats; parts summed over living pairs.
    """

    time: np.ndarray
    club_group: np.ndarray
    club_parts: np.ndarray
    mixture_group: np.ndarray
    mixture_parts: np.ndarray

    def per_step(self, fewest: int = 20) -> dict[str, np.ndarray]:
        """Return the mean of every field over the moments of one time step, ``redundancy`` (group less parts) of both
        readings with its standard error, and ``count``, for the time steps that have ``fewest`` moments."""
        times, counts = np.unique(self.time, return_counts=True)
        rows = [self.time == t for t, c in zip(times, counts, strict=True) if c >= fewest]
        out = {"time": times[counts >= fewest], "count": counts[counts >= fewest]}
        for name in self._fields[1:]:
            out[name] = np.array([getattr(self, name)[r].mean() for r in rows])
        for reading in ("club", "mixture"):
            gap = getattr(self, f"{reading}_group") - getattr(self, f"{reading}_parts")
            out[f"{reading}_redundancy"] = np.array([gap[r].mean() for r in rows])
            out[f"{reading}_error"] = np.array([gap[r].std() / math.sqrt(r.sum()) for r in rows])
        return out


class GroupParams(NamedTuple):
    """Diagonal Gaussian p(o^i_{t+1} | o^i_t, a^i, the actions that are shown); the first layer in pieces."""

    tau: Float[Array, "o h"]
    observer: Float[Array, "n h"]
    shown: Float[Array, "n n a h"]
    silent: Float[Array, "n n h"]
    rest: Mlp


def redundancy(
    key: PRNGKey, config: ClubConfig, spec: EnvSpec, train: Episodes, test: Episodes, most: int, steps: int,
    count: int = 2048, negatives: int = 63,
) -> Redundancy:  # fmt: skip
    """Fit a model of the next observation given any set of actions on ``train``; measure on moments of ``test``.

    One model gives the group's information (all actions shown, those of G2 replaced together) and that of its parts
    (one partner shown), so that a difference is not one between two fits. G1 has ``most`` agents and is drawn per
    moment. Replacements are legal at the moment and drawn agent by agent as often as in that time step of ``train``.
    ``config`` gives layers, bounds of the variance, and how the model learns; the past is agent i's observation.

    Dimensions are independent given the actions in this model: "club" is then additive over dimensions and can only
    show redundancy between partners. "mixture" shows what dimensions tell twice because they obey the same action. It
    is a lower bound for any function in place of the log-density (Poole et al. 2019, InfoNCE; exact in the model when
    that is right), so the density is made robust (a hundredth of it uniform) and taken to the power in TEMPERS that
    gives most, one for the group and one for the parts: noise that many dimensions share would else make the model too
    sure. The group's cannot exceed log(``negatives`` + 1), which bites where G2 is large.

    Source: Lemma 4.3 and Appendix F.1, which does not say how the group-wise information is estimated.
    """
    run = partial(_redundancy, config, spec, most=most, steps=steps, count=count, negatives=negatives)
    time, *found = jax.jit(run)(key, train, test)
    club_group, club_parts, *mixtures = (np.asarray(values, np.float64) for values in found)
    mixture_group, mixture_parts = (each[:, each.mean(0).argmax()] for each in mixtures)
    return Redundancy(np.asarray(time), club_group, club_parts, mixture_group, mixture_parts)


def _redundancy(
    config: ClubConfig, spec: EnvSpec, key: PRNGKey, train: Episodes, test: Episodes, most: int, steps: int,
    count: int, negatives: int,
) -> tuple[Array, ...]:  # fmt: skip
    params = _fit_group(rng.stream(key, "fit"), config, spec, train, steps)
    data = samples.transitions(rng.stream(key, "rows"), PLAIN, spec, test, count)
    order = jnp.argsort(jax.random.uniform(rng.stream(key, "group"), (count, spec.n_agents)), axis=1)
    keys = jax.vmap(lambda r: rng.at(rng.stream(key, "drawn"), r))(jnp.arange(count))
    often = _how_often(spec, train)
    one = partial(_moment, config, params, most, negatives)
    found = jax.lax.map(lambda row: one(*row), (keys, data, order, often[data.time]), batch_size=16)
    return (data.time, *found)


def _moment(
    config: ClubConfig, params: GroupParams, most: int, negatives: int, key: PRNGKey, row: samples.Transitions,
    order: Int[Array, "n"], often: Float[Array, "n a"],
) -> tuple[Array, ...]:  # fmt: skip
    """Return club_group, club_parts, and mixture_group, mixture_parts [p] for every exponent in TEMPERS."""
    n, n_actions = often.shape
    group = order < most
    who = jnp.argsort(order)[:most]  # the members of G1
    observes = row.observes[who]
    # A little of everything legal: an action that ``train`` never shows at this time has no negative otherwise.
    chance = jnp.where(row.avail, often + 1e-2, 0.0)
    log_chance = jnp.log(chance / jnp.maximum(chance.sum(1, keepdims=True), 1e-30))

    drawn = jax.random.categorical(key, log_chance[None], axis=2, shape=(negatives, n)).astype(jnp.int32)
    joint = jnp.where(group[None], row.action[None], drawn)
    joint = jnp.concatenate([row.action[None], joint])  # [1 + negatives, n]
    everyone = jnp.ones((n,), bool)

    def density(i: Array, action: Array, shown: Array) -> Array:
        return _log_density(config, params, i, row.tau[i], row.after[i], action, shown)

    over_draws = jax.vmap(density, (None, 0, None))
    each = jax.vmap(lambda i: over_draws(i, joint, everyone))(who)  # [k, 1 + negatives, o]
    each = jnp.where(observes[:, None, None], each, 0.0)
    plain, blurred = each.sum((0, 2)), jnp.where(observes[:, None, None], _blurred(each), 0.0).sum((0, 2))
    club_group = plain[0] - plain[1:].mean()
    tempered = jnp.asarray(TEMPERS)[:, None] * blurred[None]  # [p, 1 + negatives]
    mixture_group = tempered[:, 0] - (jax.nn.logsumexp(tempered, axis=1) - math.log(negatives + 1))

    def part(i: Array, j: Array) -> Array:
        shown = (jnp.arange(n) == i) | (jnp.arange(n) == j)
        alternatives = jnp.where((jnp.arange(n) == j)[None], jnp.arange(n_actions)[:, None], row.action[None])
        by_action = over_draws(i, alternatives.astype(jnp.int32), shown)  # [a, o]
        true = row.action[j]
        club_part = by_action[true] - jnp.einsum("ao,a->o", by_action, jnp.exp(log_chance[j]))
        tempered = jnp.asarray(TEMPERS)[:, None, None] * _blurred(by_action)[None]  # [p, a, o]
        mixture_part = tempered[:, true] - jax.nn.logsumexp(tempered + log_chance[j][None, :, None], axis=1)
        return jnp.concatenate([club_part.sum()[None], mixture_part.sum(1)])

    pairs = jax.vmap(lambda i: jax.vmap(lambda j: part(i, j))(jnp.arange(n)))(who)  # [k, n, 1 + p]
    counts = observes[:, None] & (row.partners & ~group)[None]
    parts = jnp.where(counts[..., None], pairs, 0.0).sum((0, 1))
    return club_group, parts[0], mixture_group, parts[1:]


def _fit_group(key: PRNGKey, config: ClubConfig, spec: EnvSpec, episodes: Episodes, steps: int) -> GroupParams:
    """Learn with all other actions shown in half of the rows, with one in the others."""
    n, a, o, h = spec.n_agents, spec.n_actions, spec.obs_size, config.hidden[0]
    shapes = ((o, h), (n, h), (n, n, a, h), (n, n, h))
    tau, observer, shown, silent = uniform(rng.stream(key, "first"), shapes, [o + 2 * n + n * a] * 4)
    params: Any = GroupParams(tau, observer, shown, silent, mlp(rng.stream(key, "rest"), (*config.hidden, 2 * o)))
    per_batch = max(config.batch // n, 1)

    def loss(params: GroupParams, data: samples.Transitions, shown: Array) -> Array:
        of_agent = partial(_log_density, config, params)
        of_row = jax.vmap(of_agent, (0, 0, 0, None, 0))
        density = jax.vmap(of_row, (None, 0, 0, 0, 0))(jnp.arange(n), data.tau, data.after, data.action, shown)
        counted = jnp.where(data.observes, density.sum(2), 0.0)
        return -counted.sum() / jnp.maximum(data.observes.sum(), 1).astype(jnp.float32)

    def step(index: Array, params: GroupParams, opt: Any) -> tuple[GroupParams, Any, Array]:
        here = rng.at(key, index)
        data = samples.transitions(rng.stream(here, "rows"), PLAIN, spec, episodes, per_batch)
        everyone = jax.random.bernoulli(rng.stream(here, "everyone"), 0.5, (per_batch, n, 1))
        # The living partner of the highest draw.
        lottery = jax.random.uniform(rng.stream(here, "partner"), (per_batch, n, n))
        candidate = data.partners[:, None, :] & ~jnp.eye(n, dtype=bool)[None]
        partner = jnp.argmax(jnp.where(candidate, lottery, -1.0), axis=2)
        shown = everyone | jnp.eye(n, dtype=bool)[None] | (partner[..., None] == jnp.arange(n)[None, None])
        return descent.descend(config, lambda p: loss(p, data, shown), params, opt)

    params, _, _ = descent.repeat(step, params, descent.optimiser(config).init(params), steps)
    return params


def _log_density(
    config: ClubConfig, params: GroupParams, i: Int[Array, ""], tau: Float[Array, "o"], after: Float[Array, "o"],
    action: Int[Array, "n"], shown: Bool[Array, "n"],
) -> Float[Array, "o"]:  # fmt: skip
    """Log-density of every entry of i's next observation, given the actions of those in ``shown`` (i among them)."""
    known = params.shown[i, jnp.arange(action.shape[0]), action]
    first = jnp.where(shown[:, None], known, params.silent[i]).sum(0)
    first = first + linear(tau, params.tau, params.observer[i])
    change, raw = jnp.split(after_first(params.rest, first), 2)
    low, high = config.log_variance
    middle, half = (low + high) / 2, (high - low) / 2
    log_variance = middle + half * jnp.tanh((raw - middle) / half)
    squared = (after - tau - change) ** 2 * jnp.exp(-log_variance)
    return -0.5 * (squared + log_variance + math.log(2 * math.pi))


def _blurred(log_density: Float[Array, "*c o"]) -> Float[Array, "*c o"]:
    """Make a small part of every density uniform over the range of an entry, so that an event the model has never seen
    costs a few nats and not the square of its distance, which a few moments would decide every mean with."""
    return jnp.logaddexp(log_density + math.log1p(-OUTLIERS), math.log(OUTLIERS / RANGE))


def _how_often(spec: EnvSpec, episodes: Episodes) -> Float[Array, "t n a"]:
    """Return the share of each agent's actions per time step (0 where no episode has lasted so long)."""
    executed = episodes.action if episodes.executed is None else episodes.executed
    inside = jnp.arange(executed.shape[1])[None] < episodes.length[:, None]
    counts = jnp.where(inside[..., None, None], jax.nn.one_hot(executed, spec.n_actions), 0.0).sum(0)
    return counts / jnp.maximum(inside.sum(0), 1).astype(jnp.float32)[:, None, None]


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
