"""Outputs of auxiliary networks reach the scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from label_config.settings.learning_settings import ScoreSettings
from label_config.values.prediction import Output, Prediction
from ml_backend.jobs.scoring import auxiliary_networks
from ml_backend.project.predict_frames import _Collector


@pytest.mark.parametrize(
    ("scores", "networks"),
    [
        ("auto", ()),
        ({"mc": 1.0, "random": 0.0}, ()),
        ({"vl4pose": 1.0}, ("links",)),
        ({"learning_loss": 1.0, "mc": 2.0, "aleatoric": 0.0}, ("aleatoric", "learning_loss")),
    ],
)
def test_scores_decide_which_auxiliary_networks_are_trained(scores: Any, networks: tuple[str, ...]) -> None:
    assert auxiliary_networks(scores) == networks


def test_refinement_by_limbs_needs_their_lengths() -> None:
    assert auxiliary_networks("auto", limb_refinement=True) == ("links",)
    assert auxiliary_networks({"vl4pose": ScoreSettings(weight=1.0)}, limb_refinement=True) == ("links",)


def test_pictures_find_their_place_and_missing_views_are_nan() -> None:
    batch = Prediction(
        xy_px=np.ones((2, 3, 2)),
        confidence=np.ones((2, 3)),
        box_px=np.ones((2, 4)),
        outputs={Output.LINKS: np.arange(8.0).reshape(2, 2, 2), Output.LEARNING_LOSS: np.array([5.0, 7.0])},
    )
    collector = _Collector(2, 2, 3)
    picture = np.zeros((4, 6, 3), np.uint8)
    collector.take([(0, 1, picture), (1, 0, picture)], batch)
    seen = collector.result()
    np.testing.assert_array_equal(seen.outputs[Output.LINKS][0, 1], [[0, 1], [2, 3]])
    np.testing.assert_array_equal(seen.outputs[Output.LEARNING_LOSS], [[np.nan, 5], [7, np.nan]])
    assert np.isnan(seen.outputs[Output.LINKS][0, 0]).all()
    assert Output.VARIANCE not in seen.outputs
