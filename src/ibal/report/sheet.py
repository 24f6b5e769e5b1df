"""The table of an evaluation as plain text: narrow, with short names, and below it what everything in it means.

    print(as_text(evaluation.entries, card=evaluation.card))

One table per environment and perturbation. It has attacks as rows or policies as rows, whichever needs fewer tables of
``room`` columns.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ibal.evaluation import felt
from ibal.evaluation.summary import HINDSIGHT, MEAN, WORST
from ibal.report.names import legend, rules, short

ROOM = 100
GAP = 2
Entry = Mapping[str, Any]
Cells = dict[tuple[str, str], list[str]]  # (row, column) -> lines


def as_text(entries: Sequence[Entry], room: int = ROOM, card: Mapping[str, Any] | None = None) -> str:
    """Return the tables of what ``summarise`` gives, and their key; ``card`` adds what each attack knows."""
    names, weak = short(entry["policy"] for entry in entries), _weak(card)
    several = len({entry["attack"] for entry in entries}) > 1
    blocks: dict[str, list[Entry]] = {}
    for entry in entries:
        harmed = f", {entry['perturbation']}" if several and entry["perturbation"] != "none" else ""
        blocks.setdefault(entry["env"] + harmed, []).append(entry)
    parts = [f"{title}\n{_block(block, names, several, room, weak)}" for title, block in blocks.items()]
    return "\n\n".join([*parts, "\n".join(key(entries, names, card, room))])


def _weak(card: Mapping[str, Any] | None) -> set[str]:
    """Return the attacks whose attackers do no harm even to the teams that they were fitted to."""
    attacks = card["attacks"] if card else ()
    return {attack["attack"] for attack in attacks if any(map(felt.badly_fitted, attack.get("fitted", ())))}


def _block(entries: Sequence[Entry], names: Mapping[str, str], several: bool, room: int, weak: set[str]) -> str:
    """Lay out one environment and perturbation both ways and take the one that is broken less."""
    found = {
        (_label(entry, several) + f" {felt.MARK}" * (entry["attack"] in weak), names[entry["policy"]]): entry
        for entry in entries
    }
    labels, policies = (list(dict.fromkeys(which)) for which in zip(*found, strict=True))
    wide = {key: [" ".join(cell(entry))] for key, entry in found.items()}
    high = {(policy, label): cell(entry) for (label, policy), entry in found.items()}
    by_attack = _tables(labels, policies, wide, "attack" if several else "perturbation", room)
    by_policy = _tables(policies, labels, high, "policy", room)
    return "\n\n".join(min(by_attack, by_policy, key=len))


def _label(entry: Entry, several: bool) -> str:
    if several or entry["attack"] != "natural":
        return str(entry["attack"])
    return str(entry["perturbation"])


def cell(entry: Entry) -> list[str]:
    """Return a number with the deviation over seeds, and its interval; the worst attack has a name instead."""
    score, digits = ("return", 2) if entry["win_rate"] is None else ("win_rate", 3)
    sd, ends = entry[f"{score}_sd"], entry[f"{score}_interval"]
    spread = "" if sd is None else f" ± {sd:.{digits}f}"
    below = [f"[{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]"] if ends else []
    return [f"{entry[score]:.{digits}f}{spread}", *([f"({entry['of']})"] if entry["attack"] == WORST else below)]


def _tables(rows: Sequence[str], columns: Sequence[str], cells: Cells, corner: str, room: int) -> list[str]:
    """Return a table of all columns, or as many as they take if none may be wider than ``room``."""
    first = max(map(len, (corner, *rows)))
    widths = [max(len(name), *(len(line) for row in rows for line in cells.get((row, name), "-"))) for name in columns]
    chunks: list[list[int]] = []
    for k, width in enumerate(widths):
        used = first + sum(GAP + widths[i] for i in chunks[-1]) if chunks else room
        if used + GAP + width > room:
            chunks.append([])
        chunks[-1].append(k)
    return [_table(rows, [(columns[k], widths[k]) for k in chunk], cells, corner, first) for chunk in chunks]


def _table(rows: Sequence[str], columns: Sequence[tuple[str, int]], cells: Cells, corner: str, first: int) -> str:
    def line(name: str, texts: Sequence[str]) -> str:
        padded = [f"{text:<{width}}" for text, (_, width) in zip(texts, columns, strict=True)]
        return (" " * GAP).join([f"{name:<{first}}", *padded]).rstrip()

    out = [line(corner, [name for name, _ in columns]), "-" * (first + sum(GAP + width for _, width in columns))]
    for row in rows:
        here = [cells.get((row, name), ["-"]) for name, _ in columns]
        for k in range(max(map(len, here))):
            out += [line(row if k == 0 else "", [each[k] if k < len(each) else "" for each in here])]
    return "\n".join(out)


def key(entries: Sequence[Entry], names: Mapping[str, str], card: Mapping[str, Any] | None, room: int) -> list[str]:
    """Say what is in the table; nothing that is not."""
    attacks = {entry["attack"] for entry in entries}
    what = sorted({"return" if entry["win_rate"] is None else "win rate" for entry in entries}, reverse=True)
    seeds = any(len(entry.get("seeds", ())) > 1 for entry in entries)
    out = [
        f"{' or '.join(what)}{' ± standard deviation over seeds' if seeds else ''} [95 % interval: "
        + ("of several seeds about what trained them, of one about that team]" if seeds else "about this one team]")
    ]
    if WORST in attacks:
        out += [
            f"{WORST}: the attack (named) that leaves least; its interval stands with that attack",
            f"{HINDSIGHT}: every game under the attack that hurts it most, as if it were known beforehand; no attacker "
            "reaches it, and it falls with every attack that is added",
            f"{MEAN}: over all attacks, natural among them",
        ]
    out += knowledge(card) if card else []
    if weak := sorted(_weak(card)):
        out += [f"{felt.MARK} badly fitted ({', '.join(weak)}): it does no harm even to a team that it was fitted to, "
                "so who withstands it has shown nothing"]  # fmt: skip
    lines = [part for text in out for part in textwrap.wrap(text, room, subsequent_indent="  ")]
    return [*lines, *rules(entries), *legend(names)]


def knowledge(card: Mapping[str, Any]) -> list[str]:
    """Return a line per attack of a card: what it knows, what it changes, and to whom it was fitted."""
    played = {policy["sha256"]: policy["policy"] for policy in card["policies"]}
    names = short(policy["policy"] for policy in card["policies"])
    out: list[str] = []
    for attack in card["attacks"]:
        threat = attack["threat"]
        if not threat["channels"]:
            continue
        text = f"{attack['attack']}: {_sees(threat['knowledge'])}; changes {_changes(threat['channels'])}"
        out.append(text + _fitted(attack.get("fitted", ()), played, names))
    return list(dict.fromkeys(out))


def _sees(known: Sequence[str]) -> str:
    if white := [word for word in known if word in ("gradient", "weights")]:
        return f"white box (knows the team's {' and '.join(white)})"
    words = {"scores": "what the team thinks of every action", "state": "the true state"}
    return f"knows {' and '.join(words[word] for word in known if word in words)}" if known else "black box"


def _changes(channels: Sequence[str]) -> str:
    words = {"obs": "observations", "act": "actions"}
    return " and ".join(words[channel] for channel in channels)


def _fitted(fits: Sequence[Mapping[str, Any]], played: Mapping[str, str], names: Mapping[str, str]) -> str:
    """Say to whom an attack was fitted, how long, and whether they are in the table: else it has seen none of them."""
    if not fits:
        return ""
    victims = list(dict.fromkeys(str(fit.get("victim", "?")) for fit in fits))
    own = {played[fit["victim_sha256"]] for fit in fits if fit.get("victim_sha256") in played}
    seen = f"has seen {', '.join(sorted(names[one] for one in own))}" if own else "has seen no team of this table"
    effort = sorted({f"{fit.get('episodes', '?')} episodes, {fit.get('steps', '?')} steps" for fit in fits})
    return f"; {len(fits)} fitted to {', '.join(short(victims).values())} ({'; '.join(effort)}): {seen}"
