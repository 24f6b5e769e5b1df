"""Workers: PyMARL's parallel runner makes environments in processes that it forks, all with the same arguments."""

import json
import multiprocessing
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import pytest

from ibal.compat import _process, smac
from ibal.compat._process import seed_of
from ibal.compat.smac import StarCraft2Env

ROOT = Path(__file__).parents[3]


def python(*arguments: str) -> str:
    """Run a program that has not started JAX, and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    config: Any = jax.config  # of these tests: what they have compiled need not be compiled again
    if config.jax_compilation_cache_dir:
        environment |= {
            "JAX_NUM_CPU_DEVICES": str(config.jax_num_cpu_devices),
            "JAX_COMPILATION_CACHE_DIR": config.jax_compilation_cache_dir,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": str(config.jax_persistent_cache_min_compile_time_secs),
        }
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_sizes_of_all_maps_start_no_jax():
    """A parent that asks for sizes, as PyMARL does, can fork its workers afterwards."""
    code = (
        "import sys; from ibal.compat.smac import StarCraft2Env; from ibal.envs.smac.scenarios import SCENARIOS; "
        "envs = [StarCraft2Env(name, seed=1) for name in SCENARIOS]; "
        "print(sum(env.get_env_info()['obs_shape'] for env in envs), envs[0].pathing_grid.sum(), 'jax' in sys.modules)"
    )
    # The sum of the column "obs" of the reference's table 1.11; 16 rows of 28 cells can be walked on.
    assert python("-c", code).split() == ["2995", "448", "False"]


def in_fork(function: Callable[[], Any]) -> Any:
    """What ``function`` returns, or the sentence it raises, in a process forked from this one, where JAX runs."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()

    def answer() -> None:
        try:
            there.send(function())
        except Exception as error:
            there.send(f"{type(error).__name__}: {error}")

    process = context.Process(target=answer, daemon=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python and JAX warn of exactly what is tried here
        process.start()
    assert here.poll(60), "the forked process hangs"
    process.join(60)
    return here.recv()


def test_a_child_forked_after_jax_has_started_says_so_instead_of_hanging():
    played = StarCraft2Env("3m", seed=1)
    played.reset()

    def told(call: Callable[[], Any]) -> str:
        with pytest.raises(RuntimeError) as caught:
            call()
        return str(caught.value)

    def child() -> list[str]:
        return [told(call) for call in (lambda: StarCraft2Env("3m"), played.reset, lambda: played.step([1, 1, 1]))]

    sentences = in_fork(child)
    assert len(sentences) == 3, sentences
    for sentence in sentences:
        assert "forked after JAX had started" in sentence
        assert 'get_context("spawn") or get_context("forkserver")' in sentence
    played.step([1, 1, 1])  # nothing has changed for the parent


def test_a_fork_is_noticed_by_a_module_imported_after_it():
    """The parent used JAX, the worker is the first to import the environment."""
    assert in_fork(lambda: _process._jax_has_started() and _process._has_one_thread()) is True
    assert not _process._has_one_thread()


def game(env: StarCraft2Env) -> list[float]:
    """Play by one deterministic rule, attack or else go east or else stop, and return what was earned."""
    env.reset()
    rewards, over = [], False
    while not over:
        avail = env.get_avail_actions()
        actions = [next(a for a in (*range(6, env.n_actions), 4, 1, 0) if mask[a]) for mask in avail]
        reward, over, _ = env.step(actions)
        rewards.append(reward)
    return rewards


def test_workers_with_one_seed_play_different_games(monkeypatch: pytest.MonkeyPatch):
    seeds = [seed_of(1, (number,)) for number in range(1, 9)]
    assert len({*seeds, seed_of(1, ()), seed_of(1, (1, 1)), seed_of(2, (1,))}) == 11
    assert all(0 <= seed < 2**32 for seed in seeds)
    monkeypatch.setattr(smac, "worker", lambda: (3,))
    third, twin = StarCraft2Env("3m", seed=1), StarCraft2Env("3m", seed=1)
    assert third.seed() == twin.seed() == seeds[2]
    games = [game(third), game(third)]
    assert [game(twin), game(twin)] == games
    monkeypatch.setattr(smac, "worker", tuple)
    assert StarCraft2Env("3m", seed=1).seed() == 1
    assert game(StarCraft2Env("3m", seed=1)) != games[0]
    assert game(StarCraft2Env("3m", seed=seeds[2])) == games[0]


def test_the_number_of_a_worker_is_its_place_among_its_parents_workers():
    assert _process.worker() == ()  # pytest's workers are nobody's in multiprocessing
    first, second = in_fork(_process.worker), in_fork(_process.worker)
    assert second == (first[0] + 1,)


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.thorough)])
def test_the_parallel_runner_of_pymarl_plays_as_many_games_as_it_counts(start: str):
    script = str(ROOT / "benchmarks" / "parallel_runner.py")
    found = json.loads(python(script, "--workers", "2", "--games", "2", "--start", start, "--json"))
    assert (found["games"], found["different"]) == (4, 4)
