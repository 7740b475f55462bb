"""The generic embedding and the ready-made human model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from label_config.values import BadInputError
from label_config.values.prediction import Output
from ml_backend.pose.adapter import PoseModel
from ml_backend.pose.embedding import Embedder
from ml_backend.pose.networks import build_network
from ml_backend.pose.vitpose import COCO_17, VitPose


def test_embeddings_are_unit_vectors_that_do_not_depend_on_batching() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (h, w, 3), dtype=np.uint8) for h, w in ((40, 60), (64, 64), (30, 30))]
    network = build_network("unet_small", 1)
    found = Embedder(network, input_px=(64, 64), device="cpu", batch=2).embed(images)
    assert found.shape == (3, 64)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    alone = Embedder(network, input_px=(64, 64), device="cpu").embed(images[2:], [(0.0, 0.0, 30.0, 30.0)])
    np.testing.assert_allclose(alone[0], found[2], atol=1e-5)
    assert Embedder(network, device="cpu").embed([]).shape == (0, 64)


@pytest.fixture
def small_vitpose() -> Any:
    from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

    backbone = VitPoseBackboneConfig(  # type: ignore[call-arg]  # its keywords are not in its stub
        image_size=[64, 48], patch_size=[16, 16], hidden_size=16, num_hidden_layers=1, num_attention_heads=2, out_indices=[1]
    )
    torch.manual_seed(0)
    labels = dict(enumerate(COCO_17))
    return VitPoseForPoseEstimation(VitPoseConfig(backbone_config=backbone, use_simple_decoder=True, id2label=labels))


def test_the_human_model_is_mapped_by_name(small_vitpose: Any) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (80, 60, 3), dtype=np.uint8) for _ in range(3)]
    everything = VitPose(small_vitpose, COCO_17, device="cpu", batch=2).predict(images, heatmaps=True)
    some = VitPose(small_vitpose, ("Left Wrist", "hat", "nose"), device="cpu")
    assert isinstance(some, PoseModel)
    found = some.predict(images, [None, (10.0, 10.0, 30.0, 40.0), None])
    np.testing.assert_allclose(found.xy_px[0, [0, 2]], everything.xy_px[0, [9, 0]], atol=1e-3)
    assert np.isnan(found.xy_px[:, 1]).all()
    assert (found.confidence[:, 1] == 0).all()
    assert everything.outputs[Output.HEATMAPS].shape == (3, 17, 16, 12)
    # 30×40 has the input's aspect already; a quarter is added around the centre (25, 30).
    np.testing.assert_allclose(found.box_px[1], (6.25, 5, 37.5, 50))


def test_a_human_model_with_other_keypoints_is_refused(small_vitpose: Any) -> None:
    small_vitpose.config.id2label = {0: "x"}
    with pytest.raises(BadInputError, match="17 keypoints, got 1"):
        VitPose(small_vitpose, ("nose",), device="cpu")
