"""Write tests/parity/fixtures/pymarl_*: what PyTorch computes for PyMARL's agent and QMIX mixer.

Needs PyTorch, safetensors and numpy, not this library; run it in a throw-away environment:

    python tests/parity/make_pymarl_vectors.py DIR_OF_POLICY_FILES
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch  # type: ignore[import-not-found]  (not a dependency)
from safetensors.torch import load_file
from torch import nn  # type: ignore[import-not-found]

FIXTURES = Path(__file__).parent / "fixtures"
STEPS = 6


def wave(*shape: int, phase: float = 0.0) -> np.ndarray:
    """Numbers in [-1, 1] that every library can make again without sharing a random generator."""
    count = int(np.prod(shape))
    return np.sin(0.7 * np.arange(count, dtype=np.float64) ** 1.1 + phase).reshape(shape).astype(np.float32)


class Agent(nn.Module):
    """PyMARL's RNNAgent."""

    def __init__(self, inputs: int, hidden: int, actions: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, hidden)
        self.rnn = nn.GRUCell(hidden, hidden)
        self.fc2 = nn.Linear(hidden, actions)

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = self.rnn(torch.relu(self.fc1(x)), h)
        return h, self.fc2(h)


class Mixer(nn.Module):
    """PyMARL's QMixer with two hypernetwork layers."""

    def __init__(self, agents: int, state: int, embed: int, hyper: int) -> None:
        super().__init__()
        self.agents, self.embed = agents, embed
        self.hyper_w_1 = nn.Sequential(nn.Linear(state, hyper), nn.ReLU(), nn.Linear(hyper, embed * agents))
        self.hyper_w_final = nn.Sequential(nn.Linear(state, hyper), nn.ReLU(), nn.Linear(hyper, embed))
        self.hyper_b_1 = nn.Linear(state, embed)
        self.V = nn.Sequential(nn.Linear(state, embed), nn.ReLU(), nn.Linear(embed, 1))

    def forward(self, q: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        w1 = self.hyper_w_1(state).abs().view(-1, self.agents, self.embed)
        b1 = self.hyper_b_1(state).view(-1, 1, self.embed)
        hidden = nn.functional.elu(torch.bmm(q.view(-1, 1, self.agents), w1) + b1)
        w2 = self.hyper_w_final(state).abs().view(-1, self.embed, 1)
        return (torch.bmm(hidden, w2) + self.V(state).view(-1, 1, 1)).view(-1)


def episode(agent: Agent, n: int, inputs: int, hidden: int) -> torch.Tensor:
    """Q-values [t, n, a] over ``STEPS`` steps of made-up inputs."""
    h = torch.zeros(n, hidden)
    out = []
    for x in torch.from_numpy(wave(STEPS, n, inputs)):
        h, q = agent(x, h)
        out.append(q)
    return torch.stack(out)


def small() -> None:
    """A small random network with its weights: needs no policy file."""
    torch.manual_seed(0)
    agent, mixer = Agent(14, 8, 5), Mixer(3, 6, 4, 8)
    arrays = {k: v.numpy() for k, v in agent.state_dict().items()}
    arrays |= {f"mixer.{k}": v.numpy() for k, v in mixer.state_dict().items()}
    q = episode(agent, 3, 14, 8)
    state = torch.from_numpy(wave(STEPS, 6, phase=1.0))
    np.savez_compressed(
        FIXTURES / "pymarl_small.npz", **arrays, out_q=q.numpy(), out_tot=mixer(q.max(2).values, state).numpy()
    )


def real(folder: Path) -> None:
    """Last-step values of published policies; their weights stay outside the repository."""
    vectors = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors = load_file(path)
        actions, hidden = tensors["fc2.weight"].shape
        inputs = tensors["fc1.weight"].shape[1]
        agent = Agent(inputs, hidden, actions)
        agent.load_state_dict({k: v for k, v in tensors.items() if not k.startswith("mixer.")})
        n = tensors["mixer.hyper_w_1.2.bias"].numel() // 32 if "mixer.V.2.bias" in tensors else 3
        q = episode(agent, n, inputs, hidden)
        row = {"n": n, "q": q[-1, -1].tolist()}
        if "mixer.V.2.bias" in tensors:
            size = tensors["mixer.V.0.weight"].shape[1]
            mixer = Mixer(n, size, 32, 64)
            mixer.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("mixer.")})
            row["state_size"] = size
            row["q_tot"] = mixer(q.max(2).values, torch.from_numpy(wave(STEPS, size, phase=1.0))).tolist()
        vectors[path.name] = row
    (FIXTURES / "pymarl_real.json").write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    FIXTURES.mkdir(exist_ok=True)
    small()
    real(Path(sys.argv[1]))
