"""Write tests/parity/fixtures/pymarl_*: what PyTorch computes for PyMARL's networks, optimisers and learner.

Needs PyTorch, safetensors and numpy, not this library; run it in a throw-away environment:

    python tests/parity/make_pymarl_vectors.py [DIR_OF_POLICY_FILES]

Weights keep PyTorch's names and layout [out, in]; ``vectors.py`` turns them into this library's records. Axes: b
episodes, t steps, n agents, a actions, o observation, s state, i samples, u updates.

pymarl_small.npz, pymarl_real.json (only with DIR): forward passes of agent and QMIX mixer.

pymarl_mixers.npz: QMIX and QPLEX on samples. Inputs q [i, n], state [i, s], best [i, n] (>= q), actions [i, n, a]
one-hot, weight [i]. For each mixer: "qmix.<tensor>" its parameters, "qmix/q_tot" [i], and the gradients of
sum_i weight_i q_tot_i: "qmix/grad/q" [i, n], "qmix/grad/<tensor>".

pymarl_optim.npz: clipping to global norm 10, then an optimiser with lr 5e-4. "grad.x" [u, 3, 4] and "grad.y" [u, 5]
unclipped (norms from 1e-6 to 1e3), "x" and "y" where they start; "rmsprop/x" [u, 3, 4] ... and "adam/x" ... after
each update.

pymarl_learner_{vdn,qmix,qplex}.npz: three updates of PyMARL's q_learner on one padded batch of three episodes (b = 3,
t = 6, n = 2, a = 4, o = 5, s = 6): one terminates at step 3, one at its sixth and last, one is cut there by a time
limit and bootstraps. Settings: double Q, gamma 0.99, RMSProp lr 5e-4, clip 10, target networks never copied.
  obs [b, t+1, n, o], state [b, t+1, s], avail [b, t+1, n, a] bool, action [b, t, n], reward [b, t], terminated [b, t]
  bool, length [b]: the fields of ``Episodes``; padding is 0. Agent inputs: obs, last action, agent id.
  "agent.<tensor>", "mixer.<tensor>", "target.agent.<tensor>", "target.mixer.<tensor>": weights before the first update;
  the target's are other ones.
  for L in ("0.0", "0.6"), the TD(lambda) of the targets: "L/loss" [u] before each update, "L/grad_norm" [u] unclipped,
  "L/q_tot" and "L/target" [b, t] of the first update (0 in padding), "L/grad/agent.<tensor>" ... unclipped gradient of
  the first update, "L/after/agent.<tensor>" ... weights after the third.
Mixers, optimiser and learner are computed in double precision: they are the exact answer, not another rounding of it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch  # type: ignore[import-not-found]  (not a dependency)
from torch import nn  # type: ignore[import-not-found]

FIXTURES = Path(__file__).parent / "fixtures"
STEPS = 6
GAMMA, LR, DECAY, EPS, CLIP = 0.99, 5e-4, 0.99, 1e-5, 10.0
UNAVAILABLE = -9999999.0


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


class Duelling(nn.Module):
    """QPLEX's dmaq mixer with weighted_head, is_minus_one and one-layer extractors."""

    def __init__(self, agents: int, state: int, actions: int, hyper: int, kernels: int) -> None:
        super().__init__()
        self.hyper_w_final = nn.Sequential(nn.Linear(state, hyper), nn.ReLU(), nn.Linear(hyper, agents))
        self.V = nn.Sequential(nn.Linear(state, hyper), nn.ReLU(), nn.Linear(hyper, agents))
        self.key = nn.ModuleList(nn.Linear(state, 1) for _ in range(kernels))
        self.agents = nn.ModuleList(nn.Linear(state, agents) for _ in range(kernels))
        self.action = nn.ModuleList(nn.Linear(state + agents * actions, agents) for _ in range(kernels))

    def forward(self, q: torch.Tensor, state: torch.Tensor, best: torch.Tensor, joint: torch.Tensor) -> torch.Tensor:
        w = self.hyper_w_final(state).abs() + 1e-10
        b = self.V(state)
        q, best = w * q + b, w * best + b
        advantage = (q - best).detach()
        both = torch.cat((state, joint.flatten(1)), dim=1)
        attention = torch.zeros_like(q)
        for key, agents, action in zip(self.key, self.agents, self.action, strict=True):
            attention = attention + (key(state).abs() + 1e-10) * agents(state).sigmoid() * action(both).sigmoid()
        return q.sum(1) + (advantage * (attention - 1)).sum(1)


class Team(nn.Module):
    """Agents and the mixer on top of them."""

    def __init__(self, mixer: str, n: int, obs: int, state: int, actions: int) -> None:
        super().__init__()
        self.agent = Agent(obs + actions + n, 8, actions)
        self.mixer = {"qmix": Mixer(n, state, 4, 8), "qplex": Duelling(n, state, actions, 8, 3), "vdn": None}[mixer]

    def mix(self, q: torch.Tensor, state: torch.Tensor, best: torch.Tensor, joint: torch.Tensor) -> torch.Tensor:
        """All [b, t, ...] -> [b, t]."""
        if self.mixer is None:
            return q.sum(-1)
        flat = [x.flatten(0, 1) for x in (q, state, best, joint)]
        return (self.mixer(*flat[:2]) if isinstance(self.mixer, Mixer) else self.mixer(*flat)).view(q.shape[:2])


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
    from safetensors.torch import load_file

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


