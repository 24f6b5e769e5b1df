"""The zoo: names, hashes, a folder and a server."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import ibal
from ibal import make, rng
from ibal.adversaries.bundle import save_attacker
from ibal.adversaries.config import InteractionConfig
from ibal.api import claims
from ibal.api import zoo as checks
from ibal.cli.main import main
from ibal.evaluation.bank import Bank
from ibal.evaluation.teams import found
from ibal.options import ConfigError
from ibal.registry import quoted
from ibal.zoo import Zoo, described, write_index

ROOT = Path(ibal.__file__).parents[2]
TEAM = "smac/3m/ibal-0"


@pytest.fixture
def mine(tmp_path: Path) -> Zoo:
    """A zoo in a folder with two teams."""
    zoo = Zoo(tmp_path / "mine")
    for seed in (0, 1):
        zoo.add(f"smac/3m/ibal-{seed}", Zoo(ROOT / "zoo").local(f"smac/3m/ibal-{seed}"), {"licence": "Apache-2.0"})
    return zoo


@pytest.fixture
def server(mine: Zoo) -> Iterator[str]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=mine.where)
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def test_every_entry_of_the_repositorys_zoo_is_there_as_it_says() -> None:
    zoo = Zoo(ROOT / "zoo")
    assert len(zoo.entries) >= 100
    for name, entry in zoo.entries.items():
        held = described(zoo.local(name))
        assert {key: entry[key] for key in held} == held
        assert name.startswith(f"{entry['env']}/")
    folders = [ROOT / "docs" / "results" / "archive-2026-11" / part / "policies" for part in ("ibal", "matrix")]
    committed = {file for folder in [*folders, ROOT / "zoo"] for file in folder.rglob("*.safetensors")}
    assert {zoo.local(name).resolve() for name in zoo.entries} == committed


def test_a_team_of_the_zoo_goes_wherever_a_policy_goes() -> None:
    team = ibal.load_policy(f"zoo:{TEAM}")
    assert (team.meta["env"], team.meta["method"], team.meta["seed"]) == ("smac/3m", "ibal", 0)
    assert [entry.meta["seed"] for entry in found(f"zoo:{TEAM}")] == [0]
    with pytest.raises(ConfigError, match=r'has no "smac/3m/ibl-0"\. Closest: "smac/3m/ibal-0"'):
        ibal.load_policy("zoo:smac/3m/ibl-0")


def test_what_is_pushed_can_be_listed_shown_and_fetched(mine: Zoo, tmp_path: Path, capsys) -> None:
    assert main(["zoo", "list", "--zoo", mine.where]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("smac/3m/ibal-0  team      ibal, ")
    assert main(["zoo", "show", TEAM, "--zoo", mine.where, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["licence"] == "Apache-2.0"
    assert main(["zoo", "get", TEAM, "--zoo", mine.where, "--out", str(tmp_path / "got")]) == 0
    file = tmp_path / "got" / "smac-3m-ibal-0.safetensors"
    assert described(file)["sha256"] == mine.entries[TEAM]["sha256"]


def test_a_list_of_one_environment_takes_short_names_and_tells_of_those_that_are_none(mine: Zoo, capsys) -> None:
    assert main(["zoo", "list", "--zoo", mine.where, "--env", "3m"]) == 0
    assert capsys.readouterr().out.startswith("smac/3m/ibal-0")
    assert main(["zoo", "list", "--zoo", mine.where, "--env", "smac/33m"]) == 2
    assert '"smac/33m": there is no such environment. Closest: "smac/3m".' in capsys.readouterr().err


def test_what_has_a_name_already_is_not_replaced_unless_asked_for(mine: Zoo, capsys) -> None:
    other, before = str(mine.local("smac/3m/ibal-1")), mine.entries[TEAM]["sha256"]
    assert main(["zoo", "push", TEAM, other, "--zoo", mine.where]) == 2
    assert f"has another {TEAM}; choose another name, or say --replace" in capsys.readouterr().err
    assert Zoo(mine.where).entries[TEAM]["sha256"] == before
    assert main(["zoo", "push", TEAM, other, "--zoo", mine.where, "--replace"]) == 0
    assert Zoo(mine.where).entries[TEAM]["sha256"] != before
    assert main(["zoo", "push", TEAM, other, "--zoo", mine.where, "--note", "the same weights"]) == 0


def test_what_is_of_another_world_than_its_name_is_refused(mine: Zoo, capsys) -> None:
    before = Path(mine.where, "index.json").read_bytes()
    team = str(mine.local(TEAM))
    for name in ("smac/8m/a", "mine/a", "smac/3m2/a"):
        assert main(["zoo", "push", name, team, "--zoo", mine.where]) == 2
        said = capsys.readouterr().err
        assert f'{quoted(name)} does not begin with what {team} plays, "smac/3m"' in said
        assert 'name it "smac/3m/a"' in said
    assert Path(mine.where, "index.json").read_bytes() == before
    assert main(["zoo", "push", "smac/3m/old/a", team, "--zoo", mine.where]) == 0


def test_an_entry_of_an_unknown_kind_is_refused(mine: Zoo) -> None:
    write_index(Path(mine.where) / "index.json", {TEAM: mine.entries[TEAM] | {"kind": "wizard"}})
    with pytest.raises(ConfigError, match='"kind" is "wizard"; one of team, attacker was expected'):
        Zoo(mine.where).entry(TEAM)


def test_an_attacker_of_the_zoo_is_no_team(capsys) -> None:
    attacker = f"zoo:{next(iter(Zoo(ROOT / 'zoo').attackers('smac/3m')))}"
    for words in (["zoo", "check", attacker], ["evaluate", attacker, "--attacks", "natural"]):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert f"{attacker} is an attacker, and a team was expected. Closest: " in said
        assert "ibal zoo list --kind team --env smac/3m" in said


def test_what_differs_from_the_index_is_refused(mine: Zoo) -> None:
    file = mine.local(TEAM)
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ConfigError, match="its weights is not what"):
        mine.local(TEAM)


def test_a_zoo_behind_an_url_is_read_checked_and_pulled(server: str, mine: Zoo, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("IBAL_ZOO", server)
    assert ibal.load_policy(f"zoo:{TEAM}").meta["seed"] == 0
    here = Zoo(tmp_path / "here")
    assert here.pull(Zoo(server), ["smac/3m/ibal-1"]) == ["smac/3m/ibal-1"]
    assert here.pull(Zoo(server)) == [TEAM]
    assert here.pull(Zoo(server)) == []
    assert here.entries[TEAM]["licence"] == "Apache-2.0"
    shutil.rmtree(tmp_path / "cache")
    write_index(Path(mine.where) / "index.json", {TEAM: mine.entries[TEAM] | {"sha256": "0" * 64}})
    with pytest.raises(ConfigError, match="is not what"):
        Zoo(server).local(TEAM)
    with pytest.raises(ConfigError, match="read only"):
        Zoo(server).add(TEAM, here.local(TEAM), {})


OUTSIDE = ("../files/x.safetensors", "files/../../x", "/etc/x", "//other.example/x", "http://other.example/x", "C:x",
           "files\\x", "files//x", "./x", "")  # fmt: skip


@pytest.mark.parametrize("outside", OUTSIDE)
def test_an_index_that_names_files_outside_its_zoo_is_refused(outside: str, mine: Zoo, monkeypatch, capsys) -> None:
    write_index(Path(mine.where) / "index.json", {TEAM: mine.entries[TEAM] | {"file": outside}})
    words = (
        f"{TEAM}: .* names the file {re.escape(quoted(outside))}, which is not inside that zoo; tell who publishes it"
    )
    with pytest.raises(ConfigError, match=words):
        Zoo(mine.where).local(TEAM)
    remote = Zoo("http://zoo.example/here")
    asked = []

    def content(path: str, most: int) -> bytes:
        asked.append(path)
        return (Path(mine.where) / path).read_bytes()

    monkeypatch.setattr(remote, "_content", content)
    with pytest.raises(ConfigError, match=words):
        remote.local(TEAM)
    assert asked == ["index.json"]
    assert main(["zoo", "get", TEAM, "--zoo", mine.where, "--out", str(Path(mine.where) / "got")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (Path(mine.where) / "got").exists()


def test_what_was_fetched_before_is_used_again_only_where_weights_and_card_are_the_same(
    server: str, mine: Zoo, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    held = Zoo(server).local(TEAM)
    before = held.with_suffix(".json").read_bytes()
    for changed in (held, held.with_suffix(".json")):
        changed.write_bytes(changed.read_bytes() + b" ")
        assert Zoo(server).local(TEAM) == held
        assert described(held)["sha256"] == mine.entries[TEAM]["sha256"]
        assert held.with_suffix(".json").read_bytes() == before
    # The publisher corrects the card alone: the weights' hash stays.
    card = mine.local(TEAM).with_suffix(".json")
    card.write_bytes(before + b"\n")
    entry = mine.entries[TEAM] | {"about_sha256": hashlib.sha256(before + b"\n").hexdigest()}
    write_index(Path(mine.where) / "index.json", {TEAM: entry})
    assert Zoo(server).local(TEAM).with_suffix(".json").read_bytes() == before + b"\n"
    here = Zoo(tmp_path / "here")
    here.add(TEAM, Zoo(ROOT / "zoo").local(TEAM), {})
    assert here.pull(Zoo(server)) == [TEAM]


def test_names_and_places_that_are_none_are_told(tmp_path: Path, monkeypatch) -> None:
    zoo = Zoo(tmp_path)
    for name in ("../x", "x", "a//b", "a\\b/c", "C:/b", "a/b\0", "a/.b", "a/ b"):
        with pytest.raises(ConfigError, match="is no name of a zoo"):
            zoo.add(name, Zoo(ROOT / "zoo").local(TEAM), {})
    with pytest.raises(ConfigError, match="is no bundle"):
        zoo.add("a/b", tmp_path / "nothing.safetensors", {})
    with pytest.raises(ConfigError, match="cannot be read"):
        _ = Zoo(tmp_path / "nowhere").entries
    (tmp_path / "index.json").write_text('{"format": 1, "entries": {"a/b": {"kind": 3}}}')
    with pytest.raises(ConfigError, match="cannot be read"):
        _ = Zoo(tmp_path).entries


def test_a_board_of_checks_that_are_not_of_one_team_is_refused(tmp_path: Path) -> None:
    row = {
        "policy": "a/b", "method": "x", "env": "toy/leak", "version": "", "attack": "natural", "perturbation": "none",
        "seed": 0, "win": 1.0, "return": 1.0, "length": 1, "episode": 0, "key_seed": 0, "attacked": 0.0,
    }  # fmt: skip
    rows, zoo = pl.DataFrame([row]), Zoo(tmp_path)
    page = checks.keep(checks.Checked("a/b", rows, checks.row_of("a/b", {}, rows, 1, 0)), zoo)
    assert "a/b" in page.read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match=r"a-c.parquet and the JSON beside it are not about one team; check that"):
        checks.keep(
            checks.Checked("a/c", rows.with_columns(policy=pl.lit("a/d")), checks.row_of("a/c", {}, rows, 1, 0)), zoo
        )


LEAK = make("toy/leak")
SMALL = InteractionConfig(masks="dimension", actions="off", most=1, dims=1)
CHECK = {"episodes": 64, "score": "win_rate", "natural": 0.9, "attacked": 0.3, "lost": 0.6, "lost_interval": [0.5, 0.7]}


@pytest.fixture
def armed(tmp_path: Path, monkeypatch) -> Zoo:
    """A zoo with two attackers, of which the second does its own victim no harm."""
    zoo = Zoo(tmp_path / "armed")
    for i, ends in enumerate(([0.5, 0.7], [-0.1, 0.1])):
        file = tmp_path / f"{i}.safetensors"
        meta = {
            "victim": f"runs/{i}",
            "victim_sha256": str(i) * 64,
            "episodes": 512,
            "check": CHECK | {"lost_interval": ends},
        }
        state = SMALL.build(LEAK.spec).init(rng.root(i))
        save_attacker(file, "interaction", SMALL, LEAK.spec, state, meta)
        zoo.add(f"toy/leak/attackers/interaction-{i}", file, {"licence": "Apache-2.0"})
    monkeypatch.setenv("IBAL_ZOO", zoo.where)
    return zoo


def test_attackers_stand_beside_teams_with_whom_they_were_fitted_to(armed: Zoo, tmp_path: Path, capsys) -> None:
    entry = armed.entries["toy/leak/attackers/interaction-0"]
    assert (entry["kind"], entry["attack"], entry["env"], entry["engine"]) == (
        "attacker", "interaction", "toy/leak", ibal.__version__,
    )  # fmt: skip
    assert entry["fitted"]["victim"] == "runs/0"
    assert entry["fitted"]["check"] == CHECK
    armed.add("smac/3m/ibal-0", Zoo(ROOT / "zoo").local(TEAM), {})
    assert main(["zoo", "list", "--kind", "attacker"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert [line.partition(", rules")[0] for line in lines] == [
        "toy/leak/attackers/interaction-0 attacker interaction fitted to runs/0 (win rate 0.90 → 0.30)",
        "toy/leak/attackers/interaction-1 attacker interaction fitted to runs/1 (win rate 0.90 → 0.30, badly fitted)",
    ]
    here = Zoo(tmp_path / "here")
    assert here.pull(armed, ["toy/leak/attackers/interaction-0"]) == ["toy/leak/attackers/interaction-0"]
    assert here.entries["toy/leak/attackers/interaction-0"] == entry | {
        "file": here.entries["toy/leak/attackers/interaction-0"]["file"]
    }


def test_attackers_of_the_zoo_are_played_by_name(armed: Zoo) -> None:
    both = Bank(Path("zoo:toy/leak")).on("interaction", LEAK.spec)
    assert [one["file"] for one in both.about["fitted"]] == [f"zoo:toy/leak/attackers/interaction-{i}" for i in (0, 1)]
    one = Bank(Path("zoo:toy/leak/attackers/interaction-1")).on("interaction", LEAK.spec)
    assert [fitted["victim"] for fitted in one.about["fitted"]] == ["runs/1"]
    assert Bank(Path("zoo:")).on("interaction", LEAK.spec).digest == both.digest
    assert Bank(Path("zoo:")).has("interaction", LEAK.spec)
    assert not Bank(Path("zoo:")).has("interaction", make("toy/climbing").spec)
    with pytest.raises(ConfigError, match=r'has no attacker "toy/leek"\. Closest: "toy/leak"'):
        Bank(Path("zoo:toy/leek"))
    assert main(["evaluate", "random", "--env", "leak", "--attacks", "interaction", "--attackers", "zoo:leak"]) == 2


def test_nobody_is_checked_against_an_attacker_that_was_fitted_to_it(armed: Zoo) -> None:
    meta = {"version": armed.entries["toy/leak/attackers/interaction-0"].get("version")}
    found = checks._unseen(checks._places(armed), meta, "toy/leak", "0" * 64)
    assert [one.name for one in found["interaction"]] == ["toy/leak/attackers/interaction-1"]
    assert checks._unseen(checks._places(armed), meta | {"version": "other"}, "toy/leak", "") == {}
    empty = Zoo(Path(armed.where).parent / "empty")  # a new folder for the board: the attackers are those of zoo:
    assert len(checks._unseen(checks._places(empty), meta, "toy/leak", "")["interaction"]) == 2


def claim(mean: float, **more: object) -> dict[str, object]:
    return {"attack": "natural", "perturbation": "none", "score": "win_rate", "mean": mean, "interval": None,
            "episodes": 400, "attackers": []} | more  # fmt: skip


def test_a_claim_holds_where_chance_explains_the_difference() -> None:
    # 300 of 400 won: the pooled error of .75 and .75 is sqrt(.1875 / 200) = .0306, so .06 is the limit at 95 %.
    rows = pl.DataFrame({"win": [1.0] * 300 + [0.0] * 100, "return": [20.0] * 400})
    found = claims.verdict(claim(0.75), rows, 1)
    assert (found["replayed"], found["holds"]) == (0.75, True)
    assert claims.verdict(claim(0.80), rows, 1)["holds"]
    assert not claims.verdict(claim(0.82), rows, 1)["holds"]
    assert claims.verdict(claim(0.82), rows, 20)["holds"]  # one of twenty may well be that far off
    assert not claims.verdict(claim(0.99), rows, 64)["holds"]
    assert claims.told(claims.verdict(claim(0.99), rows, 1)) == ("claimed 0.990, replayed 0.750 [0.705, 0.790]: WRONG")
    equal = claim(20.0, score="return", interval=[20.0, 20.0])
    assert claims.verdict(equal, rows, 1)["holds"]
    assert not claims.verdict(equal | {"mean": 20.1}, rows, 1)["holds"]
    assert claims.verdict(claim(0.5), None, 1)["holds"] is None
    unwinnable = rows.with_columns(win=pl.lit(None, pl.Float64))
    assert claims.verdict(claim(0.5), unwinnable, 1)["holds"] is False


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"attack": "my_pkg.mod:Mine"}, "is code, and no file may name code"),
        ({"perturbation": "a:b"}, "is code, and no file may name code"),
        ({"mean": "much"}, '"mean"'),
        ({"episodes": 0}, "not one about episodes"),
        ({"score": "fame"}, "not one about episodes"),
        ({"mean": 1.5}, "a share of games from 0 to 1"),
        ({"interval": [0.5]}, "its two ends, the lower first"),
        ({"interval": [0.6, 0.4]}, "its two ends, the lower first"),
        ({"attack": "natrual"}, 'nobody can play this claim again: .*Closest: "natural"'),
        ({"attack": "interaction[masks=no]"}, "nobody can play this claim again: .*masks"),
        ({"perturbation": "hq-15"}, 'nobody can play this claim again: .*Closest: "hp-15"'),
    ],
)
def test_claims_are_read_as_a_strangers(more: dict[str, object], words: str) -> None:
    assert claims.read([claim(0.5)], "x")[0]["mean"] == 0.5
    with pytest.raises(ConfigError, match=words):
        claims.read([claim(0.5) | more], "x")


def test_an_evaluation_makes_a_claim_for_every_cell_of_that_team(tmp_path: Path) -> None:
    names = {"method": "x", "env": "toy/leak", "version": "", "perturbation": "none", "seed": 0, "key_seed": 5}
    rows = [
        names | {"policy": who, "attack": attack, "episode": i, "win": float(i < won), "return": 1.0, "length": 9}
        for who, attack, won in (("mine", "natural", 3), ("mine", "ega", 1), ("other", "natural", 0))
        for i in range(4)
    ]
    pl.DataFrame(rows).write_parquet(tmp_path / "episodes.parquet")
    policies = [{"policy": who, "seed": 0, "sha256": who} for who in ("mine", "other")]
    attacks = [{"attack": "natural"}, {"attack": "ega", "fitted": [{"sha256": "e" * 64}]}]
    (tmp_path / "card.json").write_text(json.dumps({"policies": policies, "attacks": attacks, "key_seed": 5}))
    natural, ega = claims.read(claims.of_evaluation(tmp_path, "mine"), "x")
    assert (natural["attack"], natural["mean"], natural["episodes"], natural["attackers"]) == ("natural", 0.75, 4, [])
    assert natural["interval"] == pytest.approx([0.3006, 0.9544], abs=1e-4)  # Wilson's, of 3 of 4
    assert (ega["attack"], ega["mean"], ega["attackers"], ega["key_seed"]) == ("ega", 0.25, ["e" * 64], 5)
    with pytest.raises(ConfigError, match="an evaluation of other weights"):
        claims.of_evaluation(tmp_path, "somebody else")
    with pytest.raises(ConfigError, match="is no evaluation that"):
        claims.of_evaluation(tmp_path / "nowhere", "mine")


def test_more_claims_than_anybody_plays_again_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most 64"):
        claims.read([claim(0.5)] * 65, "x")


def test_a_claim_that_does_not_hold_stands_on_the_board(tmp_path: Path) -> None:
    row = {
        "policy": "a/b", "method": "x", "env": "toy/leak", "version": "", "attack": "natural", "perturbation": "none",
        "seed": 0, "win": 1.0, "return": 1.0, "length": 1, "episode": 0, "key_seed": 0, "attacked": 0.0,
    }  # fmt: skip
    rows, zoo = pl.DataFrame([row] * 8), Zoo(tmp_path)
    verdict = claims.verdict(claim(0.1), rows, 1)
    done = checks.row_of("a/b", {}, rows, 8, 0) | {"claims": [verdict]}
    page = checks.keep(checks.Checked("a/b", rows, done), zoo).read_text(encoding="utf-8")
    assert '"claims that did not hold":"a/b"' in page
    assert "claimed 0.100, replayed 1.000 [0.676, 1.000]: WRONG" in page
    honest = checks.row_of("a/c", {}, rows.with_columns(policy=pl.lit("a/c")), 8, 0)
    page = checks.keep(checks.Checked("a/c", rows.with_columns(policy=pl.lit("a/c")), honest), zoo).read_text()
    places = json.loads(re.findall(r'"board":(\[.*?\])', page)[0])
    assert [place["team"] for place in places] == ["a/c", "a/b"]  # as strong, and whose claims did not fail


def test_the_columns_of_the_board_are_the_lowest_first(tmp_path: Path) -> None:
    rows = pl.DataFrame([
        {"policy": f"toy/leak/{team}", "method": "x", "env": "toy/leak", "version": "", "attack": attack,
         "perturbation": harm, "seed": 0, "key_seed": 0, "episode": 0, "win": won, "return": 1.0, "length": 1,
         "attacked": 0.0}
        for team, calm in (("a", 1.0), ("b", 0.5))
        for attack, harm, won in (("natural", "none", calm), ("random", "none", 0.4), ("natural", "dis-1", 0.1))
    ])  # fmt: skip
    for (name,), mine in rows.group_by("policy", maintain_order=True):
        checks.keep(checks.Checked(str(name), mine, checks.row_of(str(name), {}, mine, 1, 0)), Zoo(tmp_path))
    cells = json.loads(re.findall(r'"cells":(\[.*?\]),"tables"', (tmp_path / "board.html").read_text())[0])
    assert list(dict.fromkeys((cell["attack"], cell["perturbation"]) for cell in cells)) == [
        ("natural", "dis-1"), ("random", "none"), ("natural", "none"),  # .1, .4, .75
    ]  # fmt: skip
