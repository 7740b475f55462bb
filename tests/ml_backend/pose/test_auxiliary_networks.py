"""Auxiliary networks: what they are trained by, that the pose network does not notice, save, load, resume."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from label_config.values import BadInputError
from label_config.values.prediction import Output, by_keypoint_name
from label_config.values.skeleton import Skeleton
from ml_backend.pose.aux_net import AuxiliaryNetwork, feature_pyramid, gaussian_loss, link_lengths, ranking_loss
from ml_backend.pose.auxiliaries import FLOOR_HM, attach
from ml_backend.pose.config import AugmentConfig, Auxiliary, TrainConfig
from ml_backend.pose.infer import Predictor
from ml_backend.pose.networks import PoseNetwork, PoseOutput, build_network
from ml_backend.pose.training import train
from ml_backend.pose.weights import Manifest, load_model, read_tensors

ALL: tuple[Auxiliary, ...] = ("links", "aleatoric", "learning_loss")


def test_the_auxiliary_network_has_the_published_size() -> None:
    with torch.device("meta"):
        network = AuxiliaryNetwork(256, n_outputs=30)
    count = sum(parameter.numel() for parameter in network.parameters())
    # 4 · (256·256·4 + 256) + (256·256·16 + 256) + 256·128+128 + 128·64+64 + 64·32+32 + 32·16+16 + 16·30+30
    assert count == 4 * 262_400 + 1_048_832 + 32_896 + 8_256 + 2_080 + 528 + 510
    assert count == pytest.approx(2.1e6, rel=0.03)


def test_every_weight_learns_and_the_pose_network_is_not_touched() -> None:
    torch.manual_seed(0)
    features = torch.randn(4, 8, 16, 16, requires_grad=True)
    network = AuxiliaryNetwork(8, n_outputs=4, n_scales=3)
    length, spread = network(feature_pyramid([features])).chunk(2, dim=1)
    gaussian_loss(length, spread, torch.tensor([[3.0, 4.0]]).repeat(4, 1)).backward()  # type: ignore[no-untyped-call]
    assert features.grad is None
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert (parameter.grad != 0).any(), name


@pytest.mark.parametrize(("size", "levels"), [((64, 64), 5), ((64, 48), 5), ((36, 28), 4), ((4, 4), 1), ((3, 40), 1)])
def test_one_map_is_continued_by_averages(size: tuple[int, int], levels: int) -> None:
    pyramid = feature_pyramid([torch.arange(float(math.prod(size))).view(1, 1, *size)])
    assert len(pyramid) == levels
    network = AuxiliaryNetwork(1, 2, levels, (pyramid[-1].shape[2], pyramid[-1].shape[3]))
    assert network(pyramid).shape == (1, 2)


def test_the_levels_of_a_map_that_halves_evenly_have_its_mean() -> None:
    pyramid = feature_pyramid([torch.arange(64.0 * 64).view(1, 1, 64, 64)])
    assert pyramid[-1].mean() == pytest.approx(pyramid[0].mean().item())


def test_the_gaussian_loss_in_closed_form() -> None:
    # ½·(5−3)²·e⁰ + 0 = 2;  ½·0·… + ½·ln 4;  the third entry is not known.
    mean, log_variance = torch.tensor([[5.0, 2.0, 9.0]]), torch.tensor([[0.0, math.log(4), 7.0]])
    truth = torch.tensor([[3.0, 2.0, math.nan]])
    assert gaussian_loss(mean, log_variance, truth).item() == pytest.approx((2 + 0.5 * math.log(4)) / 2)
    assert gaussian_loss(mean, log_variance, torch.full((1, 3), math.nan)).item() == 0


def test_the_gaussian_loss_is_least_at_the_true_variance() -> None:
    truth = 10 + 3 * torch.randn(20000, 1, generator=torch.Generator().manual_seed(0))
    losses = {
        s: gaussian_loss(torch.full_like(truth, 10), torch.full_like(truth, math.log(s**2)), truth).item() for s in (2, 3, 4)
    }
    assert min(losses, key=lambda s: losses[s]) == 3


def test_an_unknown_entry_gives_no_gradient() -> None:
    mean = torch.zeros(1, 2, requires_grad=True)
    gaussian_loss(mean, torch.zeros(1, 2), torch.tensor([[1.0, math.nan]])).backward()  # type: ignore[no-untyped-call]
    assert mean.grad is not None
    assert mean.grad.tolist() == [[-1.0, 0.0]]


def test_the_ranking_loss_is_the_divergence_between_shares_of_loss() -> None:
    truth, predicted = torch.tensor([3.0, 1.0]), torch.tensor([0.2, -0.1], requires_grad=True)
    q = 1 / (1 + math.exp(-0.3))
    divergence = 0.75 * math.log(0.75 / q) + 0.25 * math.log(0.25 / (1 - q))
    loss = ranking_loss(predicted, truth)  # both directions of the one pair say the same
    assert loss.item() == pytest.approx(divergence, rel=1e-5)
    loss.backward()  # type: ignore[no-untyped-call]
    assert predicted.grad is not None
    assert predicted.grad[0] < 0 < predicted.grad[1]  # the harder one rises
    # Right as soon as the difference is the logarithm of the ratio.
    assert ranking_loss(torch.tensor([math.log(3.0), 0.0]), truth).item() == pytest.approx(0, abs=1e-6)
    assert ranking_loss(torch.tensor([0.3]), torch.tensor([2.0])).item() == 0
    assert ranking_loss(torch.tensor([0.3, 9.0]), torch.tensor([2.0, math.nan])).item() == 0


def test_link_lengths_are_distances_and_nan_where_an_end_is_missing() -> None:
    xy = torch.tensor([[[0.0, 0.0], [3.0, 4.0], [math.nan, math.nan]]])
    lengths = link_lengths(xy, [(0, 1), (1, 2)])
    assert lengths[0, 0].item() == 5
    assert lengths[0, 1].isnan()


def test_what_cannot_be_trained_is_a_clear_error(make_blobs: Any) -> None:
    with pytest.raises(BadInputError, match="expected different ones of links, aleatoric, learning_loss, got magic"):
        TrainConfig(auxiliary=("magic",))  # type: ignore[arg-type]
    config = TrainConfig(input_px=(32, 32), auxiliary=("links",))
    with pytest.raises(BadInputError, match="no limbs"):
        attach(build_network("unet_small", 2), config, Skeleton("points", ("a", "b")))

    class WithoutMaps(PoseNetwork):
        def forward(self, crops: torch.Tensor) -> PoseOutput:
            return PoseOutput(crops, crops.mean(dim=(2, 3)))

    with pytest.raises(BadInputError, match="returns no feature maps"):
        attach(WithoutMaps(), config, make_blobs().skeleton)


def test_links_follow_the_picture_and_know_how_sure_they_are(stretched_blobs: Any, tmp_path: Path) -> None:
    known, unseen = stretched_blobs(60, 0), stretched_blobs(40, 1)
    config = TrainConfig(
        input_px=(32, 32), network_args={"width": 8, "decoder": 16}, steps=150, batch=8, device="cpu", auxiliary=ALL
    )
    train(config, known.targets, known.skeleton, known.load, tmp_path)
    found = Predictor.load(tmp_path, "cpu").predict(unseen.images)
    length, sigma = found.outputs[Output.LINKS][..., 0], np.exp(0.5 * found.outputs[Output.LINKS][..., 1])
    truth = np.linalg.norm(unseen.truth[:, [2, 2]] - unseen.truth[:, [0, 1]], axis=-1)
    guess = np.abs(truth - truth.mean(axis=0)).mean()
    assert np.abs(length - truth).mean() < 0.5 * guess
    assert 0.2 < np.mean(((length - truth) / sigma) ** 2) < 5
    error = np.linalg.norm(found.xy_px - unseen.truth, axis=-1)
    assert 0.2 < np.exp(0.5 * found.outputs[Output.VARIANCE]).mean() / np.sqrt(np.mean(error**2)) < 5


def test_lengths_and_variances_are_in_pixels_of_the_picture(make_blobs: Any) -> None:
    torch.manual_seed(0)
    skeleton = make_blobs().skeleton
    config = TrainConfig(input_px=(32, 32), network_args={"width": 4, "decoder": 8}, auxiliary=ALL)
    network = build_network("unet_small", 3, width=4, decoder=8)
    attach(network, config, skeleton)
    small = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    large = small.repeat(3, axis=0).repeat(3, axis=1)  # averaged over 3 × 3 pixels it is the small one again
    found = Predictor(network, Manifest(skeleton, config), device="cpu").predict([small, large])
    np.testing.assert_allclose(
        found.outputs[Output.LINKS][1], found.outputs[Output.LINKS][0] * [3, 1] + [0, 2 * math.log(3)], rtol=1e-3
    )
    np.testing.assert_allclose(found.outputs[Output.VARIANCE][1], found.outputs[Output.VARIANCE][0] + 2 * math.log(3), rtol=1e-3)
    assert found.outputs[Output.LEARNING_LOSS][1] == pytest.approx(found.outputs[Output.LEARNING_LOSS][0], rel=1e-3)


def test_the_pose_network_is_the_same_with_and_without(make_blobs: Any, tiny: TrainConfig, tmp_path: Path) -> None:
    blobs = make_blobs()
    plain = train(tiny, blobs.targets, blobs.skeleton, blobs.load, tmp_path / "plain")
    beside = train(tiny.but(auxiliary=ALL), blobs.targets, blobs.skeleton, blobs.load, tmp_path / "beside")
    assert plain.losses == beside.losses
    first, second = read_tensors(tmp_path / "plain"), read_tensors(tmp_path / "beside")
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert all(name.startswith("auxiliary.") for name in set(second) - set(first))
    assert {name.split(".")[1] for name in set(second) - set(first)} == set(ALL)


def test_a_model_folder_keeps_auxiliary_networks(make_blobs: Any, tiny: TrainConfig, tmp_path: Path) -> None:
    blobs = make_blobs()
    train(tiny.but(auxiliary=ALL), blobs.targets, blobs.skeleton, blobs.load, tmp_path)
    network, manifest = load_model(tmp_path)
    assert manifest.config.auxiliary == ALL
    saved = read_tensors(tmp_path)
    assert all(torch.equal(value, saved[name]) for name, value in network.state_dict().items())
    predictor = Predictor.load(tmp_path, "cpu", batch=4)
    assert {Output.LINKS, Output.VARIANCE, Output.LEARNING_LOSS} < predictor.outputs
    found = predictor.predict(blobs.images)
    assert found.outputs[Output.LINKS].shape == (6, 2, 2)
    assert found.outputs[Output.VARIANCE].shape == (6, 3)
    assert found.outputs[Output.LEARNING_LOSS].shape == (6,)
    mapped = by_keypoint_name(found, ("left", "right", "top"), ("top", "tail"))
    assert Output.LINKS not in mapped.outputs
    np.testing.assert_array_equal(mapped.outputs[Output.VARIANCE][:, 0], found.outputs[Output.VARIANCE][:, 2])
    assert np.isnan(mapped.outputs[Output.VARIANCE][:, 1]).all()


@pytest.mark.parametrize("stop_at", [1, 7])
def test_a_resumed_run_repeats_the_uninterrupted_one(make_blobs: Any, tiny: TrainConfig, tmp_path: Path, stop_at: int) -> None:
    blobs = make_blobs()
    arguments = (tiny.but(auxiliary=ALL), blobs.targets, blobs.skeleton, blobs.load)
    asked = iter([False] * stop_at + [True])
    train(*arguments, tmp_path / "whole")
    train(*arguments, tmp_path / "parts", should_stop=lambda: next(asked))
    train(*arguments, tmp_path / "parts")
    first, second = read_tensors(tmp_path / "whole"), read_tensors(tmp_path / "parts")
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=1e-6, msg=name)


def test_a_warm_start_takes_auxiliary_networks_over_and_can_do_without(
    make_blobs: Any, tiny: TrainConfig, tmp_path: Path
) -> None:
    blobs = make_blobs()
    rest = (blobs.targets, blobs.skeleton, blobs.load)
    still = tiny.but(lr=1e-12, weight_decay=0.0, schedule="constant", steps=1, auxiliary=("links",))
    train(tiny, *rest, tmp_path / "plain")
    train(still, *rest, tmp_path / "first", init=tmp_path / "plain")
    train(still.but(auxiliary=ALL, seed=5), *rest, tmp_path / "second", init=tmp_path / "first")
    train(still.but(auxiliary=()), *rest, tmp_path / "third", init=tmp_path / "second")
    first, second, third = (read_tensors(tmp_path / name) for name in ("first", "second", "third"))
    for name in (name for name in first if "auxiliary.links" in name):
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=1e-9)
    assert not any(name.startswith("auxiliary") for name in third)


def test_links_start_at_the_labelled_lengths(make_blobs: Any) -> None:
    skeleton = make_blobs().skeleton
    auxiliary = attach(build_network("unet_small", 3), TrainConfig(input_px=(32, 32), auxiliary=("links",)), skeleton)
    assert auxiliary is not None
    xy = np.zeros((4, 3, 2))
    xy[:, 0, 0] = [6, 8, 10, 12]  # limb 2 → 0: mean 9, variance 5;  limb 2 → 1: never labelled
    weight = np.ones((4, 3), np.float32)
    weight[:, 1] = 0
    auxiliary.start_at(xy, weight)
    network = auxiliary["links"]
    assert isinstance(network, AuxiliaryNetwork)
    length_a, length_b, spread_a, spread_b = network.last.bias.tolist()
    assert (length_a, length_b) == pytest.approx((9, 9))
    assert (spread_a, spread_b) == pytest.approx((math.log(5), math.log(81)))


@pytest.mark.parametrize("init", [None, "plain"])
def test_a_run_begins_with_links_at_the_labelled_lengths_of_its_crops(
    make_blobs: Any, tiny: TrainConfig, tmp_path: Path, init: str | None
) -> None:
    blobs = make_blobs(n=8)  # pictures of 64 px, which a network of 32 px with stride 4 sees in 8 heatmap pixels
    rest = (blobs.targets, blobs.skeleton, blobs.load)
    # Boxes would be crops of several scales; the whole picture is one.
    still = tiny.but(lr=1e-12, weight_decay=0.0, schedule="constant", steps=1, two_stage=False, augment=AugmentConfig.none())
    train(still, *rest, tmp_path / "plain")
    train(still.but(auxiliary=("links",)), *rest, tmp_path / "links", init=tmp_path / init if init else None)
    lengths = np.linalg.norm(blobs.truth[:, [2, 2]] - blobs.truth[:, [0, 1]], axis=-1) / 8
    expected = [*lengths.mean(axis=0), *np.log(np.maximum(lengths.var(axis=0), 1))]
    np.testing.assert_allclose(
        read_tensors(tmp_path / "links")["auxiliary.links.last.bias"].numpy(), expected, rtol=1e-4, atol=1e-6
    )


def test_variances_have_a_floor(make_blobs: Any) -> None:
    auxiliary = attach(build_network("unet_small", 3), TrainConfig(input_px=(32, 32), auxiliary=ALL), make_blobs().skeleton)
    assert auxiliary is not None
    for name in ("links", "aleatoric"):
        network = auxiliary[name]
        assert isinstance(network, AuxiliaryNetwork)
        torch.nn.init.constant_(network.last.bias, -1e4)
    outputs = auxiliary(build_network("unet_small", 3)(torch.zeros(1, 3, 32, 32)).maps)
    floor = 2 * math.log(FLOOR_HM)
    assert outputs[Output.LINKS][..., 1].detach().numpy() == pytest.approx(floor)
    assert outputs[Output.VARIANCE].detach().numpy() == pytest.approx(floor)
