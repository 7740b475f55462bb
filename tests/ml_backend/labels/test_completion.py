"""Points told by other views: exact where labels leave no doubt, silent everywhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from label_config.values import BoolArray, FloatArray
from ml_backend.geometry.cameras import Camera, Rig
from ml_backend.labels.completion import complete, overlooked

POINTS = np.random.default_rng(0).uniform(-60, 60, (2, 5, 3))
#: In these pictures views agree within 2 % of the picture's side.
SIZE_PX, AGREE_PX = (400, 400), 8.0


def camera(name: str, degrees: float) -> Camera:
    """Looks at the origin from a circle of 1 m radius: a world unit there is half a pixel."""
    angle = np.radians(degrees)
    forward = -np.array([np.cos(angle), 0.0, np.sin(angle)])
    down = np.array([0.0, 1.0, 0.0])
    rotation = np.stack([np.cross(down, forward), down, forward])
    K = np.array([[500.0, 0, 199.5], [0, 500.0, 199.5], [0, 0, 1]])
    return Camera(name, K, rotation, rotation @ (1000 * forward), size_px=SIZE_PX)


def rig(*degrees: float) -> Rig:
    return Rig(tuple(camera(f"cam{i}", angle) for i, angle in enumerate(degrees)))


RIG = rig(0, 80, 160)
TRUTH = RIG.project(POINTS)


def views(*which: int, of: FloatArray = TRUTH) -> BoolArray:
    chosen = np.zeros(of.shape[:3], dtype=np.bool_)
    chosen[:, list(which)] = True
    return chosen


def test_two_exact_views_tell_the_third_exactly() -> None:
    xy = np.where(views(2)[..., None], np.nan, TRUTH)
    told = complete(RIG, xy, views(0, 1), views(2))
    np.testing.assert_array_equal(told.filled, views(2))
    np.testing.assert_allclose(told.xy_px, TRUTH, atol=1e-6)
    np.testing.assert_allclose(told.xyz_world, POINTS, atol=1e-6)


def test_only_what_is_wanted_is_filled() -> None:
    xy = np.where(views(2)[..., None], np.nan, TRUTH)
    wanted = views(2)
    wanted[0, 2, 3] = False
    told = complete(RIG, xy, views(0, 1), wanted)
    np.testing.assert_array_equal(told.filled, wanted)
    assert np.isnan(told.xy_px[0, 2, 3]).all()


@pytest.mark.parametrize(
    ("degrees", "filled"),
    [((0, 9, 160), False), ((0, 11, 160), True)],
    ids=["rays cross at 9 degrees", "rays cross at 11 degrees"],
)
def test_nearly_parallel_rays_tell_nothing(degrees: tuple[float, ...], filled: bool) -> None:
    # Points up to 0.1 m off the axis of cameras 1 m away change the angle by far less than a degree at the origin itself.
    here, point = rig(*degrees), np.zeros((1, 1, 3))
    truth = here.project(point)
    told = complete(here, truth, views(0, 1, of=truth), views(2, of=truth))
    assert told.filled.any() == filled


def test_given_points_that_contradict_each_other_tell_nothing() -> None:
    # The cameras stand in one plane: a vertical shift of one view by 2 d leaves d of residual in each, whatever the depth.
    for shift, expected in ((2 * AGREE_PX + 2, False), (2 * AGREE_PX - 2, True)):
        xy = TRUTH.copy()
        xy[0, 1, 0, 1] += shift
        told = complete(RIG, xy, views(0, 1), views(2))
        assert told.filled[0, 2, 0] == expected
        assert told.filled[:, 2, 1:].all()


def test_a_place_outside_the_picture_is_not_filled() -> None:
    far = np.array([[[0.0, 0.0, 420.0]]])  # 0 and 180 degrees see it 210 px from the middle, 90 degrees at its own middle
    here = rig(0, 90, 45)
    truth = here.project(far)
    assert abs(truth[0, 0, 0, 0] - 199.5) > 200.5
    told = complete(here, truth, views(1, 2, of=truth), views(0, of=truth))
    assert not told.filled.any()


def cases() -> dict[str, Any]:
    off = TRUTH.copy()
    off[0, 2, 0] += (0.0, 20.0)
    slightly = TRUTH.copy()
    slightly[0, 2, 0] += (0.0, 1.0)
    torn = off.copy()
    torn[0, 0, 0] += (0.0, 40.0)
    return {
        "two placed views contradict the third": (off, (0, 1), (2,), True),
        "a third that is nearly right stands": (slightly, (0, 1), (2,), False),
        "one placed view contradicts nobody": (off, (0,), (2,), False),
        "placed views that disagree have no say": (torn, (0, 1), (2,), False),
        "what was placed is never overlooked": (off, (0, 1, 2), (), False),
    }


@pytest.mark.parametrize("case", cases())
def test_overlooked_points(case: str) -> None:
    xy, placed, accepted, expected = cases()[case]
    found = overlooked(RIG, xy, views(*placed), views(*accepted))
    wanted = np.zeros_like(found)
    wanted[0, 2, 0] = expected
    np.testing.assert_array_equal(found, wanted)
