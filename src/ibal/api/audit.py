"""``ibal.audit``: which agents of a team may fail, how, and when, before the team does."""

from __future__ import annotations

import html
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import ibal
from ibal import envs, rng
from ibal.adversaries import TABLE
from ibal.adversaries.base import refusal
from ibal.analysis import audit as plan
from ibal.analysis.information import measured
from ibal.analysis.trials import Bench, OutOfTime
from ibal.api.fit import fitted
from ibal.api.given import GivenEnv, GivenTeam, attack_on, kept, team_list
from ibal.api.telling import telling
from ibal.api.watch import Game, recorded
from ibal.contract import ContractError
from ibal.evaluation.bank import Bank, configuration
from ibal.evaluation.matrix import Attack, Team, engine_version
from ibal.evaluation.summary import write_json
from ibal.experiments.fitting import FitPlan, natural_episodes, policy_of
from ibal.files import appear
from ibal.mi.config import ClubConfig
from ibal.options import ConfigError, check_positive, check_seed
from ibal.report.audit import page
from ibal.viz.plain import pictured
from ibal.viz.player import player_pieces

SCHEMA = 1
# What is tried besides faults, each with a program of its own; the last one is fitted to the team first.
ATTACKS = ("random", "random-group", "fgsm", "wolfpack-random", "interaction")
FIT = FitPlan(episodes=256, steps=300)
ROUNDS = 8  # of more episodes for what the verdict rests on
FOR_TRIALS, FOR_FITTING, FOR_FILMS = 0.75, 0.5, 0.95  # of the time: until then trials, a fit, recordings may begin
REPLAYS = 3


@dataclass(frozen=True, eq=False, repr=False)
class Audit:
    """What a team survives and what it does not: ``data`` (JSON can hold it; its keys are those of the page's sections)
    and ``html``, the whole page. ``passed``: whether the lowest column reaches ``fail_under`` (None: nobody asked).
    ``finished`` is False where time or Ctrl-C ended it; ``data["missing"]`` says what is not there."""

    data: dict[str, Any]
    html: str

    @property
    def finished(self) -> bool:
        return not self.data["missing"]

    @property
    def passed(self) -> bool | None:
        return self.data.get("passed")

    def save(self, path: str | Path) -> Path:
        """Write the page (``.html``) and the JSON file of the same name. Raises ConfigError for another suffix, OSError
        where they cannot be written."""
        path = checked_page(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.data, path.with_suffix(".json"))
        appear(path, lambda aside: aside.write_text(self.html, encoding="utf-8"))
        return path

    def __repr__(self) -> str:
        return f"<Audit of {self.data['team']} in {self.data['env']}: {self.data['episodes']:,} episodes>"

    def __str__(self) -> str:
        return "\n".join(self.data["verdict"])

    def _repr_html_(self) -> str:
        page = html.escape(self.html)
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 720px; border: 0" title="audit"></iframe>'


def checked_page(path: str | Path) -> Path:
    """Return the path of a page. Raises ConfigError for one that does not end in ".html"."""
    path = Path(path)
    if path.suffix.lower() != ".html":
        raise ConfigError(f"{path}: an audit is written as a page; name it like audit.html")
    if path.is_dir():
        raise ConfigError(f"{path}: this is a folder; name a page in it, like audit.html")
    return path


def audit(
    team: GivenTeam, *, env: GivenEnv | None = None, minutes: float = 10.0, fail_under: float | None = None,
    seed: int = 0, out: str | Path | None = None, quiet: bool = False, note: Callable[[str], None] | None = None,
) -> Audit:  # fmt: skip
    """Try out what breaks a team: single agents and pairs that fail, faults of every kind and size, early and late,
    attacks; within a time, on the same episodes.

    Args:
        team: one team, given as in ``ibal.evaluate``. Nothing is asked of it but to act; what it does not show (values,
            gradients) is not attacked, and the page says so.
        env: where it plays; None: where it was trained.
        minutes: how long it may take. What counts most comes first; with more time there are more episodes.
        fail_under: the least score (share of games won; the return where games cannot be won) of the lowest column;
            it is the threshold of all curves too. None: 80 % of the undisturbed score is.
        seed: of the episodes.
        out: a page to write (``.html``), with a JSON file beside it.
        quiet, note: say nothing on standard error; or say it to ``note``.

    Returns:
        ``Audit`` with ``.data``, ``.html``, ``.passed`` and ``.save(path)``. Ctrl-C gives back what was measured until
        then.

    Raises:
        ConfigError: what cannot be audited; ContractError: code of your own that breaks its contract; OSError: ``out``
        cannot be written; KeyboardInterrupt: before anything was measured.

    Example:
        >>> ibal.audit("runs/qmix-8m/policy/seed-0.safetensors", minutes=5, out="audit.html")
    """
    began = time.monotonic()
    check_positive("minutes", minutes)
    check_seed("seed", seed)
    if fail_under is not None and not math.isfinite(fail_under):
        raise ConfigError(f"fail_under must be a finite number, not {fail_under}")
    target = None if out is None else checked_page(out)
    with telling(quiet, note) as say:
        one = _only(team_list(team, env, say))
        if target is not None:  # what cannot be written is told before games are played, not after
            target.parent.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=target.parent).close()
        bench = Bench(one, seed, began + FOR_TRIALS * 60 * minutes)
        found = _Extra({}, {}, None, {})
        stopped = _measure(bench, found, began + FOR_FITTING * 60 * minutes, say)
        if not bench.batches("natural"):
            if stopped == "Ctrl-C":
                raise KeyboardInterrupt
            raise ConfigError(f"minutes = {minutes:g} is too short to play anything; the first games take a while")
        data = _data(bench, found, stopped, fail_under)
        replays = (
            [] if stopped not in ("", "time") else _replays(bench, data, found, began + FOR_FILMS * 60 * minutes, say)
        )
        data["seconds"] = round(time.monotonic() - began, 1)
        data["minutes"] = minutes
        done = Audit(data, page(data, replays))
        if target is not None:
            try:
                done.save(target)
            except OSError:
                say(str(done))  # the disk is full by now: the verdict is not lost
                raise
    return done


