"""Figures of two versions of the rules: recorded everywhere, replayed as they were, never in one table."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import jax
import polars as pl
import pytest

from ibal import envs, rng
from ibal.adversaries import configured
from ibal.adversaries.bundle import load_attacker, save_attacker
from ibal.cli.main import main
from ibal.cli.train import parse
from ibal.envs.smac import rules
from ibal.envs.smac.env import make
from ibal.evaluation import worlds
from ibal.evaluation.bank import Bank
from ibal.evaluation.results import read_episodes
from ibal.experiments.config import RunConfig
from ibal.experiments.run import pinned
from ibal.nets.agents import init
from ibal.nets.bundle import load_bundle, save_bundle
from ibal.options import ConfigError
from ibal.registry import Own

OLD, NEW = "2026-11", "2999-01"


@pytest.fixture(autouse=True)
def two_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version after all there are: whatever is the newest today, these tests know two."""
    monkeypatch.setitem(rules.VERSIONS, NEW, rules.Rules(head_start=0))


def bundle(path: Path, version: str, **about: object) -> Path:
    """Write a team of 3m that has learned nothing, as trained on a version; "" leaves the field out."""
    spec = make("3m", version=version or OLD).spec
    size = spec.obs_size + spec.n_actions + spec.n_agents
    save_bundle(path, init(rng.root(0), size, spec.n_actions, 8), spec, {"method": "vanilla", "seed": 0, **about})
    if not version:
        beside = path.with_suffix(".json")
        says = json.loads(beside.read_text())
        del says["version"]
        beside.write_text(json.dumps(says))
    return path


def evaluation(folder: Path, version: str | None, env: str = "smac/3m", policy: str = "a") -> Path:
    """Write the rows of four games."""
    count = 4
    columns: dict[str, object] = {
        "policy": [policy] * count, "method": ["vanilla"] * count, "seed": [0] * count, "env": [env] * count,
        "attack": ["natural"] * count, "perturbation": ["none"] * count, "episode": list(range(count)),
        "key_seed": [0] * count, "win": [1.0] * count, "return": [20.0] * count,
    }  # fmt: skip
    if version is not None:
        columns["version"] = [version] * count
    folder.mkdir()
    held = io.BytesIO()
    pl.DataFrame(columns).write_parquet(held)
    (folder / "episodes.parquet").write_bytes(held.getvalue())
    return folder


def test_a_version_names_rules_exactly() -> None:
    made = make("3m", version=OLD, push=0.123456789, turning=True, enemy_ids="permutation", detour_step=30, leash=1e20)
    named = made.spec.version
    assert named.startswith(f"{OLD}+")
    assert rules.Rules.of(named).version == named
    assert make("3m", version=named).spec == made.spec
    assert float(make("3m", version=named).params.quantities.push) == float(made.params.quantities.push)
    assert make("3m").spec.version == rules.NEWEST


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("2027-11", 'no version "2027-11" of the engine; did you mean "2026-11"?'),
        ("2026-11+pusch=1", "did you mean push=...?"),
        ("2026-11+push", "is no rule and its value"),
        ("2026-11+push=much", '"much" cannot be read'),
        ("2026-11+turning=1", '"1" cannot be read'),
    ],
)
def test_a_version_that_cannot_be_played_is_said_in_one_sentence(version: str, said: str) -> None:
    with pytest.raises(ValueError, match="version") as error:
        make("3m", version=version)
    assert said in str(error.value)
    with pytest.raises(ConfigError, match="version"):
        envs.made("smac/3m", {"version": version})


def test_a_bundle_did_not_say_by_which_rules_it_was_trained(tmp_path: Path) -> None:
    meta = load_bundle(bundle(tmp_path / "a.safetensors", NEW)).meta
    assert (meta["env"], meta["version"]) == ("smac/3m", NEW)
    old = load_bundle(bundle(tmp_path / "b.safetensors", "")).meta
    assert "version" not in old
    assert envs.version_of(old["env"], old) == OLD  # older than versions: of the first
    assert envs.as_recorded("smac/3m", old | {"env_options": {"push": 0.1}}) == {"push": 0.1, "version": OLD}
    assert envs.as_recorded("toy/leak", {"env": "toy/leak"}) == {}


