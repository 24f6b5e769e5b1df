"""What the functions of ``import ibal`` return. Each record shows itself in a notebook."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ibal.adversaries.bundle import save_attacker
from ibal.contract import ContractError
from ibal.evaluation import matrix, summary
from ibal.experiments.config import RunConfig
from ibal.nets.agents import Agent
from ibal.nets.bundle import TeamPolicy, save_bundle
from ibal.options import ConfigError
from ibal.report import page, sheet
from ibal.report.names import short
from ibal.types import Env, EnvSpec, HostPolicy, Policy
from ibal.viz import curves, scores
from ibal.viz.player import player_html, write_comparison, write_player
from ibal.viz.trajectory import Trajectory

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class Team:
    """A trained team, ready to be evaluated, attacked, watched, saved, or to act.

    ``played`` is what an evaluation plays, ``policy`` the weights with what is known of them.
    """

    played: matrix.Team
    policy: TeamPolicy

    @property
    def name(self) -> str:
        """What tables call it; all seeds of one training share it."""
        return self.played.policy

    @property
    def seed(self) -> int | None:
        return self.played.seed

    @property
    def env(self) -> Env:
        """The environment it was trained in."""
        return self.played.env

    @property
    def meta(self) -> dict[str, Any]:
        """What its bundle says: environment, method, steps, configuration, versions."""
        return self.policy.meta

    def bind(self) -> Policy | HostPolicy:
        """Return it as the pure functions that rollouts and attacks take."""
        player = self.played.player
        return player.bind(self.played.params) if isinstance(player, Agent) else player

    def reset(self) -> None:
        """Begin an episode."""
        self.policy.reset()

    def act(self, obs: Any, avail: Any) -> np.ndarray:
        """Choose actions [n] (int32) for observations [n, o] and available actions [n, a]; once per step."""
        return self.policy.act(obs, avail)

    def save(self, path: str | Path) -> Path:
        """Write a bundle: ``path`` (``.safetensors``) and the JSON file of the same name. Raises ValueError for another
        suffix, OSError where they cannot be written."""
        save_bundle(path, self.policy.params, self.env.spec, self.meta)
        return Path(path)

    def __repr__(self) -> str:
        steps = self.meta.get("env_steps")
        after = f" after {steps:,} steps" if isinstance(steps, int) else ""
        return f"<Team {self.name!r} seed {self.seed} on {self.env.spec.name}{after}>"


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A training: ``teams``, one per seed, and ``metrics``, all that was logged.

    ``metrics`` has the columns ``kind`` ("chunk", "eval"), ``seed``, ``env_steps`` (environment steps), ``wall_s``
    (seconds) and whatever the learner and the adversary report. ``finished`` is False where Ctrl-C ended it; ``steps``
    are those of the seed that has fewest. ``out`` is its folder, None: nothing was written.
    """

    config: RunConfig
    teams: list[Team]
    metrics: pl.DataFrame
    finished: bool
    steps: int
    out: Path | None = None

    def figure(self) -> Figure:
        """Draw the learning curve: win rate (or return) of greedy play over environment steps, one line per seed.
        Raises ValueError if nothing has been evaluated yet."""
        return curves.draw(self._curves())

    def _curves(self) -> list[curves.Curve]:
        rows = self.metrics.filter(self.metrics["kind"] == "eval")
        wins = summary.can_be_won(rows)
        column, score = ("win", curves.RATE) if wins else ("return", "return")
        return [
            curves.Curve(self.config.env, "natural", self.config.method, int(seed), mine["env_steps"].to_list(),
                         mine[column].to_list(), score)
            for (seed,), mine in rows.group_by("seed", maintain_order=True)
        ]  # fmt: skip

    def _last(self) -> list[str]:
        return [
            f"seed {curve.seed}: {curve.score} {curve.values[-1]:.3f} at step {curve.steps[-1]:,}"
            for curve in self._curves()
        ]

    def __repr__(self) -> str:
        state = "" if self.finished else ", stopped early"
        return f"<Run {self.config.method} on {self.config.env}: {len(self.teams)} teams, {self.steps:,} steps{state}>"

    def _repr_html_(self) -> str:
        lines = [repr(self)[1:-1], *self._last()]
        return f"<pre>{html.escape(chr(10).join(lines))}</pre>" + page.picture(self.figure() if self._last() else None)