@dataclass
class _Extra:
    """What is no trial of faults: attacks with a line about each, those that were left out and why, who tells about
    whom, and the attacks themselves."""

    attacks: dict[str, str]
    left_out: dict[str, str]
    graph: list[list[float]] | None
    made: dict[str, Attack]


def _only(teams: list[Team]) -> Team:
    if len(teams) == 1:
        return teams[0]
    seeds = ", ".join(str(one.seed) for one in teams)
    raise ConfigError(
        f"an audit is of one team, and these are {len(teams)} (seeds {seeds}); name the file of one, as "
        f"{teams[0].about.get('file', 'runs/x/policy/seed-0.safetensors')}"
    )


def _measure(bench: Bench, found: _Extra, fit_until: float, say: Callable[[str], None]) -> str:
    """Play until all is done, and return "", or what ended it: "time", "Ctrl-C", or a rule that was broken."""
    try:
        say(f"playing {bench.spec.name} undisturbed …")
        bench.play("natural")
        count = len(plan.stages(bench))
        for i in range(count):
            stage = plan.stages(bench)[i]  # what later ones try depends on what came of the earlier ones
            for k, trial in enumerate(stage.trials):
                say(f"[{i + 1}/{count}] {stage.title}, {k + 1} of {len(stage.trials)}: {trial} …")
                bench.play(trial)
        say("the worst pairs on fresh episodes …")
        for trial in ("natural", *plan.finalists(bench)):
            bench.play(trial, 1)
        _graph(bench, found, say)
        _attacks(bench, found, fit_until, say)
        for batch in range(1, ROUNDS):
            say(f"more episodes for what the verdict rests on: round {batch} …")
            for trial in _headline(bench):
                bench.play(trial, batch)
    except OutOfTime:
        return "time"
    except KeyboardInterrupt:
        return "Ctrl-C"
    except ContractError as error:  # what was played until then is kept
        if not bench.batches("natural"):
            raise
        return str(error)
    return ""


def _headline(bench: Bench) -> list[str]:
    stages = plan.stages(bench)
    return ["natural", *stages[0].trials, *stages[1].trials, *plan.finalists(bench)]


def _attacks(bench: Bench, found: _Extra, fit_until: float, say: Callable[[str], None]) -> None:
    """Play what an attacker does who wants the team to fail. Every one is compiled by itself."""
    bank, team = Bank(build=kept), bench.team
    bench.play("natural", 1)
    for name in ATTACKS:
        fits = name == "interaction"
        if time.monotonic() > (fit_until if fits else bench.deadline):
            found.left_out[name] = "there was no time for it"
            continue
        say(f"under attack: {name} …")
        try:
            if fits:
                attacker = fitted(name, configuration(name)[1], team, FIT)
                attack = attack_on(name, attacker, team)
            else:
                attack = bank.attack(name, team)
        except ValueError as error:
            found.left_out[name] = str(error)
            continue
        if missing := refusal(attack.adversary.threat, policy_of(team)):
            found.left_out[name] = f"it needs the {missing}, and this team shows none"
            continue
        for batch in range(2):
            bench.keep(name, batch, bench.timed(
                team.env, team.env.params, attack.adversary, attack.attackers[0], batch))  # fmt: skip
        found.attacks[name] = TABLE.entries[name].help + (", fitted to this very team" if fits else "")
        found.made[name] = attack


def _graph(bench: Bench, found: _Extra, say: Callable[[str], None]) -> None:
    """Estimate how much what agent i sees tells about what agent j does [i, j], in nats summed over the entries."""
    if time.monotonic() > bench.deadline or bench.spec.n_agents < 2:
        return
    say("estimating who sees what the others do …")
    key = rng.stream(rng.root(bench.seed), "audit")
    episodes = natural_episodes(rng.stream(key, "play"), bench.team.env, policy_of(bench.team), bench.batch, 0.05)
    scores = measured(rng.stream(key, "fit"), ClubConfig(), bench.spec, episodes, 300, 512)
    told = np.maximum(scores, 0.0).sum(-1)
    np.fill_diagonal(told, 0.0)
    found.graph = [[round(float(x), 4) for x in row] for row in told]


