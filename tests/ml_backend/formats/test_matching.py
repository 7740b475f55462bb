"""Labelled pictures and frames: by folder and name, cameras and videos apart, and never by the bare name alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError, Frame, FrameKey, ImageRef
from ml_backend.formats.label_records import LabelledImage
from ml_backend.formats.matching import match_labels_to_frames, picture_parts


def label(source: str, frame: int | None = None, view: str | None = None) -> LabelledImage:
    return LabelledImage(ImageRef(source, frame_index=frame), np.array([[1.0, 2.0]]), np.array([1]), view=view)


def frames(**images: Any) -> list[Frame]:
    """sequence=[{view: source or (video, frame)}…]"""
    return [
        Frame(FrameKey(sequence, i), {v: ImageRef(*ref) if isinstance(ref, tuple) else ImageRef(ref) for v, ref in one.items()})
        for sequence, of_sequence in images.items()
        for i, one in enumerate(of_sequence)
    ]


def found(labels: list[LabelledImage], pool: list[Frame], *views: str) -> list[tuple[str, str, str]]:
    matches = match_labels_to_frames(labels, pool, views or ("cam",))
    return [(one.image.source, str(place.key), place.view) for one, place in matches.found]


def test_two_sessions_with_the_same_names_in_one_file_stay_apart() -> None:
    both = [label("labeled-data/monday/img000.png"), label("labeled-data/tuesday/img000.png")]
    pool = frames(mon=[{"cam": "/data/monday/img000.png"}], tue=[{"cam": "/data/tuesday/img000.png"}])
    assert found(both, pool) == [(both[0].image.source, "mon/000000", "cam"), (both[1].image.source, "tue/000000", "cam")]
    # A recording of one of them gets its own and not the other's.
    matches = match_labels_to_frames(both, pool[1:], ("cam",))
    assert [one.image.source for one, _ in matches.found] == ["labeled-data/tuesday/img000.png"]
    assert [one.image.source for one in matches.rest] == ["labeled-data/monday/img000.png"]
    assert matches.notes == ("pictures labeled-data/monday: their names fit, but no folder of the project is called so",)


def test_a_single_folder_of_another_name_is_taken_with_a_note() -> None:
    matches = match_labels_to_frames([label("labeled-data/x/a1.png")], frames(s=[{"cam": "/d/y/a1.png"}]), ("cam",))
    assert len(matches.found) == 1
    assert matches.notes == ("pictures labeled-data/x are taken for those in d/y, which have the same names",)


def test_a_folder_that_fits_two_is_a_question() -> None:
    pool = frames(a=[{"cam": "/one/cam1/0.png"}], b=[{"cam": "/two/cam1/0.png"}])
    with pytest.raises(BadInputError, match="may be those in 'one/cam1' or 'two/cam1'"):
        match_labels_to_frames([label("cam1/0.png")], pool, ("cam",))
    assert found([label("two/cam1/0.png")], pool) == [("two/cam1/0.png", "b/000000", "cam")]


def test_frames_of_a_video_are_known_by_its_name_and_the_camera_s_own_number() -> None:
    pool = frames(run=[{"left": ("/v/left.mp4", 45), "right": ("/v/right.mp4", 42)}])
    views = ("left", "right")
    assert found([label("labeled-data/left/img0045.png")], pool, *views) == [
        ("labeled-data/left/img0045.png", "run/000000", "left")
    ]
    assert found([label("labeled-data/left/img0042.png")], pool, *views) == []
    assert found([label("labeled-data/run_right/img42.png")], pool, *views)[0][2] == "right"
    assert found([label("C:\\lab\\right.mp4", 42)], pool, *views)[0][1:] == ("run/000000", "right")
    assert found([label("other.mp4", 42)], pool, *views) == []
    assert found([label("labeled-data/other/img0042.png")], pool, *views) == []


def test_one_picture_of_several_cameras_needs_the_camera() -> None:
    pool = frames(run=[{"top": "/d/run/1.png", "side": "/d/run/1.png"}])
    assert found([label("run/1.png", view="side")], pool, "top", "side") == [("run/1.png", "run/000000", "side")]
    with pytest.raises(BadInputError, match="shows top, side; the labels must say"):
        match_labels_to_frames([label("run/1.png")], pool, ("top", "side"))


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("/data/local-files/?d=parallax/7/run/left/000012.jpg", ("parallax", "7", "run", "left", "000012.jpg")),
        ("http://host/data/upload/3/ab%20c.png", ("data", "upload", "3", "ab c.png")),
        ("..\\labeled-data\\m\\i.png", ("labeled-data", "m", "i.png")),
    ],
)
def test_addresses_and_paths(address: str, parts: tuple[str, ...]) -> None:
    assert picture_parts(address) == parts


def test_pictures_that_we_wrote_for_tasks_are_known() -> None:
    pool = frames(run=[{"left": ("/v/left.mp4", 45)}])
    assert found([label("/data/local-files/?d=parallax/7/run/left/000000.jpg")], pool, "left")[0][1] == "run/000000"
