"""The page of an audit: one file, no server, no network, and no script of its own but that of the replays in it.

    text = page(data, [("stop[who=3], episode 7", player_pieces(…))])       # ``data`` as ``ibal.audit`` gives it

A replay is a page in texts one after the other; those that several have in common are kept once. Every picture is an
SVG with a sentence beside it that says what to read from it; every number has its interval.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

from ibal.report.tables import NAMELESS
from ibal.webpage import filled, packed

Data = Mapping[str, Any]
Replays = Sequence[tuple[str, Sequence[str]]]


def page(data: Data, replays: Replays = ()) -> str:
    """Return the whole page."""
    web = resources.files("ibal.report") / "web"
    sections = [
        _section("verdict", "Verdict", _verdict(data)),
        _section("agents", "What the loss of one agent costs", _agents(data)),
        _section("pairs", "The worst pair", _pairs(data)),
        _section("suite", "Usual faults and attacks, the worst first", _suite(data)),
        _section("curves", "How much of every fault it bears", _curves(data)),
        _section("onset", "Early and late failures", _onset(data)),
        _section("recovery", "Does it recover?", _recovery(data)),
        _section("visible", "Silent against visible failures", _visible(data)),
        _section("graph", "Who sees what the others do", _graph(data)),
        _section("replays", "Telling episodes", _replays(replays)),
        _section("next", "What to do next", _next(data)),
        _section("about", "How this was measured", _about(data)),
    ]
    return filled((web / "audit.html").read_text("utf-8"), {
        "title": html.escape(f"Audit of {short_name(data['team'])}"),
        "style": (web / "audit.css").read_text("utf-8"),
        "facts": _facts(data),
        "body": "\n".join(section for section in sections if section),
        "films": _films(replays),
    })  # fmt: skip


def short_name(team: str) -> str:
    """Return the last part of a path, without the ending of a file."""
    return team.rstrip("/").rsplit("/", 1)[-1].removesuffix(".safetensors")


def _section(name: str, title: str, body: str) -> str:
    return f'<section id="{name}"><h2>{title}</h2>\n{body}</section>' if body else ""


def _facts(data: Data) -> str:
    rules = f", rules {data['version']}" if data["version"] else ""
    seed = "" if data["seed"] is None else f", seed {data['seed']}"
    trained = f"; trained by {data['method']}{seed}" if _says(data) else ""
    return html.escape(
        f"{data['n_agents']} agents on {data['env']}{rules}{trained}; {data['episodes']:,} episodes in "
        f"{data.get('seconds', 0) / 60:.1f} minutes"
    )


def _says(data: Data) -> bool:
    """Say whether the team's file tells where it comes from: that of another library does not."""
    return data["method"] not in NAMELESS


def said(data: Data, value: float) -> str:
    """Return a score as the page shows it: a percentage of games won, or a return."""
    return f"{100 * value:.0f}\u00a0%" if data["score"] == "win" else f"{value:.2f}"


def _apart(data: Data, value: float) -> str:
    """Return a difference of scores: percentage points, or a return."""
    return f"{100 * value:+.0f} points" if data["score"] == "win" else f"{value:+.2f}"


def _size(data: Data, value: float) -> str:
    """Return what something costs, without a sign unless it gains."""
    return f"{100 * value:.0f} points" if data["score"] == "win" else f"{value:.2f}"


def _between(data: Data, ends: Sequence[float] | None) -> str:
    if ends is None:
        return ""
    if data["score"] == "win":
        return f"{100 * ends[0]:.0f} to {100 * ends[1]:.0f} %"
    return f"{ends[0]:.2f} to {ends[1]:.2f}"


