"""Agents trained with PyMARL (QMIX, VDN, QPLEX ... of the SMAC literature) as policies of this library, and back.

    policy = load_policy("qmix_3m.safetensors", env.spec)                  # greedy, ready to play

    agent = pymarl_agent(env.spec)                                         # several files of one map, one compilation
    for path in paths:
        results = play(env, agent, keys, load_agent(path, env.spec))

    save_agent(params, "agent.safetensors")                                # PyMARL's names and layout
    export_pymarl("folder", params, mixer)                                 # agent.th and mixer.th, as PyMARL writes
    params, mixer = import_pymarl("folder", env.spec)

A file holds PyMARL's tensors under PyMARL's names (``fc1.weight`` ..., QMIX files also ``mixer.*``), as
``.safetensors`` or as the ``.th`` that PyMARL itself writes (needs PyTorch).
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ibal import reading
from ibal.nets import agents
from ibal.nets.agents import Agent, PyMarlAgent
from ibal.types import Policy

if TYPE_CHECKING:
    from ibal.nets.mixers.qmix import QmixParams
    from ibal.nets.mixers.vdn import VdnParams
    from ibal.types import EnvSpec

_AGENT_LAYERS = ("fc1", "rnn.ih", "rnn.hh", "fc2")
# PyTorch's names of (weight, bias) by layer; a GRUCell writes them differently from a Linear.
_NAMES = {
    "fc1": ("fc1.weight", "fc1.bias"),
    "rnn.ih": ("rnn.weight_ih", "rnn.bias_ih"),
    "rnn.hh": ("rnn.weight_hh", "rnn.bias_hh"),
    "fc2": ("fc2.weight", "fc2.bias"),
}
_MIXER_LAYERS = ("hyper_w_1.0", "hyper_w_1.2", "hyper_b_1", "hyper_w_final.0", "hyper_w_final.2", "V.0", "V.2")

# (agent input, actions) -> SMAC maps with that size: only for error messages (tests compare it with the scenarios).
SMAC_WIDTHS: dict[tuple[int, int], str] = {
    (42, 9): "3m", (102, 14): "8m", (306, 31): "25m", (72, 12): "5m_vs_6m", (108, 15): "8m_vs_9m",
    (132, 17): "10m_vs_11m", (348, 36): "27m_vs_30m", (186, 16): "MMM", (204, 18): "MMM2", (96, 11): "2s3z",
    (150, 14): "3s5z", (159, 15): "3s5z_vs_3s6z", (48, 9): "3s_vs_3z", (55, 10): "3s_vs_4z", (62, 11): "3s_vs_5z",
    (186, 15): "1c3s5z", (25, 7): "2m_vs_1z", (192, 30): "corridor", (98, 14): "6h_vs_8z", (26, 7): "2s_vs_1sc",
    (247, 38): "so_many_baneling", (390, 30): "bane_vs_bane", (404, 70): "2c_vs_64zg",
}  # fmt: skip


def load_policy(path: str | Path, spec: EnvSpec) -> Policy:
    """Load a file as a greedy policy for an environment of size ``spec``."""
    params = load_agent(path, spec)
    return pymarl_agent(spec, params.hidden_size).bind(params)


def pymarl_agent(spec: EnvSpec, hidden: int = agents.HIDDEN) -> Agent:
    """The same policy with its weights (``PyMarlAgent``) left open. ``hidden`` is the size of the recurrent layer."""

    def start() -> Float[Array, "n h"]:
        return jnp.zeros((spec.n_agents, hidden), jnp.float32)

    return Agent(start, scores, greedy)


def inputs(obs: Float[Array, "n o"], last_action: Int[Array, "n"], n_actions: int) -> Float[Array, "n i"]:
    """Build what PyMARL's controller feeds its agents: observation, one-hot last action, one-hot agent id.

    Source: PyMARL ``controllers/basic_controller.py`` with obs_last_action and obs_agent_id (its SMAC defaults).
    ``last_action`` is -1 before the first step, which gives zeros.
    """
    last = jax.nn.one_hot(last_action, n_actions, dtype=obs.dtype)
    return jnp.concatenate((obs, last, jnp.eye(obs.shape[0], dtype=obs.dtype)), axis=1)


def scores(
    params: PyMarlAgent,
    carry: Float[Array, "n h"],
    obs: Float[Array, "n o"],
    avail: Bool[Array, "n a"],
    last_action: Int[Array, "n"],
) -> tuple[Float[Array, "n h"], Float[Array, "n a"]]:
    """Advance one step and return the Q-values of all actions, available or not."""
    return agents.apply(params, carry, inputs(obs, last_action, avail.shape[1]))


def greedy(key: jax.Array, scores: Float[Array, "n a"], avail: Bool[Array, "n a"]) -> Int[Array, "n"]:
    """Choose the best available action; the lowest index wins a tie."""
    del key
    return jnp.argmax(jnp.where(avail, scores, -jnp.inf), axis=1).astype(jnp.int32)


def load_agent(path: str | Path, spec: EnvSpec | None = None) -> PyMarlAgent:
    """Read the agent network of a file. With ``spec``, refuse a network that does not fit the environment.

    Raises FileNotFoundError, or ValueError that says what is wrong with the file and what would fit.
    """
    path = Path(path)
    tensors = _read(path)
    pairs = [_layer(path, tensors, *_NAMES[name]) for name in _AGENT_LAYERS]
    params = PyMarlAgent(*(array for pair in pairs for array in pair))
    hidden = params.hidden_size
    if params.gru_h_w.shape != (hidden, 3 * hidden) or params.gru_x_w.shape != (hidden, 3 * hidden):
        raise ValueError(
            f"{path}: rnn.weight_ih is {params.gru_x_w.shape[::-1]} and rnn.weight_hh {params.gru_h_w.shape[::-1]}; "
            f"a GRU of the width of fc1 ({hidden}) has ({3 * hidden}, {hidden}) twice"
        )
    if spec is not None:
        check_fits(path, params, spec)
    return params


def load_mixer(path: str | Path, spec: EnvSpec | None = None) -> QmixParams:
    """Read the QMIX mixer of a file: tensors ``mixer.*``, or the bare names of a ``mixer.th``."""
    from ibal.nets.layers import Linear
    from ibal.nets.mixers.qmix import QmixParams

    path = Path(path)
    tensors = _read(path)
    prefix = "" if "hyper_b_1.weight" in tensors else "mixer."
    if f"{prefix}hyper_b_1.weight" not in tensors:
        raise ValueError(f"{path} holds no QMIX mixer (no mixer.hyper_b_1.weight); files of VDN and QPLEX have none")
    layers = (_layer(path, tensors, f"{prefix}{n}.weight", f"{prefix}{n}.bias") for n in _MIXER_LAYERS)
    params = QmixParams(*(Linear(*layer) for layer in layers))
    if spec is not None and (params.state_size, params.n_agents) != (spec.state_size, spec.n_agents):
        raise ValueError(
            f"{path}: the mixer takes a state of {params.state_size} and {params.n_agents} agents; {spec.name} has "
            f"{spec.state_size} and {spec.n_agents}"
        )
    return params


def save_agent(params: PyMarlAgent, path: str | Path, mixer: QmixParams | None = None) -> None:
    """Write PyMARL's tensors to a ``.safetensors`` file (or ``.th``, agent only, which needs PyTorch)."""
    path = Path(path)
    if path.suffix == ".th" and mixer is not None:
        raise ValueError(f"{path}: PyMARL keeps agent and mixer in two .th files; use export_pymarl, or .safetensors")
    _write(path, agent_tensors(params) | {f"mixer.{name}": value for name, value in _mixer_tensors(mixer).items()})


