"""The field's figures of a whole project's model against its people's points."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from label_config.values import Box, ByteArray, FloatArray, ParallaxError
from label_config.values.prediction import Output, Prediction
from ml_backend.evaluation import version_metrics as job
from ml_backend.evaluation.evaluation_report import write_report
from ml_backend.evaluation.validation_error import validation_errors
from ml_backend.evaluation.version_metrics import evaluate
from ml_backend.jobs.run_job import run_here
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.label_snapshot import collect
from ml_backend.project.load_model import load_predictor
from ml_backend.project.round_state import RoundState
from ml_backend.recordings import UnreadableImageError
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.store import frames, versions, work
from ml_backend.store.versions import VersionRow
from ml_backend.store.workspace import Workspace

Make = Callable[..., Workspace]
Label = Callable[..., None]


class KnowsPictures:
    """A model that knows each picture by its bytes."""

    outputs: frozenset[Output] = frozenset()

    def __init__(self, keypoints: tuple[str, ...], answers: dict[bytes, FloatArray], confidence: float) -> None:
        self.keypoints, self.answers, self.confidence = keypoints, answers, confidence

    def predict(
        self, images: Sequence[ByteArray], boxes_px: Sequence[Box | None] | None = None, *, heatmaps: bool = False
    ) -> Prediction:
        xy = np.stack([self.answers[image.tobytes()] for image in images])
        return Prediction(xy, np.full(xy.shape[:2], self.confidence), np.zeros((len(images), 4)))


@pytest.fixture
def evaluated(studio: CaptureStudio, monkeypatch: pytest.MonkeyPatch) -> Callable[..., job.Evaluation]:
    """Evaluates, in a project, a model that says ``xy_px`` (n, V, K, 2) about the recording."""

    def go(workspace: Workspace, xy_px: FloatArray, confidence: float = 0.7) -> job.Evaluation:
        rows = [row for row in frames.list_frames(workspace.store) if row.split == "val"]
        slots = [(row.key.index, v, row.images[view]) for row in rows for v, view in enumerate(workspace.views)]
        answers = {}
        with closing(Pictures(workspace)) as read:
            for position, picture in read.stream([ref for *_, ref in slots]):
                assert not isinstance(picture, UnreadableImageError)
                answers[picture.tobytes()] = xy_px[slots[position][0], slots[position][1]]
        assert len(answers) == len(slots), "every picture is unlike the others"
        model = KnowsPictures(studio.skeleton.keypoints, answers, confidence)
        monkeypatch.setattr(job, "load_predictor", lambda workspace, folder: model)
        return evaluate(workspace, version(workspace))

    return go


def version(workspace: Workspace) -> VersionRow:
    """A version without files."""
    return versions.add(workspace.store, attempt=1, snapshot_id=None, path="m-1", sha256="0" * 64, metrics={})


def test_an_exact_model(make_workspace: Make, label: Label, studio: CaptureStudio, evaluated: Any) -> None:
    workspace = make_workspace(validation={"block_frames": 2})
    label(workspace, [0, 33, 36])
    found = evaluated(workspace, np.round(studio.truth_xy, 3))  # labels are kept to 1/1000 px
    assert (found.frames, found.pictures, found.unreadable, found.error.labelled) == (2, 6, 0, 2 * 3 * 15)
    assert (found.error.mean, found.error.median, found.interval) == (0, 0, (0, 0))
    assert [keypoint.points for keypoint in found.per_keypoint] == [6] * 15
    assert {alpha: value.overall for alpha, value in found.pck.items()} == {0.05: 1, 0.1: 1}
    assert (found.protocol.strict.mean, found.limbs) == (1, 6 * 14)
    assert (found.oks.mean, found.oks.ap.ap, found.oks.ap.at[0.75]) == pytest.approx((1, 1, 1))
    assert (found.oks.count.matched_share, found.oks.count.mean_count_error, found.oks.count.subjects) == (1, 0, 6)
    assert found.reliability.ece == pytest.approx(1 - 0.7)
    assert found.world.unit == "mm"
    for error in found.world.by_alignment.values():
        assert (error.mean, error.coverage) == (pytest.approx(0, abs=1e-6), 1)


def test_a_shift_in_space_reaches_the_figures_through_the_cameras(
    make_workspace: Make, label: Label, studio: CaptureStudio, evaluated: Any
) -> None:
    workspace = make_workspace()
    label(workspace, [33, 36])
    found = evaluated(workspace, studio.rig.project(studio.truth_xyz + [20.0, 40.0, 40.0]))
    # 1/1000 px, to which labels are kept, is 0.04 mm here
    absolute, root = found.world.by_alignment["absolute"], found.world.by_alignment["root"]
    assert (absolute.mean, absolute.coverage) == (pytest.approx(60, abs=0.1), 1)
    assert root.mean == pytest.approx(0, abs=0.1)
    assert found.error.mean > 0.5


def test_points_that_geometry_filled_do_not_evaluate(
    make_workspace: Make, label: Label, studio: CaptureStudio, evaluated: Any
) -> None:
    workspace = make_workspace()
    label(workspace, [33], hide={33: 2})
    snapshot = collect(workspace)
    assert np.isfinite(snapshot.xy_px[0, 2]).any(), "the third view was filled from the others"
    xy = np.round(studio.truth_xy, 3)
    xy[:, 2] += 20.0
    found = evaluated(workspace, xy)
    assert (found.pictures, found.error.points, found.error.mean, found.pck[0.05].overall) == (2, 30, 0, 1)


def test_without_calibration_there_is_no_error_in_space(
    make_workspace: Make, label: Label, studio: CaptureStudio, evaluated: Any
) -> None:
    workspace = make_workspace(calibrated=False)
    label(workspace, [33])
    found = evaluated(workspace, studio.truth_xy + [3.0, 4.0])
    assert found.world is None
    assert found.error.mean == pytest.approx(5, abs=1e-3)


def test_training_labels_alone_evaluate_nothing(
    make_workspace: Make, label: Label, evaluated: Any, studio: CaptureStudio
) -> None:
    workspace = make_workspace()
    label(workspace, [0, 5])
    with pytest.raises(ParallaxError, match="no validation frame is labelled yet"):
        evaluated(workspace, studio.truth_xy)


def test_a_trained_model_gets_the_gates_own_error(make_workspace: Make, label: Label, tmp_path: Path) -> None:
    workspace = make_workspace()
    label(workspace, [0, 5, 10, 33, 36])
    run_here(workspace, work.request(workspace.store, "retrain"), lambda progress: None)
    live = versions.live(workspace.store)
    assert live is not None
    found = evaluate(workspace, live)
    with closing(Pictures(workspace)) as read:
        model = load_predictor(workspace, workspace.models / live.path)
        gate = validation_errors(RoundState(workspace), model, collect(workspace), read)
    assert found.error.mean == pytest.approx(gate.mean_px)
    assert [keypoint.mean for keypoint in found.per_keypoint] == pytest.approx(gate.per_keypoint_px)
    assert found.world is not None
    assert found.world.by_alignment["absolute"].mean == pytest.approx(gate.mean_world)
    write_report(found, tmp_path / "report.json")

    def refused(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    said = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"), parse_constant=refused)
    assert (said["version"], said["frames"], said["error"]["labelled"]) == (live.number, 2, 90)
    assert said["error"]["mean"] == found.error.mean
    assert said["error"]["per_keypoint"]["head"]["mean"] == found.per_keypoint[2].mean
    assert said["pck"]["at"][1] | {"per_keypoint": None} == {"alpha": 0.1, "share": found.pck[0.1].overall, "per_keypoint": None}
    assert said["pcp"]["per_limb"].keys() >= {"pelvis – neck"}
    assert said["oks"]["area_source"] == "bbox"
    assert said["mpjpe"]["unit"] == "mm"
    assert said["mpjpe"]["procrustes"]["mean"] == found.world.by_alignment["procrustes"].mean
    assert sum(row["points"] for row in said["confidence"]["bins"]) == said["confidence"]["points"]
    assert all("unit" in said[part] for part in ("error", "pck", "pcp", "oks", "person_count", "confidence", "mpjpe"))
