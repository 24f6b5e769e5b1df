"""The matrix: every row is the episode it says it is, and what was played once is not played again."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

from ibal import rng
from ibal.adversaries.base import Threat, adversary, natural
from ibal.evaluation import matrix
from ibal.evaluation.episodes import play
from ibal.evaluation.matrix import Attack, Cell, Plan, Team, as_parquet, cells, run
from ibal.evaluation.results import COLUMNS, VERSION, evaluate, read_episodes
from ibal.evaluation.scripted import random_policy
from ibal.evaluation.summary import summarise
from ibal.game.perturb import perturb
from ibal.nets.agents import Agent
from ibal.types import Env

PLAN = Plan(episodes=8, seed=4)


@pytest.fixture(scope="module")
def teams(walk: Env) -> list[Team]:
    """Two seeds of one training; they play action ``params``."""

    def scores(params: jax.Array, carry: jax.Array, obs: jax.Array, avail: jax.Array, last: jax.Array):
        return carry, jnp.where(avail, (jnp.arange(3) == params).astype(jnp.float32)[None], -1.0)

    agent = Agent(lambda: jnp.int32(0), scores, lambda key, scores, avail: jnp.argmax(scores, axis=1))
    return [Team("us", "plain", s, walk, "walk", agent, jnp.int32(1 + s), f"weights {s}", {}) for s in (0, 1)]


@pytest.fixture(scope="module")
def attacks(walk: Env) -> dict[str, Attack]:
    """ "push" makes agent 0 do what the attacker's state says where it can; it has two attackers."""

    def act(key: jax.Array, state: jax.Array, memory: tuple[()], view: object) -> tuple[jax.Array, tuple[()]]:
        action = jnp.where(view.step.avail[0, state], state, view.actions[0])  # type: ignore[attr-defined]
        return view.actions.at[0].set(action), memory  # type: ignore[attr-defined]

    push = adversary(act=act, init=lambda key: jnp.int32(0), threat=Threat(channels=("act",), agents=1))
    return {
        "natural": Attack("natural", natural(), [()], "nobody", {"config": {}}),
        "push": Attack("push", push, [jnp.int32(1), jnp.int32(2)], "push 1 2", {"config": {"with": [1, 2]}}),
    }


@pytest.fixture(scope="module")
def todo(teams: list[Team], attacks: dict[str, Attack]) -> list[Cell]:
    return cells(teams, lambda name, team: attacks[name], ("natural", "push"), ("none", "dis-2"))


@pytest.fixture(scope="module")
def rows(todo: list[Cell]) -> pl.DataFrame:
    return run(todo, PLAN)


def test_one_row_per_episode_with_its_names(rows: pl.DataFrame) -> None:
    assert rows.columns == [
        "policy", "method", "seed", "env", "version", "attack", "perturbation", "episode", "key_seed", "attacker",
        "win", "return", "length", "attacked", "replaced", "noise", "played",
    ]  # fmt: skip
    assert rows.height == 2 * 2 * 2 * PLAN.episodes
    assert rows.group_by("seed", "attack", "perturbation").len()["len"].to_list() == [PLAN.episodes] * 8
    assert set(rows["method"]) == {"plain"}
    assert set(rows["key_seed"]) == {4}


def test_rows_are_the_episodes_that_play_gives(
    rows: pl.DataFrame, todo: list[Cell], teams: list[Team], attacks: dict[str, Attack]
) -> None:
    keys, attack = rng.episodes(rng.root(4), PLAN.episodes), attacks["push"]
    world = todo[-1].world
    np.testing.assert_array_equal(todo[-1].params.drawn, perturb(teams[1].env, "dis-2")[1].drawn)
    found = rows.filter(seed=1, attack="push", perturbation="dis-2").sort("episode")
    assert found["attacker"].to_list() == [0, 1, 0, 1, 0, 1, 0, 1]
    for which, attacker in enumerate(attack.attackers):
        results = play(
            world, teams[1].player, keys[which::2], teams[1].params, env_params=todo[-1].params,
            adversary=attack.adversary, attacker=attacker,
        )  # fmt: skip
        for name, values in (
            ("return", results.returns), ("length", results.length), ("win", results.win),
            ("attacked", results.attacked), ("replaced", results.replaced), ("noise", results.metrics["noise"]),
        ):  # fmt: skip
            np.testing.assert_array_equal(found[name].to_numpy()[which::2], np.asarray(values))


