"""The learners. ``ibal.learners`` is this package, and the function that lists what it holds."""

from __future__ import annotations

import sys
from types import ModuleType

LEARNERS = {
    "qmix": "recurrent double-Q learning, values mixed monotonically by a network that sees the state",
    "vdn": "the same, values added up",
    "qplex": "the same, advantages mixed",
    "iql": "the same, every agent on its own",
    "mappo": "policy gradients: a team that chooses by chance, and a critic that sees the state",
    "ippo": "the same, the critic sees what each agent sees",
    "pqn-vdn": "values as of vdn, learned from the episodes just played: no replay, no target network",
    "pqn-qmix": "the same, values mixed by a network that sees the state",
}


class _Package(ModuleType):
    """A package that can be called: its name is that of the function."""

    def __call__(self) -> dict[str, str]:
        """Return the learners by name, each with a line of help; ``ibal.train(…, learner="qplex")``."""
        return dict(LEARNERS)


sys.modules[__name__].__class__ = _Package