def _verdict(data: Data) -> str:
    lines = "".join(f"<li>{html.escape(line)}</li>" for line in data["verdict"])
    out = f'<ul class="verdict">{lines}</ul>'
    if data["passed"] is not None:
        lowest = data["lowest"]
        word = "PASSED" if data["passed"] else "FAILED"
        out += (
            f'<p class="{word.lower()}"><b>{word}</b>: the lowest column, {_code(lowest["trial"])}, leaves '
            f"{said(data, lowest['score'])}; {said(data, data['fail_under'])} was asked for.</p>"
        )
    if data["missing"]:
        why = {"time": "the time was over", "Ctrl-C": "it was stopped"}.get(
            data["stopped"], data["stopped"] or "it was left out"
        )
        what = "".join(f"<li>{html.escape(one)}</li>" for one in data["missing"])
        out += f'<div class="missing"><p>Not measured, because {html.escape(why)}:</p><ul>{what}</ul></div>'
    return out


def _code(text: str) -> str:
    return f"<code>{html.escape(text)}</code>"


LOSS = {"stop": "It stands still and does nothing.", "stuck": "It repeats its first action for ever."}


def _agents(data: Data) -> str:
    rows = sorted(data["agents"], key=lambda one: -one["cost"])
    if not rows:
        return ""
    bars = [(f"agent {one['agent']}", one["score"], one["interval"]) for one in rows]
    natural = data["natural"]
    worst = rows[0]
    ends = worst["cost_interval"]
    sure = ends is not None and ends[0] > 0
    told = (
        f"Losing agent {worst['agent']} costs {_size(data, worst['cost'])}"
        + (f" ({_size(data, ends[0]).removesuffix(' points')} to {_size(data, ends[1])})." if ends else ".")
    ) if sure else "No single loss costs more than chance explains."  # fmt: skip
    return (
        f"<p>{LOSS[data['loss']]} {told} Bars show what is left, lines the 95 % interval, the dashed line what the "
        f"team scores undisturbed ({said(data, natural['score'])}).</p>"
        + bar_chart(data, bars, natural["score"], data["threshold"])
    )


def _pairs(data: Data) -> str:
    found = data["pairs"]
    if not found:
        return ""
    worst = found["worst"]
    agents = " and ".join(str(i) for i in worst["agents"])
    fresh = (
        "Measured on other episodes than those on which it was found."
        if found["fresh"]
        else "Measured on the very episodes on which it was found, since the time was over: rather too low."
    )
    others = "; ".join(
        f"{' and '.join(map(str, one['agents']))}: {said(data, one['score'])}" for one in found["others"]
    )
    return (
        f"<p>Without agents <b>{agents}</b> the team scores <b>{said(data, worst['score'])}</b> "
        f"({_between(data, worst['interval'])}). {fresh} The mean over all {found['tried']} pairs tried is "
        f"{said(data, found['mean'])}{_which(found)}.</p>" + (f"<p>Next worst: {others}.</p>" if others else "")
    )


def _which(found: Data) -> str:
    """Say whether the choice of the pair matters."""
    ends = found["worst"]["interval"]
    if not found["fresh"] or ends is None:
        return ""
    return ": it matters which two fail" if ends[1] < found["mean"] else ": it hardly matters which two fail"