@dataclass(frozen=True, eq=False, repr=False)
class Attacker:
    """An attack that has learned: its name, its options, what it learned, and of whom.

    ``digest`` identifies what it learned; ``meta`` says the victim, episodes, steps and seed.
    """

    attack: str
    config: Any
    state: Any
    spec: EnvSpec
    digest: str
    meta: Mapping[str, Any] = field(default_factory=dict)

    def require(self, spec: EnvSpec) -> None:
        """Raise ConfigError if it was fitted in another environment."""
        if self.spec != spec:
            raise ConfigError(f'the attacker "{self.attack}" was fitted in {self.spec.name}, not in {spec.name}')

    def save(self, path: str | Path) -> Path:
        """Write a bundle for ``ibal evaluate --attackers``: ``path`` (``.safetensors``) and the JSON file beside it.
        Raises ValueError for another suffix, OSError where they cannot be written."""
        save_attacker(path, self.attack, self.config, self.spec, self.state, self.meta)
        return Path(path)

    def __repr__(self) -> str:
        victim, seed = self.meta.get("victim"), self.meta.get("victim_seed")
        return f"<Attacker {self.attack!r} on {self.spec.name}, fitted to {victim!r} seed {seed}>"


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """Teams x attacks x perturbations on the same episodes.

    ``rows``: one per episode (columns: see ``evaluation.matrix.run``); ``summary``: one per team, perturbation and
    attack, with means, standard deviations over seeds and 95 % intervals (``evaluation.summary.summarise``); ``card``:
    what was attacked, with which knowledge, and what remained. ``finished`` is False where Ctrl-C ended it: then the
    cells that were played to their end are here, and no others. ``broken`` says, in one sentence, which world or team
    in Python broke its contract or died before the others could be played. ``out`` is its folder, None: nothing was
    written.
    """

    rows: pl.DataFrame
    entries: list[dict[str, Any]]
    card: dict[str, Any]
    finished: bool = True
    out: Path | None = None
    broken: str = ""

    def require_all(self) -> None:
        """Raise ContractError if something broke, KeyboardInterrupt if Ctrl-C ended it; else all has been played."""
        if self.broken:
            raise ContractError(self.broken)
        if not self.finished:
            raise KeyboardInterrupt

    @property
    def summary(self) -> pl.DataFrame:
        import polars as pl

        return pl.DataFrame(self.entries, infer_schema_length=None)

    def of_teams(self) -> list[dict[str, Any]]:
        """Return one entry per team (every seed by itself), attack and perturbation: "policy", "seed", "env",
        "version", "attack", "perturbation", "episodes", and "win_rate", "return" and "length" with their 95 %
        intervals, which are about that one team."""
        return summary.of_teams(self.rows)

    def figure(self) -> Figure:
        """Draw every team's score under every attack with its interval, a panel per environment and perturbation."""
        return scores.draw(self.entries, short(entry["policy"] for entry in self.entries))

    def __str__(self) -> str:
        return sheet.as_text(self.entries, card=self.card)

    def __repr__(self) -> str:
        teams = len({(entry["policy"], seed) for entry in self.entries for seed in entry["seeds"]})
        return f"<Evaluation of {teams} teams, {self.rows.height:,} episodes{'' if self.finished else ', cut short'}>"

    def _repr_html_(self) -> str:
        return page.table(self.entries, self.card)


@dataclass(frozen=True, eq=False, repr=False)
class Replay:
    """Recorded episodes of one world, side by side: a player in a notebook, a page or a GIF in a file."""

    trajectories: list[Trajectory]
    spec: EnvSpec
    title: str = ""
    summary: str = ""

    @property
    def html(self) -> str:
        """The whole page: no server, no network, no other file."""
        several = len(self.trajectories) > 1
        labels = f"{self.spec.name}: {' · '.join(one.label for one in self.trajectories)}" if several else ""
        title = self.title or labels
        return player_html(self.trajectories, self.spec.scene, self.spec, title=title, summary=self.summary)

    def save(self, path: str | Path, *, fps: float = 8.0, width: int = 640, theme: str = "light") -> Path:
        """Write a page (``.html``) or an animated GIF (``.gif``: ``fps`` steps per second, each replay ``width`` pixels
        wide, ``theme`` "light" or "dark"). Raises ConfigError for another suffix, OSError where it cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() == ".html":
            write = write_player if len(self.trajectories) == 1 else write_comparison
            return write(self.trajectories, self.spec.scene, self.spec, path, title=self.title, summary=self.summary)
        if path.suffix.lower() == ".gif":
            from ibal.viz.gif import write_gif

            write_gif(self.trajectories, self.spec.scene, self.spec, path, fps=fps, width=width, theme=theme)
            return path
        raise ConfigError(f"{path}: a replay is written as .html or .gif")

    def __repr__(self) -> str:
        told = (f"{one.label or 'episode'}: {one.length} steps, return {one.episode_return:.2f}, {one.outcome}"
                for one in self.trajectories)  # fmt: skip
        return f"<Replay of {self.spec.name}; {'; '.join(told)}>"

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{html.escape(self.html)}" style="width: 100%; height: 720px; border: 0" '
            f'title="{html.escape(self.title or self.spec.name)}"></iframe>'
        )
