from dataclasses import replace
from typing import Any

import pytest

from label_config.values import BadInputError
from ml_backend.geometry.calibration import match_views
from ml_backend.geometry.cameras import Rig


def named(rig: Rig, *names: str) -> Rig:
    return Rig(tuple(replace(camera, name=name) for camera, name in zip(rig.cameras, names, strict=False)), "cm")


@pytest.mark.parametrize(
    ("cameras", "views", "order"),
    [
        (("a", "b", "c"), ("c", "a"), (2, 0)),  # exact, fewer views than cameras
        (("a", "A", "b"), ("A", "a"), (1, 0)),  # exact wins where case alone would be ambiguous
        (("Left", "Right"), ("right", "LEFT"), (1, 0)),
        (("videos/Cam-A.mp4", "Cam-B.avi"), ("cam-b", "cam-a"), (1, 0)),  # folder and extension
        (("Cam-A", "Cam-B"), ("cam_b", "camA"), (1, 0)),  # letters and digits alone
        ((r"C:\rec\top.mp4", "side"), ("top", "side"), (0, 1)),
    ],
)
def test_views_find_their_cameras(cameras: Any, views: Any, order: Any, rig: Any) -> None:
    rig = named(rig, *cameras)
    found = match_views(rig, views)
    assert found.names == views
    assert found.unit == "cm"
    assert [camera.K.tolist() for camera in found.cameras] == [rig.cameras[i].K.tolist() for i in order]


@pytest.mark.parametrize(
    ("cameras", "views"),
    [
        (("a", "b"), ("a", "c")),
        (("left", "LEFT"), ("Left",)),  # two cameras for one view
        (("left", "right"), ("left", "Left")),  # one camera for two views
    ],
)
def test_no_or_no_single_camera_lists_both_sides(cameras: Any, views: Any, rig: Any) -> None:
    with pytest.raises(BadInputError) as caught:
        match_views(named(rig, *cameras), views)
    for name in (*cameras, *views):
        assert name in str(caught.value)
