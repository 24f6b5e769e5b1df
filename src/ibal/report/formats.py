"""A table of the paper with our numbers, as Markdown, LaTeX, CSV, or text for a terminal.

Beside the name of a method stand up to three lines: ours, what the paper prints, and the difference; so the numbers of
a column that belong together stand below each other. In LaTeX, where the page is narrow, intervals have own lines.
"""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ibal.evaluation.summary import HINDSIGHT, WORST
from ibal.report.published import EPISODES, SEEDS, Number
from ibal.report.tables import Block, Cell, Estimate, Mark, Row, Table, difference, long_form

MISSING = "–"
_TEX = {
    "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "–": "--", "−": "$-$", "±": r"$\pm$", "†": r"$^\dagger$",
    "<": "$<$", ">": "$>$",
}  # fmt: skip


class _Style(NamedTuple):
    """How one format writes a text, the best, the second best, and an interval; None: beside its number, not below."""

    text: Callable[[str], str]
    best: Callable[[str], str]
    second: Callable[[str], str]
    below: Callable[[str], str] | None = None

    def marked(self, text: str, mark: Mark) -> str:
        return {"best": self.best, "second": self.second, "": lambda same: same}[mark](self.text(text))

    def line(self, what: str, cells: Sequence[tuple[str, str]]) -> list[tuple[str, list[str]]]:
        """Return the line of numbers with intervals, or the two that they take."""
        if self.below is None:
            return [(what, [" ".join(filter(None, cell)) for cell in cells])]
        return [(what, [number for number, _ in cells]), ("", [self.below(low_high) for _, low_high in cells])]


def escape_latex(text: str) -> str:
    """Return text that LaTeX prints as it stands."""
    return "".join(_TEX.get(letter, letter) for letter in text)


_MARKDOWN = _Style(lambda text: text, lambda text: f"**{text}**", lambda text: f"<u>{text}</u>")
_LATEX = _Style(
    escape_latex,
    lambda text: rf"\textbf{{{text}}}",
    lambda text: rf"\underline{{{text}}}",
    lambda interval: rf"{{\tiny {interval}}}" if interval else "",
)


_TEXT = _Style(str, lambda text: f"{text}*", lambda text: f"{text}+")


def markdown(made: Table) -> str:
    """Return a section per scenario, with the columns of the source aligned, and a key."""
    out = [f"## Table {made.number}: {made.title}{_rules(made)}"]
    heads = ["method", "", *made.columns]
    for block in made.blocks:
        lines = [heads]
        for row in block.rows:
            name = escape_markdown(row.name)
            for what, cells in _lines(row, made.columns, _MARKDOWN):
                lines.append([name, what, *cells])
                name = ""
        out += [f"### {block.scenario}", aligned(lines, 2), *_notes(block, escape_markdown)]
    out.append(
        "ours: mean ± standard deviation over seeds [95 % interval: of several seeds about what trained them, of one "
        "about this team]; paper: the same as printed, with one decimal; difference: ours − paper [95 % interval, the "
        f"paper's mean being one of {SEEDS} runs of {EPISODES} episodes, which is what its numbers show]. **Best** and "
        f"<u>second best</u> of a column, of ours and of the paper's each. {MISSING}: not played; Mean needs every "
        "column."
    )
    return "\n\n".join(out)


def latex(made: Table) -> str:
    """Return a ``table*`` environment that needs the package booktabs and nothing else."""
    columns = made.columns
    out = [
        r"\begin{table*}[t]", r"\centering", r"\scriptsize", r"\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{escape_latex(made.title)}, beside the paper's Table {made.number}{escape_latex(_rules(made))}. "
        r"Ours: mean $\pm$ standard deviation over seeds [95\,\% interval]; difference: ours $-$ paper [95\,\% "
        r"interval]. Bold: best, "
        r"underlined: second best, of ours and of the paper's each.}",
        rf"\label{{tab:ibal-{made.number}}}", rf"\begin{{tabular}}{{ll{'r' * len(columns)}}}", r"\toprule",
        " & ".join(["Method", "", *map(escape_latex, columns)]) + r" \\",
    ]  # fmt: skip
    for block in made.blocks:
        out += [r"\midrule", rf"\multicolumn{{{len(columns) + 2}}}{{l}}{{\emph{{{escape_latex(block.scenario)}}}}} \\"]
        for row in block.rows:
            name = escape_latex(row.name)
            for what, cells in _lines(row, made.columns, _LATEX):
                out.append(" & ".join([name, what, *cells]) + r" \\")
                name = ""
    out += [r"\bottomrule", r"\end{tabular}"]
    for block in made.blocks:
        notes = " ".join([f"{block.scenario}.", *_notes(block, lambda text: text)])
        out.append(rf"\par\smallskip {escape_latex(notes)}")
    return "\n".join([*out, r"\end{table*}"])


def comma_separated(made: Table) -> str:
    """Return the long form: one line per cell that has a number, in percent, with nothing where one is missing."""
    records = long_form(made)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().rstrip("\n")


