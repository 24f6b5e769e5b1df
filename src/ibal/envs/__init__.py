"""Environments by name. Adding one is one line in ``TABLE``; ``make("my_pkg.mod:make")`` needs no line at all.

Importing this module imports no jax: ``ibal env list`` answers at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ibal.contract import missing_arguments
from ibal.envs.lbf import rules as lbf
from ibal.envs.smac.scenarios import SCENARIOS
from ibal.envs.smacv2 import armies
from ibal.options import ConfigError, bracketed, for_call, read_scalar
from ibal.registry import Entry, Own, Registry, UnknownName, load

if TYPE_CHECKING:
    from ibal.types import Env

_TOY = {
    "two-step": Entry("ibal.envs.toy:two_step", "two-step game of the QMIX paper: VDN gets 7, QMIX gets 8"),
    "climbing": Entry("ibal.envs.toy:climbing", "climbing matrix game: the best joint action is the riskiest"),
    "probe-value": Entry("ibal.envs.toy:probe_value", "one step, reward always 1: is a constant learned?"),
    "probe-observation": Entry("ibal.envs.toy:probe_observation", "one step, reward is the observation"),
    "probe-discount": Entry("ibal.envs.toy:probe_discount", "two steps, reward at the end: is it discounted back?"),
    "probe-action": Entry("ibal.envs.toy:probe_action", "one step, reward for each agent's own action"),
    "probe-joint": Entry("ibal.envs.toy:probe_joint", "one step, reward if all agents choose what they see"),
    "probe-memory": Entry("ibal.envs.toy:probe_memory", "a cue at the start is asked for at the end: needs recurrence"),
    "leak": Entry("ibal.envs.leak:leak", "observation dimensions with known mutual information with others' actions"),
}

TABLE = Registry(
    kind="environment",
    entries={
        **{
            f"smac/{name}": Entry(
                "ibal.envs.smac.env:make",
                f"{scenario.n_agents} agents against {scenario.n_enemies}, {scenario.limit} steps",
                args=(name,),
            )
            for name, scenario in SCENARIOS.items()
        },
        **{
            f"smacv2/{name}": Entry("ibal.envs.smacv2.env:make", armies.summary(name), args=(name,))
            for name in armies.ARMIES
        },
        **{f"lbf/{name}": Entry("ibal.envs.lbf.env:make", lbf.summary(name), args=(name,)) for name in lbf.NAMES},
        **{f"toy/{name}": entry for name, entry in _TOY.items()},
    },
    listing="ibal env list",
    flag="--env",
    prefixes=("smac/", "smacv2/", "lbf/", "toy/"),
    short={f"lbf/{short}": f"lbf/{name}" for short, name in lbf.SHORT.items()},
    adapters={
        "jaxmarl": Entry("ibal.envs.adapters.jaxmarl:make", "as jaxmarl:SMAX/2s3z, compiled (needs jaxmarl)"),
        "jumanji": Entry("ibal.envs.adapters.jumanji:make", "as jumanji:Cleaner-v0, compiled (needs jumanji)"),
        "pettingzoo": Entry("ibal.game.parallel:make", "as pettingzoo:mpe2.simple_spread_v3, from Python"),
    },
    closed=frozenset({"jaxmarl", "jumanji"}),
)

# What makers take as **options are fields of these dataclasses.
_OPTIONS = {
    "ibal.envs.smac.env:make": ("ibal.envs.smac.rules:Interface", "ibal.envs.smac.rules:Rules"),
    "ibal.envs.smacv2.env:make": ("ibal.envs.smacv2.options:Options", "ibal.envs.smac.rules:Rules"),
    "ibal.envs.lbf.env:make": ("ibal.envs.lbf.rules:Rules",),
    "ibal.envs.leak:leak": ("ibal.envs.leak:Leak",),
}

# Worlds whose rules have versions: where these are, by name, oldest first.
_VERSIONS = {"smac/": "ibal.envs.smac.rules:VERSIONS", "smacv2/": "ibal.envs.smac.rules:VERSIONS"}


def versions(name: str) -> tuple[str, ...]:
    """Return the versions of the rules of a world, oldest first; none where its rules do not change."""
    return next((tuple(load(target)) for prefix, target in _VERSIONS.items() if name.startswith(prefix)), ())


def newest(name: str) -> dict[str, str]:
    """Return the option that plays the world ``name`` by its newest rules; none where they have no versions."""
    return {"version": known[-1]} if (known := versions(name)) else {}


def version_of(name: str, about: Mapping[str, Any]) -> str:
    """Return the version of the rules of the world ``name`` that something was made with, ``about`` being what it says
    of itself (``version``, or that option in ``env_options``). What says none is older than versions: of the first."""
    options = about.get("env_options") or {}
    return str(about.get("version") or options.get("version") or next(iter(versions(name)), ""))


def as_recorded(name: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that make the world ``name`` as ``about`` says that it was (see ``version_of``)."""
    options = dict(about.get("env_options") or {})
    return options | ({"version": version_of(name, about)} if versions(name) else {})


