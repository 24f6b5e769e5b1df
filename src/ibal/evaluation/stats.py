"""What can be said about a policy from finitely many episodes and seeds.

    found = sample([wins_of_seed_0, wins_of_seed_1, wins_of_seed_2], rate=True)
    low, high = interval(found)                                            # 95 %, the one rule for every table
    apart, low, high = difference(found, other)                            # ... and for every comparison
    low, high = wilson(81, 263)                                            # what it comes to for a single team's wins
    iqm(scores), probability_of_improvement(x, y)

**The rule.** An interval has two parts and is as wide as the wider one on either side. The *seeds'* part: t with
(seeds - 1) degrees of freedom over the seeds' means, since with three seeds the normal quantile 1.96 covers 81 % and a
percentile bootstrap 75 %. The *episodes'* part: the normal quantile over all episodes together; so an interval is never
narrower than the episodes alone make it, and three seeds that won 64 of 64 games each are not taken for certain. One
seed has the episodes' part only: its interval is about this team, that of several seeds about what trained them.

Both parts of a rate are score intervals (Wilson's), which stay within 0..1 and lean away from its ends as the errors
do; the seeds' with p (1 - p) / (their variance of the mean) in place of the number of episodes. Both of a return are
symmetric. ``benchmarks/coverage.py`` prints how often they cover. With seeds that differ: 93 to 97 % (of 128 games near
0 or 1, which have few values to take: up to 98.5 %). Without any difference between the seeds up to 99 % (three) or
98 % (five): the price of the second part. Less where most seeds are alike and a rare one fails: three numbers cannot
tell of a failure that is not among them.

Source: Wilson 1927; Franco, Little, Louis and Slud 2019 (score interval of clusters with an effective number of
observations); Korn and Graubard 1998 (with t of the clusters' degrees of freedom); Welch 1947 and Zou and Donner 2008
(differences); Agarwal et al. 2021 (the rest). A score matrix has one row per run and one column per task (a map under
an attack, say); larger is better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z95 = 1.959964  # 97.5 % quantile of the standard normal distribution
REPEATS = 2000  # resamples of a bootstrap
_AT_ONCE = 2_000_000  # numbers drawn in one go, so that many episodes and repeats do not fill the memory

Numbers = NDArray[np.float64]
Statistic = Callable[[list[Numbers]], Numbers]


class Sample(NamedTuple):
    """A mean and what is known of its error; numbers, or arrays of one shape.

    ``between`` is the variance of the mean as the runs' own means tell it, with ``df`` degrees of freedom (0 and inf
    for one run, which tells nothing of others); ``within`` the variance as the ``episodes`` alone tell it; ``rate``:
    whether every episode's score lies in 0..1.
    """

    mean: Any
    between: Any
    df: Any
    within: Any
    episodes: Any
    rate: bool = False


def sample(runs: Sequence[ArrayLike], rate: bool = False) -> Sample:
    """Return the mean over runs of each run's mean; ``runs[k]`` are the scores of the episodes of run ``k``."""
    scores = [np.asarray(run, np.float64).ravel() for run in runs]
    if not scores or any(score.size == 0 for score in scores):
        raise ValueError("sample: every run must have at least one episode, and there must be one")
    means = np.array([score.mean() for score in scores])
    mean, count, episodes = float(means.mean()), len(scores), sum(score.size for score in scores)
    between = float(means.var(ddof=1)) / count if count > 1 else 0.0
    # Of rates around the common mean, which makes it p (1 - p) / n of won and lost games; else around each run's.
    centres = [mean] * count if rate else means
    squares = [float(((score - centre) ** 2).sum()) for score, centre in zip(scores, centres, strict=True)]
    freedom = [score.size if rate else max(score.size - 1, 1) for score in scores]
    of_runs = [square / free / score.size for square, free, score in zip(squares, freedom, scores, strict=True)]
    return Sample(mean, between, _freedom(count), sum(of_runs) / count**2, episodes, rate)


