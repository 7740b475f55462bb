"""One distance decides whether views agree, wherever that is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.view_agreement import agreement_px
from ml_backend.labels.completion import complete
from ml_backend.labels.label_check import contradicted_clicks
from ml_backend.labels.pseudo_labelling import PseudoParams, acceptable_keypoints


def pictures_of(rig: Rig, size_px: tuple[int, int]) -> Rig:
    return Rig(tuple(camera.resized(size_px) for camera in rig.cameras))


def test_two_per_cent_of_the_subject_but_at_least_ten_pixels(make_ring: Any) -> None:
    rig = make_ring(1)
    crowd = np.concatenate((np.linspace((0.0, 0), (600, 800), 20), [[5000.0, 9000], [np.nan, 1]]))
    assert agreement_px(rig, np.array([[[0.0, 0], [30, 40]]])) == [10.0]
    assert agreement_px(rig, np.array([[[0.0, 0], [600, 800], [300, 400]]])) == [20.0]
    assert agreement_px(rig, np.full((1, 3, 2), np.nan)) == [10.0]
    assert agreement_px(rig, crowd[None])[0] < 21, "one wild point does not enlarge it"


def test_on_small_pictures_two_per_cent_of_the_picture(make_ring: Any) -> None:
    cameras = make_ring(2).cameras
    rig = Rig((cameras[0].resized((192, 108)), replace(cameras[1], name="large")))
    np.testing.assert_allclose(agreement_px(rig, np.full((3, 2, 4, 2), 5.0)), [[3.84, 10.0]] * 3)


def test_what_the_user_set_counts_everywhere(make_ring: Any) -> None:
    assert (agreement_px(make_ring(2), np.zeros((5, 2, 3, 2)), 4.5) == 4.5).all()


@pytest.mark.parametrize("shape", [(0, 3, 4, 2), (2, 3, 0, 2)])
def test_nothing_to_agree_on(shape: Any, make_ring: Any) -> None:
    assert (agreement_px(make_ring(3), np.zeros(shape)) == 10).all()
    with pytest.raises(BadInputError, match="agreement"):
        agreement_px(make_ring(3), np.zeros(5))


@pytest.mark.parametrize(("off_px", "agrees"), [(3.0, True), (6.0, False)])
def test_pseudo_labels_quality_check_and_completion_agree_about_agreement(off_px: Any, agrees: Any, make_ring: Any) -> None:
    """A keypoint of six exact cameras and one that is off: on pictures of 192 px the line is 3.84 px, nowhere 10 or 3."""
    from ml_backend.geometry.triangulation import triangulate_robust

    rig = pictures_of(make_ring(8), (192, 108))
    xy = rig.project(np.random.default_rng(0).uniform(-100, 100, (1, 3, 3)))
    xy[0, 1, 0] += (0.0, off_px)
    given = np.ones(xy.shape[:3], dtype=np.bool_)
    given[0, 7] = False
    xy[0, 7] = np.nan
    assert acceptable_keypoints(triangulate_robust(rig, xy), PseudoParams())[0, 0] == agrees
    assert (contradicted_clicks(rig, xy) == []) == agrees
    assert complete(rig, xy, given, ~given).filled[0, 7, 0] == agrees
