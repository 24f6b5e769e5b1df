"""The functions of ``import ibal``, on toys: each against the parts it is made of, or against its command."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import ibal
from ibal.adversaries.config import InteractionConfig, RandomConfig
from ibal.api.given import team_list
from ibal.api.telling import telling
from ibal.cli.main import main
from ibal.evaluation import matrix
from ibal.evaluation.episodes import episode_keys, play
from ibal.mi.config import ActionConfig, ClubConfig
from ibal.training import runner
from unit.viz import skirmish

SMALL = {"learner.hidden": 4, "train.envs": 4, "train.learn_from": 8, "train.replay": 16, "train.chunk": 2}
TRAINED = {"steps": 60, "preset": "smoke", "settings": SMALL}


@dataclass(frozen=True)
class Always:
    """Everybody does one thing."""

    action: int = 1

    def build(self, spec: ibal.EnvSpec) -> ibal.Adversary:
        def act(key: Any, state: Any, memory: Any, view: ibal.ActView) -> tuple[Any, Any]:
            del key, state
            return jnp.where(view.step.avail[:, self.action], self.action, view.actions), memory

        return ibal.adversary(threat=ibal.Threat(channels=("act",)), act=act)


def climbing() -> ibal.Env:
    return ibal.make("toy/climbing")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ibal.Run:
    """The one training that all look at; it says nothing and leaves nothing on the disk."""
    here, said = tmp_path_factory.mktemp("empty"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(said):
        patch.chdir(here)
        patch.setattr(tempfile, "tempdir", str(here))
        run = ibal.train("climbing", seed=3, seeds=2, quiet=True, **TRAINED)
    assert list(here.iterdir()) == []
    assert said.getvalue() == ""
    return run


def test_a_training_leaves_its_teams_and_numbers(run: ibal.Run) -> None:
    assert (run.finished, run.out, [team.seed for team in run.teams]) == (True, None, [3, 4])
    assert run.steps == run.metrics.filter(pl.col("kind") == "chunk")["env_steps"].max()
    assert run.steps >= 60
    assert run.metrics.filter(pl.col("kind") == "eval")["seed"].to_list()[-2:] == [3, 4]
    assert (run.config.env, run.config.method, run.config.learner.hidden) == ("toy/climbing", "vanilla", 4)
    assert run.teams[0].meta["config"]["train"]["checkpoint_replay"] == "full"  # as it was asked for
    assert "4 teams" not in repr(run)
    assert "2 teams" in repr(run)
    assert "<img" in run._repr_html_()


def test_the_command_trains_the_same_team_bit_for_bit(run: ibal.Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    assert main(["train", "--env", "climbing", "--preset", "smoke", "--steps", "60", "--seed", "3", "--seeds", "2",
                 *flags, "--out", str(out), "--quiet"]) == 0  # fmt: skip
    for team in run.teams:
        saved = ibal.load_policy(out / "policy" / f"seed-{team.seed}.safetensors")
        assert all(np.array_equal(a, b) for a, b in zip(saved.params, team.policy.params, strict=True))
        assert saved.meta["config_hash"] == team.meta["config_hash"]
    more = ibal.train(out=out, resume=True, steps=90, quiet=True)  # goes on with what the folder says
    assert more.steps >= 90
    assert (more.config.env, len(more.teams), more.out) == ("toy/climbing", 2, out)
    with pytest.raises(ibal.ConfigError, match="continue it with"):
        ibal.train("climbing", out=out, quiet=True)


def test_a_saved_team_acts_as_it_did(run: ibal.Run, tmp_path: Path) -> None:
    team = run.teams[1]
    held = ibal.load_policy(team.save(tmp_path / "a.safetensors"))
    spec = team.env.spec
    rng = np.random.default_rng(0)
    obs, avail = rng.normal(size=(spec.n_agents, spec.obs_size)), np.ones((spec.n_agents, spec.n_actions))
    held.reset()
    team.reset()
    assert np.array_equal(held.act(obs, avail), team.act(obs, avail))
    assert held.meta["seed"] == 4


def test_an_evaluation_is_what_the_games_bring(run: ibal.Run) -> None:
    done = ibal.evaluate(run.teams, ["natural", Always(2)], episodes=6, seed=9, quiet=True)
    assert done.rows.height == 24
    assert done.summary["attack"].to_list()[:2] == ["natural", "Always"]
    attack = Always(2).build(run.teams[0].env.spec)
    for team in run.teams:
        for name, adversary in (("natural", None), ("Always", attack)):
            games = play(team.env, team.bind(), episode_keys(9, 6), adversary=adversary)
            mine = done.rows.filter((pl.col("seed") == team.seed) & (pl.col("attack") == name))
            assert mine["return"].to_list() == np.asarray(games.returns).tolist()
    assert done.finished
    assert "worst attack" in str(done)
    assert "<table>" in done._repr_html_()
    assert len(done.figure().axes) == 1


def test_everything_is_taken_where_a_name_is(run: ibal.Run, tmp_path: Path) -> None:
    file = run.teams[0].save(tmp_path / "a.safetensors")
    policy = run.teams[0].bind()
    teams = {"team": run.teams[0], "file": file, "text": str(file), "loaded": ibal.load_policy(file), "policy": policy,
             "function": lambda spec: policy}  # fmt: skip
    adversary = Always(1).build(run.teams[0].env.spec)
    attacks = {"own": Always(1), "built": adversary, "random-act": "random-act", "table": RandomConfig(sigma=0.0)}
    done = ibal.evaluate(teams, attacks, episodes=4, env="climbing", quiet=True)
    scores = {(entry["policy"], entry["attack"]): entry["return"] for entry in done.entries}
    for attack in attacks:
        assert len({scores[who, attack] for who in teams}) == 1
    assert scores["team", "own"] == scores["team", "built"]
    for env in (climbing, climbing()):
        same = ibal.evaluate(run.teams[0], Always(1), episodes=4, env=env, quiet=True)
        assert same.entries[0]["return"] == scores["team", "own"]


def test_an_environment_given_as_an_object_was_compiled_anew_for_a_file(run: ibal.Run, tmp_path: Path) -> None:
    """One identity and one player, however team and environment are given: one compilation."""
    env, file = climbing(), run.teams[0].save(tmp_path / "a.safetensors")
    given = (file, run.teams[0], ibal.load_policy(file), file)
    one, *others = (team for each in given for team in team_list(each, env, lambda message: None))
    for team in others:
        assert (team.world, team.own) == (one.world, True)
        assert team.player is one.player
        assert team.env is env


def test_an_environment_and_an_attack_of_ones_own_are_trained_with() -> None:
    run = ibal.train(climbing, method=Always(1), quiet=True, **TRAINED)
    assert run.config.env == f"{__name__}:climbing"
    assert run.config.method == f"{__name__}:Always"
    assert run.config.method_options == ()
    assert ibal.evaluate(run.teams, episodes=2, quiet=True).rows.height == 2


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda run: ibal.train("climbin", quiet=True), 'Closest: "toy/climbing"'),
        (lambda run: ibal.train("climbing", method="iball", quiet=True), 'did you mean "ibal"'),
        (lambda run: ibal.train("climbing", learner="qmixx", quiet=True), 'Closest: "qmix"'),
        (lambda run: ibal.train("climbing", settings={"train.env": 3}, quiet=True), 'did you mean "envs"'),
        (lambda run: ibal.train("climbing", method=3, quiet=True), "give a name of ibal.methods"),
        (lambda run: ibal.train("climbing", resume=True, quiet=True), "say which: out="),
        (lambda run: ibal.train(3, quiet=True), "a int is no environment"),
        (lambda run: ibal.evaluate("randon", env="climbing", quiet=True), 'Closest: "random"'),
        (lambda run: ibal.evaluate([], quiet=True), "no team is given"),
        (lambda run: ibal.evaluate(run.teams[0].bind(), quiet=True), "give env="),
        (lambda run: ibal.evaluate(run.teams, "fgms", quiet=True), 'Closest: "fgsm"'),
        (lambda run: ibal.evaluate(run.teams, [Always(1), Always(2)], quiet=True), "give them names"),
        (lambda run: ibal.evaluate(run.teams, 7, quiet=True), "a int is no attack"),
        (lambda run: ibal.evaluate(run.teams, perturbations="hp", quiet=True), "unknown perturbation"),
        (lambda run: ibal.evaluate(run.teams, InteractionConfig(), quiet=True), "has to be fitted"),
        (lambda run: ibal.evaluate(run.teams, attackers="x", refit=True, quiet=True), "not both"),
        (lambda run: ibal.fit("random", run.teams[0], quiet=True), "learns nothing"),
        (lambda run: ibal.fit("interaction", run.teams, quiet=True), "fit one to each"),
        (lambda run: ibal.watch(run.teams, ["natural", "random", "fgsm"], quiet=True), "at most 4"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_sentence_with_the_closest_that_can(call: Any, sentence: str, run: ibal.Run) -> None:
    with pytest.raises((ibal.ConfigError, ibal.UnknownName, ValueError)) as error:
        call(run)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_an_interrupted_evaluation_gives_back_what_is_done(
    run: ibal.Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    played, real = [], matrix._played

    def some(cell: Any, keys: Any) -> Any:
        if len(played) == 2:
            raise KeyboardInterrupt
        played.append(cell)
        return real(cell, keys)

    monkeypatch.setattr(matrix, "_played", some)
    done = ibal.evaluate(run.teams, ["natural", "random-act"], episodes=4, quiet=True)
    assert not done.finished
    assert done.rows["attack"].unique(maintain_order=True).to_list() == ["natural", "random-act"]
    assert done.rows.height == 8
    with pytest.raises(KeyboardInterrupt):  # nothing is done
        ibal.evaluate(run.teams, ["natural"], episodes=4, quiet=True)
    with pytest.raises(KeyboardInterrupt):
        ibal.evaluate(run.teams, ["natural"], episodes=4, quiet=True, out=tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_an_interrupted_training_gives_back_the_teams_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def at_once(tell: Any) -> Generator[Any]:
        asked: list[int] = []
        yield lambda: bool(asked) or asked.append(1)  # after the first chunk

    monkeypatch.setattr(runner, "asked_to_stop", at_once)
    run = ibal.train("climbing", seed=3, quiet=True, **(TRAINED | {"steps": 100_000}))
    assert not run.finished
    assert 0 < run.steps < 100
    assert len(run.teams) == 1
    assert "stopped early" in repr(run)


def test_a_fitted_attacker_is_the_same_in_memory_and_in_a_file(tmp_path: Path) -> None:
    config = InteractionConfig(
        masks="dimension", most=1, dims=1, club=ClubConfig(hidden=(8,), batch=32), rows=32,
        action=ActionConfig(hidden=(8,), batch=32),
    )  # fmt: skip
    attacker = ibal.fit(config, "random", env="toy/leak", episodes=8, steps=3, quiet=True)
    assert attacker.attack == "ibal.adversaries.interaction:InteractionConfig"
    named = ibal.Attacker("interaction", attacker.config, attacker.state, attacker.spec, attacker.digest, attacker.meta)
    named.save(tmp_path / "a.safetensors")
    options: dict[str, Any] = {"episodes": 4, "env": "toy/leak", "quiet": True}
    mine = ibal.evaluate("random", {"interaction": named}, **options)
    theirs = ibal.evaluate("random", "interaction", attackers=tmp_path, **options)
    assert mine.rows.equals(theirs.rows)
    assert mine.card["attacks"][0]["fitted"][0]["victim"] == "random"
    with pytest.raises(ibal.ConfigError, match="fitted in"):
        ibal.evaluate("random", attacker, env="climbing", quiet=True)


def test_what_is_watched_is_the_episode_that_is_counted(tmp_path: Path) -> None:
    options: dict[str, Any] = {"env": skirmish.make(), "seed": 2, "quiet": True}
    replay = ibal.watch("random", ["natural", "random-act"], episode=1, out=tmp_path / "a.html", **options)
    done = ibal.evaluate("random", ["natural", "random-act"], episodes=2, **options)
    for one, attack in zip(replay.trajectories, ("natural", "random-act"), strict=True):
        row = done.rows.filter((pl.col("attack") == attack) & (pl.col("episode") == 1))
        assert row["length"].item() == one.length
        assert row["return"].item() == pytest.approx(one.episode_return)
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == replay.html
    assert replay._repr_html_().startswith("<iframe srcdoc=")
    assert [one.label for one in replay.trajectories] == ["random", "random under random-act"]
    with pytest.raises(ibal.ConfigError, match=r"\.html or \.gif"):
        replay.save(tmp_path / "a.png")


def test_messages_go_to_standard_error_or_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[str] = []
    for quiet, note in ((False, None), (True, None), (False, heard.append), (True, heard.append)):
        with telling(quiet, note) as say:
            say("playing …")
    assert capsys.readouterr() == ("", "playing …\n")
    assert heard == ["playing …"] * 2