def export_pymarl(
    folder: str | Path, params: PyMarlAgent, mixer: QmixParams | VdnParams | None = None
) -> tuple[Path, ...]:
    """Write a folder as PyMARL saves one, and return its files: ``agent.th`` and, with a mixer, ``mixer.th``.

    Where PyTorch is not installed the same tensors go to ``agent.safetensors`` and ``mixer.safetensors``; files of the
    other kind that the folder had are removed. VDN has no weights and gives an empty mixer file, as in PyMARL.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    suffix, other = (".th", ".safetensors") if _has_torch() else (".safetensors", ".th")
    parts = {"agent": agent_tensors(params)} | ({} if mixer is None else {"mixer": _mixer_tensors(mixer)})
    for name, tensors in parts.items():
        _write(folder / f"{name}{suffix}", tensors)
    for name in ("agent", "mixer"):
        (folder / f"{name}{other}").unlink(missing_ok=True)
    return tuple(folder / f"{name}{suffix}" for name in parts)


def import_pymarl(folder: str | Path, spec: EnvSpec | None = None) -> tuple[PyMarlAgent, QmixParams | VdnParams | None]:
    """Read a folder of PyMARL's or of ``export_pymarl``: the agent, and the mixer or None where there is no file of it.

    Raises as ``load_agent`` and ``load_mixer`` do.
    """
    from ibal.nets.mixers.vdn import VdnParams

    folder = Path(folder)
    agent, mixer = (
        next((f for f in (folder / f"{name}.th", folder / f"{name}.safetensors") if f.is_file()), folder / f"{name}.th")
        for name in ("agent", "mixer")
    )
    params = load_agent(agent, spec)
    if not mixer.is_file():
        return params, None
    return params, load_mixer(mixer, spec) if _read(mixer) else VdnParams()


def agent_tensors(params: PyMarlAgent) -> dict[str, np.ndarray]:
    """Return the weights under PyMARL's names and in its layout."""
    tensors: dict[str, np.ndarray] = {}
    for name, w, b in zip(_AGENT_LAYERS, params[0::2], params[1::2], strict=True):
        tensors |= zip(_NAMES[name], (_transposed(w), np.asarray(b)), strict=True)
    return tensors


