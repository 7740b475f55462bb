"""``parallax export --predicted``: what the live model said about the frames, as files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray
from typer.testing import Result

from ml_backend.store import frames, versions, work
from ml_backend.store.workspace import Workspace
from tests.small_project import KEYPOINTS, VIEWS, pose_of

Run = Callable[..., Result]


@pytest.fixture
def seen(workspace: Workspace) -> Workspace:
    """Four of six frames are seen by the live model."""
    ids = frames.ids_by_key(workspace.store)
    live = versions.live(workspace.store)
    assert live is not None
    chosen = [number for key, number in sorted(ids.items()) if key.index < 4]
    run = {"sequence": "s", "frame_ids": chosen, "halo_ids": [[], []]}
    work.add_shards(workspace.store, live.id, 0, [run])
    shard = work.claim_shard(workspace.store, live.id, 0, "me")
    assert shard is not None
    arrays = {
        "frame_ids": np.array(chosen),
        "index": np.arange(4),
        "xy_px": np.stack([pose_of(i).xy_px for i in range(4)]),
        "confidence": np.full((4, len(VIEWS), len(KEYPOINTS)), 0.5),
    }
    path, _ = workspace.arrays.save(f"shards/{live.id}", arrays)
    work.close_shard(workspace.store, shard, path=path)
    return workspace


def test_predictions_are_written_for_every_frame_that_was_seen(seen: Workspace, run: Run, tmp_path: Path) -> None:
    answer = run("export", "movement", str(tmp_path / "m"), "--predicted")
    assert answer.exit_code == 0, answer.output
    assert "predictions of px-1 for 8 pictures" in answer.stdout
    assert "px-1 has seen 4 of 6 frames" in answer.stdout
    data = xarray.load_dataset(tmp_path / "m/left.nc")
    np.testing.assert_allclose(data["position"].sel(time=2, individuals="subject0").values.T, pose_of(2).xy_px[0])
    assert (data["confidence"] == 0.5).all()
    refused = run("export", "coco", str(tmp_path / "c.json"), "--predicted")
    assert "--predicted: expected one of movement, anipose, sleap, got coco" in refused.stderr


def test_before_there_are_predictions(workspace: Workspace, run: Run, tmp_path: Path) -> None:
    answer = run("export", "movement", str(tmp_path / "m"), "--predicted")
    assert answer.exit_code == 1
    assert "no predictions yet" in answer.stderr
