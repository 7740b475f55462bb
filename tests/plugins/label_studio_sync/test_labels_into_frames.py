"""From labels of a file to poses of frames: which subject, which keypoints, which pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from label_config.values import BadInputError, FloatArray, FrameKey, ImageRef
from label_config.values.skeleton import Skeleton
from ml_backend.formats.label_records import LabelledImage, LabelSet
from ml_backend.formats.matching import LabelPlace, Matches
from ml_backend.formats.sleap import read_sleap
from plugins.label_studio_sync.embedded_pictures import write_embedded
from plugins.label_studio_sync.existing_labels import fit_to_project, in_frames
from tests.foreign.labels import sleap_package

MOUSE = Skeleton("mouse", ("nose", "tail"))
KEY = FrameKey("run", 3)


def label(
    xy: Sequence[Sequence[float]], subject: int = 0, *, size: tuple[int, int] | None = None, **more: object
) -> LabelledImage:
    points = np.array(xy, dtype=np.float64)
    state = np.isfinite(points).all(axis=1).astype(np.int64)
    return LabelledImage(ImageRef("run/3.png", size_px=size), points, state, subject=subject, **more)  # type: ignore[arg-type]


def file(*labels: LabelledImage, names: tuple[str, ...] = ("nose", "tail")) -> LabelSet:
    return LabelSet(Skeleton("file", names), labels)


def test_of_several_animals_one_is_taken_and_the_others_are_counted() -> None:
    both = file(label([[1, 2], [3, 4]]), label([[5, 6], [7, 8]], 1), label([[9, 9], [9, 9]], 1))
    first = fit_to_project(both, MOUSE, ("cam",))
    assert [item.xy_px[0].tolist() for item in first.labels] == [[1, 2]]
    assert "subject 0 is imported, left out are 2 of subject 1" in first.notes[0]
    second = fit_to_project(both, MOUSE, ("cam",), subject=1)
    assert [item.xy_px[0].tolist() for item in second.labels] == [[5, 6], [9, 9]]
    assert {item.subject for item in second.labels} == {0}
    with pytest.raises(BadInputError, match="subject 7: expected one of 0, 1"):
        fit_to_project(both, MOUSE, ("cam",), subject=7)


def test_names_that_differ_in_case_are_taken_and_others_counted() -> None:
    found = fit_to_project(file(label([[1, 2], [3, 4]]), names=("Nose", "whisker")), MOUSE, ("cam",))
    assert found.labels[0].xy_px[0].tolist() == [1, 2]
    assert found.notes == (
        "keypoint 'whisker' is not in skeleton 'mouse': its 1 points are left out",
        "keypoint 'Nose' of the file is taken for 'nose'",
    )
    aliased = fit_to_project(file(label([[1, 2], [3, 4]]), names=("snout", "tail")), MOUSE, ("cam",), {"snout": "nose"})
    assert aliased.labels[0].state.tolist() == [1, 1]
    with pytest.raises(BadInputError, match="keypoints a, b are not in skeleton 'mouse'"):
        fit_to_project(file(label([[1, 2], [3, 4]]), names=("a", "b")), MOUSE, ("cam",))


def test_predictions_are_no_labels() -> None:
    predicted = file(label([[1, 2], [3, 4]], confidence=np.array([0.5, 0.6])))
    with pytest.raises(BadInputError, match="expected labels that people made, got only 1 predictions"):
        fit_to_project(predicted, MOUSE, ("cam",))
    assert len(fit_to_project(predicted, MOUSE, ("cam",), predicted=True).labels) == 1


def poses(ref: ImageRef, *labels: LabelledImage) -> tuple[FloatArray, tuple[str, ...]]:
    place = LabelPlace(KEY, "cam", ref)
    found = in_frames("f.csv", file(*labels), Matches(tuple((item, place) for item in labels), (), ()), ("cam",))
    return found.poses[KEY][()].xy_px[0], found.notes


@pytest.mark.parametrize(
    ("ref", "place"),
    [
        (ImageRef("a.png", size_px=(80, 60)), (10, 20)),
        # Turned clockwise by a quarter, the picture of 80 × 60 is 60 × 80 and its left edge is on top.
        (ImageRef("a.png", size_px=(60, 80), rotation=90), (59 - 20, 10)),
        (ImageRef("a.png", size_px=(80, 60), flip=True), (79 - 10, 20)),
        (ImageRef("a.png", size_px=(30, 40), crop=(5, 15, 30, 40)), (5, 5)),
    ],
)
def test_points_follow_the_picture_into_the_view(ref: ImageRef, place: tuple[float, float]) -> None:
    xy, notes = poses(ref, label([[10, 20], [np.nan, np.nan]], size=(80, 60)))
    assert xy[0].tolist() == list(place)
    assert notes == ()


def test_labels_for_a_picture_of_another_size_are_refused() -> None:
    with pytest.raises(BadInputError, match="for a picture of 160 × 120, but view 'cam' of run/000003 has 80 × 60"):
        poses(ImageRef("a.png", size_px=(80, 60)), label([[10, 20], [1, 1]], size=(160, 120)))


def test_points_off_the_picture_are_left_out_and_counted() -> None:
    xy, notes = poses(ImageRef("a.png", size_px=(80, 60)), label([[200, 20], [80.2, 1]]))
    assert np.isnan(xy[0]).all()
    assert xy[1].tolist() == [80.2, 1]  # within a pixel of the edge: a click on it
    assert notes == ("1 points lie outside of their picture and are left out, the first in run/3.png",)


def test_two_pictures_for_one_view_are_refused() -> None:
    other = label([[1, 2], [3, 4]])
    with pytest.raises(BadInputError, match="are both taken for cam of run/000003"):
        poses(ImageRef("a.png", size_px=(80, 60)), label([[10, 20], [1, 1]]), other)


def test_pictures_of_another_video_of_the_same_name_are_refused(tmp_path: Path) -> None:
    """Two packages of SLEAP: the first one's picture is not taken for the second's."""
    package = sleap_package(tmp_path, "left")
    place = next(iter(read_sleap(package).embedded.values()))
    written = tmp_path / "pictures" / "000001.png"
    write_embedded({written: place})
    write_embedded({written: place})
    written.write_bytes(b"another one")
    with pytest.raises(BadInputError, match="the project has another picture of frame 1 of a video of that name"):
        write_embedded({written: place})