def of_rates(means: ArrayLike, episodes: int) -> Sample:
    """Return the sample of runs that won these shares of ``episodes`` games each; ``means`` [..., runs]."""
    rates = np.asarray(means, np.float64)
    count = rates.shape[-1]
    mean = rates.mean(-1)
    between = rates.var(-1, ddof=1) / count if count > 1 else np.zeros_like(mean)
    return Sample(mean, between, _freedom(count), mean * (1 - mean) / (count * episodes), count * episodes, True)


def jackknife(
    groups: Sequence[ArrayLike], statistic: Callable[[list[Numbers]], Any], episodes: int, rate: bool = False
) -> Sample:
    """Return the sample of a statistic that is no mean over runs, its variance by leaving out one run at a time.

    ``groups[g]`` [..., runs, tasks] are the scores of runs that played the same tasks: all that a run scored stays
    together, since a good run is good at several. ``statistic`` gets one array per group and returns [...];
    ``episodes`` are those that the statistic rests on. Source: Efron and Tibshirani 1993, section 11.5.
    """
    scores = [np.asarray(group, np.float64) for group in groups]
    found = np.asarray(statistic(scores), np.float64)
    variances, parts = np.zeros_like(found), np.zeros_like(found)
    for g, group in enumerate(scores):
        runs = group.shape[-2]
        if runs < 2:
            continue
        without = [
            statistic([*scores[:g], np.delete(group, run, axis=-2), *scores[g + 1 :]]) for run in range(runs)
        ]  # fmt: skip
        variance = (runs - 1) * np.var(np.stack(without, -1), axis=-1)
        variances, parts = variances + variance, parts + variance**2 / (runs - 1)
    most = max(group.shape[-2] for group in scores)
    df = np.where(parts > 0, variances**2 / np.where(parts > 0, parts, 1), _freedom(most))
    within = found * (1 - found) / episodes if rate else np.zeros_like(found)
    return Sample(_as_given(found), _as_given(variances), _as_given(df), _as_given(within), episodes, rate)


def clustered(values: ArrayLike, clusters: ArrayLike) -> Sample:
    """Return the mean of values of which those of one cluster (the moments of one episode, say) are not independent.

    The clusters are what runs are elsewhere; a large one weighs more. Source: the variance of a ratio, Cochran 1977,
    section 6.3.
    """
    numbers = np.asarray(values, np.float64)
    _, of = np.unique(np.asarray(clusters), return_inverse=True)
    count, mean = int(of.max()) + 1, float(numbers.mean())
    errors = np.bincount(of, numbers - mean)
    variance = float((errors**2).sum()) / numbers.size**2 * count / max(count - 1, 1)
    return Sample(mean, variance, _freedom(count), 0.0, numbers.size)


def interval(found: Sample) -> tuple[Any, Any]:
    """Return the 95 % interval of a mean, by the rule above.

    Equal scores that are no rates (a return of 20 in every episode) give a point: no scale says how far off another
    one may be. The only score that is no rate gives -inf and inf.
    """
    mean = np.asarray(found.mean, np.float64)
    seeds, episodes = _arms(found, _quantile(found.df), by="seeds"), _arms(found, _of_episodes(found), by="episodes")
    low, high = mean - np.maximum(seeds[0], episodes[0]), mean + np.maximum(seeds[1], episodes[1])
    if found.rate:  # rounding must not move the ends that are 0 and 1 exactly
        low, high = np.where(mean <= 0, 0.0, np.maximum(low, 0)), np.where(mean >= 1, 1.0, np.minimum(high, 1))
    return _as_given(low), _as_given(high)


def ends(found: Sample) -> list[float] | None:
    """Return the interval as JSON can hold it, None where nothing is known of the error."""
    low, high = interval(found)
    return [low, high] if math.isfinite(low) and math.isfinite(high) else None


