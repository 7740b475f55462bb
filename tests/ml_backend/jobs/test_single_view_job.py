"""A harvest teaches a single-view network: of exact poses the network learns to tell frames that it has not seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.jobs import single_view_training
from ml_backend.jobs.harvest_job import HarvestOutcome
from ml_backend.jobs.single_view_training import train_single_view
from ml_backend.labels.harvested_labels import Harvest
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.store.versions import VersionRow
from ml_backend.store.workspace import Workspace

Make = Callable[..., Workspace]


@pytest.fixture
def harvested(studio: CaptureStudio, monkeypatch: pytest.MonkeyPatch) -> Harvest:
    """The truth, of which every third right half is not trusted."""
    n, joints = len(studio.frames), len(studio.skeleton)
    kept = np.ones((n, joints), dtype=np.bool_)
    kept[::3, joints // 2 :] = False
    kept[:, studio.skeleton.root] = True
    found = Harvest(
        keys=studio.frames,
        xyz_world=np.where(kept[..., None], studio.truth_xyz, 1e5),  # what is not trusted is far off
        covariance=np.zeros((n, joints, 3, 3)),
        logdet=np.zeros((n, joints)),
        residual_px=np.zeros((n, 3, joints)),
        agreeing=np.full((n, joints), 3),
        kept=kept,
    )
    version = VersionRow.__new__(VersionRow)
    object.__setattr__(version, "status", "live")
    monkeypatch.setattr(single_view_training, "last_harvest", lambda workspace: HarvestOutcome(found, found, version))
    return found


def test_a_short_recording_leaves_nothing_to_evaluate(make_workspace: Make, harvested: Harvest) -> None:
    workspace = make_workspace(train={"steps_first": 2, "device": "cpu"})
    result = train_single_view(workspace, workspace.views[1])
    assert (result.trained_on, result.evaluated_on) == (40, 0), "forty frames are four blocks, of which none is the fifth"
    assert np.isnan(result.error_world).all()


def test_blocks_are_left_out_and_evaluated_in_the_world(
    make_workspace: Make, harvested: Harvest, studio: CaptureStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single_view_training, "BLOCK", 2)
    workspace = make_workspace(train={"input_px": 64, "steps_first": 250, "batch": 8, "lr": 2e-3, "device": "cpu"})
    result = train_single_view(workspace, workspace.views[1])
    assert (result.trained_on, result.evaluated_on) == (32, 8)
    # Root-relative spread of the poses: what saying the mean pose every time would cost.
    relative = studio.truth_xyz - studio.truth_xyz[:, [studio.skeleton.root]]
    guess = np.linalg.norm(relative - relative.mean(axis=0), axis=-1).mean()
    assert np.nanmean(result.error_world) < 0.7 * guess


def test_an_unknown_camera_is_named(make_workspace: Make, harvested: Harvest) -> None:
    with pytest.raises(BadInputError, match=r"expected one of the cameras .* got 'roof'"):
        train_single_view(make_workspace(), "roof")
