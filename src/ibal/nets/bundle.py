"""Policy bundles: the weights of a team as safetensors, and beside them a JSON file that says what they are. A bundle
is these two files; it is named by the first, the second, or what they have in common.

    save_bundle("runs/x/policy/seed-0.safetensors", params, env.spec, {"env_steps": 1_000_000, "seed": 0})

    team = ibal.load_policy("runs/x")                        # a run folder, a bundle, or a file of PyMARL
    team.reset()
    actions = team.act(obs, avail)                           # obs [n, o], avail [n, a] -> actions [n], once per step

The weights of a value learner lie under PyMARL's names and in its layout, so whatever reads PyMARL's agents reads them;
those of MAPPO, IPPO and PQN under the names of ``nets.recurrent``. Neither the
environment nor the training code is needed to play.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ibal import bundle, reading, zoo
from ibal.nets import actor, pymarl, valued
from ibal.nets.agents import Agent, PyMarlAgent
from ibal.nets.recurrent import Recurrent
from ibal.nets.valued import ValueNet
from ibal.options import Scalar

if TYPE_CHECKING:
    from ibal.types import EnvSpec

WEIGHTS = (".safetensors", ".th")
POLICY = bundle.Kind(
    "policy", "a policy bundle", "export the policy again",
    {"hidden": int},
    {
        "inputs": list[str], "action_names": list[str], "obs_features": list[str], "seed": int | None,
        "env_steps": int | None, "env_options": dict[str, Scalar] | None, "method": str, "config_hash": str,
        "config": dict[str, Any],
    },
)  # fmt: skip


# What a bundle may hold: the agents of value learners, those of MAPPO and IPPO, or those of PQN.
Team = PyMarlAgent | Recurrent | ValueNet


class Bundle(NamedTuple):
    """Weights, and what the JSON file says of them."""

    params: Team
    meta: dict[str, Any]


def save_bundle(path: str | Path, params: Team, spec: EnvSpec, meta: Mapping[str, Any] | None = None) -> None:
    """Write ``path`` (``.safetensors``) and the JSON file of the same name.

    The JSON holds the environment's name, the version of its rules, sizes, names of actions and of observation
    features, the versions that wrote it, and ``meta`` (seed, steps, hash of the configuration, ...; what JSON can
    hold). Raises ValueError if the weights do not fit ``spec``, OSError where the files cannot be written.
    """
    path = Path(path)
    pymarl.check_fits(path, params, spec)
    arrays = pymarl.agent_tensors(params) if isinstance(params, PyMarlAgent) else actor.tensors(params)
    about = {
        "hidden": params.hidden_size,
        "inputs": ["obs", "last_action", "agent_id"],
        "action_names": list(spec.action_names),
        "obs_features": list(spec.obs_layout.names),
        **(meta or {}),
    }
    bundle.write(path, POLICY, arrays, spec, about)


def load_bundle(path: str | Path) -> Bundle:
    """Read a bundle. Raises FileNotFoundError, or ValueError that says what is wrong with one of its two files."""
    path = Path(path)
    _refuse_attacker(path)
    params, about = load_weights(path), bundle.described(path, POLICY)
    wanted = about["obs_size"] + about["n_actions"] + about["n_agents"], about["n_actions"], about["hidden"]
    if (params.input_size, params.n_actions, params.hidden_size) != wanted:
        raise ValueError(f"{bundle.beside(path)} describes another policy than {path.name}; {POLICY.again}")
    return Bundle(params, about)


def _refuse_attacker(path: Path) -> None:
    """Raise ValueError for an attacker's bundle; what else may be wrong with the files is told by who reads them."""
    try:
        about = reading.table(bundle.beside(path), {"attack": str, "env": str})
    except (OSError, reading.Unreadable):
        return
    raise ValueError(
        f"{path} is an attacker ({about['attack']}, fitted in {about['env']}), and a team was expected; name a team, "
        "and give attackers with --attackers FOLDER"
    )


def load_weights(path: Path) -> Team:
    """Read the weights of a team, whichever network they are of. Raises FileNotFoundError, or ValueError that says what
    is wrong with the file."""
    if path.suffix == ".safetensors" and path.is_file():
        held = reading.tensors(path)
        if actor.is_actor(held):
            return actor.from_tensors(path, held)
        if valued.is_valued(held):
            return valued.from_tensors(path, held)
    return pymarl.load_agent(path)


def agent_of(params: Team, spec: EnvSpec) -> Agent:
    """Return what plays with such weights, greedily; they are left open. Make it once for all weights of one kind and
    size: every new one is compiled anew."""
    return _MAKERS[type(params)](spec, params.hidden_size)


_MAKERS: dict[type, Callable[[EnvSpec, int], Agent]] = {
    PyMarlAgent: pymarl.pymarl_agent, Recurrent: actor.actor_agent, ValueNet: valued.valued_agent,
}  # fmt: skip
_SCORES: dict[type, Callable[..., Any]] = {
    PyMarlAgent: pymarl.scores, Recurrent: actor.scores, ValueNet: valued.scores
}  # fmt: skip