def text(made: Table) -> str:
    """Return what was played for a terminal: a narrow table per scenario and method, with a line per column."""
    out = [f"Table {made.number}: {made.title}{_rules(made)}"]
    for block in made.blocks:
        for row in block.rows:
            if not any(cell.ours for cell in row.cells.values()):
                continue
            lines = [["", "ours", "", "paper", "difference", ""]]
            for column in made.columns:
                cell = row.cells[column]
                ours, apart = _ours(cell.ours, cell.mark, _TEXT), _difference(cell, _TEXT)
                lines.append([column, *ours, _published(cell.published, cell.published_mark, _TEXT), *apart])
            widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
            body = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
            out.append("\n".join([f"{block.scenario}, {row.name} ({_amount(row)})", *body]))
        out += _notes(block, str)[1:]
    out.append(
        "Percent, ± standard deviation over seeds [95 % interval: of several seeds about what trained them, of one "
        f"about this team; of the difference with the paper's mean as one of {SEEDS} runs of {EPISODES} episodes]. *: "
        f"best, +: second best of a column, of ours and of the paper's each. {MISSING}: not played; Mean needs every "
        "column."
    )
    return "\n\n".join("\n".join(textwrap.wrap(part, 100)) if "\n" not in part else part for part in out)


FORMATS: dict[str, Callable[[Table], str]] = {
    "markdown": markdown, "latex": latex, "csv": comma_separated, "text": text,
}  # fmt: skip


def _rules(made: Table) -> str:
    """Say by which rules ours was played."""
    return f" (ours by rules {made.version})" if made.version else ""


def _lines(row: Row, columns: Sequence[str], style: _Style) -> list[tuple[str, list[str]]]:
    """Return the lines of a method that have something to say, each with its name."""
    cells = [row.cells[column] for column in columns]
    lines: list[tuple[str, list[str]]] = []
    if any(cell.ours for cell in cells):
        lines += style.line("ours", [_ours(cell.ours, cell.mark, style) for cell in cells])
    if any(cell.published for cell in cells):
        lines.append(("paper", [_published(cell.published, cell.published_mark, style) for cell in cells]))
    if any(difference(cell) for cell in cells):
        lines += style.line("difference", [_difference(cell, style) for cell in cells])
    return lines


def _ours(found: Estimate | None, mark: Mark, style: _Style) -> tuple[str, str]:
    if found is None:
        return style.text(MISSING), ""
    spread = "" if found.sd is None else f" ± {found.sd:.1f}"
    beside = f"({found.of})" if found.low is None else f"[{found.low:.1f}, {found.high:.1f}]"
    return style.marked(f"{found.mean:.1f}{spread}", mark), beside


def _published(found: Number | None, mark: Mark, style: _Style) -> str:
    if found is None:
        return style.text(MISSING)
    spread = "" if found.sd is None else f" ± {found.sd:.1f}"
    return style.marked(f"{found.mean:.1f}{spread}", mark) + ("" if found.printed is None else style.text("†"))


def _difference(cell: Cell, style: _Style) -> tuple[str, str]:
    found = difference(cell)
    if found is None:
        return style.text(MISSING), ""
    apart, low, high = (style.text(f"{value:+.1f}".replace("-", "−")) for value in found)
    return apart, f"[{low}, {high}]"


def _notes(block: Block, text: Callable[[str], str]) -> list[str]:
    """Say how much was played, and what about the block cannot be seen from its numbers."""
    played = [f"{text(row.name)} {_amount(row)}" for row in block.rows if any(c.ours for c in row.cells.values())]
    out = [f"Played: {'; '.join(played)}."]
    if any(HINDSIGHT in row.cells and row.cells[HINDSIGHT].ours for row in block.rows):
        out.append(
            f"Of {', '.join(block.worst_over)}: {WORST} is the lowest column, in brackets which; {HINDSIGHT} the mean "
            "of the least of every episode, which no attacker reaches."
        )
    again = [
        f"{row.name} {cell.published.printed:.1f}"
        for row in block.rows for cell in row.cells.values() if cell.published and cell.published.printed is not None
    ]  # fmt: skip
    if again:
        out.append(f"†: the mean of its row; the paper prints {', '.join(again)}.")
    return out


def _amount(row: Row) -> str:
    """Say how many seeds and episodes the cells of a row have."""
    found = [cell.ours for cell in row.cells.values() if cell.ours]
    seeds, episodes = ({getattr(cell, what) for cell in found} for what in ("seeds", "episodes"))
    many = "seed" if seeds == {1} else "seeds"
    return f"{_span(seeds)} {many}, {_span(episodes)} episodes per cell"


def _span(counts: set[int]) -> str:
    least, most = min(counts), max(counts)
    return f"{least:,}" if least == most else f"{least:,}–{most:,}"


def aligned(lines: Sequence[Sequence[str]], left: int) -> str:
    """Return a Markdown table whose source can be read, too; the first ``left`` columns to the left, numbers to the
    right. The first line is the head."""
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    sides = [str.ljust if i < left else str.rjust for i in range(len(widths))]
    body = [[side(cell, width) for cell, side, width in zip(line, sides, widths, strict=True)] for line in lines]
    rule = ["-" * width if i < left else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (body[0], rule, *body[1:]))


def escape_markdown(text: str) -> str:
    """Return text that Markdown shows as it stands, also in a table."""
    return "".join(f"\\{letter}" if letter in r"\`*|[]<>" else letter for letter in text)
