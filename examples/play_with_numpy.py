"""Play a policy bundle with NumPy alone: python examples/play_with_numpy.py POLICY.safetensors

For whoever deploys a team where no jax is. The weights have PyMARL's names and layout; a bundle is two files.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file


class NumpyTeam:
    """The team of a bundle: one recurrent network, the same weights for every agent."""

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        self.about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        self.weights = load_file(path)
        self.n, self.a, self.o = (self.about[name] for name in ("n_agents", "n_actions", "obs_size"))
        self.reset()

    def reset(self) -> None:
        """Begin an episode."""
        self.hidden = np.zeros((self.n, self.about["hidden"]), np.float32)
        self.last = np.zeros((self.n, self.a), np.float32)

    def act(self, obs: np.ndarray, avail: np.ndarray) -> np.ndarray:
        """Choose actions [n] for observations [n, o] and available actions [n, a] (bool); once per step."""
        inputs = np.concatenate([obs, self.last, np.eye(self.n)], axis=1).astype(np.float32)
        x = np.maximum(self._layer("fc1", inputs), 0)
        self.hidden = self._gru(x)
        actions = np.where(avail, self._layer("fc2", self.hidden), -np.inf).argmax(axis=1)
        self.last = np.eye(self.a, dtype=np.float32)[actions]
        return actions

    def _layer(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _gru(self, x: np.ndarray) -> np.ndarray:
        """One step of PyTorch's GRUCell: gates reset, update, candidate side by side."""
        w = self.weights
        mine = np.split(x @ w["rnn.weight_ih"].T + w["rnn.bias_ih"], 3, axis=1)
        old = np.split(self.hidden @ w["rnn.weight_hh"].T + w["rnn.bias_hh"], 3, axis=1)
        reset, update = _sigmoid(mine[0] + old[0]), _sigmoid(mine[1] + old[1])
        return (1 - update) * np.tanh(mine[2] + reset * old[2]) + update * self.hidden


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def main(path: str | Path) -> NumpyTeam:
    """Load a bundle and show what it does when nobody sees anything and everything is allowed."""
    team = NumpyTeam(path)
    actions = team.act(np.zeros((team.n, team.o)), np.ones((team.n, team.a), bool))
    print({f"agent {i}": team.about["action_names"][action] for i, action in enumerate(actions)})
    return team


if __name__ == "__main__":
    main(sys.argv[1])
