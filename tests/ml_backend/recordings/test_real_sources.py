"""Real recordings: sizes, counts, exact frames, mirror views."""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from label_config.settings.recording_settings import RecordingSettings as RecordingSpec
from label_config.values import ByteArray, ImageRef
from ml_backend.recordings import iter_images, open_recording, probe, read_image, reconcile_size

from .conftest import readable

pytestmark = pytest.mark.data


def test_pose2sim_decoded_sizes_differ_from_the_calibration(data_folder: Any) -> None:
    videos = sorted((data_folder / "pose2sim_single_4cam" / "videos").glob("*.mp4"))
    infos = [probe(video) for video in videos]
    assert [info.size_px for info in infos] == [(1080, 1920)] * 2 + [(1088, 1920)] * 2
    assert {info.n_frames for info in infos} == {100}
    warnings = [reconcile_size(video.stem, info.size_px, (1088, 1920)).warning for video, info in zip(videos, infos, strict=True)]
    assert ["8 px cut from the right" in (warning or "") for warning in warnings] == [True, True, False, False]
    picture = read_image(ImageRef(str(videos[2]), 3))
    assert picture.shape == (1920, 1088, 3)


def test_pose2sim_opens_as_four_views(data_folder: Any) -> None:
    videos = sorted((data_folder / "pose2sim_single_4cam" / "videos").glob("*.mp4"))
    recording = open_recording(RecordingSpec(sequence="balancing", views={video.stem: str(video) for video in videos}))
    assert len(recording.frames) == 100
    assert all(len(frame.images) == 4 for frame in recording.frames)
    assert recording.fps == pytest.approx(60)


def test_mirror_mouse_is_two_crops_of_each_picture(data_folder: Any) -> None:
    source = str(data_folder / "lp_mirror_mouse" / "labeled-data" / "img*.png")
    views = {"side": {"source": source, "crop": (0, 0, 396, 190)}, "bottom": {"source": source, "crop": (0, 190, 396, 216)}}
    recording = open_recording(RecordingSpec.model_validate({"sequence": "mouse", "views": views}))
    frame = recording.frames[10]
    pictures = dict(iter_images([frame.images["side"], frame.images["bottom"]]))
    whole = cv2.imread(frame.images["side"].source)
    assert whole is not None
    np.testing.assert_array_equal(np.vstack([readable(pictures[0]), readable(pictures[1])]), whole[..., ::-1])


def read_by_opencv(video: str, count: int) -> Iterator[ByteArray]:
    """The first pictures of a video in RGB."""
    capture = cv2.VideoCapture(video)
    for _ in range(count):
        ok, picture = capture.read()
        assert ok
        yield np.ascontiguousarray(picture[..., ::-1]).astype(np.uint8)
    capture.release()


def test_openfield_video_has_2330_frames_and_exact_order(data_folder: Any) -> None:
    video = str(data_folder / "dlc_openfield" / "videos" / "m3v1mp4.mp4")
    assert probe(video).n_frames == 2330
    wanted = [2, 40, 41, 250]
    expected = {i: picture for i, picture in enumerate(read_by_opencv(video, 251)) if i in wanted}
    for position, found in iter_images([ImageRef(video, i) for i in reversed(wanted)]):
        np.testing.assert_array_equal(readable(found), expected[wanted[::-1][position]])
