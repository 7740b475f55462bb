"""``parallax evaluate`` as a person meets it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from label_config.values import FrameKey
from label_config.values.prediction import Prediction
from label_config.values.skeleton import Skeleton
from ml_backend.evaluation import version_metrics as job
from ml_backend.evaluation.validation_error import Validation
from ml_backend.store.frames import FrameRow
from ml_backend.store.versions import VersionRow
from ml_backend.store.workspace import Workspace
from tests.small_project import KEYPOINTS

Run = Callable[..., Result]

#: Box 60 × 80 px: diagonal 100 px, area 4800 px².
TRIANGLE = np.array([[10.0, 10.0], [70.0, 10.0], [70.0, 90.0]])


def found(version: int, *, unit: str | None, thresholds: Sequence[float] = ()) -> job.Evaluation:
    """Two pictures in two blocks of time: all points 5 px off, then 15 px and the paw missing; in space 2 mm off."""
    truth = np.broadcast_to(TRIANGLE, (2, 1, 3, 2)).copy()
    said = truth + np.array([5.0, 15.0])[:, None, None, None] * [0.6, 0.8]
    said[1, 0, 2] = np.nan
    world = np.arange(18, dtype=np.float64).reshape(2, 3, 3) ** 2
    seen = Validation(
        frames=[FrameRow(i, FrameKey("s", i), {}, "val", False) for i in range(2)],
        block=np.arange(2),
        predicted=Prediction(said, np.full((2, 1, 3), 0.75), np.full((2, 1, 4), np.nan), {}, np.full((2, 1, 2), 100.0)),
        truth_px=truth,
        truth_world=world,
        predicted_world=world + [0.0, 0.0, 2.0],
    )
    return job.measure(seen, Skeleton("mouse", KEYPOINTS, head=(0, 1)), version, unit, thresholds)


@pytest.fixture
def evaluated(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A project whose live model, px-1, has been evaluated as ``found`` says."""

    def evaluate(workspace: Workspace, version: VersionRow, thresholds: Sequence[float]) -> job.Evaluation:
        return found(version.number, unit="mm", thresholds=thresholds)

    monkeypatch.setattr(job, "evaluate", evaluate)
    return workspace


def rows(result: Result) -> dict[str, list[str]]:
    """First cell → the other cells of every table."""
    assert result.exit_code == 0, result.output
    split = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in result.output.splitlines()]
    return {cells[0]: cells[1:] for cells in split if len(cells) > 1}


def test_figures_with_what_they_rest_on(run: Run, evaluated: Workspace, tmp_path: Path) -> None:
    result = run("evaluate", "--ap", "0.5")
    lines = result.output.splitlines()
    assert lines[0] == "px-1 on labelled validation frames: 2 frames, 2 pictures, 6 points of people"
    assert lines[1].startswith("1 of them without a prediction")
    table = rows(result)
    assert table["error, px: mean (95 %)"] == ["9.00 (5.00 … 15.00)", "5 points"]
    assert table["error, px: median"] == ["5.00", "5 points"]
    assert table["PCK@0.05"] == ["50.0 %", "6 points"]
    assert table["PCP@0.5, strict"] == ["–", "0 limbs"]
    assert table["PCKh@0.5"] == ["83.3 %", "6 points"]  # 15 px are within half of the head's 60
    assert table["PCK@0.2 of the torso"] == ["–", "0 points"]
    assert table["AP at OKS 0.5"] == ["0.505", "2 subjects"]
    assert table["OSPA of 1 − OKS"][1] == "2 pictures"
    assert table["PCP@0.5 in 3-D, strict"][0] == "–"
    assert table["AR"][1] == "2 subjects"
    assert table["AP50"] == ["0.505", "2 subjects"]  # precision 1 up to recall ½ on the grid of 101
    assert table["person count: mean error"] == ["0.00", "2 pictures"]
    assert table["ECE of confidence"] == ["0.150", "5 points"]  # 0.75 against 3 of 5
    assert table["MPJPE, mm: absolute"] == ["2.00", "100.0 % of 6 points"]
    assert table["MPJPE, mm: root-aligned"][0] == "0.00"
    assert table["nose"] == ["2", "10.00", "10.00", "50.0 %", "50.0 %", "2.00"]
    assert table["paw"] == ["1", "5.00", "5.00", "50.0 %", "50.0 %", "2.00"]
    assert table["0.7 … 0.8"] == ["5", "0.75", "60.0 %"]
    assert table["0.0 … 0.1"] == ["0", "–", "–"]
    assert "diagonal of the box around the labelled points" in result.output
    target = tmp_path / "evaluation-px-1.json"
    assert lines[-1] == f"written to {target}"
    assert json.loads(target.read_text(encoding="utf-8"))["error"]["mean"] == 9


def test_another_file_and_no_calibration(run: Run, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "evaluate", lambda workspace, version, thresholds: found(version.number, unit=None))
    target = tmp_path / "elsewhere.json"
    table = rows(run("evaluate", "--version", "1", "--report", str(target)))
    assert table["MPJPE: absolute"] == ["–", "–"]
    assert table["nose"][-1] == "–"
    assert json.loads(target.read_text(encoding="utf-8"))["mpjpe"] is None
    assert not (tmp_path / "evaluation-px-1.json").exists()


def test_nothing_to_evaluate_by_or_no_such_version(run: Run, workspace: Workspace) -> None:
    result = run("evaluate")
    assert result.exit_code == 1
    assert "no validation frame is labelled yet" in result.output
    assert "--version 9: expected one of 1" in run("evaluate", "--version", "9").output
