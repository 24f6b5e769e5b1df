import pytest

from ibal.viz import Trajectory
from unit.viz import skirmish


@pytest.fixture(scope="session")
def natural() -> Trajectory:
    return skirmish.play(label="natural")


@pytest.fixture(scope="session")
def jammed() -> Trajectory:
    return skirmish.play(attacked=True, label="jammed")
