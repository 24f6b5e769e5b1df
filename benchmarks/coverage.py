"""How often every 95 % interval that ibal prints holds the truth, simulated at 3 and 5 seeds.

    python benchmarks/coverage.py                 # about ten seconds
    python benchmarks/coverage.py --repeats 100000 --json

A seed's true win rate is drawn from a Beta distribution of the given mean and standard deviation, its games are won or
lost by it. The truth is the mean of that distribution; for one team, the team's own rate. ``differ`` says how unlike
the seeds are: "as trained" are spreads that our results pages show, "not at all" is none, which no training of ours
shows; "one in twenty fails" is a training that is all but perfect and for a twentieth of its seeds wins no game.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ibal.evaluation import stats

SEEDS = (3, 5)
REPEATS = 20_000
PUBLISHED = 3, 32  # runs and episodes behind a number of the paper (``ibal.report.published``)
# Mean and standard deviation over seeds of a win rate, as in docs/results/archive-2026-11/matrix.md.
TRAINED = ((0.02, 0.012), (0.1, 0.05), (0.3, 0.08), (0.5, 0.1), (0.5, 0.2), (0.75, 0.1), (0.9, 0.05), (0.98, 0.012))
TASKS = np.array([0.95, 0.9, 0.8, 0.6, 0.5, 0.1])  # one team's win rates under the six columns of Table 7

Draw = np.random.Generator


class Row(NamedTuple):
    """``coverage``: share of the repeats, for each number of seeds in ``SEEDS`` (one number for a single team)."""

    interval: str
    differ: str
    truth: str
    episodes: int
    coverage: tuple[float, ...]


def beta(draw: Draw, mean: float, sd: float, shape: tuple[int, ...]) -> np.ndarray:
    """Draw rates of this mean and standard deviation."""
    if sd == 0:
        return np.full(shape, mean)
    both = mean * (1 - mean) / sd**2 - 1
    return draw.beta(mean * both, (1 - mean) * both, shape)


def held(ends: tuple[np.ndarray, np.ndarray], truth: np.ndarray | float) -> float:
    """Return the share of intervals that hold the truth; rounding counts as holding."""
    return float(np.mean((ends[0] <= truth + 1e-12) & (truth - 1e-12 <= ends[1])))


def rates(draw: Draw, mean: float, sd: float, seeds: int, episodes: int, repeats: int) -> stats.Sample:
    """Play ``repeats`` evaluations of ``seeds`` seeds."""
    won = draw.binomial(episodes, beta(draw, mean, sd, (repeats, seeds)))
    return stats.of_rates(won / episodes, episodes)


def of_rate(draw: Draw, mean: float, sd: float, seeds: int, episodes: int, repeats: int) -> float:
    """Win rate of a method: ``ibal evaluate``, ``report``, ``curves``, ``demo``."""
    return held(stats.interval(rates(draw, mean, sd, seeds, episodes, repeats)), mean)


def of_team(draw: Draw, mean: float, episodes: int, repeats: int) -> float:
    """Win rate of one team."""
    return held(stats.interval(rates(draw, mean, 0, 1, episodes, repeats)), mean)


def of_return(draw: Draw, mean: float, sd: float, seeds: int, episodes: int, repeats: int) -> float:
    """Return of a method whose games bring 20 if won and a part of it, uniform in 0..20, if lost."""
    share = beta(draw, mean, sd, (repeats, seeds, 1))
    won = draw.random((repeats, seeds, episodes)) < share
    returns = np.where(won, 20.0, 20 * draw.random(won.shape))
    return held(stats.interval(_of_scores(returns, rate=False)), 20 * mean + 10 * (1 - mean))


def of_several(
    combine: Callable[..., np.ndarray], draw: Draw, sd: float, seeds: int, episodes: int, repeats: int
) -> float:  # fmt: skip
    """Mean over attacks, or hindsight minimum, of a method whose seeds are good or bad under all attacks together."""
    used = slice(None) if combine is np.mean else slice(-1)  # under the hardest attack next to nothing is left to all
    scores = combine(_under_attacks(draw, sd, (repeats, seeds), episodes)[..., used], axis=-1)
    chance = _under_attacks(draw, sd, (1, 200_000), 0)[..., used]
    # Games under different attacks are independent here: all are won with the product of the chances.
    truth = chance.mean() if combine is np.mean else chance.prod(-1).mean()
    return held(stats.interval(_of_scores(scores, rate=True)), truth)


def of_difference(
    draw: Draw, ours: tuple[float, float], theirs: tuple[float, float], seeds: int, other: tuple[int, int],
    episodes: int, repeats: int,
) -> float:  # fmt: skip
    """Win rate of one method less that of another one."""
    mine = rates(draw, *ours, seeds, episodes, repeats)
    apart = stats.difference(mine, rates(draw, *theirs, *other, repeats))
    return held(apart[1:], ours[0] - theirs[0])


def of_iqm(draw: Draw, sd: float, seeds: int, episodes: int, repeats: int) -> float:
    """Interquartile mean over attacks; the truth is what it is on average for so many seeds."""

    def measured(count: int) -> np.ndarray:
        chance = _under_attacks(draw, sd, (count, seeds), 0)
        return draw.binomial(episodes, chance) / episodes

    def iqm(groups: list[np.ndarray]) -> np.ndarray:
        return stats.iqm(groups[0], (-2, -1))

    truth = float(np.mean(iqm([measured(10 * repeats)])))
    found = stats.jackknife([measured(repeats)], iqm, episodes * seeds * len(TASKS) // 2, rate=True)
    return held(stats.interval(found), truth)


def of_moments(draw: Draw, episodes: int, repeats: int) -> float:
    """Mean of the moments of one time step (the band of ``ibal analyse``), several of which are of one episode."""
    which = draw.integers(0, episodes, (repeats, 80))
    own = np.take_along_axis(draw.exponential(size=(repeats, episodes)), which, 1)  # what an episode's moments share
    values = own + 0.7 * draw.normal(size=which.shape)
    ends = np.array([stats.interval(stats.clustered(v, w)) for v, w in zip(values, which, strict=True)])
    return held((ends[:, 0], ends[:, 1]), 1.0)


def _of_scores(scores: np.ndarray, *, rate: bool) -> stats.Sample:
    """``stats.sample`` of [repeats, seeds, episodes] at once; a test holds the two to each other."""
    seeds, episodes = scores.shape[1:]
    means = scores.mean(-1)
    mean = means.mean(-1)
    around = mean[:, None, None] if rate else means[..., None]
    within = ((scores - around) ** 2).sum((1, 2)) / (episodes - (not rate)) / episodes / seeds**2
    between = means.var(-1, ddof=1) / seeds if seeds > 1 else np.zeros_like(mean)
    return stats.Sample(mean, between, seeds - 1 if seeds > 1 else np.inf, within, seeds * episodes, rate)


def _under_attacks(draw: Draw, sd: float, shape: tuple[int, int], episodes: int) -> np.ndarray:
    """Return chances [..., tasks], or with ``episodes`` won games [..., episodes, tasks].

    The logits of a seed share a normal error of ``sd``; those of a task have one of their own of half of it.
    """
    logit = np.log(TASKS / (1 - TASKS)) + sd * draw.normal(size=(*shape, 1))
    chance = 1 / (1 + np.exp(-logit - sd / 2 * draw.normal(size=(*shape, len(TASKS)))))
    return draw.random((*shape, episodes, len(TASKS))) < chance[:, :, None] if episodes else chance


def rows(repeats: int, seed: int = 0) -> Iterator[Row]:
    """Simulate everything, in the order of the table."""
    draw = np.random.default_rng(seed)
    few = max(repeats // 10, 500)  # where every single game is drawn

    def both(f: Callable[[int], float]) -> tuple[float, ...]:
        return tuple(f(seeds) for seeds in SEEDS)

    for episodes in (128, 512):
        for mean in (0.02, 0.1, 0.5, 0.9, 0.98):
            yield Row("win rate, one team", "", f"{mean}", episodes, (of_team(draw, mean, episodes, repeats),))
    yield Row("return, one team", "", "15.0", 512, (of_return(draw, 0.5, 0, 1, 512, few),))
    for episodes in (128, 1024):
        for mean, sd in TRAINED:
            found = both(lambda s, m=mean, d=sd, e=episodes: of_rate(draw, m, d, s, e, repeats))
            yield Row("win rate", "as trained", f"{mean} ± {sd}", episodes, found)
    for mean, sd in ((0.5, 0.1), (0.9, 0.05)):
        found = both(lambda s, m=mean, d=sd: of_return(draw, m, d, s, 128, few))
        yield Row("return", "as trained", f"{20 * mean + 10 * (1 - mean):.1f} ± {10 * sd}", 128, found)
    for sd in (0.2, 0.5):
        for name, combine in (("mean over attacks", np.mean), ("hindsight minimum", np.min)):
            found = both(lambda s, d=sd, c=combine: of_several(c, draw, d, s, 128, few))
            yield Row(name, "as trained", f"logits ± {sd}", 128, found)
    for sd in (0.2, 0.5):
        found = both(lambda s, d=sd: of_iqm(draw, d, s, 512, few))
        yield Row("interquartile mean", "as trained", f"logits ± {sd}", 512, found)
    for ours, theirs in (((0.5, 0.1), (0.75, 0.1)), ((0.9, 0.05), (0.5, 0.15)), ((0.98, 0.012), (0.9, 0.05))):
        truth = f"{ours[0]} ± {ours[1]} - {theirs[0]} ± {theirs[1]}"
        found = both(lambda s, a=ours, b=theirs: of_difference(draw, a, b, s, (s, 512), 512, repeats))
        yield Row("difference of two methods", "as trained", truth, 512, found)
        found = both(lambda s, a=ours, b=theirs: of_difference(draw, a, b, s, PUBLISHED, 1024, repeats))
        yield Row("difference to the paper", "as trained", truth, 1024, found)
    yield Row("band of ibal analyse", "", "moments", 128, (of_moments(draw, 128, min(few, 2000)),))
    for mean in (0.5, 0.9, 0.99):
        found = both(lambda s, m=mean: of_rate(draw, m, 0, s, 512, repeats))
        yield Row("win rate", "not at all", f"{mean} ± 0", 512, found)
    found = both(lambda s: of_difference(draw, (0.5, 0), (0.75, 0), s, (s, 512), 512, repeats))
    yield Row("difference of two methods", "not at all", "0.5 ± 0 - 0.75 ± 0", 512, found)
    found = both(lambda s: of_failing(draw, s, 512, repeats))
    yield Row("win rate", "one in twenty fails", "0.95", 512, found)


def of_failing(draw: Draw, seeds: int, episodes: int, repeats: int) -> float:
    """Win rate of a method that wins all games but for every twentieth seed, which wins none."""
    fails = draw.random((repeats, seeds)) < 0.05
    return held(stats.interval(stats.of_rates(np.where(fails, 0.0, 1.0), episodes)), 0.95)


def main() -> None:
    """Print the table, or one JSON object."""
    parser = argparse.ArgumentParser(description="Simulate how often the printed 95 % intervals hold the truth.")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    options = parser.parse_args()
    found = list(rows(options.repeats, options.seed))
    if options.json:
        print(json.dumps({"repeats": options.repeats, "seeds": SEEDS, "rows": [row._asdict() for row in found]}))
        return
    print(f"{'interval':<27}{'seeds differ':<21}{'truth':<30}{'episodes':>8}" + "".join(f"{s:>4} seeds" for s in SEEDS))
    for row in found:
        shown = "".join(f"{100 * each:10.1f}" for each in row.coverage)
        print(f"{row.interval:<27}{row.differ:<21}{row.truth:<30}{row.episodes:>8}{shown}")


if __name__ == "__main__":
    main()
