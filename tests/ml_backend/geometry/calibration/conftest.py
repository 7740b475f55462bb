"""A rig that every format's test describes in that format's own words."""

import numpy as np
import pytest

from label_config.values import FloatArray
from ml_backend.geometry.cameras import Rig
from tests.foreign.calibrations import TARGET, four_cameras


@pytest.fixture
def rig() -> Rig:
    return four_cameras()


@pytest.fixture
def points() -> FloatArray:
    """(30, 3) points where the cameras look, millimetres."""
    return TARGET + np.random.default_rng(0).uniform(-500, 500, (30, 3))
