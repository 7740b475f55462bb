"""The auxiliary link network, the generic embedding and the ready-made human model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from label_config.values import BadInputError
from ml_backend.pose.adapter import PoseModel
from ml_backend.pose.aux_net import AuxiliaryNetwork, feature_pyramid, link_lengths, link_loss
from ml_backend.pose.embedding import Embedder
from ml_backend.pose.networks import build_network
from ml_backend.pose.vitpose import COCO_17, VitPose


def test_the_auxiliary_network_has_the_published_size() -> None:
    with torch.device("meta"):
        network = AuxiliaryNetwork(256, n_links=15)
    count = sum(parameter.numel() for parameter in network.parameters())
    # 4 · (256·256·4 + 256) + (256·256·16 + 256) + 256·128+128 + 128·64+64 + 64·32+32 + 32·16+16 + 16·30+30
    assert count == 4 * 262_400 + 1_048_832 + 32_896 + 8_256 + 2_080 + 528 + 510
    assert count == pytest.approx(2.1e6, rel=0.03)


def test_the_auxiliary_network_learns_lengths_without_touching_the_pose_network() -> None:
    torch.manual_seed(0)
    features = torch.randn(4, 8, 16, 16, requires_grad=True)
    network = AuxiliaryNetwork(8, n_links=2, n_scales=3)
    distance, log_variance = network(feature_pyramid(features, 3))
    truth = torch.tensor([[3.0, 4.0]]).repeat(4, 1)
    link_loss(distance, log_variance, truth).backward()
    assert features.grad is None
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_the_link_loss_in_closed_form() -> None:
    # ½·(5−3)²·e⁰ + 0 = 2;  ½·0·… + ½·ln 4;  the third link is absent.
    distance, log_variance = torch.tensor([[5.0, 2.0, 9.0]]), torch.tensor([[0.0, math.log(4), 7.0]])
    truth = torch.tensor([[3.0, 2.0, math.nan]])
    assert link_loss(distance, log_variance, truth).item() == pytest.approx((2 + 0.5 * math.log(4)) / 2)
    assert link_loss(distance, log_variance, torch.full((1, 3), math.nan)).item() == 0


def test_the_link_loss_is_least_at_the_true_variance() -> None:
    truth = 10 + 3 * torch.randn(20000, 1, generator=torch.Generator().manual_seed(0))
    losses = {s: link_loss(torch.full_like(truth, 10), torch.full_like(truth, math.log(s**2)), truth).item() for s in (2, 3, 4)}
    assert min(losses, key=lambda s: losses[s]) == 3


def test_an_absent_link_gives_no_gradient() -> None:
    distance = torch.zeros(1, 2, requires_grad=True)
    link_loss(distance, torch.zeros(1, 2), torch.tensor([[1.0, math.nan]])).backward()
    assert distance.grad is not None
    assert distance.grad.tolist() == [[-1.0, 0.0]]


def test_link_lengths_are_distances_and_nan_where_an_end_is_missing() -> None:
    xy = torch.tensor([[[0.0, 0.0], [3.0, 4.0], [math.nan, math.nan]]])
    lengths = link_lengths(xy, [(0, 1), (1, 2)])
    assert lengths[0, 0].item() == 5
    assert lengths[0, 1].isnan()


def test_a_skeleton_without_limbs_is_a_clear_error() -> None:
    with pytest.raises(BadInputError, match="no limbs"):
        AuxiliaryNetwork(8, 0)


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

    backbone = VitPoseBackboneConfig(
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
    assert everything.heatmaps is not None
    assert everything.heatmaps.shape == (3, 17, 16, 12)
    # 30×40 has the input's aspect already; a quarter is added around the centre (25, 30).
    np.testing.assert_allclose(found.box_px[1], (6.25, 5, 37.5, 50))


def test_a_human_model_with_other_keypoints_is_refused(small_vitpose: Any) -> None:
    small_vitpose.config.id2label = {0: "x"}
    with pytest.raises(BadInputError, match="17 keypoints, got 1"):
        VitPose(small_vitpose, ("nose",), device="cpu")