def named(prefix: str, tensors: Any) -> dict[str, np.ndarray]:
    return {prefix + name: tensor.detach().numpy().astype(np.float32) for name, tensor in tensors}


def gradients(prefix: str, module: nn.Module) -> dict[str, np.ndarray]:
    return named(prefix, ((name, p.grad) for name, p in module.named_parameters()))


def save(name: str, arrays: dict[str, np.ndarray]) -> None:
    np.savez_compressed(FIXTURES / name, **arrays)


def single(module: nn.Module) -> nn.Module:
    """Round the weights to what a float32 holds, then count on in double."""
    return module.float().double()


def mixers() -> None:
    """Values and gradients of the two mixers that have parameters."""
    samples, n, size, actions = 5, 3, 6, 4
    rng = np.random.default_rng(1)
    best = rng.normal(size=(samples, n)).astype(np.float32)
    # At some samples agents choose their best action.
    q = (best - rng.exponential(size=(samples, n)) * rng.integers(0, 2, (samples, n))).astype(np.float32)
    state, weight = (rng.normal(size=shape).astype(np.float32) for shape in ((samples, size), samples))
    joint = np.eye(actions, dtype=np.float32)[rng.integers(0, actions, (samples, n))]
    out = {"q": q, "state": state, "best": best, "actions": joint, "weight": weight}
    torch.manual_seed(2)
    for name, mixer in (("qmix", Mixer(n, size, 4, 8)), ("qplex", Duelling(n, size, actions, 8, 3))):
        single(mixer)
        inputs = [torch.from_numpy(x).double() for x in (q, state, best, joint)]
        inputs[0].requires_grad_()
        total = mixer(*inputs[:2]) if name == "qmix" else mixer(*inputs)
        (total * torch.from_numpy(weight)).sum().backward()
        out |= named(f"{name}.", mixer.state_dict().items()) | gradients(f"{name}/grad/", mixer)
        out |= named(f"{name}/", {"q_tot": total, "grad/q": inputs[0].grad}.items())
    save("pymarl_mixers.npz", out)


def optimisers() -> None:
    """Paths of RMSProp and Adam behind the clipping; the gradients grow, so that even the tiny first ones tell."""
    updates = 30
    rng = np.random.default_rng(3)
    scale = np.logspace(-6, 3, updates, dtype=np.float32)
    grads = {
        name: rng.normal(size=(updates, *shape)).astype(np.float32) for name, shape in (("x", (3, 4)), ("y", (5,)))
    }
    grads = {name: g * scale.reshape(-1, *(1,) * (g.ndim - 1)) for name, g in grads.items()}
    start = {name: rng.normal(size=g.shape[1:]).astype(np.float32) for name, g in grads.items()}
    out = {f"grad.{name}": g for name, g in grads.items()} | start
    for name in ("rmsprop", "adam"):
        params = {k: torch.nn.Parameter(torch.from_numpy(v).double()) for k, v in start.items()}
        path: dict[str, list[np.ndarray]] = {k: [] for k in start}
        if name == "adam":
            optimiser = torch.optim.Adam(params.values(), lr=LR, eps=EPS)
        else:
            optimiser = torch.optim.RMSprop(params.values(), lr=LR, alpha=DECAY, eps=EPS)
        for i in range(updates):
            for k, p in params.items():
                p.grad = torch.from_numpy(grads[k][i]).double()
            torch.nn.utils.clip_grad_norm_(params.values(), CLIP)
            optimiser.step()
            for k, p in params.items():
                path[k].append(p.detach().numpy().astype(np.float32))
        out |= {f"{name}/{k}": np.stack(v) for k, v in path.items()}
    save("pymarl_optim.npz", out)


def batch() -> dict[str, np.ndarray]:
    """Three made-up episodes in the layout of ``Episodes``."""
    b, t, n, a, o, s = 3, 6, 2, 4, 5, 6
    rng = np.random.default_rng(4)
    length = np.array([3, 6, 6])
    avail = rng.random((b, t + 1, n, a)) < 0.6
    np.put_along_axis(avail, rng.integers(0, a, (b, t + 1, n, 1)), True, axis=-1)
    action = np.where(avail, rng.random(avail.shape), -1).argmax(-1)[:, :-1]
    terminated = np.zeros((b, t), bool)
    terminated[0, 2] = terminated[1, 5] = True
    out = {
        "obs": rng.normal(size=(b, t + 1, n, o)).astype(np.float32),
        "state": rng.normal(size=(b, t + 1, s)).astype(np.float32),
        "avail": avail,
        "action": action,
        "reward": 15 * rng.normal(size=(b, t)).astype(np.float32),
        "terminated": terminated,
    }
    seen = np.arange(t + 1) <= length[:, None]  # the last row is the one after the last action
    for name, x in out.items():
        done = seen if x.shape[1] == t + 1 else seen[:, 1:]
        out[name] = np.where(done.reshape(b, -1, *(1,) * (x.ndim - 2)), x, np.zeros_like(x))
    return out | {"length": length}


