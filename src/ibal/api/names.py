"""What can be asked for by name. Imports no jax."""

from __future__ import annotations


def environments() -> dict[str, str]:
    """Return the environments by name, each with a line of help.

    Example:
        >>> ibal.environments()["smac/3m"]  # '3 agents against 3, 60 steps'
    """
    from ibal.envs import TABLE

    return {name: entry.help for name, entry in TABLE.entries.items()}


def attacks() -> dict[str, str]:
    """Return the attacks and the faults by name, each with a line of help; those that learn nothing need no fitting.

    Their options are fields of the dataclasses that ``ibal.adversaries.config`` lists; ``ibal attack list`` prints
    them. An option may follow in brackets: ``"interaction[fill=mean]"``. Faults have a number and a time as well, and
    come together: ``"lost-30+stop-1@40"``.
    """
    from ibal.adversaries import TABLE
    from ibal.adversaries.fault_names import FAULTS

    return {name: entry.help for name, entry in {**TABLE.entries, **FAULTS.entries}.items()}


def methods() -> dict[str, str]:
    """Return the methods by name: what a team trains against, each with a line of help."""
    from ibal.experiments.methods import METHODS

    return {name: method.help for name, method in METHODS.items()}


def learners() -> dict[str, str]:
    """Return the learners by name, each with a line of help: ``ibal.train(…, learner="qplex")``."""
    from ibal.learners import LEARNERS

    return dict(LEARNERS)
