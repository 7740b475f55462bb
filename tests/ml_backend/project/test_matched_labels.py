"""Subjects that annotators did not number are one subject in all cameras by geometry."""

from __future__ import annotations

import numpy as np
import pytest

from label_config.values import FloatArray, PointState, Pose2D, Provenance
from ml_backend.labels.subject_check import misnumbered
from ml_backend.project.matched_labels import match_labels
from ml_backend.simulation.studio import CaptureStudio

FRAME = 5


@pytest.fixture(scope="module")
def trio() -> CaptureStudio:
    return CaptureStudio(seed=2, n_frames=20, n_views=4, size_px=(200, 150), fill=0.5, figures=3)


def pose_of(xy_px: FloatArray) -> Pose2D:
    state = np.full(xy_px.shape[:2], PointState.VISIBLE, dtype=np.int64)
    return Pose2D(xy_px.copy(), np.ones(xy_px.shape[:2]), state, np.full_like(state, Provenance.PLACED))


def boxes_of(xy_px: FloatArray) -> FloatArray:
    low, high = xy_px.min(axis=1), xy_px.max(axis=1)
    return np.concatenate([low, high - low], axis=-1)


def listed(trio: CaptureStudio) -> tuple[FloatArray, list[list[int]]]:
    """(S, V, K, 2) as each camera lists the figures, and the figure at each place of each camera."""
    orders = [[0, 1, 2], [2, 0, 1], [1, 0, 2], [0, 2, 1]]
    truth = trio.subjects_xy[FRAME]
    assert np.isfinite(truth).all()
    return np.stack([truth[order, v] for v, order in enumerate(orders)], axis=1), orders


def test_every_subject_is_put_together_with_its_boxes(trio: CaptureStudio) -> None:
    xy, _ = listed(trio)
    poses = {s: pose_of(xy[s]) for s in range(3)}
    found = match_labels(poses, {s: boxes_of(xy[s]) for s in range(3)}, {0, 1, 2}, trio.rig)
    assert found.changed
    wanted = {tuple(np.round(figure[0, 0], 3)): figure for figure in trio.subjects_xy[FRAME]}
    for subject, pose in found.poses.items():
        np.testing.assert_allclose(pose.xy_px, wanted[tuple(np.round(pose.xy_px[0, 0], 3))])
        np.testing.assert_allclose(found.boxes_px[subject], boxes_of(pose.xy_px))
        assert (pose.provenance == Provenance.PLACED).all()


def test_a_number_that_somebody_gave_stands(trio: CaptureStudio) -> None:
    """One subject is numbered in all cameras; the two others lie anyhow under the numbers that are left."""
    truth = trio.subjects_xy[FRAME]
    mixed = truth[[1, 2]].copy()
    mixed[:, 2] = mixed[::-1, 2]
    poses = {0: pose_of(mixed[0]), 1: pose_of(mixed[1]), 2: pose_of(truth[0])}
    found = match_labels(poses, {}, {0, 1}, trio.rig).poses
    np.testing.assert_allclose(found[2].xy_px, truth[0])
    assert {float(found[s].xy_px[2, 0, 0]) for s in (0, 1)} == {float(truth[s, 2, 0, 0]) for s in (1, 2)}
    for s in (0, 1):
        (figure,) = [f for f in (1, 2) if np.allclose(truth[f, 0], found[s].xy_px[0])]
        np.testing.assert_allclose(found[s].xy_px, truth[figure])


def test_what_is_right_already_is_left_alone(trio: CaptureStudio) -> None:
    poses = {s: pose_of(trio.subjects_xy[FRAME, s]) for s in range(3)}
    found = match_labels(poses, {}, {0, 1, 2}, trio.rig)
    assert not found.changed
    for s in range(3):
        np.testing.assert_array_equal(found.poses[s].xy_px, poses[s].xy_px)


def test_a_number_that_geometry_contradicts_is_named(trio: CaptureStudio) -> None:
    xy = trio.subjects_xy[FRAME - 1 : FRAME + 1].copy()
    assert not list(misnumbered(trio.rig, xy))
    xy[1, [0, 2], 3] = xy[1, [2, 0], 3]
    found = list(misnumbered(trio.rig, xy))
    assert [(one.frame, one.subject, one.view, one.other) for one in found] == [(1, 0, 3, 2), (1, 2, 3, 0)]
    apart = np.median(np.linalg.norm(xy[1, 0, 3] - xy[1, 2, 3], axis=-1))
    assert [one.off_px for one in found] == pytest.approx([apart, apart], rel=0.2)