def _suite(data: Data) -> str:
    rows = data["suite"]
    if not rows:
        return ""
    bars = [(one["trial"], one["score"], one["interval"]) for one in rows]
    helps = [(one["trial"], _meaning(one)) for one in rows if one["trial"] != "natural"]
    left = data.get("left_out", {})
    out = (
        f"<p>The dashed line is the threshold, {said(data, data['threshold'])} ({data['threshold_is']}).</p>"
        + bar_chart(data, bars, data["threshold"], data["threshold"])
        + "<details><summary>What these are</summary><dl>"
        + "".join(f"<dt>{_code(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in helps)
        + "</dl></details>"
    )
    if left:
        out += "<details><summary>Attacks that were left out</summary><dl>"
        out += "".join(f"<dt>{_code(name)}</dt><dd>{html.escape(why)}</dd>" for name, why in left.items())
        out += "</dl></details>"
    return out


def _meaning(one: Data) -> str:
    return one["help"] or MEANINGS.get(one["trial"], "")


MEANINGS = {
    "noise-10": "every sensor errs by a tenth of its range, all the time",
    "lost-30": "30 % of what an agent hears about the others is lost",
    "burst-30": "the same share, lost in bursts of five steps",
    "delay-1": "everybody sees what was a step ago",
    "drop-20": "a fifth of all sensors is broken for a whole game",
    "late-1": "every action is done a step later",
    "stop-1": "one agent, another one in every game, does nothing",
}


def _curves(data: Data) -> str:
    curves = data["curves"]
    if not curves:
        return ""
    cards = "".join(
        f"<figure>{curve_chart(data, one)}<figcaption>{_code(one['kind'])} {html.escape(one['label'])}: "
        f"{_drop(data, one)}</figcaption></figure>"
        for one in curves
    )
    return (
        f"<p>From left to right more of a fault, up what is left. The dashed line is the threshold, "
        f"{said(data, data['threshold'])}; a red mark is where the curve falls below it.</p>"
        f'<div class="grid">{cards}</div>' + _cannot(data)
    )


def _cannot(data: Data) -> str:
    if not data["cannot"]:
        return ""
    rows = "".join(f"<dt>{_code(kind)}</dt><dd>{html.escape(why)}</dd>" for kind, why in data["cannot"].items())
    return f"<details><summary>Faults that this world cannot have</summary><dl>{rows}</dl></details>"


def _drop(data: Data, one: Data) -> str:
    if one["drops"] is None:
        return f"stays above, up to {one['points'][-1]['x']:g}"
    if not one["drops"]:
        return "below from the beginning"
    # Between two points lies nothing where agents or steps are counted.
    return f"below from about {one['drops']:.2g}" if one["label"].startswith("%") else f"below from {_whole(one)}"


def _whole(one: Data) -> str:
    return f"{math.ceil(one['drops']):g}"


def _onset(data: Data) -> str:
    rows = data["onset"]
    if len(rows) < 2:
        return ""
    bars = [(f"from step {one['step']}", one["score"], one["interval"]) for one in rows]
    how = "stops" if data["loss"] == "stop" else "repeats one action"
    return (
        f"<p>One agent, another one in every game, {how} from the given step to the end; an undisturbed game lasts "
        f"{data['length']:.0f} steps on average. Where early failures cost more than late ones, the beginning "
        "decides.</p>" + bar_chart(data, bars, data["natural"]["score"], data["threshold"])
    )


def _recovery(data: Data) -> str:
    rows = data["recovery"]
    if not rows:
        return ""
    out = ""
    for one in rows:
        share = "it costs too little to tell" if one["share"] is None else f"{100 * min(max(one['share'], 0), 1):.0f} %"
        out += (
            f"<tr><th>{_code(one['ended']['trial'])}</th><td>{_with(data, one['ended'])}</td>"
            f"<td>{_with(data, one['lasting'])}</td><td>{share}</td></tr>"
        )
    return (
        "<p>A fault in the second quarter of a game only, against the same fault from there to the end. The last "
        "column is how much of the cost is saved because it ends: 100 % is a full recovery.</p>"
        '<div class="scroll"><table><thead><tr><th>fault</th><th>it ends</th><th>it lasts</th><th>saved</th></tr>'
        f"</thead><tbody>{out}</tbody></table></div>"
    )


def _with(data: Data, one: Data) -> str:
    return f"{said(data, one['score'])} <small>{_between(data, one['interval'])}</small>"


def _visible(data: Data) -> str:
    rows = data["visible"]
    if not rows:
        return ""
    out, told = "", []
    for one in rows:
        apart = one["apart"]
        ends = apart["cost_interval"]
        out += (
            f"<tr><th>{one['agents']}</th><td>{_with(data, one['silent'])}</td><td>{_with(data, one['visible'])}</td>"
            f"<td>{_apart(data, apart['cost'])}</td></tr>"
        )
        if ends and (ends[0] > 0 or ends[1] < 0):
            lost = f"{one['agents']} agent{'s' * (one['agents'] > 1)}"
            told.append(f"without {lost} it does better when the failure is {'seen' if ends[0] > 0 else 'not seen'}")
    verdict = (
        f"{'; '.join(told)}.".capitalize() if told else "Whether the others see the failure makes no clear difference."
    )
    return (
        "<p>Agents that stop in sight of the others (silent), or that the others no longer see, as if they had died "
        f"(visible). {verdict}</p>"
        '<div class="scroll"><table><thead><tr><th>agents</th><th>silent</th><th>visible</th><th>gained by being seen'
        f"</th></tr></thead><tbody>{out}</tbody></table></div>"
    )


def _graph(data: Data) -> str:
    graph = data["graph"]
    if not graph or max(map(max, graph)) <= 0:
        return ""
    received = [sum(row) for row in graph]
    watched = [sum(row[j] for row in graph) for j in range(len(graph))]
    most, least = max(range(len(graph)), key=watched.__getitem__), min(range(len(graph)), key=watched.__getitem__)
    knows = max(range(len(graph)), key=received.__getitem__)
    return (
        "<p>An arrow from i to j: what agent i sees tells what agent j does; the thicker, the more (estimated mutual "
        f"information, nats; only the stronger half is drawn). The others can tell most about agent {most} and least "
        f"about agent {least}; agent {knows} knows most about the others. Where much is known, much can be broken by "
        "hiding it.</p>" + ring(graph)
    )


def _replays(replays: Replays) -> str:
    if not replays:
        return ""
    frames = "".join(
        f"<details{' open' if i == 0 else ''}><summary>{_code(title)}</summary>"
        f'<iframe data-film="{i}" sandbox="allow-scripts" title="{html.escape(title)}"></iframe></details>'
        for i, (title, _) in enumerate(replays)
    )
    return (
        f"<p>The same game twice: undisturbed, and beside it with the fault.</p>{frames}"
        "<noscript><p>Replays are drawn by a script inside this file; please allow it to run.</p></noscript>"
    )


def _films(replays: Replays) -> str:
    """Return the replays, packed, and the script that shows them."""
    if not replays:
        return ""
    number: dict[str, int] = {}
    films = [[number.setdefault(piece, len(number)) for piece in pieces] for _, pieces in replays]
    held = packed(json.dumps({"pieces": [*number], "films": films}, separators=(",", ":")))
    web = resources.files("ibal.report") / "web"
    script = "\n".join((web / name).read_text("utf-8") for name in ("unpack.js", "audit.js"))
    return f'<script type="text/plain" id="films">{held}</script>\n<script>\n{script}</script>'


def _next(data: Data) -> str:
    found = data["next"]
    if not found or data["lowest"]["score"] >= data["threshold"]:
        return "<p>Nothing that was tried costs the team much. Try more minutes, or attacks of your own.</p>"
    if found["command"] is None:
        return (
            f"<p>Train against {_code(found['method'])}, where most is lost, wherever this team was trained: its world "
            "is played in Python, and nothing is trained in it here. Audit the new team with the same command and "
            "compare.</p>"
        )
    as_many = "as many as this team had" if found["steps_known"] else "how many this team had is not known"
    took = f"{found['hours'] * 60:.0f} minutes" if found["hours"] < 1 else f"{found['hours']:.1f} hours"
    return (
        f"<p>Train against {_code(found['method'])}, where most is lost: {found['steps']:,} steps ({as_many}) take "
        f"about {took} on this machine, by the speed at which it played here. Audit the new team with the same "
        f"command and compare.</p><pre>{html.escape(found['command'])}</pre>"
    )


def _about(data: Data) -> str:
    facts = {
        "team": data["team"], "weights (SHA-256)": data["sha256"], "episodes": f"{data['episodes']:,}",
        "seed of the episodes": data["key_seed"], "engine": data["engine"], "ibal": data["ibal"],
    }  # fmt: skip
    rows = "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(str(v))}</dd>" for k, v in facts.items())
    team = data["team"] if _says(data) else f"{data['team']} --env {data['env']}"
    return (
        "<p>All trials meet the same games: agents, enemies and chance are the same in each, so that differences are "
        "the fault's. Intervals hold 95 % and are about this one team. Costs are differences game by game. A trial's "
        f"name is what {_code(f'ibal evaluate {team} --attacks NAME')} takes.</p>"
        f"<dl>{rows}</dl>"
    )