def named(text: str) -> tuple[str, dict[str, Any]]:
    """Read an environment of a command line: ``smac/8m`` or, with options, ``smac/8m[version=2026-11]``.

    Returns its full name and the options. Raises UnknownName, or ConfigError for brackets that hold no options.
    """
    base, given = bracketed(text, "smac/8m[version=2026-11]")
    return TABLE.resolve(Own(base)), {name: read_scalar(value) for name, value in given.items()}


def make(name: str, **options: Any) -> Env:
    """Make an environment by name.

    Args:
        name: one of ``ibal.environments()`` ("smac/3m"; "3m" is short for it), or ``"my_pkg.mod:make"``, a function of
            yours that returns an ``ibal.Env``: whatever a program gives as a name may be code.
        options: of its maker, as ``step_mul=4`` or ``version="2026-11"``; ``ibal env describe NAME`` lists what it is.

    Returns:
        ``Env``: pure functions for one environment, to be compiled and batched with ``jax.jit`` and ``jax.vmap``.
        ``env.reset(key, env.params) -> (state, step)`` and ``env.step(key, state, actions[n], env.params) -> (state,
        step)`` with ``step.obs`` [n, o] float32, ``step.state`` [s] float32, ``step.avail`` [n, a] bool, ``step.alive``
        [n] bool, ``step.reward`` [] float32, ``step.terminated`` and ``step.truncated`` [] bool; ``step`` never resets.
        ``env.spec`` says the sizes n (agents), a (actions), o, s, the horizon in steps and what every entry means.

    Raises:
        UnknownName: no such name; it says which is closest and how to list them. ValueError or TypeError: an option
        that the maker does not take. ContractError: a function of yours made something that breaks the contract.

    Example:
        >>> env = ibal.make("toy/two-step")
        >>> state, step = env.reset(jax.random.key(0), env.params)
        >>> step.obs.shape, step.avail.shape  # ((2, 3), (2, 2))

    Source: SMAC (Samvelyan et al. 2019) for ``smac/``, Level-Based Foraging (Papoudakis et al. 2021) for ``lbf/``.
    """
    return checked(name, TABLE.make(Own(name), **options))


def made(name: str, options: Mapping[str, Any] | None = None) -> Env:
    """Make an environment with options out of a command line or a file; ``module:attr`` only if ``name`` is ``Own``.

    Raises UnknownName, or ConfigError for an option that its maker does not have or of a wrong type.
    """
    name = TABLE.resolve(name)
    maker, args = TABLE.load(name)
    if not callable(maker):
        raise UnknownName(f'"{name}" is of type {type(maker).__name__}, not a function that makes an environment')
    records = [load(target) for target in _OPTIONS.get(TABLE.entries[name].target, ())] if name in TABLE else []
    given = for_call(f'environment "{name}"', maker, args, options or {}, records)
    if missing := missing_arguments(maker, args, given):
        raise ConfigError(f'environment "{name}" cannot be made: {missing}')
    try:
        env = maker(*args, **given)
    except (ValueError, TypeError, ArithmeticError) as error:
        if name in TABLE and given:  # an error of the user's own function keeps its traceback
            raise ConfigError(f'environment "{name}": {error}') from error
        raise
    return checked(name, env)


def checked(name: str, env: Any) -> Env:
    """Return what the function ``name`` made if it is an environment. Raises UnknownName for anything else, and
    ContractError where one of the user's own breaks its contract."""
    from ibal.types import Env

    if not isinstance(env, Env):
        raise UnknownName(
            f'"{name}" returned a {type(env).__name__}; an environment function returns an ibal.types.Env'
        )
    if ":" in name:  # ours are held to it by the tests
        from ibal.envs.check import check_functions, check_spec

        check_functions(env)
        check_spec(env.spec)
    return env