def difference(ours: Sample, theirs: Sample) -> tuple[Any, Any, Any]:
    """Return ours - theirs with its 95 % interval; the two have no run in common.

    The seeds' part has the degrees of freedom of Welch and Satterthwaite; the arms of both are put together as
    sqrt(a^2 + b^2), which needs no symmetry (Zou and Donner 2008).
    """
    apart = np.asarray(ours.mean, np.float64) - theirs.mean
    a, b = _known(ours), _known(theirs)
    with np.errstate(invalid="ignore", divide="ignore"):
        df = (a + b) ** 2 / (a**2 / ours.df + b**2 / theirs.df)
    df = np.where(np.isfinite(df), df, np.inf)
    below, above = np.zeros_like(apart), np.zeros_like(apart)
    welch = _quantile(df)
    for by, mine_at, other_at in (("seeds", welch, welch), ("episodes", _of_episodes(ours), _of_episodes(theirs))):
        mine, other = _arms(ours, mine_at, by), _arms(theirs, other_at, by)
        below = np.maximum(below, np.hypot(mine[0], other[1]))
        above = np.maximum(above, np.hypot(mine[1], other[0]))
    return tuple(map(_as_given, (apart, apart - below, apart + above)))


def _freedom(runs: int) -> float:
    return runs - 1 if runs > 1 else math.inf


def _known(found: Sample) -> Any:
    """Return the variance of a mean: as the runs tell it, or for one run as its episodes do."""
    return np.where(np.isinf(found.df), found.within, found.between)


def _of_episodes(found: Sample) -> Any:
    """Return the quantile of the episodes' part; a rate's variance follows from its mean, a return's is estimated."""
    runs = np.where(np.isinf(found.df), 1, np.asarray(found.df) + 1)
    return Z95 if found.rate else _quantile(np.maximum(found.episodes - runs, 1e-9))


def _arms(found: Sample, quantile: Any, by: str) -> tuple[Any, Any]:
    """Return how far one part of an interval reaches below and above the mean."""
    mean = np.asarray(found.mean, np.float64)
    variance = np.asarray(found.within, np.float64) if by == "episodes" else _known(found)
    if not found.rate:
        reach = np.where(np.asarray(found.episodes) > 1, quantile * np.sqrt(variance), np.inf)
        return reach, reach
    spread = mean * (1 - mean)
    # Where nothing varies, nothing can be said by seeds, and by episodes what their number allows.
    count = np.where(variance > 0, spread / np.where(variance > 0, variance, 1), np.inf)
    count = np.where(np.isinf(count), found.episodes if by == "episodes" else 1e300, count)
    # No less than can be squared: a trimmed mean may be 1 where the runs differ, which leaves nothing of the spread.
    low, high = _score_interval(mean, np.maximum(count, 1e-9), quantile)
    return mean - low, high - mean


def _score_interval(share: Any, count: Any, quantile: Any) -> tuple[Any, Any]:
    scaled = quantile**2 / count
    middle = share + scaled / 2
    half = np.sqrt(scaled * share * (1 - share) + scaled**2 / 4)
    return (middle - half) / (1 + scaled), (middle + half) / (1 + scaled)


def _quantile(df: Any) -> Any:
    """97.5 % quantile of Student's t; a thousand million degrees of freedom are the normal distribution."""
    from scipy.special import stdtrit  # here: it takes a while to import, and ``ibal --help`` can do without

    return stdtrit(np.minimum(df, 1e9), 0.975)


def _as_given(value: Any) -> Any:
    """Give a number back for numbers, an array for arrays."""
    return float(value) if np.ndim(value) == 0 else value


def over_seeds(values: ArrayLike) -> tuple[float, float | None]:
    """Return mean and sample standard deviation (ddof 1); None for the latter where there is one value only."""
    numbers = np.asarray(values, np.float64)
    if numbers.size == 0:
        raise ValueError("over_seeds: no value given")
    return float(numbers.mean()), float(numbers.std(ddof=1)) if numbers.size > 1 else None