@pytest.mark.parametrize("about", [{}, {"version": OLD}, {"env_options": {"version": OLD}}])
def test_an_old_team_is_played_by_the_rules_it_knows(about: dict[str, object]) -> None:
    said: list[str] = []
    name, options = worlds.world("a", worlds.asked(None), {"env": "smac/3m", **about})
    assert (name, options["version"]) == ("smac/3m", OLD)
    worlds.tell("a", {"env": "smac/3m", **about}, name, OLD, said.append)
    assert said == [
        f'a: played by version "{OLD}" of the rules of smac/3m, on which it was trained; the newest is "{NEW}": '
        f"--env smac/3m[version={NEW}]"
    ]
    asked = worlds.asked(Own(f"3m[version={NEW},push=0.2]"))
    name, options = worlds.world("a", asked, {"env": "smac/3m", **about})
    assert options == {"version": NEW, "push": 0.2}
    worlds.tell("a", {"env": "smac/3m", **about}, name, NEW, said.append)
    assert said[1:] == [f'a: trained on version "{OLD}" of the rules of smac/3m, played by "{NEW}", as asked']


def test_who_knows_no_rules_plays_by_those_of_the_others() -> None:
    teams = [{"env": "smac/3m", "version": OLD}, {}]
    assert worlds.version_of_all(worlds.asked(None), teams) == OLD
    assert worlds.world("random", worlds.asked(Own("3m")), {}, OLD)[1] == {"version": OLD}
    assert worlds.world("random", worlds.asked(Own("3m")), {})[1] == {"version": NEW}
    assert worlds.version_of_all(worlds.asked(None), [*teams, {"env": "smac/3m", "version": NEW}]) == ""
    assert worlds.world("random", worlds.asked(Own("toy/leak")), {}, OLD)[1] == {}


