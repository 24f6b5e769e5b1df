"""The paper's tables and figures as studies: what has to be trained, fitted and played for each. Imports no jax.

    text = to_toml(paper_study(tables=(7, 9), maps=("3m", "8m"), seeds=3, budget="laptop"))

Studies that are no table or figure of its are in ``studies``.

Tables 7 to 10 (SMAC under attacks and perturbations), 11 (LBF), 12 (SMACv2, where its maps exist), 13 (MAPPO), 1 (other
observation attacks); figures 8, 9, 16, 17 (ablations) and 13 (curves under the unseen attack). Attackers are fitted to
held-out teams of vanilla QMIX (or MAPPO), which nobody else is evaluated as: Appendix D.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ibal import envs
from ibal.evaluation.suites import PAPER
from ibal.options import ConfigError
from ibal.registry import hint

TABLES = (1, 7, 8, 9, 10, 11, 12, 13)
FIGURES = (8, 9, 13, 16, 17)
METHODS = ["vanilla", "rand-obs", "rand-act", "fgsm", "atla", "ernie", "romance", "wall", "ibal"]
SOME = ["vanilla", "rand-obs", "rand-act", "fgsm", "atla", "ibal"]  # those of Tables 11 to 13
ATTACKS = [*PAPER]
LEARNED = ["ega", "wolfpack", "interaction"]
HELD_OUT = 1000  # seeds of the teams that attackers are fitted to
_SMALL = ("3m", "3s_vs_3z", "2s3z")
MAPS = {
    1: ("8m", "MMM"), 7: _SMALL, 8: ("8m", "1c3s5z", "MMM"), 9: (*_SMALL, "8m"), 10: ("1c3s5z", "MMM"),
    11: ("lbf/5p", "lbf/10p", "lbf/15p"), 12: ("smacv2/terran_5_vs_5", "smacv2/zerg_5_vs_5", "smacv2/protoss_5_vs_5"),
    13: ("3s_vs_3z", "2s3z", "8m"),
}  # fmt: skip
# Tables of other worlds than SMAC, and further readings of their names: of each table, one is shown at a time.
WORLDS = {11: "lbf", 12: "smacv2"}
READINGS = {11: ("", "-v3")}
_BOTH = ("2s3z", "8m")
FIGURE_MAPS = {8: ("8m",), 9: _BOTH, 13: ("3m", "2s3z", "8m", "MMM"), 16: _BOTH, 17: _BOTH}
COMPONENTS = ["ibal-no-obs", "ibal-no-act", "ibal-fixed-p", "ibal-random-masks"]  # figure 8
SIZES = {"3m": (1,), "8m": (1, 2, 3, 4), "2s3z": (1, 2), "MMM": (1, 2, 3, 4, 5)}  # K of figure 9, at most half the team
# c of figure 16 (an agent loses L = c times the size of the other group): those that can be read off, and between them.
MASKED = {"8m": (0, 2, 5, 8), "2s3z": (0, 2, 5, 8, 12)}
LEAST = (0.0, 0.25, 0.5, 0.75, 1.0)  # the least probability of an attack, figure 17
MARINES = ("3m", "8m")  # maps whose starts need half as long

# What one word scales: presets and steps of the start and of the methods, episodes of a cell, how much is fitted.
BUDGETS: dict[str, dict[str, Any]] = {
    "smoke": {"preset": "smoke", "start": 4000, "marines": 4000, "steps": 4000, "episodes": 16,
              "fit": {"episodes": 16, "steps": 5, "rounds": 2}},
    "laptop": {"preset": "laptop", "start": 1_000_000, "marines": 500_000, "steps": 3_000_000, "episodes": 1024,
               "fit": {}},
    "paper": {"preset": "paper", "start": 1_000_000, "marines": 1_000_000, "steps": 9_000_000, "episodes": 1024,
              "fit": {}},
}  # fmt: skip


def paper_study(
    tables: Iterable[int] = (), figures: Iterable[int] = (), maps: Sequence[str] = (), seeds: int = 5,
    budget: str = "paper",
) -> dict[str, Any]:  # fmt: skip
    """Return the study of some tables and figures as the tables of its file; ``maps`` chooses among those that they
    are about. Raises ConfigError with the closest of what there is."""
    tables, figures = tuple(tables), tuple(figures)
    if not tables and not figures:
        raise ConfigError(f"name tables ({_listed(TABLES)}) or figures ({_listed(FIGURES)}) of the paper")
    for kind, asked, known in (("table", tables, TABLES), ("figure", figures, FIGURES)):
        for number in asked:
            if number not in known:
                raise ConfigError(f"{kind} {number} of the paper is no study; there are {kind}s {_listed(known)}")
    found = [(MAPS[number], number, "table") for number in tables]
    found += [(FIGURE_MAPS[number], number, "figure") for number in figures]
    every = list(dict.fromkeys(name for names, _, _ in found for name in names))
    for name in maps:
        if not {name, *(f"{world}/{name}" for world in WORLDS.values())} & set(every):
            raise ConfigError(f'none of these is about "{name}".{hint(name, every)} Maps: {", ".join(every)}')
    made = _Paper(seeds, budget_of(budget))
    for names, number, kind in found:
        chosen = [name for name in names if not maps or name in maps or name.partition("/")[2] in maps]
        chosen = [name for name in chosen if _exists(name) or maps]
        if chosen:
            getattr(made, f"{kind}_{number}", made.table_smac)(number, chosen)
    if not made.evaluate:
        raise ConfigError(
            f"nothing is left of {_listed(tables + figures)}: these maps are in none of them, or not here"
        )
    title = ", ".join([f"table {n}" for n in tables] + [f"figure {n}" for n in figures])
    return made.study(f"paper: {title}", f"The paper's {title}", tables)


def budget_of(word: str) -> dict[str, Any]:
    """Return what a word for a budget means. Raises ConfigError with the closest."""
    if word not in BUDGETS:
        raise ConfigError(f'unknown budget "{word}".{hint(word, BUDGETS)} Budgets: {", ".join(BUDGETS)}')
    return BUDGETS[word]


def environments(number: int, scenario: str) -> tuple[str, ...]:
    """Return the full names of the environments that can be a scenario of a table, the one that it is meant to be
    first: ``environments(11, "5p")``; one that is not here is named as it would be."""
    world = WORLDS.get(number, "smac")
    return tuple(_full(f"{world}/{scenario}{reading}") for reading in READINGS.get(number, ("",)))


class Builder:
    """Puts a study together; what two parts of it need comes once."""

    def __init__(self, seeds: int, budget: Mapping[str, Any]) -> None:
        """Raises ConfigError for too many seeds."""
        if not 1 <= seeds <= HELD_OUT:
            raise ConfigError(
                f"seeds must be 1 to {HELD_OUT}, not {seeds}: attackers are fitted to a team of seed {HELD_OUT}, which "
                "nobody may be evaluated as"
            )
        self.seeds, self.budget = seeds, budget
        self.train: dict[str, dict[str, Any]] = {}
        self.attackers: dict[str, dict[str, Any]] = {}
        self.evaluate: list[dict[str, Any]] = []

    def study(self, name: str, title: str, tables: Iterable[int] = ()) -> dict[str, Any]:
        """Return what was put together, as the tables of a study's file."""
        return {
            "name": name,
            "defaults": {"preset": self.budget["preset"]},
            "train": list(self.train.values()),
            "attackers": list(self.attackers.values()),
            "evaluate": self.evaluate,
            "page": {"title": title, "tables": list(tables), "curves": True, "replays": 8},
        }

    def methods(self, maps: Sequence[str], methods: Iterable[str], snapshots: bool = False) -> None:
        """Train methods, each from a start of its own seed; and the teams that attackers are fitted to."""
        self.starts("start", maps)
        for method in methods:
            self.add(method, maps, method=method, init="start", seeds=self.seeds, snapshots=snapshots)
        self.add("held-out", maps, seeds=[HELD_OUT])
        self.fitted("unseen", "held-out", LEARNED)

    def starts(self, name: str, maps: Iterable[str], **entry: Any) -> None:
        """Train the teams that methods begin with."""
        for env in maps:
            steps = self.budget["marines" if env in MARINES else "start"]
            self.add(name, [env], seeds=self.seeds, steps=steps, **entry)

    def add(
        self, name: str, maps: Sequence[str], steps: int | None = None, snapshots: bool = False, **entry: Any
    ) -> None:  # fmt: skip
        """Train something on some maps; two calls with all else alike are one."""
        train: dict[str, Any] = {"steps": self.budget["steps"] if steps is None else steps}
        train |= {"snapshot_every": max(train["steps"] // 20, 1)} if snapshots else {}
        which = f"{name} {train['steps']}"
        held = self.train.setdefault(which, {"name": name, "env": [], **entry, "train": train})
        held["train"] |= train
        held["env"] += [one for one in maps if one not in held["env"]]

    def fitted(self, name: str, on: str, attacks: Sequence[str]) -> None:
        """Fit attackers."""
        self.attackers[name] = {"name": name, "attack": list(attacks), "on": on, **self.budget["fit"]}

    def play(
        self, teams: Sequence[str], attacks: Sequence[str], perturbations: Sequence[str], attackers: str,
        maps: Sequence[str], snapshots: bool = False,
    ) -> None:  # fmt: skip
        """Play teams on maps under every attack with every perturbation."""
        entry: dict[str, Any] = {"teams": list(teams), "env": list(maps), "attacks": list(attacks)}
        entry |= {"perturbations": list(perturbations)}
        entry |= {"attackers": attackers} if attackers else {}
        entry |= {"episodes": self.budget["episodes"]} | ({"snapshots": True} if snapshots else {})
        self.evaluate.append(entry)


class _Paper(Builder):
    """Adds the parts of the paper."""

    def table_smac(self, number: int, maps: list[str]) -> None:
        self.methods(maps, METHODS)
        if number in (7, 8):
            self.play(METHODS, ATTACKS, ["none"], "unseen", maps)
        else:
            dis = ["dis-1", "dis-2"] if number == 10 else ["dis-1"]
            self.play(METHODS, ["natural"], [*dis, "hp-10", "hp-15", "hp-20"], "", maps)

    def table_11(self, number: int, maps: list[str]) -> None:
        self.methods(maps, SOME)
        self.play(SOME, ["natural", "random", "fgsm", "interaction"], ["none"], "unseen", maps)

    table_12 = table_11

    def table_13(self, number: int, maps: list[str]) -> None:
        self.starts("start-mappo", maps, learner="mappo")
        methods = [name for name in SOME if name != "fgsm"] + ["fgsm"]
        names = ["mappo" if name == "vanilla" else f"mappo-{name}" for name in methods]
        for name, method in zip(names, methods, strict=True):
            self.add(name, maps, method=method, learner="mappo", init="start-mappo", seeds=self.seeds)
        self.add("held-out-mappo", maps, learner="mappo", seeds=[HELD_OUT])
        self.fitted("unseen-mappo", "held-out-mappo", ["interaction"])
        self.play(names, ["natural", "random", "interaction"], ["none"], "unseen-mappo", maps)

    def table_1(self, number: int, maps: list[str]) -> None:
        self.methods(maps, ["ibal"])
        for fill in ("gaussian", "fgsm"):
            self.add(f"ibal-{fill}", maps, method="ibal", method_options={"fill": fill}, init="start",
                      seeds=self.seeds)  # fmt: skip
        self.play(["ibal", "ibal-gaussian", "ibal-fgsm"], ["interaction"], ["none"], "unseen", maps)

    def figure_8(self, number: int, maps: list[str]) -> None:
        self.methods(maps, ["vanilla", "ibal", *COMPONENTS])
        self._ablated(["vanilla", "ibal", *COMPONENTS], maps)

    def figure_9(self, number: int, maps: list[str]) -> None:
        self._ablation({name: {f"ibal-k{size}": {"most": size} for size in SIZES.get(name, (1, 2))} for name in maps})

    def figure_16(self, number: int, maps: list[str]) -> None:
        some = {name: MASKED.get(name, (0, 2, 5, 8)) for name in maps}
        self._ablation({
            name: {f"ibal-l{dims}": {"masks": "dimension", "dims": dims} for dims in some[name]} for name in maps
        })  # fmt: skip

    def figure_17(self, number: int, maps: list[str]) -> None:
        self._ablation({name: {f"ibal-p{least:g}": {"p_min": least} for least in LEAST} for name in maps})

    def figure_13(self, number: int, maps: list[str]) -> None:
        self.methods(maps, METHODS, snapshots=True)
        self.play(METHODS, ["natural", "interaction"], ["none"], "unseen", maps, snapshots=True)

    def _ablation(self, variants: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
        """Train variants of IBAL, other ones on every map, and play them beside vanilla."""
        for env, some in variants.items():
            self.methods([env], ["vanilla"])
            for name, options in some.items():
                self.add(name, [env], method="ibal", method_options=dict(options), init="start", seeds=self.seeds)
            self._ablated(["vanilla", *some], [env])

    def _ablated(self, teams: list[str], maps: list[str]) -> None:
        """Play as the paper's figures do, under Dis-1, and under the attack itself."""
        self.play(teams, ["natural"], ["none", "dis-1"], "", maps)
        self.play(teams, ["interaction"], ["none"], "unseen", maps)


def _full(name: str) -> str:
    """Return the whole name of an environment, as results have it; one that is not here as it stands."""
    try:
        return envs.named(name)[0]
    except ValueError:
        return name


def _exists(name: str) -> bool:
    try:
        envs.named(name)
    except ValueError:
        return False
    return True


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
