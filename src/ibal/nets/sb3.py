"""Teams of Stable-Baselines3: one network that every agent asks by itself, ``--policy sb3:model.zip``.

Known is ``MlpPolicy`` of PPO, A2C and MaskablePPO with actions to choose from (``policy_net``, ``action_net``), with
the activation tanh, which it has by default. Of the archive only the weights are read (``policy.pth``, no pickled
objects), which needs torch. It acts greedily among what is legal.

Source: Stable-Baselines3 2.9, ``common/policies.py`` (ActorCriticPolicy), ``common/save_util.py``.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from ibal import reading
from ibal.types import EnvSpec, Policy


def team(path: str, spec: EnvSpec) -> Policy:
    """Return the team of an archive. Raises ValueError for a file that is none, or of another environment."""
    layers = read(Path(path))
    size, actions = layers[0][0].shape[1], layers[-1][0].shape[0]
    if (size, actions) != (spec.obs_size, spec.n_actions):
        raise ValueError(
            f"{path} is for observations of {size} and {actions} actions; {spec.name} has {spec.obs_size} and "
            f"{spec.n_actions}"
        )

    def apply(weights: Any, carry: Any, obs: Any, avail: Any, last: Any) -> tuple[Any, Any]:
        x = obs
        for w, b in weights[:-1]:
            x = jnp.tanh(x @ w.T + b[None, :])
        return carry, x @ weights[-1][0].T + weights[-1][1][None, :]

    def select(key: jax.Array, values: Any, avail: Any) -> Any:
        return jnp.argmax(jnp.where(avail, values, -jnp.inf), axis=1).astype(jnp.int32)

    return Policy(
        lambda: (), lambda carry, obs, avail, last: apply(layers, carry, obs, avail, last), select,
        weights=lambda: layers, apply=apply, kind="logit",
    )  # fmt: skip


def read(path: Path) -> list[tuple[jax.Array, jax.Array]]:
    """Return the layers (weight [out, in], bias [out]) of the actor. Raises ValueError."""
    reading.existing(path)
    try:
        import torch  # type: ignore[import-not-found]  (not a dependency)
    except ImportError as error:
        raise ValueError(f"reading {path} needs the package torch: pip install torch") from error
    try:
        with zipfile.ZipFile(path) as archive:
            held = torch.load(io.BytesIO(archive.read("policy.pth")), map_location="cpu", weights_only=True)
    except (OSError, KeyError, zipfile.BadZipFile, RuntimeError) as error:
        raise ValueError(f"{path} is no archive of Stable-Baselines3 with a policy.pth in it") from error
    hidden = sorted(
        (n for n in held if "policy_net." in n and n.endswith(".weight")), key=lambda n: int(n.split(".")[-2])
    )
    if "action_net.weight" not in held:
        raise ValueError(f"{path} holds no actor with actions to choose from (action_net)")
    names = [*(name.removesuffix(".weight") for name in hidden), "action_net"]
    return [(jnp.asarray(held[f"{n}.weight"].numpy()), jnp.asarray(held[f"{n}.bias"].numpy())) for n in names]
