"""Boxes of task data decide what the network looks at, in training and in prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from label_config.values import Box, ByteArray, FrameKey
from label_config.values.prediction import Output, Prediction
from ml_backend.jobs.labelled_crops import crops_of
from ml_backend.jobs.scoring import labelled_sizes
from ml_backend.labels.snapshot import Snapshot
from ml_backend.pose.weights import Manifest
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.label_snapshot import collect
from ml_backend.project.predict_frames import predict_frames
from ml_backend.project.round_state import RoundState
from ml_backend.project.training_config import config_for
from ml_backend.project.training_set import human_targets
from ml_backend.store import frames, submissions
from ml_backend.store.workspace import Workspace

Make = Callable[..., Workspace]
BOX, DRAWN = (5.0, 6.0, 30.0, 40.0), (7.0, 8.0, 20.0, 21.0)


class Remembers:
    """A model that tells where it was asked to look: every point is the middle of the box, or NaN without one."""

    outputs: frozenset[Output] = frozenset()

    def __init__(self, keypoints: tuple[str, ...]) -> None:
        self.keypoints = keypoints

    def predict(
        self, images: Sequence[ByteArray], boxes_px: Sequence[Box | None] | None = None, *, heatmaps: bool = False
    ) -> Prediction:
        assert boxes_px is not None
        boxes = np.array([box or (np.nan,) * 4 for box in boxes_px])
        middle = boxes[:, :2] + boxes[:, 2:] / 2
        xy = np.repeat(middle[:, None], len(self.keypoints), axis=1)
        return Prediction(xy, np.ones(xy.shape[:2]), boxes)


@pytest.fixture
def workspace(make_workspace: Make, label: Callable[..., None]) -> Workspace:
    """Frame 0: a box in the first view; frame 1: one that lies outside the picture; frame 2: none.  All are labelled."""
    made = make_workspace()
    ids = frames.ids_by_key(made.store)
    sequence = next(iter(ids)).sequence
    frames.save_boxes(
        made.store,
        {
            ids[FrameKey(sequence, 0)]: {0: {made.views[0]: BOX}, 1: {made.views[1]: DRAWN}},
            ids[FrameKey(sequence, 1)]: {0: {made.views[0]: (64.0, 0.0, 10.0, 10.0)}},
        },
    )
    label(made, [0, 1, 2])
    return made


def drawn(workspace: Workspace, by_view: list[Any], updated_at: str) -> None:
    """Somebody drew boxes into the task of frame 0."""
    row = submissions.list_annotations(workspace.store)[0]
    change = {**vars(row), "updated_at": updated_at, "boxes": {"0": by_view}}
    for name in ("id", "frame_id", "deleted"):
        change.pop(name)
    submissions.save(workspace.store, [change])


def test_the_network_looks_where_the_data_says(workspace: Workspace) -> None:
    rows = frames.list_frames(workspace.store)[:3]
    with closing(Pictures(workspace)) as pictures:
        seen = predict_frames(workspace, Remembers(workspace.binding.skeleton.keypoints), rows, pictures)
    np.testing.assert_array_equal(seen.box_px[0, 0], BOX)
    np.testing.assert_allclose(seen.xy_px[0, 0], np.broadcast_to([20.0, 26.0], seen.xy_px[0, 0].shape))
    # The other subject's box, the box outside the picture, and every view without one: the network decides itself.
    assert np.isnan(seen.box_px[0, 1:]).all()
    assert np.isnan(seen.box_px[1:]).all()


def test_a_picture_of_unknown_size_is_measured_before_its_box_counts(workspace: Workspace) -> None:
    rows = frames.list_frames(workspace.store)[:2]
    rows = [replace(row, images={v: replace(ref, size_px=None) for v, ref in row.images.items()}) for row in rows]
    with closing(Pictures(workspace)) as pictures:
        seen = predict_frames(workspace, Remembers(workspace.binding.skeleton.keypoints), rows, pictures)
    np.testing.assert_array_equal(seen.box_px[0, 0], BOX)
    assert np.isnan(seen.box_px[1]).all()


def test_training_looks_there_too(workspace: Workspace) -> None:
    snapshot = collect(workspace)
    targets = human_targets(RoundState(workspace), snapshot, snapshot.rows("train"))
    boxes = {(target.key.index, target.view): target.box_px for target in targets if target.key}
    assert boxes.pop((0, workspace.views[0])) == BOX
    assert len(boxes) == 8
    assert set(boxes.values()) == {None}


def test_a_drawn_box_corrects_the_one_in_the_data_and_adds_none(workspace: Workspace) -> None:
    drawn(workspace, [list(DRAWN), [1.0, 2.0, 3.0, 4.0], None], "2026-01-02T00:00:00Z")
    snapshot = collect(workspace)
    np.testing.assert_array_equal(snapshot.box_px[0, 0], DRAWN)
    assert np.isnan(snapshot.box_px[0, 1:]).all()


def test_boxes_are_a_part_of_the_snapshot(workspace: Workspace) -> None:
    snapshot = collect(workspace)
    again = Snapshot.from_arrays(snapshot.to_arrays())
    np.testing.assert_array_equal(again.box_px, snapshot.box_px)
    assert again.sha256 == snapshot.sha256
    without = replace(snapshot, box_px=np.full_like(snapshot.box_px, np.nan))
    assert without.sha256 != snapshot.sha256
    # A file from before there were boxes.
    old = {name: array for name, array in without.to_arrays().items() if "box" not in name}
    assert Snapshot.from_arrays(old).sha256 == without.sha256


def test_a_labelled_pose_has_the_crop_that_it_would_be_predicted_in(workspace: Workspace) -> None:
    """Network input 32 × 32: BOX of 30 × 40 around (20, 26) → 40 × 40 → times 1.25; the picture of 64 × 64 is square."""
    config = config_for(workspace.spec.train, warm=False, round_=0)
    manifest = Manifest(config=config, skeleton=workspace.binding.skeleton, subject_px=30.0)
    snapshot = collect(workspace)
    boxes = crops_of(snapshot, manifest, labelled_sizes(RoundState(workspace), snapshot))
    np.testing.assert_allclose(boxes[0, 0], (20 - 25, 26 - 25, 50, 50))
    np.testing.assert_allclose(boxes[2], [(-0.0, 0.0, 64.0, 64.0)] * 3)
    np.testing.assert_allclose(boxes[1, 0], (0.0, 0.0, 64.0, 64.0))  # its box lies outside of the picture
