"""``parallax harvest`` and ``parallax robustness`` as a person meets them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from label_config.values import FrameKey
from ml_backend.labels.harvested_labels import Harvest
from ml_backend.project.job_arguments import HarvestOptions
from ml_backend.store import versions, work
from ml_backend.store.workspace import Workspace

Run = Callable[..., Result]


def poses(scale: float) -> Harvest:
    """Two frames of the small project's three keypoints; everything told by ``scale``."""
    shape = (2, 3)
    return Harvest(
        keys=(FrameKey("s", 0), FrameKey("s", 1)),
        xyz_world=np.full((*shape, 3), scale),
        covariance=np.zeros((*shape, 3, 3)),
        logdet=np.full(shape, 6 * np.log(10 * scale)),
        residual_px=np.full((2, 2, 3), scale),
        agreeing=np.full(shape, 2),
        kept=np.array([[True, True, False], [True, False, False]]),
    )


@pytest.fixture
def harvested(workspace: Workspace) -> Workspace:
    """A harvest is done; px-2 came out and was refused by the gate."""
    requested = work.request(workspace.store, "harvest")
    job = work.claim(workspace.store, requested.id, "test")
    assert job is not None
    version = versions.add(
        workspace.store,
        attempt=job.attempt,
        snapshot_id=None,
        path="m-2",
        sha256="0" * 64,
        metrics={"gate": "rejected: worse", "per_keypoint_px": [1.5, 2.5, None], "previous_per_keypoint_px": [3.5, 4.5, None]},
    )
    versions.reject(workspace.store, version.id, "rejected: worse")
    before, after = (workspace.arrays.save("harvest", poses(scale).to_arrays())[0] for scale in (2.0, 1.0))
    work.remember(workspace.store, job, before=before, after=after, version_id=version.id)
    work.finish(workspace.store, job)
    return workspace


def test_before_and_after_per_keypoint(run: Run, harvested: Workspace) -> None:
    lines = run("harvest", "show").output.splitlines()
    assert lines[0] == "2 frames; before → after personalising"
    table = {line.split()[0]: line for line in lines[2:5]}
    assert table["nose"].endswith(" 20.00 → 10.00")
    assert "100%" in table["nose"]
    assert "3.50 → 1.50" in table["nose"]
    assert "2.00 → 1.00" in table["nose"]
    assert "50%" in table["tail"]
    assert "– → –" in table["paw"]
    assert lines[-1] == "px-2 is rejected; gate: rejected: worse"


def test_points_of_a_refused_model_are_not_exported(run: Run, harvested: Workspace, tmp_path: Path) -> None:
    target = tmp_path / "points.csv"
    result = run("harvest", "export", str(target))
    assert "2 poses, 50% of their points trusted" in result.output
    with target.open(newline="") as file:
        assert next(csv.DictReader(file))["nose_x"] == "2.0000", "those of the model before"
    again = run("harvest", "export", str(target))
    assert again.exit_code == 1
    assert "exists already" in again.output


def test_a_harvest_without_calibration_fails_for_good_and_says_what_to_do(run: Run, workspace: Workspace) -> None:
    result = run("harvest", "--stride", "3")
    assert result.exit_code == 1
    assert "calibration:" in result.output
    job = work.list_jobs(workspace.store)[0]
    assert (job.kind, job.status, job.arguments["stride"]) == ("harvest", "failed", 3)


def test_a_harvest_can_be_left_to_a_worker(run: Run, workspace: Workspace) -> None:
    assert "a worker for training takes it" in run("harvest", "--queue", "--sequence", "s").output
    job = work.open_jobs(workspace.store)[0]
    assert (job.kind, job.arguments["sequences"]) == ("harvest", ["s"])


def test_measured_limb_lengths_are_part_of_what_is_asked_for(run: Run, workspace: Workspace, tmp_path: Path) -> None:
    measured = tmp_path / "limbs.csv"
    measured.write_text("from,to,length\nnose,tail,120.5\n")
    run("harvest", "--queue", "--grid", "64", "--unconfirmed", "--limb-lengths", str(measured))
    asked = HarvestOptions.of(work.open_jobs(workspace.store)[0])
    assert asked == HarvestOptions(None, grid=64, unconfirmed=True, limb_lengths=[("nose", "tail", 120.5)])


def test_limb_lengths_of_a_project_without_labels_are_not_written(run: Run, workspace: Workspace, tmp_path: Path) -> None:
    result = run("harvest", "lengths", str(tmp_path / "limbs.csv"))
    assert result.exit_code == 1
    assert "limb lengths: expected labels" in result.output
    assert not (tmp_path / "limbs.csv").exists()


def test_nothing_to_show_or_evaluate_yet(run: Run, workspace: Workspace) -> None:
    assert "nothing was harvested yet" in run("harvest", "show").output
    assert "no validation frame is labelled yet" in run("robustness").output
    assert "--version 9: expected one of 1" in run("robustness", "--version", "9").output


def test_a_single_view_network_is_written_with_its_errors(
    run: Run, harvested: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file

    from ml_backend.jobs import single_view_training
    from ml_backend.pose.config import TrainConfig
    from ml_backend.pose.single_view_network import SingleViewManifest, build_single_view
    from ml_backend.simulation.studio import CaptureStudio

    config = TrainConfig(input_px=(32, 32), network_args={"width": 4, "decoder": 8})
    camera = CaptureStudio(seed=0, n_frames=1, n_views=1).rig.cameras[0]
    manifest = SingleViewManifest(harvested.binding.skeleton, config, camera, "mm", (1.0,))
    network = build_single_view(config, 3)
    result = single_view_training.SingleViewResult(network, manifest, np.array([12.5, np.nan, 7.0]), 40, 10)
    monkeypatch.setattr(single_view_training, "train_single_view", lambda workspace, view, printed: result)
    target = tmp_path / "weights.safetensors"
    lines = run("harvest", "single-view", "left", str(target)).output.splitlines()
    assert lines[0].startswith("40 frames learnt, 10 left out; weights in")
    assert [line.split() for line in lines[2:5]] == [["nose", "12.50"], ["tail", "–"], ["paw", "7.00"]]
    assert load_file(target).keys() == network.state_dict().keys()
