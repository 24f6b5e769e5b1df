"""Parameter files of JaxMARL: the network computed by hand in NumPy."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import ibal
from ibal.evaluation.teams import scripted
from ibal.nets import jaxmarl
from ibal.registry import Own

SPEC = ibal.make("toy/leak").spec
HIDDEN = 4


def params(inputs: int, actor: bool) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(1)
    sizes = {"Dense_0": (inputs, HIDDEN), "Dense_1": (HIDDEN, HIDDEN if actor else SPEC.n_actions)}
    sizes |= {"Dense_2": (HIDDEN, SPEC.n_actions)} if actor else {}
    sizes |= {f"ScannedRNN_0,GRUCell_0,{gate}": (HIDDEN, HIDDEN) for gate in ("ir", "iz", "in", "hr", "hz", "hn")}
    out: dict[str, np.ndarray] = {}
    for name, size in sizes.items():
        out[f"params,{name},kernel"] = draw.normal(size=size).astype(np.float32)
        if name[-2:] not in ("hr", "hz"):
            out[f"params,{name},bias"] = draw.normal(size=size[1]).astype(np.float32)
    return out


def by_hand(held: dict[str, np.ndarray], hidden: np.ndarray, x: np.ndarray, actor: bool) -> tuple:
    def dense(name: str, x: np.ndarray) -> np.ndarray:
        return x @ held[f"params,{name},kernel"] + held.get(f"params,{name},bias", 0)

    def gate(name: str, x: np.ndarray) -> np.ndarray:
        return dense(f"ScannedRNN_0,GRUCell_0,{name}", x)

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    x = np.maximum(dense("Dense_0", x), 0)
    r, z = (sigmoid(gate(f"i{g}", x) + gate(f"h{g}", hidden)) for g in "rz")
    hidden = (1 - z) * np.tanh(gate("in", x) + r * gate("hn", hidden)) + z * hidden
    return hidden, dense("Dense_2", np.maximum(dense("Dense_1", hidden), 0)) if actor else dense("Dense_1", hidden)


@pytest.mark.parametrize("actor", [True, False], ids=["actor", "q"])
def test_the_network_of_a_file_is_the_one_by_hand(actor: bool, tmp_path: Path) -> None:
    n = SPEC.n_agents
    held = params(SPEC.obs_size + (0 if actor else n), actor)
    save_file(held, tmp_path / "team.safetensors")
    policy = scripted(Own(f"jaxmarl:{tmp_path}/team.safetensors"), SPEC)
    assert policy.kind == ("logit" if actor else "value")
    draw, carry, mine = np.random.default_rng(0), policy.start(), np.zeros((n, HIDDEN))
    for _ in range(2):
        obs = draw.normal(size=(n, SPEC.obs_size)).astype(np.float32)
        carry, values = policy.scores(carry, jnp.asarray(obs), None, None)
        mine, wanted = by_hand(held, mine, obs if actor else np.concatenate([obs, np.eye(n)], 1), actor)
        np.testing.assert_allclose(values, wanted, rtol=2e-5, atol=2e-5)


def test_a_file_of_something_else_is_refused_in_one_sentence(tmp_path: Path) -> None:
    save_file({"params,Dense_0,kernel": np.zeros((2, 2), np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(ibal.ConfigError, match="holds none of JaxMARL's recurrent networks"):
        scripted(Own(f"jaxmarl:{tmp_path}/other.safetensors"), SPEC)
    save_file(params(7, True), tmp_path / "sizes.safetensors")
    with pytest.raises(ibal.ConfigError, match="is for observations of 7 and"):
        scripted(Own(f"jaxmarl:{tmp_path}/sizes.safetensors"), SPEC)
    assert jaxmarl.read(tmp_path / "sizes.safetensors").first.w.shape == (7, HIDDEN)
