"""The methods: how a team becomes robust. A method is a training adversary, and options of the learner where it has
any; adding one is one line. All of them go with every mixer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ibal.adversaries import fault_names
from ibal.learners.config import LearnerConfig, name_of
from ibal.options import ConfigError, Scalar, with_options
from ibal.registry import Own, UnknownName, hint, load, quoted

if TYPE_CHECKING:
    from ibal.adversaries.base import Adversary
    from ibal.types import Env, EnvSpec


@dataclass(frozen=True)
class Method:
    """``adversary`` is a name of ``ibal.adversaries.TABLE``, or ``module:Class`` of one that teams train against only,
    built with ``options``; ``learner`` are fields of ``ValueConfig``; ``help`` is one line."""

    adversary: str
    help: str
    options: dict[str, Any] = field(default_factory=dict)
    learner: dict[str, Any] = field(default_factory=dict)


ERNIE = {"smooth": 0.1}
# Officially nobody learns after 500 of 800 generations; here after that share of a training, however long it is. It is
# some ten times as long as a fitting, so that fewer gradient steps an iteration do.
ROMANCE = {"freeze": 0.625, "updates": 16}
# One failure of each kind; EGA, Wolfpack's planner and masks of single entries are left to be met for the first time.
ALL_KINDS = {
    "failures": (
        "natural", "interaction", "interaction[masks=random]", "stop-1", "vanish-1", "wolfpack-random", "random",
        "fgsm", "abs-1", "hp-20",
    )
}  # fmt: skip

METHODS: dict[str, Method] = {
    "vanilla": Method("natural", "nobody interferes"),
    "rand-obs": Method("random-obs", "noise on observations"),
    "rand-act": Method("random-act", "random actions now and then"),
    "fgsm": Method("fgsm", "white-box noise on one agent's observation, against the team as it is"),
    "atla": Method("atla", "an attacker on observations that learns in turns with the team"),
    "romance": Method("ega", "an evolving population of attackers on actions", ROMANCE),
    "ernie": Method("natural", "nobody interferes; choices are kept from changing with small noise", learner=ERNIE),
    "wall": Method("wolfpack", "one agent does its worst at a bad moment, then those whom that changes most"),
    "wall-random": Method("wolfpack-random", "ablation: the same at any moment, without a planner"),
    "ibal": Method("interaction", "interaction-breaking adversarial learning: the paper's method"),
    "ibal-fixed-p": Method("interaction", "ablation: P = 1/K, not adapted", {"alpha": 1.0}),
    "ibal-random-masks": Method("interaction", "ablation: random entries are hidden", {"masks": "random"}),
    "ibal-no-obs": Method("interaction", "ablation: nothing is hidden", {"masks": "off"}),
    "ibal-no-act": Method("interaction", "ablation: no action is replaced", {"actions": "off"}),
    "ibal-literal": Method("interaction-literal", "the paper to the letter: its masks and both of its estimators"),
    "occlude-retreat": Method("occlude-retreat", "the control without estimators: exact blocks hidden, G1 retreats"),
    "worst-first": Method(
        "ibal.adversaries.worst_first:WorstFirstConfig", "a mixture of failures, the worst first", ALL_KINDS
    ),
    "decoupled": Method(
        "ibal.adversaries.decoupled:DecoupledConfig", "ibal, but who is hidden says nothing of who misbehaves"
    ),
    "privileged": Method("interaction", "ibal, and the critic is told who is attacked", learner={"privileged": True}),
    "varied": Method("ibal.adversaries.varied:VariedConfig", "failures of every kind at random, nothing estimated"),
}
DEFENDERS = ("worst-first", "decoupled", "privileged", "varied")  # ours, beside the paper's methods


def method(name: str) -> Method:
    """Return the method called ``name``: one of the table; a fault to train under, as "lost-30" or
    "hp-15+stop-1@40"; or ``my_pkg.mod:MyConfig``, an attack of the user's own to train against, if it is ``Own``.
    Raises UnknownName with the closest one."""
    if name not in METHODS and fault_names.is_faulty(name):
        return Method(fault_names.split(name)[1], "trained under these faults")
    if name not in METHODS and ":" in name:
        if not isinstance(name, Own):
            raise UnknownName(
                f"{quoted(name)} is code, and no file may name code as its method; if you trust it, name it yourself: "
                f"--method {quoted(name)[1:-1]}"
            )
        return Method(name, "an attack of your own")
    if name not in METHODS:
        raise UnknownName(f'unknown method "{name}".{hint(name, METHODS)} Methods: {", ".join(METHODS)}')
    return METHODS[name]


def learner_of(name: str, learner: LearnerConfig) -> LearnerConfig:
    """Return ``learner`` with the method's options where it has the defaults. Raises UnknownName, or ConfigError for a
    learner that has no such options."""
    options, default = method(name).learner, type(learner)()
    if missing := [field for field in options if not hasattr(learner, field)]:
        raise ConfigError(
            f"method {name} needs learner.{missing[0]}, which tells the mixer of a value learner who is attacked, and "
            f'"{name_of(learner)}" has no such option; train it with --learner qmix or qplex'
        )
    changes = {field: value for field, value in options.items() if getattr(learner, field) == getattr(default, field)}
    return replace(learner, **changes)


def adversary_of(name: str, spec: EnvSpec, options: Mapping[str, Scalar] | None = None) -> Adversary:
    """Build the adversary that a method trains against in an environment; ``options`` go before the method's own.

    The part of a fault that is the world's own ("hp-15") is ``world_of``. Raises UnknownName, or ValueError for an
    option that the adversary does not have or that is impossible there.
    """
    from ibal.adversaries import built
    from ibal.adversaries.groups import GroupConfig, check_signal

    config = attack_of(name, options)
    if isinstance(config, GroupConfig):
        check_signal(config, spec)
    return built(config, spec)


def attack_of(name: str, options: Mapping[str, Scalar] | None = None) -> Any:
    """Return the configuration of that adversary. Raises as ``adversary_of``."""
    from ibal.adversaries import configured

    found = method(name)
    if name in METHODS and ":" in found.adversary:
        return with_options(load(found.adversary, "method")(**found.options), options or {})
    return with_options(configured(found.adversary, **found.options), options or {})


def world_of(name: str, env: Env) -> Env:
    """Return the world that a method trains in: ``env``, with what the faults of the method change about it.

    Raises ValueError for a perturbation that it cannot follow.
    """
    from ibal.game.perturb import perturb

    if name in METHODS:
        return env
    world, params = perturb(env, fault_names.split(name)[0])
    return world._replace(params=params)
