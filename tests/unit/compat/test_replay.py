"""The replay option of PyMARL and EPyMARL."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from ibal.compat import _replay
from ibal.compat.smac import StarCraft2Env
from ibal.viz.trajectory import unpack


@pytest.fixture(scope="module")
def env() -> StarCraft2Env:
    return StarCraft2Env("3m", seed=7)


def play(env: StarCraft2Env, seed: int) -> tuple[np.ndarray, list[float]]:
    """Random legal actions to the end; return all observations [t + 1, n, o] and all rewards [t]."""
    draw = np.random.default_rng(seed)
    seen, rewards, over = [env.reset()[0]], [], False
    while not over:
        reward, over, _ = env.step([int(draw.choice(np.flatnonzero(mask))) for mask in env.get_avail_actions()])
        seen.append(env.get_obs())
        rewards.append(reward)
    return np.stack(seen), rewards


def read(path: str | Path) -> dict:
    page = Path(path).read_text("utf-8")
    found = re.search(r"<script[^>]*application/json[^>]*>(.*?)</script>", page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_save_replay_writes_a_page_of_the_last_game_and_loses_no_statistics(
    env: StarCraft2Env, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """The last steps of ``evaluate_sequential``: it used to raise after all games had been played."""
    env.replay_dir, env.replay_prefix = str(tmp_path / "a" / "b"), "test"
    play(env, 0)
    play(env, 1)
    seen, rewards = play(env, 2)
    state = env.get_state()
    path = env.save_replay()
    assert path == str(tmp_path / "a" / "b" / "test_seed-7_episode-2.html")
    assert capsys.readouterr().err == f"replay: {path}\n"
    shown = read(path)["trajectories"][0]
    assert shown["length"] == len(rewards)
    assert unpack(shown["reward"]) == pytest.approx(rewards, abs=1e-4)
    assert unpack(shown["obs"]) == pytest.approx(seen, abs=1e-3)
    assert shown["outcome"]["win"] == (env.battles_won > 0 and rewards[-1] > 5)
    assert env.get_stats()["battles_game"] == 3
    assert (env.get_state() == state).all()
    # Nothing that is there is overwritten, and a game that has only been started does not hide the last one.
    before = Path(path).read_bytes()
    env.reset()
    assert env.save_replay() == str(tmp_path / "a" / "b" / "test_seed-7_episode-2_2.html")
    assert Path(path).read_bytes() == before


def test_a_replay_shows_what_happened_bit_for_bit():
    env = StarCraft2Env("3m", seed=8)
    seen, rewards = play(env, 1)
    again = _replay.trajectory(env._game, env._record)
    assert (again.steps.obs == seen).all()
    assert again.rewards.tolist() == rewards
    assert (again.frames.health > 0).sum() == again.frames.alive.sum()
    assert again.frames.alive[-1, :3].tolist() == again.steps.alive[-1].tolist()
    assert again.enemy_units.tolist() == (3 + np.asarray(env._state.enemy_order)).tolist()


def test_replays_go_to_a_folder_of_their_own_by_default(env: StarCraft2Env, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    env.replay_dir = env.replay_prefix = ""
    env.seed(2)
    env.reset()
    env.step([1, 1, 1])  # also of a game that is not over
    assert env.save_replay() == os.path.join("replays", "3m_seed-2_episode-0.html")
    assert read("replays/3m_seed-2_episode-0.html")["trajectories"][0]["outcome"]["word"] == "CUT"


def test_a_replay_that_cannot_be_written_is_a_warning(env: StarCraft2Env, tmp_path: Path):
    (tmp_path / "file").touch()
    env.replay_dir = str(tmp_path / "file" / "x")
    env.reset()
    env.step([1, 1, 1])
    with pytest.warns(UserWarning, match=r"the replay could not be written to .*file.*; set replay_dir"):
        assert env.save_replay() is None


def test_a_replay_before_the_first_step_is_refused():
    env = StarCraft2Env("3m")
    for _ in range(2):
        with pytest.raises(ValueError, match="no step has been played yet"):
            env.save_replay()
        env.reset()
    with pytest.raises(ValueError, match='replay_prefix "a/b" names a folder; put the folder into replay_dir'):
        StarCraft2Env("3m", replay_prefix="a/b")
