"""``ibal report``: the paper's tables with your numbers beside, or a summary of what was evaluated.

ibal report evaluations/x
ibal report evaluations/x --table 7
ibal report evaluations/3m evaluations/2s3z --table 7 --format latex --out table7.tex

ibal report studies/mine                    # its page: studies/mine/index.html
ibal report studies/mine --claims           # what the paper claims, and whether it holds; also --table N, --summary

An evaluation is a folder that ``ibal evaluate --out`` has written. Several are taken together: the seeds of one method
may come from several of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibal.cli.output import OK, WRONG_USE, CommandError, Output, Parser, a_path, add_flags, output_of, unwritable
from ibal.registry import hint

if TYPE_CHECKING:
    import polars as pl

# What ``ibal.report.published`` has (a test holds this to it): the help is printed without reading tables.
TABLES = (
    "1 (variants of the observation attack), 7, 8 (attacks), 9, 10 (perturbations), 11 (LBF), 12 (SMACv2), 13 (MAPPO);"
    " 14 holds minutes of training, which no evaluation says"
)


def main(argv: list[str]) -> int:
    """Run ``ibal report`` with the arguments after ``report``."""
    options = _parser().parse_args(argv)
    output = output_of(options)
    of_rows = options.table is not None or options.claims or options.summary or options.figure is not None
    if (options.table is not None) + options.claims + options.summary > 1:
        raise CommandError("--table, --claims and --summary are printed one at a time", WRONG_USE)
    if not of_rows and any(_is_study(path) for path in options.evaluations):
        return _study(options, output)
    from ibal.report import tables
    from ibal.report.formats import FORMATS  # here, because polars is slow to import and --help can do without it

    if options.format is None:
        narrow = options.table is not None and options.out is None and sys.stdout.isatty()
        options.format = "text" if narrow else "markdown"
    if options.format not in FORMATS:
        raise CommandError(
            f'unknown format "{options.format}".{hint(options.format, FORMATS)} Formats: {", ".join(FORMATS)}',
            WRONG_USE,
        )
    if options.table is None and options.format != "markdown":
        raise CommandError(f"--format {options.format} is for --table N; a summary is Markdown (or --json)", WRONG_USE)
    try:
        if options.table is not None:
            tables.of_episodes(options.table)  # before anything is read, which may take long, or not be there yet
        rows = read(options.evaluations, output.note)
        if options.claims:
            data, text = _claims(rows)
        else:
            data, text = _summary(rows) if options.table is None else _table(rows, options, output)
    except ValueError as error:
        raise CommandError(str(error), WRONG_USE) from error
    if options.figure is not None:
        _draw(rows, options.figure, output)
    for sentence in tables.alike(rows):
        output.note(sentence)
    if options.out is not None:
        _write(text + "\n", options.out)
        output.note(f"wrote {options.out}")
    output.result(data, text)
    return OK


def _is_study(path: Path) -> bool:
    return path.suffix == ".toml" or (path / "study.toml").is_file()


def _study(options: argparse.Namespace, output: Output) -> int:
    """Write the page of a study."""
    if len(options.evaluations) > 1 or options.format is not None:
        raise CommandError("a study has a page of its own; give its folder alone: ibal report STUDY", WRONG_USE)
    from ibal.api.study_page import write_page
    from ibal.experiments.grid.held import Held

    held = Held(options.evaluations[0])
    try:
        path = write_page(held, options.out, output.note)
    except OSError as error:
        raise unwritable(error, options.out or held.folder) from error
    size = path.stat().st_size
    output.result({"page": str(path), "bytes": size}, f"{path} ({size / 1e6:.1f} MB)")
    return OK


def _parser() -> argparse.ArgumentParser:
    out = Parser(
        prog="ibal report",
        description="Print a table of the paper with the numbers of evaluations beside: mean, standard deviation over "
        "seeds, 95 % interval, and the difference. Without --table: all methods under all attacks that were played, "
        "with interquartile mean, the difference to vanilla, and the worst attack. Of a study "
        "(ibal grid): write its page, a file that needs no network, with curves and episodes to play.",
        allow_abbrev=False,
    )
    add = out.add_argument
    add(
        "evaluations",
        nargs="+",
        type=a_path,
        metavar="EVALUATION",
        help="folders that ibal evaluate --out has written, or the folder of one study",
    )
    add("--table", type=int, metavar="N", help=f"a table of the paper: {TABLES}")
    add("--claims", action="store_true", help="every claim of the paper that its own numbers support: what is found "
        "here, and whether it holds")  # fmt: skip
    add("--figure", type=a_path, metavar="FILE", help="draw every team under all that was played, with intervals, into "
        "FILE.svg and FILE.png")  # fmt: skip
    add("--summary", action="store_true", help="of a study: the summary instead of its page")
    add("--format", metavar="FORMAT",
        help="markdown, latex (needs booktabs), csv (one line per cell) or text (narrow); default: text for a table on "
        "a terminal, else markdown")  # fmt: skip
    add("--out", type=a_path, metavar="FILE", help="write the text into a file, too")
    add_flags(out)
    return out


def read(evaluations: Sequence[Path], note: Callable[[str], None] = lambda message: None) -> pl.DataFrame:
    """Return the episodes of all evaluations together; ``note`` is told what cannot be checked. Raises CommandError for
    a folder that is none."""
    import polars as pl

    from ibal.evaluation.results import EPISODES, read_episodes
    from ibal.experiments.study import studies_in

    frames: list[pl.DataFrame] = []
    for folder in evaluations:
        if _is_study(folder):
            frames.append(_rows_of(folder, note))
            continue
        if not folder.is_dir():
            raise CommandError(
                f"{folder}: there is no such folder; name one that ibal evaluate --out wrote, or a study", WRONG_USE
            )
        if not (folder / EPISODES).is_file():
            if studies := studies_in(folder):
                raise CommandError(f"{folder} holds studies; name one: ibal report {studies[0]}", WRONG_USE)
            raise CommandError(
                f"{folder} is no evaluation: it has no {EPISODES}; ibal evaluate … --out {folder} writes it", WRONG_USE
            )
        try:
            frames.append(read_episodes(folder, note))
        except (OSError, ValueError) as error:
            raise CommandError(str(error), WRONG_USE) from error
    return pl.concat(frames, how="diagonal_relaxed")


def _rows_of(study: Path, note: Callable[[str], None]) -> pl.DataFrame:
    """Return the episodes of all cells of a study that are done, and tell how many are not."""
    from ibal.experiments.grid.held import Held

    held = Held(study)
    rows = held.rows()
    if not rows.height:
        raise CommandError(f"no cell of {study} is done yet; begin with ibal grid run {study}", WRONG_USE)
    if missing := sum(run.kind == "cell" for run in held.missing()):
        cells = sum(run.kind == "cell" for run in held.planned.runs)
        note(f"{missing} of {cells} cells of {study} are not done, so what follows may change: ibal grid run {study}")
    return rows


def _table(rows: pl.DataFrame, options: argparse.Namespace, output: Output) -> tuple[dict[str, Any], str]:
    from ibal.report import formats
    from ibal.report.tables import lay_out, long_form

    made = lay_out(rows, options.table)
    if made.absent:
        output.note(f"nothing was evaluated of {', '.join(made.absent)}")
    data = {"table": made.number, "title": made.title, "version": made.version, "rows": long_form(made)}
    data["absent"] = list(made.absent)
    return data, formats.FORMATS[options.format](made)


def _draw(rows: pl.DataFrame, path: Path, output: Output) -> None:
    """Draw all that was played as points with intervals, into ``path`` with .svg and .png."""
    from ibal.viz.files import write_figure
    from ibal.viz.points import draw

    try:
        figure = draw(rows)
    except ValueError as error:
        raise CommandError(f"--figure: {error}", WRONG_USE) from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_figure(figure, path)
    except OSError as error:
        raise unwritable(error, path) from error
    output.note(f"wrote {path}.svg and {path}.png")


def _claims(rows: pl.DataFrame) -> tuple[dict[str, Any], str]:
    from ibal.report.claims import as_markdown, judged, long_form

    found = judged(rows)
    return {"claims": long_form(found)}, as_markdown(found)


def _summary(rows: pl.DataFrame) -> tuple[dict[str, Any], str]:
    from ibal.report.overview import as_markdown, overview

    parts = overview(rows)
    data = [part._asdict() | {"lines": [line._asdict() for line in part.lines]} for part in parts]
    return {"parts": data}, as_markdown(parts)


def _write(text: str, path: Path) -> None:
    from ibal.files import appear

    if path.is_dir():
        raise CommandError(f"--out {path}: this is a folder; name a file", WRONG_USE)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        appear(path, lambda aside: aside.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise unwritable(error, path) from error
