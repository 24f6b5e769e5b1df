"""The studies of this repository by name: the whole matrix, the ablations, the defenders. Imports no jax.

    text = to_toml(named_study("defenders", maps=("8m",), seeds=3, budget="laptop"))

Files in one folder share what is done: a team that two studies have is trained once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ibal.evaluation.suites import STANDARD_1
from ibal.experiments.methods import DEFENDERS
from ibal.experiments.methods import METHODS as EVERY_METHOD
from ibal.experiments.paper import ATTACKS, METHODS, Builder, budget_of, paper_study
from ibal.options import ConfigError
from ibal.registry import hint

SHAPES = [f"interaction[masks={masks}]" for masks in ("random", "dimension", "truth")]  # masks of other shapes
PERTURBED = ["dis-1", "dis-2", "hp-10", "hp-15", "hp-20", "abs-1"]
# Rows that keep a comparison honest: vanilla as well tuned as anybody, and trained twice as long.
TUNED = {"vanilla-slow": {"lr": 2.5e-4}, "vanilla-fast": {"lr": 1e-3}}
LONG = "vanilla-long"


class Named(NamedTuple):
    """A study: ``help`` is one line, ``maps`` are those that it is about, ``methods`` those that it compares."""

    help: str
    maps: tuple[str, ...]
    methods: tuple[str, ...]
    make: Callable[[Builder, Sequence[str], Sequence[str]], None]


def _matrix(made: Builder, maps: Sequence[str], methods: Sequence[str]) -> None:
    """All methods under the paper's six attacks, masks of other shapes, and perturbations."""
    made.methods(maps, methods)
    made.play(methods, ATTACKS, ["none"], "unseen", maps)
    made.play(methods, SHAPES, ["none"], "unseen", maps)
    made.play(methods, ["natural"], PERTURBED, "", maps)


def _defenders(made: Builder, maps: Sequence[str], methods: Sequence[str]) -> None:
    """The same for the paper's methods and ours, with tuned vanilla, under the standard suite as well."""
    made.methods(maps, methods)
    for name, learner in TUNED.items():
        made.add(name, maps, method="vanilla", learner=learner, init="start", seeds=made.seeds)
    made.add(LONG, maps, steps=2 * made.budget["steps"], method="vanilla", init="start", seeds=made.seeds)
    teams = [*methods, *TUNED, LONG]
    made.play(teams, STANDARD_1, ["none"], "unseen", maps)
    made.play(teams, SHAPES, ["none"], "unseen", maps)
    made.play(teams, ["natural"], PERTURBED, "", maps)


STUDIES = {
    "matrix": Named("nine methods under all attacks", ("3m", "8m", "2s3z"), tuple(METHODS), _matrix),
    "defenders": Named(
        "our defenders beside the nine and tuned vanilla", ("8m", "2s3z"), (*METHODS, *DEFENDERS), _defenders
    ),
}  # fmt: skip
ABLATIONS = {"tables": (1,), "figures": (8, 9, 16, 17), "maps": ("8m", "2s3z")}
NAMES = ("paper", *STUDIES, "ablations")


def named_study(
    name: str, *, maps: Sequence[str] = (), methods: Sequence[str] = (), seeds: int = 3, budget: str = "laptop"
) -> dict[str, Any]:
    """Return a study as the tables of its file. ``maps``: other ones than its own; ``methods``: only these, or others.
    Raises ConfigError or UnknownName for what there is not."""
    if name == "ablations":
        if methods:
            raise ConfigError("ablations are about variants of ibal; leave the methods out")
        return paper_study(**{**ABLATIONS, **({"maps": tuple(maps)} if maps else {})}, seeds=seeds, budget=budget)
    if name not in STUDIES:
        raise ConfigError(f'there is no study "{name}".{hint(name, NAMES)} There are: {", ".join(NAMES)}')
    for method in methods:
        if method not in EVERY_METHOD:
            raise ConfigError(f'unknown method "{method}".{hint(method, EVERY_METHOD)} See: ibal train --help')
    found, made = STUDIES[name], Builder(seeds, budget_of(budget))
    found.make(made, tuple(maps or found.maps), tuple(methods or found.methods))
    return made.study(name, found.help, tables=(7, 8, 9) if set(maps or found.maps) <= set(found.maps) else ())