@pytest.mark.parametrize("attacks", [[], ["--attacks", "natural"]])
def test_teams_of_two_versions_were_put_into_one_table(
    attacks: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = bundle(tmp_path / "a.safetensors", ""), bundle(tmp_path / "b.safetensors", NEW)
    assert main(["evaluate", str(a), str(b), "--episodes", "2", *attacks]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert f'"{OLD}"' in error
    assert f'"{NEW}"' in error
    assert f"--env smac/3m[version={NEW}]" in error


def test_an_evaluation_says_by_which_rules_it_was_played(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    team = str(bundle(tmp_path / "a.safetensors", NEW))
    asked = ["--attacks", "natural", "--episodes", "2", "--out", str(tmp_path / "e"), "--env", f"3m[version={OLD}]"]
    assert main(["evaluate", team, "random", *asked]) == 0
    streams = capsys.readouterr()
    assert f"rules: version {OLD}" in streams.out
    assert f'trained on version "{NEW}" of the rules of smac/3m, played by "{OLD}", as asked' in streams.err
    card = json.loads((tmp_path / "e" / "card.json").read_text())
    assert card["rules"] == {"smac/3m": OLD}
    assert [(p["version"], p.get("trained_version")) for p in card["policies"]] == [(OLD, NEW), (OLD, None)]
    assert set(read_episodes(tmp_path / "e")["version"]) == {OLD}
    assert {e["version"] for e in json.loads((tmp_path / "e" / "summary.json").read_text())["entries"]} == {OLD}
    assert main(["report", str(tmp_path / "e")]) == 0
    assert f"smac/3m: win rate in percent (rules {OLD})" in capsys.readouterr().out


@pytest.mark.parametrize("table", [[], ["--table", "7"]])
@pytest.mark.parametrize("second", ["smac/3m", "smac/8m"])
def test_a_report_mixed_two_versions(
    table: list[str], second: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = evaluation(tmp_path / "old", None), evaluation(tmp_path / "new", NEW, second, "b")
    assert main(["report", str(one), str(two), *table]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert f'"a" played smac/3m by version "{OLD}" of its rules, "b" {second} by "{NEW}"' in error


def test_rows_without_a_version_are_of_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(read_episodes(evaluation(tmp_path / "old", None))["version"]) == {OLD}
    assert set(read_episodes(evaluation(tmp_path / "toy", None, "toy/leak"))["version"]) == {""}
    both = [str(tmp_path / "old"), str(evaluation(tmp_path / "same", OLD, policy="b"))]
    assert main(["report", *both, "--table", "7"]) == 0
    assert f"(ours by rules {OLD})" in capsys.readouterr().out
    assert main(["report", str(tmp_path / "old"), str(tmp_path / "toy")]) == 0  # other worlds have other rules


def test_an_attacker_of_other_rules_was_played_without_a_word(tmp_path: Path) -> None:
    old, new = make("3m", version=OLD).spec, make("3m", version=NEW).spec
    config = configured(Own("interaction"))
    state = config.build(old).init(jax.random.key(0))
    file = tmp_path / "bank" / "a.safetensors"
    save_attacker(file, "interaction", config, old, state)
    says = json.loads(file.with_suffix(".json").read_text())
    assert says.pop("version") == OLD
    file.with_suffix(".json").write_text(json.dumps(says))  # as it was before versions were recorded
    assert load_attacker(file, old).attack == "interaction"
    with pytest.raises(ValueError, match=f'fitted on version "{OLD}" .* but "{NEW}" is played; fit an attacker'):
        load_attacker(file, new)
    bank = Bank(file.parent)
    assert bank.has("interaction", old)
    assert not bank.has("interaction", new)
    with pytest.raises(ValueError, match=f'fitted on version "{OLD}" .* but "{NEW}" is played; fit some on it'):
        bank.on("interaction", new)
    shutil.copy(file, file.with_name("b.safetensors"))
    file.with_name("b.json").write_text(json.dumps(says | {"version": NEW}))
    assert [len(bank.on("interaction", spec).attackers) for spec in (old, new)] == [1, 1]  # each has its own


def test_a_run_was_continued_by_newer_rules(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    asked = parse(["--env", f"3m[version={OLD}]", "--env-option", "push=0.1"])[1]
    assert dict(asked.env_options) == {"push": 0.1, "version": OLD}
    assert pinned(asked, new) == asked
    fresh = RunConfig(env="3m")
    assert dict(pinned(fresh, new).env_options) == {"version": NEW}
    assert dict(pinned(fresh, new, make("3m", version=OLD, push=0.1)).env_options) == {"version": f"{OLD}+push=0.1"}
    assert dict(pinned(RunConfig(env="toy/leak"), new).env_options) == {}
    for folder, options in ((old, ""), (new, f'[env_options]\nversion = "{OLD}"\n')):
        folder.mkdir()
        (folder / "config.toml").write_text('env = "smac/3m"\n' + options)
    assert dict(pinned(fresh, new, resume=True).env_options) == {"version": OLD}
    resumed = pinned(parse(["--out", str(old), "--resume"])[1], old, resume=True)  # of before there were versions
    assert dict(resumed.env_options) == {}
    assert envs.as_recorded(resumed.env, {"env_options": {}}) == {"version": OLD}


def test_a_replay_says_by_which_rules_it_was_played(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    team, page = str(bundle(tmp_path / "a.safetensors", "")), tmp_path / "a.html"
    assert main(["replay", "--policy", team, "--max-steps", "2", "--out", str(page), "--json"]) == 0
    streams = capsys.readouterr()
    assert json.loads(streams.out)["version"] == OLD
    assert f'played by version "{OLD}"' in streams.err
    assert f'"version":"{OLD}"' in page.read_text().replace(" ", "")
    other = str(bundle(tmp_path / "b.safetensors", NEW))
    assert main(["replay", "--policy", team, "--policy", other, "--out", str(page)]) == 2
    assert "episodes side by side need one environment" in capsys.readouterr().err


def test_env_names_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "describe", f"3m[version={OLD}]"]) == 0
    assert f"rules: version {OLD}" in capsys.readouterr().out
    assert main(["env", "list", "--json"]) == 0
    rows = {row["name"]: row["versions"] for row in json.loads(capsys.readouterr().out)["environments"]}
    assert rows["smac/8m"][0] == OLD
    assert rows["toy/leak"] == []
    assert main(["env", "describe", "3m[]"]) == 2
    assert "options stand in brackets, as in smac/8m[version=2026-11]" in capsys.readouterr().err


def test_curves_of_two_versions_were_drawn_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, options in (("old", ""), ("new", f'[env_options]\nversion = "{NEW}"\n')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.toml").write_text('env = "smac/3m"\n' + options)
        line = {"kind": "eval", "seed": 0, "env_steps": 1, "episodes": 4, "win": 0.5, "return": 1.0, "length": 3.0}
        (tmp_path / name / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    runs = [str(tmp_path / "old"), str(tmp_path / "new")]
    assert main(["curves", *runs, "--out", str(tmp_path / "c")]) == 2
    error = capsys.readouterr().err
    assert f'"{OLD}"' in error
    assert f'"{NEW}"' in error
    assert not (tmp_path / "c").exists()
