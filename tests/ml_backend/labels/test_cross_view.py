"""From clicks in some views to the same keypoints in all others."""

from __future__ import annotations

import numpy as np
import pytest

from label_config.values import BoolArray, FloatArray
from ml_backend.geometry.cameras import Camera, Rig
from ml_backend.labels.cross_view import complete_frame

PLACES = np.array([[0.0, 0, 0], [100, 0, 50], [-80, 60, 120], [30, -90, -40]])


def ring(views: int, *, spread_deg: float = 360.0) -> Rig:
    """Full-HD cameras 3 m from the origin, evenly spaced over an arc."""
    K = np.array([[1500.0, 0, 959.5], [0, 1500, 539.5], [0, 0, 1]])
    cameras = []
    for v in range(views):
        a = np.radians(spread_deg) * v / views
        forward = -np.array([np.cos(a), np.sin(a), 0.0])
        right = np.cross(forward, [0, 0, 1.0])
        rotation = np.stack((right, np.cross(forward, right), forward))
        cameras.append(Camera(f"cam{v}", K, rotation, 3000 * rotation @ forward, np.zeros(0), "pinhole", (1920, 1080)))
    return Rig(tuple(cameras))


RIG = ring(5)
TRUE = RIG.project(PLACES)


def clicks(*places: tuple[int, int], xy_px: FloatArray = TRUE) -> FloatArray:
    """(V, K, 2) with these (view, keypoint) alone."""
    out = np.full(xy_px.shape, np.nan)
    for place in places:
        out[place] = xy_px[place]
    return out


def only(keypoint: int) -> BoolArray:
    return np.asarray(np.arange(len(PLACES)) == keypoint)


def test_after_one_click_the_model_says_where_on_the_ray() -> None:
    """The model is 6 px wrong all over; the completed point lies on the click's ray, nearer to the truth than the model's."""
    rng = np.random.default_rng(0)
    model = TRUE + rng.normal(0, 6, TRUE.shape)
    found = complete_frame(RIG, clicks((1, 2)), model, only(2))
    others = [0, 2, 3, 4]
    assert np.isfinite(found.xy_px[others, 2]).all()
    completed, predicted = (np.linalg.norm(xy[others, 2] - TRUE[others, 2], axis=-1).mean() for xy in (found.xy_px, model))
    assert completed < predicted
    assert found.by_model.tolist() == [False, False, True, False]


def test_the_clicked_view_is_left_to_the_person_and_other_keypoints_alone() -> None:
    found = complete_frame(RIG, clicks((1, 2)), TRUE, only(2))
    assert np.isnan(found.xy_px[1, 2]).all()
    assert np.isnan(found.xy_px[:, [0, 1, 3]]).all()


def test_after_one_click_nothing_follows_without_a_model() -> None:
    found = complete_frame(RIG, clicks((1, 2)), np.full(TRUE.shape, np.nan), only(2))
    assert np.isnan(found.xy_px).all()
    assert not found.by_model.any()


def test_a_model_that_contradicts_the_click_in_every_view_is_not_followed() -> None:
    model = TRUE + [0.0, 400.0]  # straight across every ray
    found = complete_frame(RIG, clicks((1, 2)), model, only(2))
    assert np.isnan(found.xy_px).all()


def test_after_two_clicks_the_model_is_not_asked() -> None:
    wrong = TRUE + 25.0
    found = complete_frame(RIG, clicks((0, 1), (1, 1)), wrong, only(1))
    np.testing.assert_allclose(found.xy_px[2:, 1], TRUE[2:, 1], atol=1e-3)
    assert not found.by_model.any()
    np.testing.assert_allclose(found.off_px[:2, 1], 0, atol=1e-3)
    assert np.isnan(found.off_px[2:]).all()


def test_all_keypoints_with_two_clicks_are_completed_whichever_was_asked() -> None:
    given = clicks((0, 1), (1, 1), (2, 3), (4, 3), (3, 0))
    found = complete_frame(RIG, given, np.full(TRUE.shape, np.nan), only(1))
    np.testing.assert_allclose(found.xy_px[[2, 3, 4], 1], TRUE[[2, 3, 4], 1], atol=1e-3)
    np.testing.assert_allclose(found.xy_px[[0, 1, 3], 3], TRUE[[0, 1, 3], 3], atol=1e-3)
    assert np.isnan(found.xy_px[:, [0, 2]]).all()


def test_of_four_clicks_one_slip_does_not_count_and_is_named() -> None:
    given = clicks((0, 1), (1, 1), (2, 1), (3, 1))
    given[2, 1] += [70.0, -50]
    found = complete_frame(RIG, given, np.full(TRUE.shape, np.nan), only(1))
    np.testing.assert_allclose(found.xy_px[4, 1], TRUE[4, 1], atol=1e-3)
    assert found.sure[4, 1] == pytest.approx(3 / 4)
    assert found.off_px[2, 1] == pytest.approx(np.hypot(70, 50), abs=1)


def test_two_clicks_that_contradict_each_other_complete_nothing() -> None:
    given = clicks((0, 1), (1, 1))
    given[1, 1] += [0.0, 300]
    found = complete_frame(RIG, given, TRUE, only(1), newest=1)
    assert np.isnan(found.xy_px).all()


def test_where_two_rays_are_nearly_parallel_the_model_says_the_depth() -> None:
    rig = ring(40)  # 9° apart
    true = rig.project(PLACES)
    given = clicks((0, 1), (1, 1), xy_px=true)
    alone = complete_frame(rig, given, np.full(true.shape, np.nan), only(1), newest=1)
    with_model = complete_frame(rig, given, true, only(1), newest=1)
    assert with_model.by_model[1]
    np.testing.assert_allclose(with_model.xy_px[10, 1], true[10, 1], atol=0.1)
    # The other click is the only witness then, and says what it can.
    np.testing.assert_allclose(alone.xy_px[10, 1], true[10, 1], atol=0.1)


def test_a_place_outside_a_picture_is_not_suggested_there() -> None:
    rig = Rig((*RIG.cameras[:4], RIG.cameras[4].cropped(0, 0, 200, 200)))
    found = complete_frame(rig, clicks((0, 1), (1, 1)), np.full(TRUE.shape, np.nan), only(1))
    assert np.isfinite(found.xy_px[2:4, 1]).all()
    assert np.isnan(found.xy_px[4, 1]).all()
