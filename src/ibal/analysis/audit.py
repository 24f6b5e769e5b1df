"""What an audit tries, and what it makes of it: numbers only. ``ibal.audit`` plays, ``report.audit`` writes the page.

Everything is computed from the trials that have been played, however many these are; what is missing is left out.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

from ibal.analysis.trials import Bench, possible
from ibal.options import shown

SUITE = (
    "noise-10",
    "lost-30",
    "burst-30",
    "delay-1",
    "drop-20",
    "late-1",
    "stop-1",
)  # of standard-1, without attackers
KEEP = 0.8  # of what it brings undisturbed: the threshold where none is given
ALIKE = 0.05  # of the undisturbed score: agents whose losses differ by no more are called alike
PAIRS = 45  # with more pairs of agents, only those of the agents whose loss costs most
# What a number means, for every curve; the points are few, since each is played.
CURVES: dict[str, tuple[str, tuple[int, ...]]] = {
    "stop": ("agents that stop", (1, 2, 3, 4)),
    "vanish": ("agents that stop and are seen by no other", (1, 2, 3, 4)),
    "frozen": ("agents whose sensors freeze", (1, 2, 4)),
    "stuck": ("agents that repeat one action", (1, 2, 4)),
    "lost": ("% of what is heard about others is lost", (10, 30, 60, 100)),
    "burst": ("% of it is lost, in bursts", (10, 30, 60)),
    "range": ("% shorter range to hear others", (25, 50, 75)),
    "noise": ("% noise on all sensors", (5, 10, 20, 50)),
    "drop": ("% of all sensors broken", (5, 10, 20, 40)),
    "delay": ("steps that what is seen is old", (1, 2, 4)),
    "late": ("steps that actions are late", (1, 2)),
    "sticky": ("% of the actions repeat the last one", (10, 25, 50)),
    "hp": ("% less health", (10, 20, 40)),
}


class Stage(NamedTuple):
    """Trials that belong together; ``title`` is what the page says if they are missing."""

    title: str
    trials: list[str]


def loss_of(bench: Bench) -> str:
    """Return the fault that stands for the loss of an agent: it stops, or repeats one action where it cannot."""
    return "stop" if bench.can("stop-1") else "stuck"


def times(bench: Bench) -> list[int]:
    """Return four moments of a usual game: its beginning, a quarter, half, and three quarters of it."""
    return sorted({round(part * bench.length()) for part in (0, 0.25, 0.5, 0.75)})


def stages(bench: Bench) -> list[Stage]:
    """Return what is tried, in order of importance; needs the undisturbed games (``bench.length``)."""
    n, loss, at = bench.spec.n_agents, loss_of(bench), times(bench)
    found = [
        Stage("the loss of each agent", [f"{loss}[who={i}]" for i in range(n)]),
        Stage("usual faults", list(SUITE)),
        Stage("how much of every fault it bears", [
            f"{kind}-{much}" for kind, (_, steps) in CURVES.items() for much in steps
            if much < n or kind not in ("stop", "vanish", "frozen", "stuck")]),
        Stage("failures at different times", [f"{loss}-1@{t}" for t in at]),
        Stage("recovery", [name for one in recoveries(bench) for name in one]),
        Stage("silent against visible failures", [f"{how}-{k}" for k in (1, 2) if k < n for how in ("stop", "vanish")]),
        Stage("pairs of agents", pairs(bench)),
    ]  # fmt: skip
    return [Stage(title, possible(bench, trials)) for title, trials in found]


def recoveries(bench: Bench) -> list[tuple[str, str]]:
    """Return pairs of trials: a fault in the second quarter of a game only, and from there to the end."""
    _, begin, end, *_ = [*times(bench), *(0,) * 3]
    end = max(end - 1, begin)
    two = min(2, bench.spec.n_agents - 1)
    kinds = possible(bench, [f"{loss_of(bench)}-{max(two, 1)}", "lost-100", "noise-50"])
    return [(f"{kind}@{begin}-{end}", f"{kind}@{begin}") for kind in kinds]


def pairs(bench: Bench) -> list[str]:
    """Return the pairs of agents that are tried: all, or those of the agents whose loss costs most."""
    n, loss = bench.spec.n_agents, loss_of(bench)
    if n < 3:
        return []
    agents = list(range(n))
    if n * (n - 1) // 2 > PAIRS:
        cost = {i: (bench.cost(f"{loss}[who={i}]") or {"cost": 0.0})["cost"] for i in agents}
        agents = sorted(sorted(agents, key=lambda i: -cost[i])[:10])
    return [f"{loss}[who={i} {j}]" for i, j in itertools.combinations(agents, 2)]


def finalists(bench: Bench) -> list[str]:
    """Return the three pairs that cost most on the episodes on which they were looked for."""
    tried = [(found["score"], name) for name in pairs(bench) if (found := bench.mean(name, lambda batch: batch == 0))]
    return [name for _, name in sorted(tried)[:3]]


def summary(bench: Bench, fail_under: float | None, attacks: dict[str, str]) -> dict[str, Any]:
    """Return all numbers of the page. ``attacks``: what was played besides faults, with a line about each."""
    natural = bench.mean("natural")
    if natural is None:
        return {"natural": None}
    # What it brings less a fifth of its size: a return may be below 0, where four fifths of it would be more.
    threshold = natural["score"] - (1 - KEEP) * abs(natural["score"]) if fail_under is None else fail_under
    suite = _suite(bench, attacks)
    lowest = suite[0] if suite else None
    return {
        "natural": natural,
        "threshold": threshold,
        "threshold_is": _threshold_is(natural["score"]) if fail_under is None else "--fail-under",
        "fail_under": fail_under,
        "passed": None if fail_under is None or lowest is None else bool(lowest["score"] >= fail_under),
        "lowest": lowest,
        "suite": suite,
        "agents": _agents(bench),
        "pairs": _pairs(bench),
        "curves": _curves(bench, natural, threshold),
        "onset": [found | {"step": t} for t in times(bench) if (found := bench.mean(f"{loss_of(bench)}-1@{t}"))],
        "recovery": _recovery(bench),
        "visible": _visible(bench),
        "loss": loss_of(bench),
        "length": bench.length(),
        "cannot": bench.cannot,
    }


def _threshold_is(score: float) -> str:
    if score >= 0:
        return f"{100 * KEEP:.0f}\u00a0% of the undisturbed score"
    return f"the undisturbed score less {100 * (1 - KEEP):.0f}\u00a0% of its size"


def _suite(bench: Bench, attacks: dict[str, str]) -> list[dict[str, Any]]:
    """The lowest column first; undisturbed play is one of them."""
    names = ["natural", *SUITE, *attacks]
    found = [one | {"help": attacks.get(name, "")} for name in names if (one := bench.mean(name))]
    return sorted(found, key=lambda one: one["score"])


def _agents(bench: Bench) -> list[dict[str, Any]]:
    out = []
    for i in range(bench.spec.n_agents):
        name = f"{loss_of(bench)}[who={i}]"
        if (found := bench.mean(name)) and (cost := bench.cost(name)):
            out.append(found | cost | {"agent": i})
    return out


def _pairs(bench: Bench) -> dict[str, Any] | None:
    """The worst pair, on other episodes than those on which it looked worst; if there are none, that is said."""
    best = finalists(bench)
    if not best:
        return None
    fresh = [name for name in best if bench.mean(name, lambda batch: batch > 0)]
    unseen = (lambda batch: batch > 0) if fresh else (lambda batch: True)
    told = []
    for name in fresh or best:
        found, cost = bench.mean(name, unseen), bench.cost(name, batches=unseen)
        assert found is not None
        told.append(found | (cost or {}) | {"agents": _who(name)})
    told.sort(key=lambda one: one["score"])
    tried = [found["score"] for name in pairs(bench) if (found := bench.mean(name, lambda batch: batch == 0))]
    return {"worst": told[0], "others": told[1:], "fresh": bool(fresh), "tried": len(tried),
            "mean": sum(tried) / len(tried)}  # fmt: skip


def _who(name: str) -> list[int]:
    return [int(word) for word in name.partition("who=")[2].rstrip("]").split()]


def _curves(bench: Bench, natural: dict[str, Any], threshold: float) -> list[dict[str, Any]]:
    out = []
    for kind, (label, steps) in CURVES.items():
        points = [{"x": 0.0, **natural}]
        points += [{"x": float(much), **found} for much in steps if (found := bench.mean(f"{kind}-{much}"))]
        if len(points) > 1:
            out.append({"kind": kind, "label": label, "points": points, "drops": crossing(points, threshold)})
    return out


def crossing(points: list[dict[str, Any]], threshold: float) -> float | None:
    """Return where a curve first falls below the threshold, on the straight line between two points; None: nowhere."""
    for a, b in itertools.pairwise(points):
        if b["score"] < threshold:
            if a["score"] <= threshold:
                return a["x"]
            return a["x"] + (b["x"] - a["x"]) * (a["score"] - threshold) / (a["score"] - b["score"])
    return None


def _recovery(bench: Bench) -> list[dict[str, Any]]:
    """How much of what a lasting fault costs is not lost if it ends: 1, all of it comes back."""
    out = []
    for ended, lasting in recoveries(bench):
        a, b, natural = bench.mean(ended), bench.mean(lasting), bench.mean("natural")
        if a and b and natural and (gain := bench.cost(lasting, than=ended)):
            lost = natural["score"] - b["score"]
            share = (a["score"] - b["score"]) / lost if lost > 0.1 * abs(natural["score"]) else None
            out.append({"ended": a, "lasting": b, "gain": gain, "share": share})
    return out


def _visible(bench: Bench) -> list[dict[str, Any]]:
    out = []
    for k in (1, 2):
        silent, seen = bench.mean(f"stop-{k}"), bench.mean(f"vanish-{k}")
        if silent and seen and (apart := bench.cost(f"stop-{k}", than=f"vanish-{k}")):
            out.append({"agents": k, "silent": silent, "visible": seen, "apart": apart})
    return out


def next_method(found: dict[str, Any]) -> str | None:
    """Return what to train against next: the column that leaves least, if it costs anything."""
    lowest, natural = found.get("lowest"), found.get("natural")
    if not lowest or not natural or lowest["trial"] == "natural":
        return None
    return METHOD_OF.get(lowest["trial"], lowest["trial"])


METHOD_OF = {
    "random": "rand-obs", "random-group": "ibal", "interaction": "ibal", "wolfpack-random": "wall", "fgsm": "fgsm",
}  # fmt: skip


def verdict(found: dict[str, Any], score: str) -> list[str]:
    """Return three sentences: how good it is and whose loss costs most; what breaks it first and what does not; what to
    do."""
    natural, threshold = found["natural"], found["threshold"]
    say = (lambda x: f"{100 * x:.0f}\u00a0%") if score == "win" else (lambda x: f"{x:.1f}")
    what = "wins {} of its games" if score == "win" else "earns {} a game"
    alike = False
    fails = "stop" if found["loss"] == "stop" else "repeat one action"
    first = f"Undisturbed the team {what.format(say(natural['score']))}"
    if found["agents"]:
        worst = max(found["agents"], key=lambda one: one["cost"])
        many = fails.replace("stop", "stops").replace("repeat ", "repeats ")
        spread = max(one["score"] for one in found["agents"]) - worst["score"]
        alike = len(found["agents"]) > 1 and spread <= ALIKE * abs(natural["score"])
        whose = "any one agent" if alike else f"agent {worst['agent']}"
        first += f"; {say(worst['score'])} when {whose} {many}" + (", the most costly single loss" if not alike else "")
    if found["pairs"] and not alike:
        one = found["pairs"]["worst"]
        first += (
            f", and {say(one['score'])} when agents {' and '.join(map(str, one['agents']))} {fails}, the worst pair"
        )
    lowest = found["lowest"]
    second = "No usual fault and no attack has been tried"
    if lowest is not None:
        second = f"Of the usual faults and attacks {shown(lowest['trial'])} leaves least, {say(lowest['score'])}"
    if found["curves"]:
        at_once = [(c["points"][1]["score"], c["points"][1]["trial"]) for c in found["curves"]]
        at_once = sorted(one for one in at_once if one[0] < threshold)
        breaks = [c for c in found["curves"] if c["drops"] is not None]
        second += f"; {len(breaks)} of {len(found['curves'])} kinds of fault bring it below {say(threshold)}"
        if at_once:
            second += f", soonest {_few([f'{name} ({say(value)})' for value, name in at_once[:3]])}"
        if bears := [c["kind"] for c in found["curves"] if c["drops"] is None]:
            second += f", and it bears all that was tried of {_few(bears)}"
    method = next_method(found)
    third = "Nothing that was tried costs it much: try harder faults, or attacks that learn"
    if method is not None and lowest is not None and lowest["score"] < threshold:
        third = f"Train it against {shown(method)} next, since that is where it loses most"
    return [f"{sentence}." for sentence in (first, second, third)]


def _few(words: list[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
