"""What ``parallax init`` makes of real recordings and their calibration."""

from typing import Any

import numpy as np
import pytest

from label_config.settings.recording_settings import RecordingSettings as RecordingSpec
from label_config.settings.spec import Spec
from label_config.values import BadInputError, ParallaxError
from plugins.label_studio_sync import adoption_plan

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def four_cameras(data_folder: Any) -> Any:
    """(view → video, calibration)"""
    folder = data_folder / "pose2sim_single_4cam"
    return {path.stem: str(path) for path in sorted((folder / "videos").glob("*.mp4"))}, str(
        folder / "calibration" / "Calib.qca.txt"
    )


def understood(four_cameras: Any, **changed: Any) -> Any:
    views, calibration = four_cameras
    entry = RecordingSpec.model_validate({"sequence": "s", "views": {**views, **changed}, "calibration": calibration})
    lines: list[str] = []
    recording, rig = adoption_plan._recording(entry, Spec.model_validate({"schema_version": 1}), lines)
    return recording, rig, lines


def test_the_camera_of_a_cut_and_turned_view_is_cut_and_turned(four_cameras: Any) -> None:
    _, whole, lines = understood(four_cameras)
    assert lines[0] == "recording 's': 100 frames, 4 views, all of them at 100 frames"
    cut = {"source": four_cameras[0]["cam03"], "crop": (100, 200, 700, 900), "rotation": 90}
    recording, rig, lines = understood(four_cameras, cam03=cut)
    place = rig.names.index("cam03")
    assert rig.cameras[place].size_px == recording.size_px["cam03"] == (900, 700)
    points = np.random.default_rng(0).uniform(-300, 300, (20, 3))
    expected = recording.transforms["cam03"].to_view(whole.cameras[place].project(points))
    np.testing.assert_allclose(rig.cameras[place].project(points), expected, atol=1e-9)
    assert any("taken as that of the source picture and transformed with it" in line for line in lines)


def test_a_mirrored_view_needs_a_statement(four_cameras: Any) -> None:
    mirrored = {"source": four_cameras[0]["cam03"], "flip": True}
    with pytest.raises(BadInputError, match=r"'cam03' is mirrored.*calibrated_on"):
        understood(four_cameras, cam03=mirrored)
    _, rig, _ = understood(four_cameras, cam03={**mirrored, "calibrated_on": "view"})
    assert rig == understood(four_cameras)[1]


def test_the_largest_size_of_the_settings_holds(four_cameras: Any) -> None:
    views, calibration = four_cameras
    entry = RecordingSpec.model_validate({"sequence": "s", "views": views, "calibration": calibration})
    with pytest.raises(ParallaxError, match=r"raise cache\.max_megapixels"):
        adoption_plan._recording(entry, Spec.model_validate({"schema_version": 1, "cache": {"max_megapixels": 1}}), [])
