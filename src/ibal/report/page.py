"""Tables and pictures as pieces of HTML, for a notebook's cell: no script, no file, no colour of their own."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ibal.report.names import short
from ibal.report.sheet import ROOM, cell, key

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Entry = Mapping[str, Any]


def table(entries: Sequence[Entry], card: Mapping[str, Any]) -> str:
    """Return what ``summarise`` gives, one table per environment and perturbation, teams as rows and attacks as
    columns, and below what everything in it means."""
    names = short(entry["policy"] for entry in entries)
    blocks: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        blocks.setdefault((entry["env"], entry["perturbation"]), []).append(entry)
    parts = [_block(*where, block, names) for where, block in blocks.items()]
    lines = "<br>".join(html.escape(line) for line in key(entries, names, card, ROOM))
    return "".join(parts) + f"<p><small>{lines}</small></p>"


def _block(env: str, perturbation: str, entries: Sequence[Entry], names: Mapping[str, str]) -> str:
    attacks = list(dict.fromkeys(entry["attack"] for entry in entries))
    found = {(entry["policy"], entry["attack"]): entry for entry in entries}
    head = "".join(f"<th>{html.escape(text)}</th>" for text in ("team", *attacks))
    rows = [
        f"<tr><th>{html.escape(names[policy])}</th>"
        + "".join(f"<td>{_cell(found.get((policy, attack)))}</td>" for attack in attacks)
        + "</tr>"
        for policy in dict.fromkeys(entry["policy"] for entry in entries)
    ]
    title = env if perturbation == "none" else f"{env}, {perturbation}"
    return f"<table><caption>{html.escape(title)}</caption><tr>{head}</tr>{''.join(rows)}</table>"


def _cell(entry: Entry | None) -> str:
    number, *below = ["-"] if entry is None else cell(entry)
    return html.escape(number) + "".join(f"<br><small>{html.escape(line)}</small>" for line in below)


def picture(figure: Figure | None) -> str:
    """Return a figure as an image inside the page, nothing for None."""
    if figure is None:
        return ""
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=110)
    return f'<img alt="figure" src="data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}">'
