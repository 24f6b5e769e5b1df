"""The result tables of the paper, as numbers.

    table(7).data["3m"]["IBAL"]["Interaction"]     # Number(mean=78.3, sd=1.84, printed=None)

Source: "Interaction-Breaking Adversarial Learning Framework for Robust Multi-Agent Reinforcement Learning",
arXiv 2605.18024, Tables 1 and 7 to 14; ``paper.json`` has them as [mean, standard deviation over seeds]. The attack
that the paper's columns call "Ours" is called "Interaction" here. Table 1 is put into that column: its text says Dis-1,
but the rows of IBAL are those of Table 8 under this attack.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

# What is behind a mean. The paper says 5 trainings; but in five columns of Tables 7 to 10 mean and standard deviation
# together are, in 38 to 50 of 54 cells, what 3 runs of 32 or of 100 episodes give. So 3 runs, and the fewer episodes.
SEEDS, EPISODES = 3, 32


class Number(NamedTuple):
    """``sd`` is the standard deviation over seeds. ``printed`` is what the paper prints for a Mean that is more than
    0.1 off the mean of its row (24 of 108); ``mean`` then is that of the row. Else None."""

    mean: float
    sd: float | None
    printed: float | None = None


class PublishedTable(NamedTuple):
    """``data[scenario][model][column]``, all in the paper's order; ``unit`` is "percent" or "minutes"."""

    number: int
    title: str
    unit: str
    data: dict[str, dict[str, dict[str, Number]]]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns, the same for all scenarios and models of a table."""
        first = next(iter(self.data.values()))
        return tuple(next(iter(first.values())))


def table(number: int) -> PublishedTable:
    """Return a table of the paper. Raises ValueError that says which there are."""
    found = _read().get(str(number))
    if found is None:
        raise ValueError(f"the paper has no table {number} of results; there are {', '.join(map(str, numbers()))}")
    data = {
        scenario: {
            model: {column: Number(*value) for column, value in row.items()} for model, row in models.items()
        }
        for scenario, models in found["data"].items()
    }  # fmt: skip
    return PublishedTable(number, found["title"], found["unit"], data)


def numbers(unit: str | None = None) -> tuple[int, ...]:
    """Return the numbers of the tables, of all or of those in one unit."""
    return tuple(int(number) for number, found in _read().items() if unit in (None, found["unit"]))


@cache
def _read() -> dict[str, Any]:
    return json.loads((resources.files("ibal.report") / "paper.json").read_text("utf-8"))