def values(agent: Agent, data: dict[str, torch.Tensor]) -> torch.Tensor:
    """Q-values [b, t+1, n, a] of episodes, from zero hidden states."""
    b, steps, n, _ = data["obs"].shape
    actions = data["avail"].shape[-1]
    h = torch.zeros(b * n, 8).double()
    ids = torch.eye(n).double().expand(b, n, n)
    out = []
    for t in range(steps):
        last = torch.zeros(b, n, actions).double()
        if t > 0:
            last = nn.functional.one_hot(data["action"][:, t - 1], actions).double()
        h, q = agent(torch.cat((data["obs"][:, t], last, ids), dim=-1).flatten(0, 1), h)
        out.append(q.view(b, n, actions))
    return torch.stack(out, dim=1)


def targets(online: Team, target: Team, data: dict[str, torch.Tensor], mask: torch.Tensor, lam: float) -> torch.Tensor:
    """Double-Q targets [b, t], one-step or TD(lambda)."""
    with torch.no_grad():
        blocked = ~data["avail"]
        choice = values(online.agent, data).masked_fill(blocked, UNAVAILABLE).argmax(-1)
        q = values(target.agent, data).masked_fill(blocked, UNAVAILABLE)
        chosen = q.gather(3, choice.unsqueeze(-1)).squeeze(-1)
        joint = nn.functional.one_hot(choice, q.shape[-1]).double()
        value = target.mix(chosen, data["state"], q.max(-1).values, joint)  # [b, t+1]
        reward, going = data["reward"].double(), 1 - data["terminated"].double()
        if lam == 0:
            return reward + GAMMA * going * value[:, 1:]
        # PyMARL2: backwards from the last row's value, which counts only in episodes that never terminated.
        follows = value[:, -1] * going.prod(1)
        out = torch.zeros_like(reward)
        for t in reversed(range(reward.shape[1])):
            step = reward[:, t] + (1 - lam) * GAMMA * going[:, t] * value[:, t + 1]
            follows = out[:, t] = lam * GAMMA * follows + mask[:, t] * step
        return out


def learner(name: str) -> None:
    """Three updates of PyMARL's q_learner for each lambda."""
    arrays = batch()
    data = {k: torch.from_numpy(v) for k, v in arrays.items()}
    data |= {k: data[k].double() for k in ("obs", "state")}
    b, rows, n, obs = arrays["obs"].shape
    size, actions = arrays["state"].shape[2], arrays["avail"].shape[3]
    steps = rows - 1
    # PyMARL's mask: rows that were played, and not those after a termination.
    mask = (torch.arange(rows) <= data["length"][:, None])[:, :-1].double()
    mask[:, 1:] *= 1 - data["terminated"][:, :-1].double()
    out = dict(arrays)
    for lam in (0.0, 0.6):
        torch.manual_seed(5)
        online, target = (single(Team(name, n, obs, size, actions)) for _ in range(2))
        out |= named("", online.state_dict().items()) | named("target.", target.state_dict().items())
        optimiser = torch.optim.RMSprop(online.parameters(), lr=LR, alpha=DECAY, eps=EPS)
        log: dict[str, list[float]] = {"loss": [], "grad_norm": []}
        for update in range(3):
            q = values(online.agent, data)
            taken = q[:, :-1].gather(3, data["action"].unsqueeze(-1)).squeeze(-1)
            best = q.detach().masked_fill(~data["avail"], UNAVAILABLE)[:, :-1].max(-1).values
            joint = nn.functional.one_hot(data["action"], actions).double()
            q_tot = online.mix(taken, data["state"][:, :-1], best, joint)
            goal = targets(online, target, data, mask, lam)
            loss = (((q_tot - goal) * mask) ** 2).sum() / mask.sum()
            optimiser.zero_grad()
            loss.backward()
            if update == 0:
                out |= gradients(f"{lam}/grad/", online)
                out |= named(f"{lam}/", {"q_tot": q_tot * mask, "target": goal * mask}.items())
            log["loss"].append(loss.item())
            log["grad_norm"].append(float(torch.nn.utils.clip_grad_norm_(online.parameters(), CLIP)))
            optimiser.step()
        assert steps * b - mask.sum() == 3
        out |= {f"{lam}/{k}": np.array(v, np.float32) for k, v in log.items()}
        out |= named(f"{lam}/after/", online.state_dict().items())
    save(f"pymarl_learner_{name}.npz", out)


if __name__ == "__main__":
    FIXTURES.mkdir(exist_ok=True)
    with torch.no_grad():
        small()
        if len(sys.argv) > 1:
            real(Path(sys.argv[1]))
    mixers()
    optimisers()
    for mixer_name in ("vdn", "qmix", "qplex"):
        learner(mixer_name)
