"""Adversaries: whatever comes between a team, what it sees and what it does. Adding one is one line in ``TABLE``.

An entry is a frozen dataclass of options with ``build(spec) -> Adversary``. Importing this module imports no jax.
"""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any

from ibal.adversaries import fault_names
from ibal.contract import missing_arguments
from ibal.options import ConfigError, bracketed, with_options
from ibal.registry import Entry, Own, Registry, UnknownName

if TYPE_CHECKING:
    from ibal.adversaries.base import Adversary
    from ibal.types import EnvSpec


TABLE = Registry(
    kind="attack",
    entries={
        "natural": Entry("ibal.adversaries.base:NaturalConfig", "nobody interferes"),
        "random": Entry(
            "ibal.adversaries.random:RandomConfig", "noise on one agent's sight, a random action now and then"
        ),
        "random-obs": Entry(
            "ibal.adversaries.random:RandomObsConfig", "noise on what one random agent sees at every step"
        ),
        "random-act": Entry(
            "ibal.adversaries.random:RandomActConfig", "a random legal action of one random agent now and then"
        ),
        "fgsm": Entry(
            "ibal.adversaries.fgsm:FgsmConfig", "white-box noise against one agent's best action at every step"
        ),
        "pgd": Entry("ibal.adversaries.fgsm:PgdConfig", "the same in ten small steps"),
        "atla": Entry("ibal.adversaries.atla:AtlaConfig", "a network learns how to bend what one agent sees"),
        "ega": Entry(
            "ibal.adversaries.ega:EgaConfig", "an evolving population learns when to force whose worst action"
        ),
        "wolfpack": Entry(
            "ibal.adversaries.wolfpack:WolfpackConfig", "one agent does its worst, then those whom that changes most"
        ),
        "wolfpack-random": Entry(
            "ibal.adversaries.wolfpack:RandomWolfpackConfig", "the same, starting anywhere: nothing is learned"
        ),
        "random-group": Entry(
            "ibal.adversaries.interaction:RandomGroupConfig", "random legal actions of G1 at the rate of interaction"
        ),
        "occlude-retreat": Entry(
            "ibal.adversaries.interaction:OccludeRetreatConfig", "the groups are hidden from each other, G1 retreats"
        ),
        "interaction": Entry(
            "ibal.adversaries.interaction:InteractionConfig", "IBAL: hides what tells most, does what tells least"
        ),
        "interaction-literal": Entry(
            "ibal.adversaries.interaction:LiteralInteractionConfig",
            "the same to the letter: single entries, the paper's estimators",
        ),
    },
    listing="ibal attack list",
    flag="--attack",
)


def variant(name: str) -> tuple[str, dict[str, str]]:
    """Split ``interaction[fill=mean,masks=random]`` into an attack and its options; it stays ``Own`` if it is. Faults,
    and what comes together with them, have theirs in their own brackets: such a name is left whole.

    Raises ConfigError for brackets that hold no options.
    """
    if fault_names.is_faulty(name):
        return name, {}
    base, options = bracketed(name, "interaction[fill=mean]")
    return (Own(base) if isinstance(name, Own) else base), options


def configured(name: str, **options: Any) -> Any:
    """Make the configuration of an attack: a name of the table, ``my_pkg.mod:MyConfig`` if it is ``Own``, either with
    options in brackets, a fault ("stop-1@40"), or several that come together ("random+lost-30").

    Raises UnknownName that says which name is closest, or that what was found is no attack; ConfigError for impossible
    options or numbers.
    """
    name, inside = variant(name)
    if fault_names.is_faulty(name):
        return with_options(_faulty(name), options)
    thing, args = TABLE.load(name)
    if callable(thing) and (missing := missing_arguments(thing, args, options)):
        raise UnknownName(f'"{name}" cannot be made: {missing}')
    made = TABLE.make(name, **options)
    if not is_dataclass(made) or not callable(getattr(made, "build", None)):
        raise UnknownName(
            f'"{name}" gave something of type {type(made).__name__}; an attack is a frozen dataclass with a '
            "function build(spec) that returns an ibal.adversaries.base.Adversary"
        )
    return with_options(made, inside) if inside else made


def _faulty(name: str) -> Any:
    """Make the configuration of a fault, or of several things that come together."""
    worldly, _ = fault_names.split(name)
    if worldly != "none":
        raise ConfigError(
            f'"{worldly}" changes the world itself, which nobody can do who only comes between a team and its world; '
            "it goes with ibal evaluate and ibal train, or into --perturbations"
        )
    words = fault_names.parts(name)
    if len(words) == 1:
        return fault_names.fault(name)
    from ibal.adversaries.combine import ChainConfig

    own = Own if isinstance(name, Own) else str
    return ChainConfig(tuple(_part(own(word)) for word in words))


def _part(name: str) -> Any:
    """Make one of several that come together: a fault, or an attack that learns nothing."""
    config = configured(name)
    if searches(config):
        raise ConfigError(f'"{name}" is looked for while nothing else happens; name it alone')
    if learns(config):
        raise ConfigError(
            f'"{name}" learns, and what learns does not go with others by name; fit it first, and put it together with '
            "ibal.adversaries.combine.chain"
        )
    return config


def learns(config: Any) -> bool:
    """Say whether an attack is nothing until it is fitted; its configuration knows (properties ``learns*``)."""
    return any(getattr(config, name) for name in dir(config) if name.startswith("learns"))


def searches(config: Any) -> bool:
    """Say whether what a configuration means is looked for with the very team that is attacked."""
    return bool(getattr(config, "searches", False))


def built(config: Any, spec: EnvSpec) -> Adversary:
    """Make the adversary of a configuration for an environment.

    Raises ValueError for an option that is impossible there, ContractError if no adversary comes out.
    """
    from ibal.game.referee import check_functions

    return check_functions(config.build(spec))


def build(name: str, spec: EnvSpec, **options: Any) -> Adversary:
    """Make the adversary ``name`` (or ``"my_pkg.mod:MyConfig"``) for an environment; for programs, as ``envs.make``.

    Raises UnknownName that says which name is closest, ValueError for an option that is impossible there.
    """
    return built(configured(Own(name), **options), spec)
