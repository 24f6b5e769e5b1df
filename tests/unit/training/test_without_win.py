"""Where nothing can be won there is no success: not in the log, and nothing waits for it."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from ibal import rng
from ibal.adversaries.base import natural
from ibal.adversaries.config import InteractionConfig
from ibal.adversaries.groups import check_signal
from ibal.cli.train import as_text
from ibal.envs import make
from ibal.evaluation.scripted import random_policy
from ibal.experiments.methods import adversary_of
from ibal.learners.base import Learner
from ibal.training.config import TrainConfig
from ibal.training.loop import trainer
from ibal.types import Env

LEAK, CLIMBING = make("toy/leak", n_agents=4), make("toy/climbing")


def test_a_metric_called_win_is_what_makes_a_game_one_that_can_be_won() -> None:
    assert CLIMBING.spec.has_win
    assert not LEAK.spec.has_win
    assert replace(LEAK.spec, metric_names=("led", "win")).has_win


@pytest.mark.parametrize("env", [LEAK, CLIMBING], ids=["leak", "climbing"])
def test_a_training_logged_a_win_rate_of_zero_where_nothing_can_be_won(env: Env) -> None:
    learner = Learner(
        lambda key: jnp.float32(0), lambda state, progress: random_policy(env.spec),
        lambda key, state, episodes, progress: (state, {"loss": state}),
    )  # fmt: skip
    made = trainer(env, learner, natural(), TrainConfig(envs=2, replay=4, learn_from=2, chunk=1))
    _, metrics = jax.eval_shape(lambda key: made.chunk(made.init(key)), rng.root(0))  # nothing is compiled
    assert ("win" in metrics) == (env is CLIMBING)
    assert "return" in metrics


def test_the_end_of_a_training_names_a_win_rate_only_where_there_is_one() -> None:
    row = {"seed": 0, "env_steps": 1000, "win": None, "return": 2.5, "length": 10.0, "episodes": 8}
    summary = {"seeds": [row, row | {"win": 0.25}], "finished": True, "out": "r"}
    lines = as_text(summary).splitlines()
    assert lines[0] == "seed 0: 1,000 steps, return 2.50, length 10.0 over 8 greedy episodes"
    assert lines[1] == "seed 0: 1,000 steps, win rate 0.250, return 2.50, length 10.0 over 8 greedy episodes"


def test_p_max_never_grew_where_nothing_can_be_won() -> None:
    for name in ("ibal", "occlude-retreat", "ibal-no-act"):
        with pytest.raises(ValueError, match=r"toy/leak cannot be won .*; set signal=return and eta to the return"):
            adversary_of(name, LEAK.spec)
    for options in ({"signal": "return", "eta": 5.0}, {"p": 0.5}, {"alpha": 1.0}, {"most": 0}, {"evaluation": True}):
        check_signal(InteractionConfig(**options), LEAK.spec)
    check_signal(InteractionConfig(), CLIMBING.spec)