def test_all_cells_meet_the_same_worlds(rows: pl.DataFrame) -> None:
    spread = rows.group_by("episode").agg(pl.col("noise").n_unique(), pl.col("length").n_unique())
    assert set(spread["noise"]) == set(spread["length"]) == {1}


def test_what_was_killed_goes_on_and_gives_the_same_rows(
    todo: list[Cell], rows: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(message: str) -> None:
        if message.startswith("[4/8]"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(todo, PLAN, tmp_path, killed)
    assert len(list(tmp_path.rglob("*.parquet"))) == 3
    played: list[str] = []
    resumed = run(todo, PLAN, tmp_path, played.append)
    assert [message.split()[0] for message in played] == ["[4/8]", "[5/8]", "[6/8]", "[7/8]", "[8/8]"]
    assert resumed.equals(rows)
    monkeypatch.setattr(matrix, "play", None)  # nothing is left to play
    assert run(todo, PLAN, tmp_path).equals(rows)
    other = [cell._replace(team=cell.team._replace(policy="them")) for cell in todo]
    assert set(run(other, PLAN, tmp_path)["policy"]) == {"them"}  # a name decides nothing


def test_whatever_decides_an_episode_is_in_the_hash(todo: list[Cell], monkeypatch: pytest.MonkeyPatch) -> None:
    cell = todo[0]
    variants = [
        (cell._replace(team=cell.team._replace(digest="other weights")), PLAN),
        (cell._replace(team=cell.team._replace(world="walk with options")), PLAN),
        (cell._replace(attack=cell.attack._replace(digest="other attackers")), PLAN),
        (cell._replace(perturbation="dis-1"), PLAN),
        (cell, Plan(episodes=10, seed=4)),
        (cell, Plan(episodes=8, seed=5)),
    ]
    found = {matrix.digest_of(cell, PLAN), *(matrix.digest_of(*variant) for variant in variants)}
    assert len(found) == 7
    monkeypatch.setattr(matrix, "engine_version", lambda: "another")
    assert matrix.digest_of(cell, PLAN) not in found


def test_a_damaged_part_is_played_again(todo: list[Cell], rows: pl.DataFrame, tmp_path: Path) -> None:
    """Truncated, empty, a single bit, another file's content, no table at all: never a traceback, never other data."""
    run(todo[:2], PLAN, tmp_path)
    wanted = run(todo[:2], PLAN)
    first, second = sorted((tmp_path / "parts").iterdir())
    content = first.read_bytes()
    flipped = [content[:i] + bytes([content[i] ^ 1 << i % 8]) + content[i + 1 :] for i in range(0, len(content), 397)]
    for damaged in (b"", content[:-1], content[: len(content) // 2], b"PAR1", second.read_bytes(), *flipped):
        first.write_bytes(damaged)
        said: list[str] = []
        assert run(todo[:2], PLAN, tmp_path, said.append).equals(wanted)
        assert len(said) == 2, said
        assert said[0] == f"{first} has another checksum than its name says: it is played again"
        assert first.read_bytes() == content
    other = as_parquet(wanted.drop("win"))  # well made, by somebody else
    first.unlink()
    name = f"{first.stem.split('-')[0]}-{matrix.hashlib.sha256(other).hexdigest()[:16]}.parquet"
    first.with_name(name).write_bytes(other)
    said = []
    assert run(todo[:2], PLAN, tmp_path, said.append).equals(wanted)
    assert "it has no win: it is played again" in said[0]


def test_stale_result_of_code_that_imports_a_helper(todo: list[Cell], tmp_path: Path) -> None:
    """No hash knows all that a user's code depends on, so nothing of it is kept."""
    own_team = todo[0]._replace(team=todo[0].team._replace(own=True))
    own_attack = todo[2]._replace(attack=todo[2].attack._replace(own=True))
    for _ in range(2):
        said: list[str] = []
        run([own_team, own_attack, todo[1]], PLAN, tmp_path, said.append)
        assert said[0] == "2 of 3 cells run code of your own, which may change unseen: they are always played anew"
        assert [line.split()[0] for line in said[1:3]] == ["[1/3]", "[2/3]"]
    assert len(list((tmp_path / "parts").iterdir())) == 1


def test_a_perturbed_world_is_that_of_the_very_environment(teams: list[Team], attacks: dict[str, Attack]) -> None:
    """Two environments that look alike may differ; an id() of one may become that of another."""
    twin = teams[1]._replace(env=teams[1].env._replace(params=jnp.float32(2)))
    found = cells([teams[0], twin], lambda name, team: attacks[name], ("natural",), ("none", "dis-1"))
    assert [float(cell.params.env if cell.perturbation != "none" else cell.params) for cell in found] == [1, 1, 2, 2]


def table(wins: dict[str, list[list[bool]]]) -> pl.DataFrame:
    """Rows of one policy: ``wins[attack][seed]``; the return is twice the win."""
    return pl.DataFrame(
        [
            {"policy": "p", "method": "m", "seed": seed, "env": "e", "attack": attack, "perturbation": "none",
             "episode": i, "win": win, "return": 2.0 * win, "length": 5, "attacked": 0.25, "replaced": 0.125}
            for attack, seeds in wins.items() for seed, episodes in enumerate(seeds) for i, win in enumerate(episodes)
        ]
    )  # fmt: skip


def test_the_summary_by_hand() -> None:
    y, n = True, False
    wins = {"natural": [[y, y, y, y], [y, y, n, n]], "a": [[y, y, n, n], [y, n, y, n]]}
    entries = {entry["attack"]: entry for entry in summarise(table(wins))}
    assert list(entries) == ["natural", "a", "worst attack", "hindsight minimum", "mean"]
    assert entries["natural"]["win_rate_per_seed"] == [1.0, 0.5]
    assert entries["natural"]["win_rate"] == 0.75
    assert entries["natural"]["win_rate_sd"] == pytest.approx(np.sqrt(0.125))
    np.testing.assert_allclose(entries["a"]["win_rate_interval"], (0.2152, 0.7848), atol=1e-4)  # Wilson's of 4 of 8
    assert entries["a"]["episodes"] == 8
    assert [entries["a"][name] for name in ("length", "attacked", "replaced")] == [5.0, 0.25, 0.125]
    # Episode by episode: seed 0 keeps y y n n, seed 1 keeps y n n n.
    assert entries["hindsight minimum"]["win_rate_per_seed"] == [0.5, 0.25]
    assert entries["hindsight minimum"]["return"] == 0.75
    assert entries["mean"]["win_rate"] == 0.625
    low, high = entries["mean"]["win_rate_interval"]
    assert 0 < low < 0.625 < high < 1


def test_worst_was_a_minimum_in_hindsight_that_no_attacker_reaches() -> None:
    # Each of two attacks wins half of the games, other ones: the lowest column is one half, the minimum nothing.
    y, n = True, False
    entries = {entry["attack"]: entry for entry in summarise(table({"a": [[y, y, n, n]], "b": [[n, n, y, n]]}))}
    worst = entries["worst attack"]
    assert (worst["win_rate"], worst["of"], worst["win_rate_interval"]) == (0.25, "b", None)
    assert worst["win_rate_per_seed"] == [0.25]
    assert entries["hindsight minimum"]["win_rate"] == 0.0


def test_an_evaluation_of_an_earlier_version_has_no_replaced_actions() -> None:
    (entry,) = summarise(table({"natural": [[True]]}).drop("replaced"))
    assert (entry["attacked"], entry["replaced"]) == (0.25, None)


def test_no_win_rate_where_nothing_can_be_won() -> None:
    rows = table({"natural": [[True, True]]}).with_columns(win=pl.lit(None, pl.Boolean))
    (entry,) = summarise(rows)  # one attack: neither worst nor mean
    assert entry["win_rate"] is entry["win_rate_interval"] is entry["win_rate_sd"] is None
    assert entry["return"] == 2.0
    assert entry["return_sd"] is None


def test_the_folder_of_an_evaluation(todo: list[Cell], rows: pl.DataFrame, tmp_path: Path) -> None:
    done = evaluate(todo, PLAN, tmp_path / "x")
    assert pl.read_parquet(tmp_path / "x" / "episodes.parquet").equals(rows)
    summary = json.loads((tmp_path / "x" / "summary.json").read_text())
    assert (summary["episodes"], summary["key_seed"], summary["entries"]) == (8, 4, done.entries)
    card = json.loads((tmp_path / "x" / "card.json").read_text())
    assert [(p["policy"], p["seed"], p["sha256"]) for p in card["policies"]] == [
        ("us", 0, "weights 0"), ("us", 1, "weights 1"),
    ]  # fmt: skip
    push = card["attacks"][1]
    assert (push["attack"], push["threat"]["channels"], push["attackers"]) == ("push", ["act"], 2)
    assert push["config"] == {"with": [1, 2]}
    (left,) = card["remained"]
    assert left["undisturbed"] == done.entries[0]["win_rate"]
    assert left["weakest"] == min(entry["win_rate"] for entry in done.entries if entry["attack"] in ("natural", "push"))


def test_rows_that_are_not_those_of_the_summary_are_refused(todo: list[Cell], tmp_path: Path) -> None:
    folder = tmp_path / "ev [a]"  # a pattern, for polars
    done = evaluate(todo, PLAN, folder)
    assert read_episodes(folder).equals(done.rows.select([*COLUMNS, *VERSION]).cast(COLUMNS | VERSION))
    file = folder / "episodes.parquet"
    content = file.read_bytes()
    for damaged in (content[:-1], b"", as_parquet(done.rows.with_columns(win=True))):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"is not the one that summary\.json was written with"):
            read_episodes(folder)
    (folder / "summary.json").unlink()  # nothing says what it was: read as it is, if it is any
    file.write_bytes(content)
    said: list[str] = []
    assert read_episodes(folder, said.append).height == done.rows.height
    assert said == [f"{file}: unchecked: no summary.json beside it says whether it is as it was written"]
    for damaged, message in (
        (content[:-1], "cannot be read"),
        (as_parquet(done.rows.drop("method")), "it has no method"),
        (as_parquet(done.rows.with_columns(method=pl.lit("\x1b[2J"))), "without control characters"),
        (as_parquet(done.rows.with_columns(pl.lit(float("nan")).alias("return"))), "column return has gaps or"),
        (as_parquet(done.rows.with_columns(policy=pl.lit(None, pl.String))), "column policy has gaps or"),
        (as_parquet(done.rows.with_columns(win=pl.lit("often"))), "cannot be read"),
    ):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=message) as error:
            read_episodes(folder)
        assert "\n" not in str(error.value)


def test_what_is_refused(teams: list[Team], attacks: dict[str, Attack], tmp_path: Path) -> None:
    def find(name: str, team: Team) -> Attack:
        return attacks[name]

    with pytest.raises(ValueError, match=r'"us" \(seed 0\) is given twice'):
        cells([teams[0], teams[0]], find, ("natural",), ("none",))
    with pytest.raises(ValueError, match="hp-10 on walk"):
        cells(teams, find, ("natural",), ("hp-10",))
    probing = attacks["push"].adversary._replace(threat=Threat(knowledge=("scores",), channels=("act",)))
    blind = teams[0]._replace(player=random_policy(teams[0].env.spec))
    with pytest.raises(ValueError, match=r'"probe" needs the scores of its actions, and "us" has none'):
        cells(
            [blind], lambda name, team: attacks["push"]._replace(name="probe", adversary=probing), ("probe",), ("none",)
        )
    with pytest.raises(ValueError, match="no cell to play"):
        evaluate([], PLAN, tmp_path)
    with pytest.raises(ValueError, match="episodes must be at least 1, not 0"):
        Plan(episodes=0)