def wilson(wins: int, episodes: int) -> tuple[float, float]:
    """Return the 95 % score interval of a probability; unlike mean ± sigma it is right at 0 and 1.

    Source: Wilson 1927, (p + z^2/2n ± z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n).
    """
    return interval(of_rates([wins / episodes], episodes))


def bootstrap(
    strata: Iterable[ArrayLike], statistic: Statistic, *, repeats: int = REPEATS, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Return the percentile interval of a statistic under resampling with replacement within each stratum.

    ``statistic`` gets one array [r, n_k] per stratum, r resamples at a time, and returns [r]. A stratum is a seed's
    episodes where the seeds are given, or a task's runs where they are what varies.
    Source: Efron and Tibshirani 1993, percentile method; stratified as in Agarwal et al. 2021, section 4.1.
    """
    samples = [np.asarray(stratum, np.float64) for stratum in strata]
    if not samples or any(s.ndim != 1 or s.size == 0 for s in samples):
        raise ValueError("bootstrap: every stratum must be a list of at least one number, and there must be one")
    generator = np.random.default_rng(seed)
    at_once = max(1, _AT_ONCE // sum(s.size for s in samples))
    found: list[Numbers] = []
    for first in range(0, repeats, at_once):
        count = min(at_once, repeats - first)
        drawn = [s[generator.integers(0, s.size, (count, s.size), np.int32)] for s in samples]
        found.append(np.asarray(statistic(drawn), np.float64))
    tail = 50 * (1 - level)
    low, high = np.percentile(np.concatenate(found), [tail, 100 - tail])
    return float(low), float(high)


def pooled_mean(strata: Sequence[Numbers]) -> Numbers:
    """Mean over the last axis of all strata together: what an interval of a win rate is about."""
    return np.asarray(np.concatenate(strata, axis=-1).mean(-1))


def iqm(scores: ArrayLike, axis: int | tuple[int, ...] | None = None) -> Numbers:
    """Interquartile mean: without the floor(n/4) lowest and highest of the n values along ``axis`` (None: all).

    Source: Agarwal et al. 2021, section 4.3; same as scipy.stats.trim_mean(values, 0.25).
    """
    values = np.asarray(scores, np.float64)
    axes = tuple(range(values.ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis
    moved = np.moveaxis(values, axes, range(-len(axes), 0))
    flat = np.sort(moved.reshape(*moved.shape[: moved.ndim - len(axes)], -1), axis=-1)
    cut = flat.shape[-1] // 4
    return np.asarray(flat[..., cut : flat.shape[-1] - cut].mean(-1))


def probability_of_improvement(x: Sequence[ArrayLike], y: Sequence[ArrayLike]) -> Numbers:
    """P(a run of X is better than a run of Y), mean over tasks; a tie counts half.

    Mann-Whitney's U / (n_x n_y) per task. ``x[k]`` [..., n_x] and ``y[k]`` [..., n_y] are the runs of task k; leading
    axes are kept, so it is a ``bootstrap`` statistic as it stands.
    Source: Agarwal et al. 2021, section 4.3.
    """
    if len(x) != len(y) or len(x) == 0:
        raise ValueError(f"probability_of_improvement: X has {len(x)} tasks and Y has {len(y)}; both need the same")
    shares: list[Numbers] = []
    for ours, theirs in zip(x, y, strict=True):
        a, b = np.asarray(ours, np.float64)[..., :, None], np.asarray(theirs, np.float64)[..., None, :]
        shares.append(((a > b) + 0.5 * (a == b)).mean((-2, -1)))
    return np.asarray(np.mean(shares, axis=0))


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> Numbers:
    """Share of all entries of a score matrix [runs, tasks] above each threshold (run-score distribution).

    Source: Agarwal et al. 2021, equation 1.
    """
    values, limits = np.asarray(scores, np.float64).ravel(), np.asarray(thresholds, np.float64)
    return (values[None, :] > limits[:, None]).mean(1)
