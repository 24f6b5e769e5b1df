"""The page of an audit: whole whatever is missing, with all numbers in words, and nothing that could run."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any
from xml.etree import ElementTree

import pytest

from ibal.report.audit import bar_chart, curve_chart, page, ring


def number(score: float, **more: Any) -> dict[str, Any]:
    return {"trial": "natural", "score": score, "interval": [score - 0.1, score + 0.1], "episodes": 128} | more


def data(**changes: Any) -> dict[str, Any]:
    """An audit of which nothing but the undisturbed games was played."""
    plain = {
        "team": "runs/x/<b>.safetensors", "seed": 0, "method": "ibal", "sha256": "ab", "about": {}, "env": "smac/3m",
        "version": "2026-12", "n_agents": 3, "score": "win", "key_seed": 0, "episodes": 128, "engine": "e", "ibal": "0",
        "stopped": "time", "natural": number(0.9), "threshold": 0.8, "threshold_is": "--fail-under", "fail_under": 0.8,
        "passed": None, "lowest": None, "suite": [], "agents": [], "pairs": None, "curves": [], "onset": [],
        "recovery": [], "visible": [], "loss": "stop", "length": 20.0, "cannot": {}, "graph": None, "left_out": {},
        "missing": ["pairs of agents: 3 of 3 trials"], "verdict": ["One.", "Two.", "Three."], "next": None,
        "seconds": 60.0,
    }  # fmt: skip
    return plain | changes


def everything() -> dict[str, Any]:
    costly = number(0.3, trial="stop[who=1]", agent=1, cost=0.6, cost_interval=[0.5, 0.7])
    lowest = number(0.1, trial="lost-30", help="")
    pair = number(0.05, trial="stop[who=0 1]", agents=[0, 1], cost=0.85, cost_interval=[0.8, 0.9])
    return data(
        missing=[], stopped="", passed=False, agents=[costly], suite=[lowest, number(0.9, help="")], lowest=lowest,
        pairs={"worst": pair, "others": [pair], "fresh": True, "tried": 3, "mean": 0.4},
        curves=[{"kind": kind, "label": label, "points": [number(0.9, x=0.0), number(0.1, x=4.0)], "drops": 3.75}
                for kind, label in (("lost", "% of what is heard"), ("delay", "steps"))],
        onset=[number(0.3, step=0), number(0.8, step=10)],
        recovery=[{"ended": number(0.6), "lasting": number(0.3), "gain": {}, "share": 0.5}],
        visible=[{"agents": 1, "silent": number(0.3), "visible": number(0.5),
                  "apart": {"cost": 0.2, "cost_interval": [0.1, 0.3]}}],
        graph=[[0.0, 0.2, 0.0], [0.1, 0.0, 0.0], [0.0, 0.4, 0.0]], left_out={"fgsm": "it needs <gradients>"},
        next={"method": "lost-30", "steps": 1_000_000, "steps_known": True, "hours": 0.5, "command": "ibal train …"},
    )  # fmt: skip


def test_what_was_not_measured_is_said_and_no_empty_section_is_there() -> None:
    text = page(data())
    assert "because the time was over" in text
    assert "pairs of agents: 3 of 3 trials" in text
    for name in ("agents", "pairs", "curves", "graph", "replays"):
        assert f'<section id="{name}">' not in text


def test_all_that_was_measured_is_said_in_words() -> None:
    text = page(everything())
    for words in (
        "FAILED", "Losing agent 1 costs 60 points (50 to 70 points)", "Without agents <b>0 and 1</b>",
        "Measured on other episodes", "heard: below from about 3.8", "steps: below from 4", "from step 10",
        "50 %", "+20 points",
        "Without 1 agent it does better when the failure is seen", "The others can tell most about agent 1",
        "it needs &lt;gradients&gt;", "about 30 minutes on this machine",
    ):  # fmt: skip
        assert words in text, words


def test_of_a_team_of_another_library_nothing_is_said_that_its_file_does_not_say() -> None:
    text = page(everything() | {"team": "sb3:x.zip", "method": "scripted", "env": "pettingzoo:a.b"})
    assert "trained by" not in text
    assert "<code>ibal evaluate sb3:x.zip --env pettingzoo:a.b --attacks NAME</code>" in text


def test_what_to_do_next_is_no_command_where_nothing_can_be_trained_or_nothing_is_lost() -> None:
    found = everything()
    hosted = found | {"next": found["next"] | {"command": None}}
    assert "nothing is trained in it here" in page(hosted)
    assert "Nothing that was tried costs the team much" in page(found | {"threshold": 0.05})


def test_what_replays_have_in_common_is_there_once() -> None:
    code = "".join(f"step({i**5});" for i in range(2000))
    films = [(f"stop[who={i}], episode 3", ["<script>", code, "</script>", f"data {i}"]) for i in range(3)]
    text = page(everything(), films)
    held = json.loads(gzip.decompress(base64.b64decode(text.partition('id="films">')[2].partition("<")[0])))
    assert ["".join(held["pieces"][i] for i in film) for film in held["films"]] == ["".join(one) for _, one in films]
    assert len(held["pieces"]) == 3 + 3
    assert text.count("<iframe data-film=") == 3
    assert code not in text


def test_names_of_others_are_text_and_nothing_is_loaded() -> None:
    text = page(data(team="x</title><script>alert(1)</script>"))
    assert "<script" not in text
    assert "default-src 'none'" in text
    assert "http://" not in text.replace("http://www.w3.org", "")


@pytest.mark.parametrize("score", ["win", "return"])
def test_pictures_are_whole(score: str) -> None:
    plain = {"score": score, "threshold": 0.5}
    one = {"kind": "lost", "points": [number(0.9, x=0.0), number(-3.0, x=30.0)], "drops": 10.0}
    pictures = [
        bar_chart(plain, [("a & b", 0.5, [0.4, 0.6]), ("c", -2.0, None)], 0.8, 0.6),
        curve_chart(plain, one),
        ring([[0.0, 1.0], [0.5, 0.0]]),
    ]
    for picture in pictures:
        root = ElementTree.fromstring(picture)
        assert not [value for part in root.iter() for value in part.attrib.values() if "nan" in value]
    inside = [part.attrib["style"] for part in ElementTree.fromstring(pictures[0]).iter("i")]
    assert len(inside) == 2 + 1 + 2  # a bar and a dashed line each, an interval where there is one
    assert not [style for style in inside if ":-" in style]


def test_the_data_is_json() -> None:
    assert json.loads(json.dumps(everything(), allow_nan=False))["lowest"]["score"] == 0.1
