"""Annotators' points that the other cameras contradict, in a project of the capture studio."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from label_config.values import FloatArray, Pose2D
from ml_backend.project.label_problems import label_problems
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.store import submissions
from ml_backend.store.workspace import Workspace

Make = Callable[..., Workspace]
Label = Callable[..., None]


def change(workspace: Workspace, number: int, edit: Callable[[FloatArray], None]) -> None:
    """The annotation of task ``number`` becomes another one."""
    (row,) = [row for row in submissions.list_annotations(workspace.store) if row.ls_annotation_id == 10 * number + 1]
    pose = Pose2D.from_json(row.poses["0"])
    edit(pose.xy_px)
    values = {name: getattr(row, name) for name in ("ls_annotation_id", "task_id", "person", "cancelled", "round", "seen_at")}
    later = {"updated_at": "2026-01-02T00:00:00.000000Z", "poses": {"0": pose.to_json()}, "problems": []}
    submissions.save(workspace.store, [{**values, **later}])


def test_true_labels_have_nothing_to_correct(make_workspace: Make, label: Label) -> None:
    workspace = make_workspace()
    label(workspace, [0, 5])
    assert label_problems(workspace) == []


def test_a_misplaced_point_and_an_exchanged_pair_are_named_with_their_tasks(
    make_workspace: Make, label: Label, studio: CaptureStudio
) -> None:
    workspace = make_workspace(val_from=10**6)
    label(workspace, [0, 5])
    left, right = studio.skeleton.pairs[-1]

    def misplace(xy: FloatArray) -> None:
        xy[1, 0] += [40.0, 0.0]

    def exchange(xy: FloatArray) -> None:
        xy[2, [left, right]] = xy[2, [right, left]]

    change(workspace, 1000, misplace)
    change(workspace, 1005, exchange)
    found = {(entry.tasks, entry.view, entry.keypoint): entry for entry in label_problems(workspace)}
    names = studio.skeleton.keypoints
    misplaced = found.pop(((1000,), studio.rig.names[1], names[0]))
    assert misplaced.off == pytest.approx(40.0, abs=0.5)
    x, y = studio.truth_xy[0, 1, 0]
    assert f"see it at {x:.0f}, {y:.0f}" in misplaced.advice
    swapped = found.pop(((1005,), studio.rig.names[2], f"{names[left]}, {names[right]}"))
    assert "the other way round they are 0.0 px off" in swapped.advice
    assert found == {}


def test_without_a_calibration_the_frames_before_and_after_count(
    make_workspace: Make, label: Label, studio: CaptureStudio
) -> None:
    workspace = make_workspace(calibrated=False, val_from=10**6)
    label(workspace, list(range(24)))
    assert label_problems(workspace) == []

    def misplace(xy: FloatArray) -> None:
        xy[1, 0] += [25.0, 0.0]

    change(workspace, 1010, misplace)
    (problem,) = label_problems(workspace)
    assert (problem.tasks, problem.view, problem.keypoint) == ((1010,), studio.rig.names[1], studio.skeleton.keypoints[0])
    assert problem.off == pytest.approx(25.0, abs=1.0)
    assert "frames 9 and 11" in problem.advice


def test_two_people_who_placed_one_point_far_apart(make_workspace: Make, label: Label, studio: CaptureStudio) -> None:
    workspace = make_workspace(calibrated=False, val_from=10**6)
    label(workspace, [0, 20])
    label(workspace, [0, 20], person=2)

    def misplace(xy: FloatArray) -> None:
        xy[2, 1] += [0.0, 18.0]

    change(workspace, 1020, misplace)
    (problem,) = label_problems(workspace)
    assert (problem.tasks, problem.view, problem.keypoint) == ((1020,), studio.rig.names[2], studio.skeleton.keypoints[1])
    assert problem.off == pytest.approx(18.0)


def test_a_limb_that_all_cameras_agree_on_and_that_is_too_long(make_workspace: Make, label: Label, studio: CaptureStudio) -> None:
    workspace = make_workspace(val_from=10**6)
    label(workspace, list(range(24)))
    child = studio.skeleton.limbs[0][1]
    shift = np.array([0.0, 0.0, 0.9 * np.ptp(studio.truth_xyz[5], axis=0).max()])

    def stretch(xy: FloatArray) -> None:
        xy[:, child] = studio.rig.project(studio.truth_xyz[5, [child]] + shift)[:, 0]

    change(workspace, 1005, stretch)
    problems = label_problems(workspace)
    assert problems
    assert {problem.tasks for problem in problems} == {(1005,)}
    assert all(problem.unit != "px" and studio.skeleton.keypoints[child] in problem.keypoint for problem in problems)