def _mixer_tensors(mixer: QmixParams | VdnParams | None) -> dict[str, np.ndarray]:
    """PyMARL's tensors of a mixer under the bare names of a ``mixer.th``."""
    tensors: dict[str, np.ndarray] = {}
    for name, layer in zip(_MIXER_LAYERS, mixer, strict=True) if mixer else ():
        tensors |= {f"{name}.weight": _transposed(layer.w), f"{name}.bias": np.asarray(layer.b)}
    return tensors


def _write(path: Path, held: dict[str, np.ndarray]) -> None:
    if path.suffix == ".th":
        torch = _torch(path)
        torch.save({name: torch.from_numpy(value.copy()) for name, value in held.items()}, path)
        return
    from safetensors.numpy import save

    path.write_bytes(save(held))  # save_file has an error of its own for a full disk


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def _transposed(w: jax.Array) -> np.ndarray:
    # safetensors writes the buffer of a non-contiguous view in the wrong order.
    return np.ascontiguousarray(np.asarray(w).T)


def _read(path: Path) -> Mapping[str, np.ndarray]:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"policy file {path} {what}; wanted a .safetensors or .th file")
    if path.suffix == ".th":
        return _read_torch(path)
    return reading.tensors(path)


def _read_torch(path: Path) -> Mapping[str, np.ndarray]:
    torch = _torch(path)
    # Until 2.6 a file could run code past weights_only (CVE-2025-32434).
    if tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2]) < (2, 6):
        raise ValueError(
            f"{path}: PyTorch {torch.__version__} may run code that a .th file holds; install 2.6 or newer, or convert "
            "the file to .safetensors where you trust it"
        )
    size = path.stat().st_size
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
        return {str(name): tensor.detach().to(torch.float32).numpy() for name, tensor in held.items()}
    except Exception as error:  # torch raises anything from EOFError to RuntimeError for a damaged file
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} ({size} bytes) is not a complete PyTorch file of tensors: {said}") from error


def _torch(path: Path) -> Any:
    try:
        import torch  # type: ignore[import-not-found]  (optional)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path}: .th files need PyTorch, which is not installed. Run: pip install torch, or convert the file to "
            ".safetensors where PyTorch is"
        ) from error
    return torch


def _layer(path: Path, tensors: Mapping[str, np.ndarray], weight: str, bias: str) -> tuple[jax.Array, jax.Array]:
    """One layer as (w [in, out], b [out]), checked."""
    missing = [name for name in (weight, bias) if name not in tensors]
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(missing)}: not a PyMARL recurrent agent (fc1, rnn, fc2). It holds: "
            f"{', '.join(sorted(tensors)) or 'nothing'}"
        )
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large becomes infinite, which is refused below
        w, b = np.asarray(tensors[weight], np.float32), np.asarray(tensors[bias], np.float32)
    if w.ndim != 2 or b.shape != w.shape[:1] or not w.size:
        raise ValueError(f"{path}: {weight} has shape {w.shape} and {bias} {b.shape}; wanted (out, in) and (out,)")
    if not (np.isfinite(w).all() and np.isfinite(b).all()):
        raise ValueError(f"{path}: {weight} or {bias} holds NaN or infinity")
    return jnp.asarray(w.T), jnp.asarray(b)


def check_fits(path: Path, params: Any, spec: EnvSpec) -> None:
    """Raise ValueError if the weights of a team (any record with ``input_size`` and ``n_actions``) do not fit an
    environment; ``path`` is only named in the message."""
    wanted = (spec.obs_size + spec.n_actions + spec.n_agents, spec.n_actions)
    found = (params.input_size, params.n_actions)
    if found == wanted:
        return
    fits = SMAC_WIDTHS.get(found)
    hint = f"It fits the SMAC map {fits}" if fits else "It fits no map of SMAC v1"
    raise ValueError(
        f"{path} takes {found[0]} inputs and gives {found[1]} actions; {spec.name} needs {wanted[0]} inputs "
        f"(observation {spec.obs_size} + last action {spec.n_actions} + agent id {spec.n_agents}) and {wanted[1]} "
        f"actions. {hint}"
    )
