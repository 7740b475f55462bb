"""The in-memory labels: consistency, mapping by name, views out of one picture."""

from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError, ImageRef, PointState
from label_config.values.skeleton import Skeleton
from ml_backend.formats.label_records import (
    LabelledImage,
    LabelSet,
    join_views,
    key_from_path,
    keypoint_forest,
    map_to_skeleton,
    split_views,
)

NAMES = ("paw_top", "obs_top", "paw_bot", "high_bot")
SUFFIXES = {"top": "_top", "bot": "_bot"}
CROPS = {"top": (0, 0, 396, 180), "bot": (0, 180, 396, 226)}


def mirror() -> Any:
    xy = np.array([[10.0, 20], [30, 40], [11, 250], [np.nan, np.nan]])
    state = np.array([1, 2, 1, 3])
    return LabelSet(Skeleton("m", NAMES), (LabelledImage(ImageRef("a/img1.png"), xy, state),))


def test_views_by_suffix_count_from_their_crop() -> None:
    split = split_views(mirror(), SUFFIXES, CROPS)
    assert split.skeleton.keypoints == ("paw", "obs", "high")
    top, bottom = split.labels
    assert (top.view, bottom.view) == ("top", "bot")
    np.testing.assert_array_equal(top.xy_px, [[10, 20], [30, 40], [np.nan, np.nan]])
    np.testing.assert_array_equal(bottom.xy_px, [[11, 70], [np.nan, np.nan], [np.nan, np.nan]])
    assert top.state.tolist() == [1, 2, 0]
    assert bottom.state.tolist() == [1, 0, 3]
    assert bottom.image == ImageRef("a/img1.png", crop=(0, 180, 396, 226), size_px=(396, 226))


@pytest.mark.parametrize("crops", [None, CROPS])
def test_joining_views_is_the_inverse(crops: Any) -> None:
    joined = join_views(split_views(mirror(), SUFFIXES, crops), SUFFIXES, NAMES)
    (got,), (expected,) = joined.labels, mirror().labels
    np.testing.assert_array_equal(got.xy_px, expected.xy_px)
    assert got.state.tolist() == expected.state.tolist()
    assert (got.image, got.view) == (expected.image, None)
    assert joined.skeleton.keypoints == NAMES


def test_a_name_without_a_view_is_refused() -> None:
    bad = LabelSet(Skeleton("m", ("paw", "x_top")), ())
    with pytest.raises(BadInputError, match="'paw' ends in none of _top, _bot"):
        split_views(bad, SUFFIXES)


def test_the_longer_ending_wins() -> None:
    odd = LabelSet(Skeleton("m", ("paw_far_top", "paw_top")), ())
    split = split_views(odd, {"top": "_top", "far": "_far_top"})
    assert split.skeleton.keypoints == ("paw",)


def test_mapping_by_name() -> None:
    target = Skeleton("t", ("high_bot", "extra", *NAMES[:3]))
    (got,) = map_to_skeleton(mirror(), target).labels
    assert got.state.tolist() == [3, 0, 1, 2, 1]
    np.testing.assert_array_equal(got.xy_px[2], [10, 20])
    with pytest.raises(BadInputError, match="obs_top, paw_bot, high_bot are not in skeleton 's'"):
        map_to_skeleton(mirror(), Skeleton("s", ("paw_top",)))


@pytest.mark.parametrize(
    ("xy", "state", "message"),
    [
        ([[1, 2]], [PointState.ABSENT], "keypoint 0 is absent at"),
        ([[1, 2]], [PointState.UNLABELLED], "keypoint 0 is unlabelled"),
        ([[np.nan, 2]], [PointState.VISIBLE], "keypoint 0 is visible"),
        ([[1, 2]], [1, 1], r"expected xy_px \(K, 2\)"),
    ],
)
def test_coordinates_and_states_must_agree(xy: Any, state: Any, message: Any) -> None:
    with pytest.raises(BadInputError, match=message):
        LabelledImage(ImageRef("a.png"), np.array(xy, float), np.array(state, dtype=np.int64))


def test_labels_must_fit_the_skeleton() -> None:
    with pytest.raises(BadInputError, match="expected 1 keypoints of skeleton 's', got 4"):
        LabelSet(Skeleton("s", ("a",)), mirror().labels)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("labeled-data/m4s1/img0027.png", "m4s1/000027"),
        ("run/cam2_frame15.jpg", "run/000015"),
        ("img1.png", None),
        ("run/first.png", None),
    ],
)
def test_key_from_path(path: Any, key: Any) -> None:
    got = key_from_path(path)
    assert (str(got) if got else None) == key


def test_a_forest_out_of_cocos_person() -> None:
    edges = [(15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10)]
    edges += [(1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)]
    names = tuple(f"k{i}" for i in range(17))
    limbs = keypoint_forest(17, edges)
    assert len(limbs) == 16  # connected: a spanning tree
    Skeleton("coco", names, limbs)  # raises if it were none
    assert {tuple(sorted(limb)) for limb in limbs} <= {tuple(sorted(edge)) for edge in edges}
