"""A camera that moves during a session, and one whose pictures come late, in a project of the capture studio."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from label_config.values import FloatArray
from ml_backend.project.rig_findings import rig_findings
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.store import frames, work
from ml_backend.store.workspace import Workspace
from tests.ml_backend.jobs.test_label_problems import change
from tests.small_project import add_version

Make = Callable[..., Workspace]
Label = Callable[..., None]
LATE = 3


def predict(workspace: Workspace, studio: CaptureStudio, late: int) -> None:
    """What a perfect model says, with the pictures of the last camera so many frames late."""
    ids = [row for _, row in sorted(frames.ids_by_key(workspace.store).items())]
    version = add_version(workspace, "m-1")
    work.add_shards(workspace.store, version, 0, [{"sequence": studio.sequence, "frame_ids": ids, "halo_ids": []}])
    shard = work.claim_shard(workspace.store, version, 0, "here")
    assert shard is not None
    xy = studio.truth_xy.copy()
    xy[late:, -1] = studio.truth_xy[: len(xy) - late, -1]
    path, _ = workspace.arrays.save("shards", {"index": np.arange(len(ids)), "xy_px": xy, "frame_ids": np.array(ids)})
    work.close_shard(workspace.store, shard, path=path)


def test_good_cameras_are_not_accused(
    make_workspace: Make, label: Label, studio: CaptureStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml_backend.project.rig_findings.CONSECUTIVE", 30)
    workspace = make_workspace(val_from=10**6)
    label(workspace, list(range(30)))
    predict(workspace, studio, 0)
    assert rig_findings(workspace) == []
    assert rig_findings(make_workspace(calibrated=False)) == []


def test_a_camera_that_moved_during_the_session(make_workspace: Make, label: Label, studio: CaptureStudio) -> None:
    workspace = make_workspace(val_from=10**6)
    label(workspace, list(range(30)))

    def moved(xy: FloatArray) -> None:
        xy[1] += [0.0, 9.0]

    for number in range(1018, 1030):
        change(workspace, number, moved)
    (finding,) = rig_findings(workspace)
    assert "seems to have moved" in finding.seen
    assert studio.sequence in finding.seen


def test_a_camera_whose_pictures_come_late(make_workspace: Make, studio: CaptureStudio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_backend.project.rig_findings.CONSECUTIVE", 30)
    workspace = make_workspace(val_from=10**6)
    predict(workspace, studio, LATE)
    assert [finding.seen for finding in rig_findings(workspace)] == [
        f"{studio.sequence}: the pictures of {studio.rig.names[-1]} fit those of the other cameras best when they are taken "
        f"{LATE} frames later"
    ]
