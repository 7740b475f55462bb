import json

import numpy as np
import pytest

from label_config.values import BadInputError, FrameKey, ImageRef, PointState, Pose2D, Provenance


@pytest.mark.parametrize("key", [FrameKey("trial1", 412), FrameKey("a/b", 0), FrameKey("x", 12_345_678)])
def test_frame_keys_are_written_and_read_back(key: FrameKey) -> None:
    assert FrameKey.parse(str(key)) == key


def test_frame_keys_sort_by_time_within_a_sequence() -> None:
    assert sorted([FrameKey("b", 1), FrameKey("a", 10), FrameKey("a", 9)]) == [
        FrameKey("a", 9),
        FrameKey("a", 10),
        FrameKey("b", 1),
    ]


@pytest.mark.parametrize("text", ["", "trial", "trial/", "/3", "trial/x", "trial/-1"])
def test_other_texts_are_no_frame_key(text: str) -> None:
    with pytest.raises(BadInputError, match="sequence/index"):
        FrameKey.parse(text)


@pytest.mark.parametrize(
    "ref",
    [
        ImageRef("a.mp4"),
        ImageRef("a.mp4", frame_index=0, time_s=0.0, crop=(0, 1, 2, 3), flip=True, size_px=(2, 3), rotation=270),
    ],
)
def test_image_refs_survive_json(ref: ImageRef) -> None:
    assert ImageRef.from_json(json.loads(json.dumps(ref.to_json()))) == ref


def test_an_empty_pose_says_nothing() -> None:
    pose = Pose2D.empty(2, 3)
    assert pose.xy_px.shape == (2, 3, 2)
    assert not pose.placed.any()
    assert (pose.state == PointState.UNLABELLED).all()
    assert (pose.provenance == Provenance.NONE).all()


@pytest.mark.parametrize("field", ["xy_px", "confidence", "state", "provenance"])
def test_shapes_that_do_not_fit_are_refused(field: str) -> None:
    fields = dict(vars(Pose2D.empty(2, 3)))
    fields[field] = np.zeros((2, 4))
    with pytest.raises(BadInputError, match=rf"{field}: expected shape .* got \(2, 4\)"):
        Pose2D(**fields)
