"""Many faults of one team, quickly: one compiled program in which every fault is there and all but those asked for are
off. Who has it, how much and when are data; so a hundred trials cost one compilation.

    bench = Bench(team, seed=0)
    bench.play("stop[who=3]+lost-30@20", batch=0)      # the scores of BATCH episodes, the same for every trial
    bench.scores("natural"), bench.without("range")    # what has been played; why a fault cannot be here
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ibal.adversaries import fault_names
from ibal.adversaries.base import Adversary, natural
from ibal.adversaries.combine import chain
from ibal.adversaries.faults import Setting, setting
from ibal.evaluation import stats
from ibal.evaluation.episodes import episode_keys, play
from ibal.evaluation.matrix import Team
from ibal.game.perturb import perturb
from ibal.game.referee import is_hosted

BATCH = 128  # episodes
BATCH_IN_PYTHON = 16  # of worlds and teams that are played step by step in Python
# Steps are part of a program, all other numbers are data.
KINDS = (
    "delay-1", "delay-2", "delay-4", "late-1", "late-2", "lost", "burst", "range", "noise", "drop", "frozen", "stop",
    "vanish", "stuck", "sticky",
)  # fmt: skip


class OutOfTime(Exception):
    """The time for trials is over."""


class Scores(NamedTuple):
    """Of every episode: the score (share won where games can be won, else the return) and the length in steps."""

    score: np.ndarray
    length: np.ndarray


class Bench:
    """The trials of one team. ``deadline`` (of ``time.monotonic``): nothing begins after it."""

    def __init__(self, team: Team, seed: int = 0, deadline: float = float("inf")) -> None:
        self.team, self.spec, self.seed, self.deadline = team, team.env.spec, seed, deadline
        self.batch = BATCH_IN_PYTHON if is_hosted(team.env, team.player) else BATCH
        self.cannot: dict[str, str] = {}
        self.seconds = 0.0
        self.episodes = 0
        self.steps = 0
        self._parts: dict[tuple[Any, ...], Any] = {}
        self._played: dict[str, dict[int, Scores]] = {}
        for word in KINDS:
            config = replace(fault_names.fault(word), agents=0)
            try:
                config.build(self.spec)
                self._parts[_shape(config)] = config
            except ValueError as error:
                self.cannot[word.partition("-")[0]] = str(error)
        self.adversary: Adversary = natural()
        if self._parts:
            every = chain(*(config.build(self.spec) for config in self._parts.values()))
            # How many agents are touched is data here, so that no number of them can be declared.
            self.adversary = every._replace(threat=replace(every.threat, agents=None))

    def can(self, name: str) -> bool:
        """Say whether a trial is possible here; why not is in ``cannot`` under the kind of the fault."""
        try:
            self.states(name)
            self.world(name)
        except ValueError as error:
            self.cannot.setdefault(fault_names.parts(name)[0].partition("-")[0], str(error))
            return False
        return True

    def states(self, name: str) -> Any:
        """Return the settings of all faults in which only those of ``name`` are on. Raises ValueError."""
        on: dict[tuple[Any, ...], Any] = {}
        rest = fault_names.split(name)[1]
        for word in () if rest == "natural" else fault_names.parts(rest):
            config = fault_names.fault(word)
            if _shape(config) not in self._parts:
                raise ValueError(self.cannot.get(word.partition("-")[0], f'"{word}" is none of the trials'))
            on[_shape(config)] = config
        found: tuple[Setting, ...] = tuple(setting(on.get(shape, off), self.spec) for shape, off in self._parts.items())
        return found if self._parts else ()

    def world(self, name: str) -> tuple[Any, Any]:
        """Return the world of a trial and its parameters. Raises ValueError where it cannot follow."""
        return perturb(self.team.env, fault_names.split(name)[0])

    def play(self, name: str, batch: int = 0) -> Scores:
        """Play the episodes of a batch, or return what they brought. Raises OutOfTime, and ValueError for a trial that
        is impossible here."""
        held = self._played.setdefault(name, {})
        if batch not in held:
            if time.monotonic() > self.deadline:
                raise OutOfTime
            world, params = self.world(name)
            held[batch] = self.timed(world, params, self.adversary, self.states(name), batch)
        return held[batch]

    def timed(self, world: Any, params: Any, adversary: Adversary, attacker: Any, batch: int) -> Scores:
        """Play a batch under any adversary, and count it."""
        began = time.monotonic()
        keys = episode_keys(self.seed, self.batch * (batch + 1))[self.batch * batch :]
        done = play(
            world, self.team.player, keys, self.team.params, env_params=params, adversary=adversary, attacker=attacker
        )
        won = np.asarray(done.win if self.spec.has_win else done.returns, np.float64)
        length = np.asarray(done.length)
        self.seconds += time.monotonic() - began
        self.episodes += self.batch
        self.steps += int(length.sum())
        return Scores(won, length)

    def keep(self, name: str, batch: int, scores: Scores) -> None:
        """Put what another attack brought beside the trials."""
        self._played.setdefault(name, {})[batch] = scores

    def batches(self, name: str) -> dict[int, Scores]:
        """Return what has been played of a trial."""
        return self._played.get(name, {})

    def mean(self, name: str, batches: Callable[[int], bool] = lambda batch: True) -> dict[str, Any] | None:
        """Return score, its 95 % interval and the episodes of a trial; None if nothing of it has been played."""
        held = [one.score for batch, one in sorted(self.batches(name).items()) if batches(batch)]
        if not held:
            return None
        scores = np.concatenate(held)
        found = stats.sample([scores], rate=self.spec.has_win)
        return {"trial": name, "score": found.mean, "interval": stats.ends(found), "episodes": len(scores)}

    def cost(
        self, name: str, than: str = "natural", batches: Callable[[int], bool] = lambda batch: True
    ) -> dict[str, Any] | None:
        """Return how much less a trial brings than another one on the same episodes, with a 95 % interval."""
        mine, other = self.batches(name), self.batches(than)
        both = [batch for batch in sorted(mine) if batch in other and batches(batch)]
        if not both:
            return None
        apart = np.concatenate([other[batch].score - mine[batch].score for batch in both])
        found = stats.sample([apart])
        return {"cost": found.mean, "cost_interval": stats.ends(found)}

    def length(self) -> float:
        """Return the mean length of undisturbed episodes."""
        held = self.batches("natural")
        return float(np.concatenate([one.length for one in held.values()]).mean()) if held else float(self.spec.horizon)


def possible(bench: Bench, names: Iterable[str]) -> list[str]:
    """Return the trials that the team's world can have, each once."""
    return [name for name in dict.fromkeys(names) if bench.can(name)]


def _shape(config: Any) -> tuple[Any, ...]:
    """Return what tells the programs of faults apart."""
    return (type(config), getattr(config, "steps", None))