# Pictures


def scale(data: Data, values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis: 0 to 1 for shares of games, else what the values need, 0 included."""
    if data["score"] == "win":
        return 0.0, 1.0
    low, high = min(0.0, *values), max(0.0, *values)
    return low, high if high > low else low + 1


def bar_chart(data: Data, bars: Sequence[tuple[str, float, Sequence[float] | None]], line: float, limit: float) -> str:
    """Draw horizontal bars with intervals, numbers beside, and a dashed line; red below ``limit``. Plain elements, not
    a picture: a narrow screen puts the bar below its label."""
    low, high = scale(data, [value for _, value, _ in bars] + _ends(ends for _, _, ends in bars) + [line])
    at = lambda v: 100 * (min(max(v, low), high) - low) / (high - low)  # noqa: E731
    rows = []
    for label, value, ends in bars:
        begin, wide = min(at(0), at(value)), abs(at(value) - at(0))
        bad = " bad" if value < limit - 1e-9 else ""
        inside = f'<i class="bar{bad}" style="left:{begin:.1f}%;width:{wide:.1f}%"></i>'
        if ends:
            inside += f'<i class="whisker" style="left:{at(ends[0]):.1f}%;width:{at(ends[1]) - at(ends[0]):.1f}%"></i>'
        inside += f'<i class="dash" style="left:{at(line):.1f}%"></i>'
        between = f" <small>{_between(data, ends)}</small>" if ends else ""
        rows.append(
            f'<div class="row"><span class="label">{html.escape(label)}</span><span class="track">{inside}</span>'
            f'<span class="number">{said(data, value)}{between}</span></div>'
        )
    below = "<p><small>Scores are below 0 here: the shorter a bar, the better.</small></p>" if high <= 0 else ""
    return f'{below}<div class="bars">{"".join(rows)}</div>'


def _ends(intervals: Iterable[Sequence[float] | None]) -> list[float]:
    """Return the ends of all intervals that there are."""
    return [end for ends in intervals if ends for end in ends]


def curve_chart(data: Data, one: Data) -> str:
    """Draw a curve with its band, the threshold, and where it falls below."""
    wide, tall, below, top = 300, 150, 22, 8
    left = 38 if data["score"] == "win" else 52  # "-28.35" needs more room than "100 %"
    points = one["points"]
    low, high = scale(data, [p["score"] for p in points] + _ends(p["interval"] for p in points) + [data["threshold"]])
    most = points[-1]["x"]
    x = lambda v: left + (wide - left - 10) * v / most  # noqa: E731
    y = lambda v: top + (tall - top - below) * (1 - (min(max(v, low), high) - low) / (high - low))  # noqa: E731
    banded = [p for p in points if p["interval"]]
    upper = " ".join(f"{x(p['x']):.1f},{y(p['interval'][1]):.1f}" for p in banded)
    lower = " ".join(f"{x(p['x']):.1f},{y(p['interval'][0]):.1f}" for p in reversed(banded))
    line = " ".join(f"{x(p['x']):.1f},{y(p['score']):.1f}" for p in points)
    out = [f'<polygon class="band" points="{upper} {lower}"/>' if banded else ""]
    out.append(f'<path class="axis" d="M{left} {top}V{tall - below}H{wide - 10}"/>')
    level = y(data["threshold"])
    out.append(f'<line class="dash" x1="{left}" x2="{wide - 10}" y1="{level:.1f}" y2="{level:.1f}"/>')
    out.append(f'<polyline class="curve" points="{line}"/>')
    out += [f'<circle class="dot" cx="{x(p["x"]):.1f}" cy="{y(p["score"]):.1f}" r="3"/>' for p in points]
    if one["drops"] is not None:
        out.append(f'<circle class="drop" cx="{x(one["drops"]):.1f}" cy="{level:.1f}" r="5"/>')
    for v in (low, high):
        out.append(f'<text class="tick" x="{left - 5}" y="{y(v) + 4:.1f}" text-anchor="end">{said(data, v)}</text>')
    out += [
        f'<text class="tick" x="{x(p["x"]):.1f}" y="{tall - 6}" text-anchor="middle">{p["x"]:g}</text>' for p in points
        if p["x"] in (0, most) or (x(p["x"]) - x(0) > 22 and x(most) - x(p["x"]) > 22)
    ]  # fmt: skip
    told = ", ".join(f"{p['x']:g}: {said(data, p['score'])}" for p in points)
    return _svg(wide, tall, "".join(out), f"{one['kind']} {told}")


def ring(graph: Sequence[Sequence[float]]) -> str:
    """Draw agents in a ring and the stronger half of the arrows from i to j, as thick as ``graph[i][j]`` is large."""
    n, size, middle, radius = len(graph), 420, 195, 165
    at = [
        (size / 2 + radius * math.sin(2 * math.pi * i / n), middle - radius * math.cos(2 * math.pi * i / n))
        for i in range(n)
    ]
    edges = sorted((graph[i][j], i, j) for i in range(n) for j in range(n) if i != j and graph[i][j] > 0)
    most = edges[-1][0]
    out = [
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="13" markerHeight="13" '
        'markerUnits="userSpaceOnUse" orient="auto"><path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>'
    ]
    for value, i, j in edges[len(edges) // 2 :] if len(edges) > 4 else edges:
        (ax, ay), (bx, by) = at[i], at[j]
        long = math.hypot(bx - ax, by - ay)
        ux, uy = (bx - ax) / long, (by - ay) / long
        bend = 14  # so that both directions can be seen
        cx, cy = (ax + bx) / 2 - uy * bend, (ay + by) / 2 + ux * bend
        path = f"M{ax + 20 * ux:.1f} {ay + 20 * uy:.1f}Q{cx:.1f} {cy:.1f} {bx - 20 * ux:.1f} {by - 20 * uy:.1f}"
        share = value / most
        out.append(
            f'<path class="edge" marker-end="url(#tip)" d="{path}" style="stroke-width:{0.6 + 4 * share**2:.1f};'
            f'opacity:{0.15 + 0.75 * share**2:.2f}"><title>{i} sees what {j} does: {value:.3f} nats</title></path>'
        )
    for i, (px, py) in enumerate(at):
        out.append(f'<circle class="node" cx="{px:.1f}" cy="{py:.1f}" r="17"/>')
        out.append(f'<text class="name" x="{px:.1f}" y="{py + 5:.1f}" text-anchor="middle">{i}</text>')
    tall = max(py for _, py in at) + middle - radius  # no room for agents below, where there are none
    return f'<div class="ring">{_svg(size, round(tall), "".join(out), "who sees what the others do")}</div>'


def _svg(wide: float, tall: float, inside: str, label: str) -> str:
    return (
        f'<svg viewBox="0 0 {wide} {tall}" style="max-width:{wide}px" role="img" aria-label="{html.escape(label)}">'
        f"{inside}</svg>"
    )
