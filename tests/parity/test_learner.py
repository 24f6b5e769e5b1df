"""The value learner against PyMARL's learner in PyTorch, on a stored batch of padded episodes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import rng
from ibal.learners import optim
from ibal.learners.config import ValueConfig
from ibal.learners.value import ValueParams, value_learner
from ibal.types import Block, EnvSpec, Episodes, ObsLayout
from parity import vectors

SPEC = EnvSpec(
    name="stored", n_agents=2, n_actions=4, obs_size=5, state_size=6, horizon=6, action_names=tuple("abcd"),
    metric_names=(), obs_layout=ObsLayout((Block("own", 0, 0, tuple("vwxyz")),)),
    state_layout=ObsLayout((Block("own", 0, 0, tuple("uvwxyz")),)),
)  # fmt: skip


@pytest.mark.parametrize("name", ["vdn", "qmix", "qplex"])
@pytest.mark.parametrize("td_lambda", [0.0, 0.6])
def test_three_updates_equal_pymarls(name: str, td_lambda: float) -> None:
    stored = vectors.load(f"pymarl_learner_{name}")
    fields = {k: jnp.asarray(stored[k]) for k in ("obs", "state", "avail", "action", "reward", "terminated", "length")}
    episodes = Episodes(**fields, seen=None, executed=None)

    def weights(prefix: str) -> ValueParams:
        return ValueParams(vectors.agent(stored, f"{prefix}agent."), vectors.mixer(name, stored, f"{prefix}mixer."))

    hidden = weights("").agent.hidden_size
    config = ValueConfig(mixer=name, td_lambda=td_lambda, hidden=hidden, target_every=1000)
    learner = value_learner(SPEC, config)
    state = jax.jit(learner.init)(rng.root(0))._replace(params=weights(""), target=weights("target."))
    state = jax.tree.map(lambda leaf: leaf.astype(jnp.float32) if leaf.dtype == jnp.float64 else leaf, state)
    # Fresh moments: the stored QPLEX has three kernels, ours begins with four.
    state = state._replace(optimiser=optim.make(config).init(state.params))

    update = jax.jit(learner.update)
    for step in range(3):
        state, metrics = update(rng.root(step), state, episodes, jnp.arange(3), jnp.float32(1))
        assert metrics["loss"] == pytest.approx(stored[f"{td_lambda}/loss"][step], rel=1e-5)
        assert metrics["grad_norm"] == pytest.approx(stored[f"{td_lambda}/grad_norm"][step], rel=1e-5)
    after = weights(f"{td_lambda}/after/")
    for mine, theirs in zip(jax.tree.leaves(state.params), jax.tree.leaves(after), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
