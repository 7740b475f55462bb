"""What parallax.yaml says about networks of one's own, a common model and the learning rate reaches the training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from label_config.values import BadInputError, ParallaxError
from ml_backend.jobs.learning_rate import range_test
from ml_backend.jobs.run_job import run_here
from ml_backend.pose.weights import read_manifest
from ml_backend.project.load_model import load_predictor
from ml_backend.store import versions, work
from ml_backend.store.versions import VersionRow
from ml_backend.store.workspace import Workspace

Make = Callable[..., Workspace]
Label = Callable[..., None]

OWN = """
from torch import nn
from ml_backend.pose.networks import PoseNetwork, PoseOutput

class Own(PoseNetwork):
    stride, multiple = 4, 4

    def __init__(self, n_keypoints, width=8):
        super().__init__()
        self.feature_dim = width
        self.body = nn.Sequential(nn.Conv2d(3, width, 5, 4, 2), nn.ReLU())
        self.final_layer = nn.Conv2d(width, n_keypoints, 1)

    def forward(self, crops):
        maps = self.body(crops)
        return PoseOutput(self.final_layer(maps), maps.mean(dim=(2, 3)))
"""


#: Training its first layer on a CPU corrupts memory, see ml_backend.pose.networks.strided.
UNSAFE = OWN.replace("nn.Conv2d(3, width, 5, 4, 2)", "nn.Conv2d(3, width, 1, 4)")


def changed(workspace: Workspace, **train: object) -> Workspace:
    """The same project after an edit of the section ``train``."""
    spec = workspace.spec
    return replace(workspace, spec=spec.model_copy(update={"train": spec.train.model_copy(update=train)}))


def retrain(workspace: Workspace) -> VersionRow:
    run_here(workspace, work.request(workspace.store, "retrain"), lambda progress: None)
    live = versions.live(workspace.store)
    assert live is not None
    return live


def test_a_network_of_ones_own_in_the_loop(
    make_workspace: Make, label: Label, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "own_network.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    name = "own_network:Own"
    own = make_workspace(train={"network": name, "network_args": {"width": 12}})
    label(own, [0, 8])
    first = retrain(own)
    assert load_predictor(own, own.models / first.path).network.feature_dim == 12
    label(own, [16])
    built_in = changed(own, network="unet_small", network_args={})
    with pytest.raises(BadInputError, match=r"name it in parallax\.yaml"):
        retrain(built_in)  # the gate cannot load the live model
    second = retrain(changed(built_in, plugins=(name,)))
    assert read_manifest(own.models / second.path).config.network == "unet_small"


def test_target_height_grid_precision_and_flip_test(make_workspace: Make, label: Label) -> None:
    workspace = make_workspace(train={"amplitude": 5.0, "grid": "stride", "precision": "bfloat16", "flip_test": True})
    label(workspace, [0, 8])
    assert not workspace.binding.skeleton.flip_augment
    with pytest.raises(BadInputError, match=r"train\.flip_test: needs"):
        retrain(workspace)
    without = changed(workspace, flip_test=False)
    config = read_manifest(without.models / retrain(without).path).config
    assert (config.amplitude, config.grid, config.precision) == (5.0, "stride", "bfloat16")


def test_a_recordings_model_starts_from_the_common_one(make_workspace: Make, label: Label) -> None:
    workspace = make_workspace()
    label(workspace, [0, 8])
    common = workspace.models / retrain(workspace).path
    versions_before = len(versions.list_versions(workspace.store))
    # The same store stands in for a new project: without a parent, as its first training would be.
    mine = changed(workspace, preset="video_specific", weights=str(common), steps_first=6)
    label(mine, [16])
    job = work.request(mine.store, "retrain")
    claimed = work.claim(mine.store, job.id, "me")
    assert claimed is not None
    from ml_backend.jobs.job_context import JobContext
    from ml_backend.jobs.retrain_job import retrain as run

    version = run(JobContext(mine, claimed, lambda progress: None, lambda: False).remember(parent=None))
    assert version is not None
    assert len(versions.list_versions(mine.store)) == versions_before + 1
    config = read_manifest(mine.models / version.path).config
    assert config.lr == pytest.approx(2.5e-4), "the rate of ACFT, not the default of a fresh start"
    assert config.steps == 563, "250 epochs of 9 crops in batches of 4: nothing is known yet of how well they were predicted"


def test_a_fresh_start_of_a_recipe_that_goes_on_is_the_default(make_workspace: Make, label: Label) -> None:
    workspace = make_workspace(train={"preset": "video_specific"})
    label(workspace, [0, 8])
    assert read_manifest(workspace.models / retrain(workspace).path).config.lr == workspace.spec.train.lr


def test_a_learning_rate_is_found_without_leaving_a_trace(make_workspace: Make, label: Label) -> None:
    workspace = make_workspace()
    with pytest.raises(ParallaxError, match="no labelled frame lies in the training part"):
        range_test(workspace)
    label(workspace, [0, 8, 16])
    found = range_test(workspace, steps=20)
    assert math.isfinite(found.suggestion)
    assert found.lr[0] <= found.suggestion <= found.lr[-1]
    assert (np.diff(found.lr) > 0).all()
    assert versions.list_versions(workspace.store) == []
    assert versions.list_snapshots(workspace.store) == []


def test_a_network_of_ones_own_that_would_corrupt_memory_is_refused_before_its_first_step(
    make_workspace: Make, label: Label, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "unsafe_network.py").write_text(UNSAFE)
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    own = make_workspace(train={"network": "unsafe_network:Own", "network_args": {}, "device": "cpu"})
    label(own, [0, 8])
    with pytest.raises(BadInputError, match=r"'body.0'.*StridedPointwise"):
        retrain(own)
    with pytest.raises(BadInputError, match=r"'body.0'.*StridedPointwise"):
        range_test(own)
