"""Scores of auxiliary networks in the unit that they are trained in."""

from __future__ import annotations

from typing import Any

import numpy as np

from label_config.values.prediction import Output
from ml_backend.acquisition.scores.auxiliary import Aleatoric
from tests.predictions import changed


def test_the_same_picture_three_times_as_large_has_the_same_aleatoric_uncertainty(world: Any) -> None:
    """Crops of 128 px are 2 px per cell; errors of e px are ln(e²) − ln(2²)."""
    variance = np.full(world.chunk.xy_px.shape[:3], 2.0)
    box = np.broadcast_to([5.0, 5.0, 128.0, 128.0], world.chunk.prediction.box_px.shape)
    far = Aleatoric().score(changed(world.chunk, {Output.VARIANCE: variance}, box_px=box), None)
    near = Aleatoric().score(changed(world.chunk, {Output.VARIANCE: variance + 2 * np.log(3)}, box_px=3 * box), None)
    np.testing.assert_allclose(far.raw, 2 - 2 * np.log(2))
    np.testing.assert_allclose(near.raw, far.raw)
