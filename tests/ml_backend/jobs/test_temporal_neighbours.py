"""The neighbours of a frame are frames t ± 1 of its recording, however the pool is thinned and cut into shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from label_config.values.prediction import Prediction
from ml_backend.jobs import rescore_job
from ml_backend.jobs.job_context import JobContext
from ml_backend.project.label_snapshot import collect
from ml_backend.project.round_state import RoundState
from ml_backend.project.scored_shards import newest_scored_shards
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.store import frames, versions, work
from ml_backend.store.frames import FrameRow, SequenceRow
from ml_backend.store.workspace import Workspace
from tests.predictions import predicted

Make = Callable[..., Workspace]
Label = Callable[..., None]
STRIDE = 4


@pytest.fixture
def rescored(
    make_workspace: Make, label: Label, studio: CaptureStudio, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """What the scores say of every fourth frame, predicted without any error, in shards of so many frames."""

    def rescore(shard_frames: int, scores: Sequence[str] = ("tpc", "jitter_3d"), video: bool = True) -> dict[str, Any]:
        predictions: list[int] = []

        def predict(workspace: Workspace, model: Any, rows: Sequence[FrameRow], *rest: Any, **more: Any) -> Prediction:
            predictions.extend(row.key.index for row in rows)
            size = np.broadcast_to(np.array([64.0, 64.0]), (len(rows), studio.truth_xy.shape[1], 2))
            return predicted(studio.truth_xy[[row.key.index for row in rows]], size_px=size)

        monkeypatch.setattr(rescore_job, "SHARD_FRAMES", shard_frames)
        monkeypatch.setattr(rescore_job, "load_predictor", lambda *given: object())
        monkeypatch.setattr(rescore_job, "predict_frames", predict)
        workspace = make_workspace(
            scores=dict.fromkeys(scores, 1.0), selection={"candidates_per_round": 10, "window": 12, "random_every": 0}
        )
        frames.save_sequence(workspace.store, SequenceRow(studio.sequence, studio.rig.to_json(), video))
        label(workspace, [0])
        path, _ = workspace.arrays.save("snapshots", collect(workspace).to_arrays())
        snapshot = versions.save_snapshot(workspace.store, sha256="x", path=path, n_frames=1)
        row = versions.add(workspace.store, attempt=1, snapshot_id=snapshot.id, path="m", sha256="0", metrics={})
        assert versions.publish(workspace.store, row.id, 1)
        job = work.request(workspace.store, "rescore", {})
        rescore_job.rescore(JobContext(workspace, job, lambda progress: None, lambda: False))
        found = newest_scored_shards(RoundState(workspace), row, 1)
        assert found is not None
        return {**found.arrays, "predictions": predictions}

    return rescore


@pytest.mark.parametrize("shard_frames", [3, 64])
def test_differences_are_those_of_neighbouring_frames_of_the_recording(
    rescored: Callable[..., dict[str, Any]], studio: CaptureStudio, shard_frames: int
) -> None:
    arrays = rescored(shard_frames)
    inner = (arrays["index"] > 0) & (arrays["index"] < len(studio.truth_xyz) - 1) & (arrays["index"] % STRIDE != 0)
    t = arrays["index"][inner]
    assert len(t) == 10, "every fourth frame"
    xyz, xy = studio.truth_xyz, studio.truth_xy
    jitter = np.linalg.norm(xyz[t] - (xyz[t - 1] + xyz[t + 1]) / 2, axis=-1).mean(axis=1)
    np.testing.assert_allclose(arrays["raw.jitter_3d"][inner], jitter, atol=1e-3)
    steps = [np.linalg.norm(xy[t] - xy[t + d], axis=-1) for d in (-1, 1)]
    np.testing.assert_allclose(arrays["raw.tpc"][inner], np.mean(steps, axis=(0, 2, 3)), rtol=1e-9)


def test_neighbours_are_predicted_only_where_a_score_compares_frames(rescored: Callable[..., dict[str, Any]]) -> None:
    alone = rescored(64, ("least_confidence",))
    assert sorted(alone["predictions"]) == sorted(alone["index"])


def test_pictures_that_do_not_follow_each_other_have_no_neighbours_to_predict(rescored: Callable[..., dict[str, Any]]) -> None:
    stills = rescored(64, video=False)
    assert sorted(stills["predictions"]) == sorted(stills["index"])
