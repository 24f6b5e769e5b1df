"""What can be asked for by name."""

from __future__ import annotations

import importlib

import ibal
from ibal.adversaries import TABLE
from ibal.adversaries.fault_names import FAULTS
from ibal.experiments.methods import METHODS
from ibal.nets.mixers import MIXERS


def test_every_table_can_be_listed() -> None:
    importlib.import_module("ibal.learners.value")
    assert set(ibal.attacks()) == {*TABLE, *FAULTS}
    assert set(ibal.methods()) == set(METHODS)
    assert set(ibal.learners()) == {
        *MIXERS,
        "mappo",
        "ippo",
        "pqn-vdn",
        "pqn-qmix",
    }  # the package, once it is imported, answers as well
    assert "smac/3m" in ibal.environments()
    assert all(text for listed in (ibal.attacks(), ibal.methods(), ibal.learners()) for text in listed.values())
