"""Archives of Stable-Baselines3: two layers of tanh, written as its archives are."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import ibal
from ibal.evaluation.teams import scripted
from ibal.registry import Own

torch = pytest.importorskip("torch", reason="torch is optional: pip install torch")


def test_an_archive_acts_as_its_layers_say(tmp_path: Path) -> None:
    spec = ibal.make("toy/leak").spec
    sizes = {"mlp_extractor.policy_net.0": (5, spec.obs_size), "mlp_extractor.policy_net.2": (4, 5),
             "action_net": (spec.n_actions, 4), "value_net": (1, 4)}  # fmt: skip
    torch.manual_seed(0)
    held = {f"{name}.weight": torch.randn(*size) for name, size in sizes.items()}
    held |= {f"{name}.bias": torch.randn(size[0]) for name, size in sizes.items()}
    content = io.BytesIO()
    torch.save(held, content)
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("policy.pth", content.getvalue())
    policy = scripted(Own(f"sb3:{tmp_path}/model.zip"), spec)
    obs = np.random.default_rng(0).normal(size=(spec.n_agents, spec.obs_size)).astype(np.float32)
    x = obs
    for name in list(sizes)[:2]:
        x = np.tanh(x @ held[f"{name}.weight"].numpy().T + held[f"{name}.bias"].numpy())
    wanted = x @ held["action_net.weight"].numpy().T + held["action_net.bias"].numpy()
    np.testing.assert_allclose(policy.scores((), jnp.asarray(obs), None, None)[1], wanted, rtol=1e-4, atol=1e-5)

    (tmp_path / "other.zip").write_bytes(b"nothing")
    with pytest.raises(ibal.ConfigError, match="is no archive of Stable-Baselines3"):
        scripted(Own(f"sb3:{tmp_path}/other.zip"), spec)
