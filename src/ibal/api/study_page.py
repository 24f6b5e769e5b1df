"""Write the page of a study: its numbers, curves, and some episodes that can be played."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import polars as pl

from ibal import reading
from ibal.experiments.grid.held import Held
from ibal.experiments.runs import CellOf, Run
from ibal.experiments.study import STUDY_FILE
from ibal.files import appear
from ibal.learners.config import ValueConfig
from ibal.options import ConfigError
from ibal.report.study import Replay, study_data, study_html, times_table

PAGE = "index.html"
EPISODE = 0  # of the evaluation: the one that is played


def write_page(
    held: Held, out: Path | None = None, note: Callable[[str], None] = lambda message: None, replays: int | None = None
) -> Path:
    """Write the page of what is done of a study, and return its path. ``replays``: how many episodes can be played in
    it; None: as the study says. Raises ConfigError where nothing is done yet, OSError where it cannot be written."""
    rows = held.rows()
    if not rows.height and not held.rows(snapshots=True).height:
        raise ConfigError(f"no cell of {held.folder} is done yet; begin with ibal grid run {held.folder}")
    status = held.status()
    page = held.study.page
    numbers = [number for number in page.tables if number != 14]
    title = page.title or held.study.name
    data = study_data(rows, title=title, numbers=numbers, about=_about(held, status.counts), cards=_cards(held))
    if (times := times_table(_times(held))) is not None and (not page.tables or 14 in page.tables):
        data["tables"].append(times)
    most = page.replays if replays is None else replays
    _commands(data["cells"], held)
    html = study_html(data, _curves(held) if page.curves else "", _replays(held, data["cells"], most, note))
    own = PAGE if held.file.name == STUDY_FILE else f"{held.file.stem}.html"  # studies of one folder have a page each
    path = held.folder / own if out is None else out
    path.parent.mkdir(parents=True, exist_ok=True)
    appear(path, lambda aside: aside.write_text(html, encoding="utf-8"))
    return path


def _about(held: Held, counts: Mapping[str, int]) -> dict[str, str]:
    open_ = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    records = [_record(held, run.id) for run in held.planned.runs]
    found = {name: sorted({str(one[name]) for one in records if one.get(name)}) for name in ("engine", "commit", "jax")}
    hours = sum(float(one.get("seconds", 0.0)) for one in records) / 3600
    return {"runs": open_, "hours of work": f"{hours:.1f}"} | {name: ", ".join(v[:3]) for name, v in found.items() if v}


def _record(held: Held, run: str) -> dict[str, Any]:
    try:
        return held.store.record(run)
    except (OSError, reading.Unreadable):
        return {}


def _cards(held: Held) -> dict[tuple[str, str, str, str], dict[str, Any]]:
    """Return what the cells' cards say of threat, attackers and versions: the same for all seeds of a team."""
    found: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    runs = {run.id: run for run in held.planned.runs}
    for cell in held.planned.cells:
        which = cell.team, cell.env, cell.attack, cell.perturbation
        if which in found or not held.store.is_done(cell.run):
            continue
        with suppress(OSError, reading.Unreadable, KeyError, IndexError, TypeError):
            card = reading.table(held.store.folder(cell.run) / "card.json")
            attack = card["attacks"][0]
            record = _record(held, cell.run)
            fitted = [_fitted(runs[need], held) for need in runs[cell.run].needs if need.startswith("fit-")]
            found[which] = {
                "attack": attack["attack"], "attackers": attack["attackers"], "engine": record.get("engine"),
                "commit": record.get("commit"), "device": card["device"],
                "episodes of a seed": card["episodes"], "threat": attack["threat"],
                **({"fitted to": fitted} if fitted else {}),
            }  # fmt: skip
    return found


def _fitted(run: Run, held: Held) -> dict[str, Any]:
    return {"what": run.label, "plan": run.what["plan"], "seconds": _record(held, run.id).get("seconds")}


def _sources(held: Held) -> Callable[[Mapping[str, Any]], tuple[CellOf, Run]]:
    """Return what says which cell of the study, and which run, a cell of the page is first of."""
    at = {(one.team, one.env, one.attack, one.perturbation): one for one in reversed(held.planned.cells)}
    runs = {run.id: run for run in held.planned.runs}

    def source(cell: Mapping[str, Any]) -> tuple[CellOf, Run]:
        one = at[cell["team"], cell["env"], cell["attack"], cell["perturbation"]]
        return one, runs[one.run]

    return source


def _commands(cells: Sequence[dict[str, Any]], held: Held) -> None:
    """Give every cell the command that plays an episode of it."""
    source = _sources(held)
    for cell in cells:
        one, run = source(cell)
        what = run.what
        where = f"store/data/{what['team']['run']}/run" if "run" in what["team"] else what["team"]["file"]
        words = [
            "ibal replay --policy",
            where,
            f"--attack '{one.attack}'" if "[" in one.attack else f"--attack {one.attack}",
        ]
        words += [f"--perturbation {one.perturbation}"] if one.perturbation != "none" else []
        words += ["--attackers store/data"] if what["attackers"] else []
        cell["command"] = " ".join([*words, "--out episode.html"])


