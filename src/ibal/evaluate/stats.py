"""What can be said about a policy from finitely many episodes and seeds. NumPy only.

    mean, sd = over_seeds([0.91, 0.88, 0.95])                              # sd: sample standard deviation
    low, high = wilson(81, 263)                                            # 95 % of a probability
    low, high = bootstrap([wins_of_seed_0, wins_of_seed_1], pooled_mean)   # episodes drawn anew within each seed
    low, high = bootstrap(scores.T, lambda tasks: iqm(np.stack(tasks, -1), (-2, -1)))   # scores [runs, tasks]

A score matrix has one row per run and one column per task (a map under an attack, say); larger is better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z95 = 1.959964  # 97.5 % quantile of the standard normal distribution
REPEATS = 2000  # resamples of a bootstrap
_AT_ONCE = 2_000_000  # numbers drawn in one go, so that many episodes and repeats do not fill the memory

Numbers = NDArray[np.float64]
Statistic = Callable[[list[Numbers]], Numbers]


def over_seeds(values: ArrayLike) -> tuple[float, float | None]:
    """Return mean and sample standard deviation (ddof 1); None for the latter where there is one value only."""
    numbers = np.asarray(values, np.float64)
    if numbers.size == 0:
        raise ValueError("over_seeds: no value given")
    return float(numbers.mean()), float(numbers.std(ddof=1)) if numbers.size > 1 else None


def normal(values: ArrayLike) -> tuple[float, float]:
    """Return the 95 % interval of a mean, mean ± z s / sqrt(n); a single value gives itself."""
    numbers = [float(value) for value in np.asarray(values, np.float64)]
    n = len(numbers)
    mean = math.fsum(numbers) / n
    spread = math.sqrt(math.fsum((x - mean) ** 2 for x in numbers) / max(n - 1, 1) / n)
    return mean - Z95 * spread, mean + Z95 * spread


def wilson(wins: int, episodes: int) -> tuple[float, float]:
    """Return the 95 % score interval of a probability; unlike mean ± sigma it is right at 0 and 1.

    Source: Wilson 1927, (p + z^2/2n ± z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n).
    """
    share, scaled = wins / episodes, Z95**2 / episodes
    middle = share + scaled / 2
    half = Z95 * math.sqrt(share * (1 - share) / episodes + scaled / (4 * episodes))
    # Rounding must not move the ends that are 0 and 1 exactly.
    low = 0.0 if wins == 0 else (middle - half) / (1 + scaled)
    return low, 1.0 if wins == episodes else (middle + half) / (1 + scaled)


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
