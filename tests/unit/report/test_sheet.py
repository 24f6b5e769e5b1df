"""The table of an evaluation is narrow, and says what is in it."""

from __future__ import annotations

from typing import Any

import pytest

from ibal.report.names import legend, short
from ibal.report.sheet import as_text, knowledge


def entry(policy: str, attack: str, perturbation: str = "none", **numbers: Any) -> dict[str, Any]:
    known = {"win_rate": 0.5, "win_rate_sd": 0.125, "win_rate_interval": [0.25, 0.75], "seeds": [0, 1]}
    known |= {"of": "fgsm", "win_rate_interval": None} if attack == "worst attack" else {}
    return {"policy": policy, "env": "smac/8m", "attack": attack, "perturbation": perturbation, **known, **numbers}


ATTACKS = ("natural", "random", "fgsm", "ega", "wolfpack", "interaction", "worst attack", "hindsight minimum", "mean")


def test_names_are_as_short_as_they_are_clear() -> None:
    assert short(["runs/a/x", "runs/b/x", "/far/away/y.safetensors"]) == {
        "runs/a/x": "a/x", "runs/b/x": "b/x", "/far/away/y.safetensors": "y",
    }  # fmt: skip
    assert short(["p/seed-0.safetensors", "q/seed-0"]) == {"p/seed-0.safetensors": "seed-0.safetensors",
                                                           "q/seed-0": "seed-0"}  # fmt: skip
    assert short(["runs/qmix seed-0", "runs/qmix seed-1", "random"]) == {
        "runs/qmix seed-0": "qmix seed-0", "runs/qmix seed-1": "qmix seed-1", "random": "random",
    }  # fmt: skip
    assert short(["a/b", "b", "a//b", "/"]) == {"a/b": "a/b", "b": "b", "a//b": "a//b", "/": "/"}
    assert len(set(short(["x/y/z", "y/z", "z", "w/y/z"]).values())) == 4
    assert legend(short(["runs/x", "random"])) == ["x: runs/x"]


@pytest.mark.parametrize("policies", [1, 2, 3, 9])
def test_a_table_of_nine_columns_was_185_columns_wide(policies: int) -> None:
    where = "/a/very/long/path/to/where/somebody/keeps/results/of/all/kinds/run-"
    entries = [
        entry(f"{where}{k}", attack, perturbation)
        for k in range(policies) for perturbation in ("none", "hp-15") for attack in ATTACKS
    ]  # fmt: skip
    text = as_text(entries)
    table, _, names = text.partition(f"run-0: {where}0")
    assert max(map(len, table.splitlines())) <= 100
    assert names.count(where) == policies - 1
    assert table.count("[0.250, 0.750]") == policies * 2 * (len(ATTACKS) - 1)  # the worst attack has a name instead
    assert table.count("(fgsm)") == policies * 2
    assert table.count("smac/8m, hp-15") == 1


def test_what_is_in_a_table_is_said_below_it() -> None:
    text = as_text([entry("p", attack) for attack in ATTACKS])
    rows = [line.split() for line in text.splitlines()]
    assert rows[0] == ["smac/8m"]
    assert rows[3] == ["natural", "0.500", "±", "0.125", "[0.250,", "0.750]"]
    assert rows[9] == ["worst", "attack", "0.500", "±", "0.125", "(fgsm)"]
    for said in ("standard deviation over seeds", "95 % interval", "worst attack: ", "hindsight minimum: ", "mean: "):
        assert said in text
    alone = as_text([entry("p", "natural", "none", win_rate_sd=None, seeds=[0]), entry("p", "natural", "hp-15")])
    assert "worst" not in alone
    assert [line.split()[0] for line in alone.splitlines()[3:5]] == ["none", "hp-15"]


def test_a_return_and_a_missing_cell() -> None:
    lost = {"win_rate": None, "return": 2.0, "return_sd": None, "return_interval": None}
    text = as_text([entry("p", "natural"), entry("p", "fgsm"), entry("q", "natural", **lost)])
    assert text.splitlines()[3].split() == ["natural", "0.500", "±", "0.125", "[0.250,", "0.750]", "2.00"]
    assert text.splitlines()[4].split()[-1] == "-"
    assert "win rate or return" in text


def test_which_attack_is_a_white_box_and_which_has_seen_the_team() -> None:
    fit = {"victim": "runs/start", "victim_sha256": "s", "episodes": 512, "steps": 20}
    attacks = [
        {"attack": "natural", "threat": {"knowledge": [], "channels": []}},
        {"attack": "random", "threat": {"knowledge": [], "channels": ["obs", "act"]}},
        {"attack": "fgsm", "threat": {"knowledge": ["gradient"], "channels": ["obs"]}},
        {"attack": "ega", "threat": {"knowledge": ["scores", "state"], "channels": ["act"]}, "fitted": [fit]},
    ]
    card = {"policies": [{"policy": "runs/ibal", "sha256": "i"}], "attacks": attacks}
    assert knowledge(card) == [
        "random: black box; changes observations and actions",
        "fgsm: white box (knows the team's gradient); changes observations",
        "ega: knows what the team thinks of every action and the true state; changes actions; 1 fitted to start "
        "(512 episodes, 20 steps): has seen no team of this table",
    ]
    card["policies"].append({"policy": "runs/start", "sha256": "s"})
    assert knowledge(card)[-1].endswith("has seen start")
    assert "white box" in as_text([entry("p", "fgsm")], card=card)


def test_an_attack_that_does_its_own_victim_no_harm_is_marked() -> None:
    threat = {"knowledge": [], "channels": ["obs"]}
    fits = {"ega": [0.2, 0.4], "wolfpack": [-0.1, 0.1]}
    attacks = [
        {"attack": name, "threat": threat, "fitted": [{"victim": "v", "check": {"lost_interval": ends}}]}
        for name, ends in fits.items()
    ]
    card = {"policies": [{"policy": "p", "sha256": "i"}], "attacks": attacks}
    text = as_text([entry("p", "natural"), entry("p", "ega"), entry("p", "wolfpack")], card=card)
    assert [line.split()[:2] for line in text.splitlines()[3:6]] == [
        ["natural", "0.500"],
        ["ega", "0.500"],
        ["wolfpack", "†"],
    ]
    assert "† badly fitted (wolfpack): it does no harm even to a team that it was fitted to" in text
    assert "†" not in as_text([entry("p", "natural"), entry("p", "ega")], card=card | {"attacks": attacks[:1]})