def _data(bench: Bench, found: _Extra, stopped: str, fail_under: float | None) -> dict[str, Any]:
    team, spec = bench.team, bench.spec
    data: dict[str, Any] = {
        "schema": SCHEMA, "ibal": ibal.__version__, "engine": engine_version(), "team": team.policy, "seed": team.seed,
        "method": team.method, "sha256": team.digest, "about": {k: v for k, v in team.about.items() if k != "own"},
        "env": spec.name, "version": spec.version, "n_agents": spec.n_agents,
        "score": "win" if spec.has_win else "return", "key_seed": bench.seed, "episodes": bench.episodes,
        "steps_per_second": round(bench.steps / max(bench.seconds, 1e-9)), "stopped": stopped,
    }  # fmt: skip
    data |= plan.summary(bench, fail_under, found.attacks)
    data["graph"] = found.graph
    data["left_out"] = found.left_out
    data["missing"] = _missing(bench, found, stopped)
    data["verdict"] = plan.verdict(data, data["score"])
    data["next"] = _next(data, team.env.host is not None)
    return data


def _missing(bench: Bench, found: _Extra, stopped: str) -> list[str]:
    """Say what was meant to be played and was not."""
    out = []
    for stage in plan.stages(bench):
        open_ = [trial for trial in stage.trials if not bench.batches(trial)]
        if open_:
            out.append(f"{stage.title}: {len(open_)} of {len(stage.trials)} trials")
    if stopped and not found.attacks and not found.left_out:
        out.append("all attacks")
    out += [f"the attack {name}" for name, why in found.left_out.items() if why == "there was no time for it"]
    if found.graph is None and bench.spec.n_agents > 1:
        out.append("who sees what the others do")
    return out


def _next(data: dict[str, Any], hosted: bool) -> dict[str, Any] | None:
    """What to train against, the command (None in a ``hosted`` world, where nothing is trained), and what it costs: as
    many steps as the team had, at the speed at which it played here; playing is a fifth of the work of a training on a
    CPU (docs/results/speed.md)."""
    method = plan.next_method(data)
    if method is None:
        return None
    steps = data["about"].get("env_steps")
    known = isinstance(steps, int) and steps > 0
    steps = steps if known else 3_000_000
    hours = steps / max(data["steps_per_second"], 1) * 5 / 3600
    env, version = data["env"], data["version"]
    where = f'"{env}[version={version}]"' if version and envs.newest(env) != {"version": version} else env
    command = None if hosted else f"ibal train --env {where} --method {method} --steps {steps} --out runs/next"
    return {"method": method, "steps": steps, "steps_known": known, "hours": round(hours, 2), "command": command}


def _replays(
    bench: Bench, data: dict[str, Any], found: _Extra, deadline: float, say: Callable[[str], None]
) -> list[tuple[str, list[str]]]:
    """Return the most telling episodes as (title, pieces of a page): won alone, lost under the fault, side by side."""
    names: list[str] = []
    if data["pairs"]:
        names.append(data["pairs"]["worst"]["trial"])
    if data["agents"]:
        names.append(max(data["agents"], key=lambda one: one["cost"])["trial"])
    names += [one["trial"] for one in data["suite"] if one["trial"] != "natural"]
    out: list[tuple[str, list[str]]] = []
    world, params = pictured(bench.team.env), bench.team.env.params
    policy = policy_of(bench.team)
    for name in dict.fromkeys(names):
        if len(out) == REPLAYS or time.monotonic() > deadline:
            break
        episode = telling_episode(bench, name)
        if episode is None:
            continue
        say(f"recording {name}, episode {episode} …")
        attack = found.made.get(name)
        hurt = (bench.adversary, bench.states(name)) if attack is None else (attack.adversary, attack.attackers[0])
        games = [
            Game(world, params, policy, Attack(label, adversary, [state], "", {}), label)
            for label, adversary, state in (("natural", bench.adversary, bench.states("natural")), (name, *hurt))
        ]
        try:
            films = recorded(games, bench.seed, episode, None, lambda message: None)
        except KeyboardInterrupt:
            break
        title = f"{name}, episode {episode}"
        out.append((title, player_pieces(films, world.spec.scene, world.spec, title=title)))
    return out


def telling_episode(bench: Bench, name: str) -> int | None:
    """Return the episode in which the fault costs most; of several the shortest. None: it costs nothing anywhere."""
    best: tuple[float, int, int] | None = None
    for batch, hurt in bench.batches(name).items():
        if (natural := bench.batches("natural").get(batch)) is None:
            continue
        apart = natural.score - hurt.score
        for i in np.flatnonzero(apart == apart.max()):
            rank = (-float(apart[i]), int(hurt.length[i]), bench.batch * batch + int(i))
            best = rank if best is None or rank < best else best
    return None if best is None or best[0] >= 0 else best[2]
