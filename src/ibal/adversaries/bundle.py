"""Attacker bundles: what an adversary has learned as safetensors, and beside it a JSON file that says what it is.

save_attacker("attackers/a.safetensors", "interaction", config, env.spec, state, {"victim": "runs/x", "seed": 0})
attacker = load_attacker("attackers/a.safetensors", env.spec)     # (attack, config, state, meta)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ibal import bundle, reading
from ibal.adversaries import TABLE
from ibal.envs import version_of
from ibal.reading import Unreadable, as_type
from ibal.registry import Own, UnknownName
from ibal.types import EnvSpec

ATTACKER = bundle.Kind(
    "attacker", "an attacker bundle", "fit the attacker again",
    {"attack": str, "config": dict[str, Any], "state_size": int, "meta": dict[str, Any]},
    {},
)  # fmt: skip


class Attacker(NamedTuple):
    """The attack's name in the table, its options, what it has learned, and what the JSON file says besides."""

    attack: str
    config: Any
    state: Any
    meta: dict[str, Any]


def save_attacker(
    path: str | Path, attack: str, config: Any, spec: EnvSpec, state: Any, meta: Mapping[str, Any] | None = None
) -> None:
    """Write ``path`` (``.safetensors``) and the JSON file of the same name.

    ``attack`` is a name of the table (or ``my_pkg.mod:MyConfig``), ``config`` its dataclass of options, ``state`` of
    the adversary it builds; ``meta`` what JSON can hold: victim, episodes, seed, ... Raises ValueError for another
    suffix, OSError where the files cannot be written.
    """
    about = {"attack": TABLE.resolve(Own(attack)), "config": asdict(config), "meta": dict(meta or {})}
    bundle.write(Path(path), ATTACKER, _arrays(state), spec, about)


def as_bytes(state: Any) -> bytes:
    """Return what an adversary has learned as the content of a safetensors file."""
    return bundle.as_bytes(_arrays(state))


def load_attacker(path: str | Path, spec: EnvSpec, own: Own | None = None) -> Attacker:
    """Read a bundle for the environment it was fitted in. ``own`` is the attack that the user asks for, where it is
    one of his own: a file that says the same name is read, one that names other code than the table's never.

    Raises FileNotFoundError, or ValueError that says what is wrong with a file or that it is of another environment.
    """
    path = Path(path)
    about = bundle.described(path, ATTACKER)
    here = bundle.sizes(spec)
    fitted = {name: about[name] for name in here}
    if fitted != here:
        raise ValueError(f"{path} was fitted in {_said(fitted)}, but this is {_said(here)}; fit an attacker here")
    if (theirs := version_of(spec.name, about)) != spec.version:
        raise ValueError(
            f'{path} was fitted on version "{theirs}" of the rules of {spec.name}, but "{spec.version}" is played; fit '
            f"an attacker on this one, or play by the other: --env {spec.name}[version={theirs}]"
        )
    attack = own if own is not None and about["attack"] == own else about["attack"]
    try:
        config = as_type(TABLE.load(attack)[0], about["config"], f'{bundle.beside(path)}: "config"')
        return Attacker(attack, config, _read(path, config.build(spec).init), about["meta"])
    except UnknownName as error:
        raise UnknownName(f"{bundle.beside(path)}: {error}") from error
    except Unreadable as error:
        raise ValueError(f"{error}; fit the attacker again") from error


def adapted(state: Any, init: Callable[[jax.Array], Any]) -> Any:
    """Return the part of a fitted state that a variant of the attack needs; ``init`` is the variant's.

    Raises ValueError if it needs something that was not learned.
    """
    template = jax.eval_shape(init, jax.random.key(0))
    held = dict(_named(state))
    for name, leaf in _named(template):
        if name not in held or held[name].shape != leaf.shape or held[name].dtype != leaf.dtype:
            raise ValueError(f"the attackers have not learned {name} {leaf.shape}; fit some with these options")
    return jax.tree.unflatten(jax.tree.structure(template), [held[name] for name, _ in _named(template)])


def _read(path: Path, init: Callable[[jax.Array], Any]) -> Any:
    """Read the arrays into the structure of a new state."""
    template = jax.eval_shape(init, jax.random.key(0))
    tensors = reading.tensors(path)
    wanted = {name: (leaf.shape, leaf.dtype) for name, leaf in _named(template)}
    found = {name: (array.shape, array.dtype) for name, array in tensors.items()}
    if wrong := sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)):
        raise ValueError(
            f"{path}: {wrong[0]} is {found.get(wrong[0], 'missing')}, its configuration expects "
            f"{wanted.get(wrong[0], 'nothing')}; fit the attacker again"
        )
    if broken := [name for name, array in tensors.items() if array.dtype.kind == "f" and np.isnan(array).any()]:
        raise ValueError(f"{path}: {broken[0]} holds NaN; fit the attacker again")
    leaves = [jnp.asarray(tensors[name]) for name, _ in _named(template)]
    return jax.tree.unflatten(jax.tree.structure(template), leaves)


def _arrays(state: Any) -> dict[str, np.ndarray]:
    return {name: np.asarray(leaf) for name, leaf in _named(state)}


def _named(state: Any) -> list[tuple[str, Any]]:
    return [(jax.tree_util.keystr(path).lstrip("."), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(state)]


def _said(sizes: Mapping[str, Any]) -> str:
    rest = ", ".join(f"{name} {value}" for name, value in sizes.items() if name != "env")
    return f'"{sizes["env"]}" ({rest})'