def find_policies(path: str | Path) -> list[Path]:
    """Return the weight files meant by ``path``: itself, those of a run folder, lowest seed first, or PyMARL's agent in
    a folder, the newest of a training's ``models``.

    Raises FileNotFoundError if there are none, or the agents of several trainings.
    """
    path = of_bundle(zoo.local_team(str(path)) if zoo.is_name(str(path)) else Path(path))
    if not path.is_dir():
        if not path.exists():
            raise FileNotFoundError(
                f"policy {path} does not exist; wanted a run folder or a file {' or '.join(WEIGHTS)}."
                f"{reading.nearby(path)}"
            )
        return [path]
    seeds = {file: file.stem.removeprefix("seed-") for file in path.glob("policy/seed-*.safetensors")}
    if any(seed.isdecimal() for seed in seeds.values()):
        return sorted((f for f, seed in seeds.items() if seed.isdecimal()), key=lambda f: int(seeds[f]))
    if agent := _agent_of(path):
        return [agent]
    if (path / "config.toml").is_file():
        raise FileNotFoundError(
            f"{path} holds no policy yet: a training writes them with every checkpoint and at its end. Continue "
            f"it: ibal train --out {path} --resume"
        )
    models = path / "models" if (path / "models").is_dir() else path
    found = {folder: agent for folder in (models, *models.glob("*/")) if (agent := _newest(folder))}
    if len(found) > 1:
        raise FileNotFoundError(f"{path} holds the agents of several trainings; name one: {_some(found)}")
    if found:
        return list(found.values())
    raise FileNotFoundError(
        f"{path} holds no policy: no policy/seed-<k>.safetensors as in a run folder, no agent.th or agent.safetensors "
        "as of PyMARL, also not in numbered folders as in its models"
    )


def of_bundle(path: Path) -> Path:
    """Return the weights of a bundle that is named by its ``.json`` file or without a suffix; any other path as it is.

    A bundle is two files of one name: the weights (``.safetensors``) and what they are (``.json``).
    """
    weights = path.with_suffix(".safetensors") if path.suffix == ".json" else Path(f"{path}.safetensors")
    named = path.suffix == ".json" or not path.exists()
    return weights if path.name and named and weights.is_file() else path


def _agent_of(folder: Path) -> Path | None:
    return next((folder / name for name in ("agent.th", "agent.safetensors") if (folder / name).is_file()), None)


def _newest(folder: Path) -> Path | None:
    """Return the agent of the highest step of a folder in which PyMARL has saved one per step."""
    steps = sorted((path for path in folder.glob("*/") if path.name.isdecimal()), key=lambda path: int(path.name))
    return next((agent for path in reversed(steps) if (agent := _agent_of(path))), None)


def _some(paths: Iterable[Path]) -> str:
    names = sorted(map(str, paths))
    return ", ".join(names[:4]) + (" …" if len(names) > 4 else "")


def load_policy(path: str | Path) -> TeamPolicy:
    """Load a team of a run folder, a bundle or a file of PyMARL's, as ``ibal.load_policy`` says.

    Raises FileNotFoundError, ValueError, or ModuleNotFoundError for a file that needs torch.
    """
    file = find_policies(path)[0]
    if file.suffix == ".safetensors" and bundle.beside(file).exists():
        return TeamPolicy(*load_bundle(file))
    return TeamPolicy(load_weights(file), {}, checked=False)


class TeamPolicy:
    """A team that acts greedily and remembers its episode: recurrent state and last actions stay inside.

    ``params`` are the weights; ``meta`` is what the bundle's JSON says. Of weights without one ``meta`` is empty and
    ``checked`` False: nothing says whether they are as they were written, or of which environment.
    """

    def __init__(self, params: Team, meta: dict[str, Any], checked: bool = True) -> None:
        self.params = params
        self.meta = meta
        self.checked = checked
        self.reset()

    def reset(self) -> None:
        """Begin an episode."""
        self._hidden: jax.Array | None = None
        self._last: np.ndarray | None = None

    def act(self, obs: Any, avail: Any) -> np.ndarray:
        """Choose the team's actions [n] (int32) for observations [n, o] and available actions [n, a] (bool or 0/1).

        To be called once per step. Raises ValueError for shapes that do not fit, or an agent without any action.
        """
        obs, avail = np.asarray(obs, np.float32), np.asarray(avail).astype(bool)
        self._check(obs, avail)
        hidden = jnp.zeros((obs.shape[0], self.params.hidden_size)) if self._hidden is None else self._hidden
        last = np.full(obs.shape[0], -1, np.int32) if self._last is None else self._last
        self._hidden, values = _SCORES[type(self.params)](
            self.params, hidden, jnp.asarray(obs), jnp.asarray(avail), jnp.asarray(last)
        )
        actions = np.where(avail, np.asarray(values), -np.inf).argmax(axis=1).astype(np.int32)
        self._last = actions.copy()
        return actions

    def _check(self, obs: np.ndarray, avail: np.ndarray) -> None:
        inputs, n_actions = self.params.input_size, self.params.n_actions
        n = len(obs) if self._last is None else len(self._last)
        n = self.meta.get("n_agents", n)
        wanted = (n, inputs - n_actions - n), (n, n_actions)
        if (obs.shape, avail.shape) != wanted:
            raise ValueError(
                f"act: obs {obs.shape} and avail {avail.shape} do not fit; this policy of {n} agents takes obs "
                f"{wanted[0]} and avail {wanted[1]}"
            )
        if not avail.any(axis=1).all():
            raise ValueError(f"act: agent {int(np.argmin(avail.any(axis=1)))} has no available action")
