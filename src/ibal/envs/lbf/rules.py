"""The options of Level-Based Foraging, and the names under which tables know some of them. No jax is needed here."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Literal

from ibal.options import check_count, check_fields, check_positive

LARGEST = 500  # of every size: beyond that one vector would fill the memory


@dataclass(frozen=True)
class Rules:
    """One game: its sizes, what is seen, and the numbers that ``Params`` begins with.

    Source: ``ForagingEnv`` of lb-foraging 2.0.0, whose names these are where there is one, and MASIA's version of it.
    """

    rows: int = 20
    """Cells from north to south."""
    cols: int = 20
    """Cells from west to east."""
    players: int = 5
    """The agents."""
    foods: int = 6
    """Pieces of food in an episode; fewer where no more find room."""
    sight: int = 3
    """How many cells away food and players are seen, in a square."""
    observation: Literal["grid", "vector"] = "grid"
    """Three planes of the cells around (players, food, access), or a list of what is in sight."""
    state: Literal["grid", "observations"] = "grid"
    """The planes of the whole field with a border of ``sight`` cells, or all observations one after the other."""
    observe_levels: bool = True
    """Show the levels of players; the grid shows 1 instead."""
    strict_sight: bool = False
    """Vector: show players within ``sight`` only. lb-foraging shows them up to twice as far near the north and west
    border."""
    mask_invalid: bool = False
    """Offer only actions that can be done; otherwise all, and what cannot be done does nothing."""
    reward: Literal["sum", "mean"] = "sum"
    """The team's reward is the players' sum, or their mean."""
    truncate: bool = False
    """The time limit truncates an episode; in lb-foraging it terminates it."""
    limit: int = 50
    """Steps of the longest episode."""
    min_player_level: int = 1
    """Levels of players are uniform from here ..."""
    max_player_level: int = 1
    """... to here, both included."""
    min_food_level: int = 1
    """Levels of food are uniform from here ..."""
    max_food_level: int = 0
    """... to here, both included; 0: to what the three weakest players can load together, less ``food_margin``."""
    food_margin: int = 1
    """1 in MASIA and lb-foraging 1 (they leave the upper end out), 0 in lb-foraging 2."""
    force_coop: bool = False
    """All food has the highest level."""
    normalize_reward: bool = True
    """Divide rewards so that an episode in which everything is collected has the return 1."""
    penalty: float = 0.0
    """What each player pays that tried to load too heavy a piece."""

    def __post_init__(self) -> None:
        check_fields(self, "rules")
        for name, least in _LEAST.items():
            check_count(name, getattr(self, name), least, LARGEST)
        check_count("limit", self.limit, 1)
        check_positive("penalty", self.penalty, zero=True)
        check_count("max_player_level", self.max_player_level, self.min_player_level, LARGEST)
        check_count("max_food_level", self.max_food_level, self.min_food_level if self.max_food_level else 0, LARGEST)
        inner = (self.rows - 2) * (self.cols - 2)
        if inner <= self.players:
            raise ValueError(
                f"{self.players} players can cover all {inner} cells that food may lie on (those off the border of a "
                f"field of {self.rows} x {self.cols}); give a larger field or fewer players"
            )

    @property
    def window(self) -> int:
        """Cells across what a player sees."""
        return 2 * self.sight + 1

    @property
    def padded(self) -> tuple[int, int]:
        """Rows and columns of the field with a border as wide as the sight."""
        return self.rows + 2 * self.sight, self.cols + 2 * self.sight


_LEAST = {
    "rows": 3, "cols": 3, "players": 1, "foods": 1, "sight": 1, "min_player_level": 1, "min_food_level": 1,
    "food_margin": 0,
}  # fmt: skip

# The readings of the ids. MASIA's (Guan et al. 2022) is the one that the paper cites: it makes up ids with "-s<sight>",
# draws levels without their upper end and shows grids. Its own time limit is 25; 50, as everywhere else, is the one
# under which the paper's figures can be reached. "-v3" is lb-foraging 2.0.0 as it comes.
_MASIA = Rules()
_V3 = replace(_MASIA, observation="vector", state="observations", max_player_level=2, food_margin=0)

_ID = re.compile(
    r"Foraging(?:-(?P<two>\d{1,3})s)?-(?P<rows>\d{1,3})x(?P<cols>\d{1,3})-(?P<players>\d{1,3})p-(?P<foods>\d{1,3})f"
    r"(?:-s(?P<sight>\d{1,3}))?(?P<coop>-coop)?(?P<v3>-v3)?"
)

PAPER = tuple(f"Foraging-20x20-{n}p-6f-s3" for n in (5, 10, 15))
# Those that EPyMARL and Mava are compared on.
USUAL = (
    "Foraging-8x8-2p-2f-coop", "Foraging-2s-8x8-2p-2f-coop", "Foraging-10x10-3p-3f", "Foraging-2s-10x10-3p-3f",
    "Foraging-15x15-3p-5f", "Foraging-15x15-4p-3f", "Foraging-15x15-4p-5f",
)  # fmt: skip
NAMES = (*PAPER, *(f"{name}-v3" for name in (*PAPER, *USUAL)))
SHORT = {
    f"{n}p{reading}": name + reading for reading in ("", "-v3") for n, name in zip((5, 10, 15), PAPER, strict=True)
}


def rules(name: str) -> Rules:
    """Return the rules behind an id: ``Foraging-<rows>x<cols>-<players>p-<foods>f-s<sight>``, with ``-coop`` where all
    food is as heavy as can be and ``-v3`` for lb-foraging 2.0.0; without a sight all is seen. Raises ValueError."""
    found = _ID.fullmatch(name)
    if found is None:
        raise ValueError(f'"{name}" is no id of foraging; write it like {PAPER[0]}, or {NAMES[3]}')
    rows, cols, players, foods = (int(found[part]) for part in ("rows", "cols", "players", "foods"))
    sight = int(found["sight"] or found["two"] or max(rows, cols))
    base = _V3 if found["v3"] else _MASIA
    return replace(
        base, rows=rows, cols=cols, players=players, foods=foods, sight=sight, force_coop=found["coop"] is not None
    )


def summary(name: str) -> str:
    """Describe an id in one line, for lists."""
    game = rules(name)
    seen = "sees all" if game.sight >= max(game.rows, game.cols) else f"sight {game.sight}"
    levels = f"levels 1 to {game.max_player_level}" if game.max_player_level > 1 else "all of level 1"
    short = "".join(f"; short: lbf/{key}" for key, full in SHORT.items() if full == name)
    return (
        f"{game.players} players ({levels}) collect {game.foods} pieces of food on {game.rows} x {game.cols} cells, "
        f"{seen}, {game.observation}, {game.limit} steps{short}"
    )


def with_options(game: Rules, options: dict[str, Any]) -> Rules:
    """Replace rules by name. Raises ValueError with the closest name for one that is none."""
    import difflib

    known = list(Rules.__dataclass_fields__)
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.0)[0]
            raise ValueError(f'foraging has no option "{name}"; did you mean "{near}"? (fields of Rules)')
    return replace(game, **options)
