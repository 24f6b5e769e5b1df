"""Build everything that a study names, and play nothing: ``python -m ibal.experiments.grid.check STUDY``.

Exit status 2 with one sentence on standard output for what cannot be run. A process of its own, because it imports jax.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ibal import envs
from ibal.adversaries import learns
from ibal.contract import ContractError
from ibal.evaluation.bank import configuration
from ibal.experiments.config import RunConfig
from ibal.experiments.methods import adversary_of
from ibal.experiments.runs import Planned, runs_of
from ibal.experiments.study import Study, load_study
from ibal.game.perturb import perturb
from ibal.options import ConfigError
from ibal.types import Env

_envs: dict[str, Env] = {}


def check(study: Study, planned: Planned) -> None:
    """Raise ConfigError, UnknownName or ContractError for what cannot be run."""
    for training in study.trainings:
        env = _world(training.config)
        adversary_of(training.config.method, env.spec, dict(training.config.method_options))
    for i, evaluation in enumerate(study.evaluations, 1):
        here = f"[[evaluate]] {i}"
        fitted = next((one.attack for one in study.attackers if one.name == evaluation.attackers), ())
        for attack in evaluation.attacks:
            base, config, _ = configuration(attack)
            if learns(config) and base not in fitted:
                raise ConfigError(
                    f'{here}: "{attack}" has to be fitted; write [[attackers]] with attack = "{base}" and on = …, and '
                    "attackers = … here"
                )
        for training in study.trainings:
            if training.name in evaluation.teams:
                for name in evaluation.perturbations:
                    try:
                        perturb(_world(training.config), name)
                    except ValueError as error:
                        raise ConfigError(f"{here}: {error}") from error


def _world(config: RunConfig) -> Env:
    options = dict(config.env_options)
    which = f"{config.env} {sorted(options.items())}"
    if which not in _envs:
        _envs[which] = envs.made(config.env, options)
    return _envs[which]


def main(argv: Sequence[str] | None = None) -> int:
    """Check one study file."""
    path = Path((sys.argv[1:] if argv is None else argv)[0])
    try:
        study = load_study(path)
        check(study, runs_of(study, path.parent))
    except (ValueError, ContractError) as error:
        sys.stdout.write(f"{path}: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