def _curves(held: Held) -> str:
    """Draw the curves that trainings have logged, and those of snapshots, as SVG; "" where there are none."""
    from ibal.report.curves import logged
    from ibal.viz.curves import draw, of_rows
    from ibal.viz.files import SVG

    rows: list[dict[str, Any]] = []
    for run, (name, _) in held.planned.trainings.items():
        folder = held.store.folder(run) / "run"
        with suppress(ConfigError, OSError):
            rows += [row | {"method": name, "run": run} for row in logged(folder)]
    rows += _snapshots(held)
    if not rows:
        return ""
    import matplotlib as mpl

    text, settings = io.StringIO(), cast("dict[Any, Any]", SVG)
    with mpl.rc_context(settings):
        draw(of_rows(rows)).savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _times(held: Held) -> list[dict[str, Any]]:
    """Return how long each finished training took, over all processes that had a part in it."""
    from ibal.training.log import read_metrics

    found: list[dict[str, Any]] = []
    for run, (_, config) in held.planned.trainings.items():
        learner = config.learner
        if not held.store.is_done(run) or not isinstance(learner, ValueConfig) or learner.mixer != "qmix":
            continue
        with suppress(OSError, ValueError, IndexError):
            last = read_metrics(held.store.folder(run) / "run")[-1]
            found.append({"method": config.method, "env": config.env, "seconds": float(last["wall_s"]),
                          "env_steps": last["env_steps"] * config.seeds})  # fmt: skip
    return found


def _snapshots(held: Held) -> list[dict[str, Any]]:
    played = held.rows(snapshots=True)
    if not played.height:
        return []
    played = played.filter(pl.col("attack") != "natural")  # the trainings have logged these
    by = ["policy", "env", "version", "attack", "seed", "env_steps"]
    means = played.group_by(by, maintain_order=True).agg(pl.col("win").mean(), pl.col("return").mean())
    return [row | {"method": row["policy"], "run": row["policy"], "episodes": 0} for row in means.iter_rows(named=True)]


def _replays(
    held: Held, cells: Sequence[Mapping[str, Any]], most: int, note: Callable[[str], None]
) -> list[Replay]:  # fmt: skip
    """Record episodes of the cells that one wants to see first: each team where it is weakest, then left alone."""
    source = _sources(held)
    made: list[Replay] = []
    for i in _first(cells):
        if len(made) >= most:
            break
        one, run = source(cells[i])
        if run.what["own"]:  # code that the study names is run by ibal grid run alone
            continue
        label = f"seed {cells[i]['seeds'][0]}, episode {EPISODE}"
        try:
            made.append(Replay(i, label, _player(held, run, one, label, note)))
        except (ConfigError, OSError) as error:  # the page stands without it
            note(f"{one.team} on {one.env}: {error}")
    return made


def _first(cells: Sequence[Mapping[str, Any]]) -> list[int]:
    """Order cells by how much one wants to see them."""
    seen = [i for i, cell in enumerate(cells) if cell["mean"] is not None]
    weakest: dict[tuple[str, str], int] = {}
    for i in seen:
        which = cells[i]["env"], cells[i]["team"]
        if which not in weakest or cells[i]["mean"] < cells[weakest[which]]["mean"]:
            weakest[which] = i
    calm = [i for i in seen if cells[i]["attack"] == "natural" and cells[i]["perturbation"] == "none"]
    return list(dict.fromkeys([*weakest.values(), *calm, *seen]))


def _player(held: Held, run: Run, cell: CellOf, label: str, note: Callable[[str], None]) -> str:
    """Return the page that plays an episode; recorded once for each cell."""
    key = hashlib.sha256(f"{cell.team} {label}".encode()).hexdigest()[:8]
    path = held.store.folder(run.id) / f"replay-{key}.html"
    if path.exists():
        return path.read_text(encoding="utf-8")
    from ibal.api.watch import Game, recorded
    from ibal.experiments.fitting import policy_of
    from ibal.experiments.grid.execute import cells_of
    from ibal.viz.plain import pictured
    from ibal.viz.player import player_html

    one = cells_of(run.what, held.store)[0]
    who = cell.team if cell.attack == "natural" else f"{cell.team} under {cell.attack}"
    game = Game(one.world, one.params, policy_of(one.team), one.attack, who)
    played = recorded([game], run.what["seed"], EPISODE, None, note)
    page = player_html(played, None, pictured(one.world).spec, title=f"{cell.env}: {who}", summary=label)
    appear(path, lambda aside: aside.write_text(page, encoding="utf-8"))
    return page
