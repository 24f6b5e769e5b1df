"""ibal: robust cooperative multi-agent reinforcement learning in JAX, from the environment to the result card.

    run = ibal.train("smac/8m", method="ibal", preset="laptop", steps=1_000_000, seeds=3)
    attack = ibal.fit("interaction", run.teams[0])
    table = ibal.evaluate(run.teams, attacks=["natural", attack, "fgsm"], perturbations=["none", "dis-1"])
    ibal.watch(run.teams[0], attack)
    ibal.audit(run.teams[0], out="audit.html")

Wherever a name goes, a configuration or what was built of it goes as well. Nothing is written unless ``out`` is given.
Names below are resolved on first use, so that ``import ibal`` costs nothing (importing jax alone takes about 2 s).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibal.adversaries.base import ActView, Adversary, Feedback, ObsView, Threat, adversary
    from ibal.adversaries.check import check_adversary
    from ibal.api.attacked import attacked
    from ibal.api.audit import Audit, audit
    from ibal.api.boxes import black_box
    from ibal.api.evaluate import evaluate
    from ibal.api.fit import fit
    from ibal.api.grid import Grid, grid
    from ibal.api.names import attacks, environments, learners, methods
    from ibal.api.policy import load_policy
    from ibal.api.records import Attacker, Evaluation, Replay, Run, Team
    from ibal.api.train import train
    from ibal.api.watch import watch
    from ibal.contract import ContractError
    from ibal.envs import make
    from ibal.envs.check import check_env
    from ibal.experiments.config import RunConfig
    from ibal.options import ConfigError
    from ibal.registry import UnknownName
    from ibal.types import Block, Env, EnvSpec, Episodes, Frame, ObsLayout, Policy, Scene, TimeStep

__version__ = "0.1.0"

__all__ = [
    "ActView",
    "Adversary",
    "Attacker",
    "Audit",
    "Block",
    "ConfigError",
    "ContractError",
    "Env",
    "EnvSpec",
    "Episodes",
    "Evaluation",
    "Feedback",
    "Frame",
    "Grid",
    "ObsLayout",
    "ObsView",
    "Policy",
    "Replay",
    "Run",
    "RunConfig",
    "Scene",
    "Team",
    "Threat",
    "TimeStep",
    "UnknownName",
    "__version__",
    "adversary",
    "attacked",
    "attacks",
    "audit",
    "black_box",
    "check_adversary",
    "check_env",
    "environments",
    "evaluate",
    "fit",
    "grid",
    "learners",
    "load_policy",
    "make",
    "methods",
    "train",
    "watch",
]

_HOME = {
    "adversaries.base": ("ActView", "Adversary", "Feedback", "ObsView", "Threat", "adversary"),
    "adversaries.check": ("check_adversary",),
    "api.attacked": ("attacked",),
    "api.audit": ("Audit", "audit"),
    "api.boxes": ("black_box",),
    "api.evaluate": ("evaluate",),
    "api.fit": ("fit",),
    "api.grid": ("Grid", "grid"),
    "api.names": ("attacks", "environments", "learners", "methods"),
    "api.policy": ("load_policy",),
    "api.records": ("Attacker", "Evaluation", "Replay", "Run", "Team"),
    "api.train": ("train",),
    "api.watch": ("watch",),
    "contract": ("ContractError",),
    "envs": ("make",),
    "envs.check": ("check_env",),
    "experiments.config": ("RunConfig",),
    "options": ("ConfigError",),
    "registry": ("UnknownName",),
    "types": ("Block", "Env", "EnvSpec", "Episodes", "Frame", "ObsLayout", "Policy", "Scene", "TimeStep"),
}


def __getattr__(name: str) -> Any:
    home = next((module for module, names in _HOME.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'ibal' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ibal.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
