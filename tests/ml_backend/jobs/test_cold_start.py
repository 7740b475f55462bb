"""The first order: by look, and with the points of a ready-made model where parallax.yaml names one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from label_config.values import BadInputError, BoolArray, Pose2D
from ml_backend.jobs.cold_start import describe_pictures
from ml_backend.jobs.run_job import run_here
from ml_backend.pose.vitpose import COCO_17
from ml_backend.project.frame_pictures import Pictures
from ml_backend.store import frames, generations, work
from ml_backend.store.generations import PickRow
from ml_backend.store.workspace import Workspace

Make = Callable[..., Workspace]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ViTPose and a tiny ResNet with random weights, in folders as a hub would give them."""
    from transformers import ResNetBackbone, ResNetConfig, VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("hub")
    backbone = VitPoseBackboneConfig(  # type: ignore[call-arg]  # its keywords are not in its stub
        image_size=[64, 48], patch_size=[16, 16], hidden_size=32, num_hidden_layers=1, num_attention_heads=2, out_indices=[1]
    )
    labels = dict(enumerate(COCO_17))
    config = VitPoseConfig(backbone_config=backbone, use_simple_decoder=True, id2label=labels)
    VitPoseForPoseEstimation(config).save_pretrained(folder / "vitpose")
    small = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    ResNetBackbone(small).save_pretrained(folder / "resnet")
    return folder


def first_order(workspace: Workspace) -> list[PickRow]:
    run_here(workspace, work.request(workspace.store, "select"), lambda progress: None)
    (generation,) = generations.list_generations(workspace.store)
    assert generation.version_id is None
    return generations.list_picks(workspace.store, generation.number)


def test_tasks_open_with_the_points_that_the_ready_made_model_knows(make_workspace: Make, hub: Path) -> None:
    workspace = make_workspace(cold_start={"pose_model": str(hub / "vitpose")})
    picks = first_order(workspace)
    known = np.isin(workspace.binding.skeleton.keypoints, COCO_17)
    assert known.any()
    assert not known.all()
    assert sum(pick.without_points for pick in picks) == 3, "random picks stay blind"
    assert all(pick.without_points == (pick.poses == {}) for pick in picks)
    for pick in (pick for pick in picks if not pick.without_points):
        found: BoolArray = np.all(np.isfinite(Pose2D.from_json(pick.poses["0"]).xy_px), axis=-1)
        assert not found[:, ~known].any()
        assert found[:, known].mean() > 0.5, "maps of random weights have a maximum nearly everywhere"


def test_a_model_that_cannot_be_had_names_the_ways_out(make_workspace: Make, tmp_path: Path) -> None:
    workspace = make_workspace(cold_start={"pose_model": str(tmp_path / "nowhere")})
    with pytest.raises(BadInputError, match=r"cannot be had: .*copy a downloaded folder"):
        first_order(workspace)


@pytest.mark.parametrize(("embedding", "width"), [(None, 144), ("resnet", 16)])
def test_pictures_are_described_view_by_view(make_workspace: Make, hub: Path, embedding: str | None, width: int) -> None:
    workspace = make_workspace(cold_start={"embedding": embedding and str(hub / embedding)})
    rows = frames.list_frames(workspace.store)[:4]
    without = {name: ref for name, ref in rows[2].images.items() if name != workspace.views[1]}
    frames.replace_images(workspace.store, rows[2].id, without)
    rows = frames.list_frames(workspace.store, [row.id for row in rows])
    pictures = Pictures(workspace)
    said: list[dict[str, Any]] = []
    found: Any = describe_pictures(workspace, rows, pictures, said.append).reshape(4, len(workspace.views), -1)
    pictures.close()
    assert [(report["step"], report["steps"]) for report in said][-1] == (
        4 * len(workspace.views) - 2,
        4 * len(workspace.views) - 1,
    )
    assert found.shape[2] == width
    assert (found[2, 1] == 0).all()
    assert (np.abs(found).sum(axis=2) > 0).sum() == 4 * len(workspace.views) - 1
    assert len(first_order(workspace)) == 12


def test_embeddings_have_the_length_one(make_workspace: Make, hub: Path) -> None:
    workspace = make_workspace(cold_start={"embedding": str(hub / "resnet")})
    with closing(Pictures(workspace)) as pictures:
        found = describe_pictures(workspace, frames.list_frames(workspace.store)[:2], pictures, lambda report: None)
    np.testing.assert_allclose(np.linalg.norm(found.reshape(6, 16), axis=1), 1, rtol=1e-5)
