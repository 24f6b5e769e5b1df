"""What teams are called, and what plays for weights of either network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import make, rng
from ibal.evaluation.teams import method_of
from ibal.nets import actor, agents, recurrent
from ibal.nets.bundle import agent_of, load_bundle, load_policy, save_bundle
from ibal.nets.recurrent import Recurrent
from ibal.report.tables import MAPPO

SPEC = make("toy/two-step").spec


@pytest.mark.parametrize(
    ("method", "learner", "name"),
    [
        ("ibal", {"mixer": "qmix"}, "ibal"),
        ("ibal", {"mixer": "vdn"}, "ibal-vdn"),
        ("vanilla", {"name": "mappo"}, "mappo"),
        ("ibal", {"name": "mappo"}, "mappo-ibal"),
        ("vanilla", {"name": "ippo"}, "ippo"),
        ("ibal", "nonsense", "ibal"),
    ],
)
def test_a_team_is_called_by_its_method_and_its_learner(method: str, learner: Any, name: str) -> None:
    assert method_of({"method": method, "config": {"learner": learner}}) == name
    assert not name.startswith("mappo") or name in MAPPO  # as the report's table of MAPPO calls it


def test_weights_of_either_network_play_and_are_refused_when_damaged(tmp_path: Path) -> None:
    inputs = SPEC.obs_size + SPEC.n_actions + SPEC.n_agents
    both = {"a": actor.init(rng.root(0), SPEC, 4), "q": agents.init(rng.root(0), inputs, SPEC.n_actions, 4)}
    for name, params in both.items():
        save_bundle(tmp_path / f"{name}.safetensors", params, SPEC)
        found = load_bundle(tmp_path / f"{name}.safetensors").params
        assert type(found) is type(params)
        jax.tree.map(np.testing.assert_array_equal, found, params)
        assert agent_of(found, SPEC).kind == ("logit" if isinstance(found, Recurrent) else "value")
        team = load_policy(tmp_path / f"{name}.safetensors")
        assert team.act(np.ones((2, 3)), np.array([[True, False], [False, True]])).tolist() == [0, 1]
    other = recurrent.init(rng.root(0), inputs + 1, SPEC.n_actions, 4, 1.0)
    with pytest.raises(ValueError, match="needs 7 inputs"):
        save_bundle(tmp_path / "b.safetensors", other, SPEC)
    held = actor.tensors(both["a"])
    for broken, said in (
        ({k: v for k, v in held.items() if k != "gru.h_w"}, r"gru\.h_w is missing; wanted \(4, 12\)"),
        (held | {"fc2.w": np.zeros((3, 4))}, r"fc2\.w has shape \(3, 4\); wanted \(4, 4\)"),
        (held | {"head.b": np.array([np.nan, 0.0])}, r"head\.b holds NaN"),
        (held | {"norm_in.scale": np.array(1.0)}, r"norm_in\.scale has shape \(\)"),
    ):
        with pytest.raises(ValueError, match=said):
            actor.from_tensors(tmp_path / "a", broken)
    assert jnp.isfinite(actor.from_tensors(tmp_path / "a", held).head.b).all()
