"""Prediction: crops, two looks, differing pictures, peaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from label_config.values import BadInputError
from label_config.values.prediction import Output, Prediction, by_keypoint_name
from ml_backend.pose import infer
from ml_backend.pose.adapter import PoseModel
from ml_backend.pose.auxiliaries import attach
from ml_backend.pose.config import AugmentConfig, TrainConfig
from ml_backend.pose.device import to_network
from ml_backend.pose.infer import Predictor, confident_box
from ml_backend.pose.networks import PoseNetwork, PoseOutput, build_network
from ml_backend.pose.training import train
from ml_backend.pose.weights import Manifest

QUICK = AugmentConfig(rotation_deg=0, scale=0.1, shift=0.05, brightness=0, contrast=0)


def test_small_subjects_are_found_in_two_looks_and_located_better_than_in_one(make_blobs: Any, tmp_path: Path) -> None:
    blobs = make_blobs(n=8, size=(256, 192), spread=0.12, radius=5)
    config = TrainConfig(input_px=(64, 64), steps=160, batch=8, device="cpu", augment=QUICK)
    predictors = []
    for name, two_stage in (("two", None), ("one", False)):
        train(config.but(two_stage=two_stage), blobs.targets, blobs.skeleton, blobs.load, tmp_path / name)
        predictors.append(Predictor.load(tmp_path / name, "cpu"))
    assert [predictor.manifest.two_stage for predictor in predictors] == [True, False]
    two, one = (predictor.predict(blobs.images) for predictor in predictors)
    assert (two.box_px[:, 2] < 200).all()
    errors = [np.linalg.norm(found.xy_px - blobs.truth, axis=-1).mean() for found in (two, one)]
    assert errors[0] < 1.5
    assert errors[0] < errors[1]


def test_a_given_box_is_enlarged_by_a_quarter_and_looked_at_once(make_blobs: Any, tmp_path: Path) -> None:
    blobs = make_blobs(n=6, size=(160, 160), spread=0.15, radius=4)
    boxes = [(*(target.xy_px.mean(axis=0) - 32), 64.0, 64.0) for target in blobs.targets]
    targets = [replace(target, box_px=box) for target, box in zip(blobs.targets, boxes, strict=True)]
    config = TrainConfig(input_px=(64, 64), steps=100, batch=6, device="cpu", augment=QUICK, two_stage=False)
    train(config, targets, blobs.skeleton, blobs.load, tmp_path)
    found = Predictor.load(tmp_path, "cpu").predict(blobs.images, boxes)
    assert np.linalg.norm(found.xy_px - blobs.truth, axis=-1).mean() < 1.5
    np.testing.assert_allclose(found.box_px[:, 2:], 80)
    np.testing.assert_allclose(found.box_px[:, :2], np.array(boxes)[:, :2] - 8)


@pytest.fixture
def untrained(make_blobs: Any) -> Predictor:
    config = TrainConfig(input_px=(32, 32), network_args={"width": 4, "decoder": 8})
    return Predictor(
        build_network("unet_small", 3, width=4, decoder=8), Manifest(make_blobs().skeleton, config), device="cpu", batch=2
    )


def test_pictures_of_any_size_in_any_number_of_batches(untrained: Predictor) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (h, w, 3), dtype=np.uint8) for h, w in ((20, 30), (64, 64), (100, 31), (7, 9), (33, 40))]
    batch = untrained.predict(images, heatmaps=True)
    assert isinstance(untrained, PoseModel)
    assert untrained.outputs == {Output.PEAKS, Output.HEATMAPS, Output.FEATURES}
    assert batch.xy_px.shape == (5, 3, 2)
    assert batch.outputs[Output.PEAKS].shape == (5, 3, 5, 3)
    assert batch.outputs[Output.HEATMAPS].shape == (5, 3, 8, 8)
    assert batch.outputs[Output.FEATURES].shape == (5, 16)
    alone = untrained.predict(images[2:3], heatmaps=True)
    np.testing.assert_allclose(alone.outputs[Output.HEATMAPS][0], batch.outputs[Output.HEATMAPS][2], atol=1e-5)
    # The whole picture, padded to the input's aspect around its centre.
    np.testing.assert_allclose(batch.box_px[0], (0, -5, 30, 30))


def test_a_full_memory_halves_the_batch_and_goes_on(untrained: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (32, 32, 3), dtype=np.uint8) for _ in range(5)]
    expected = untrained.predict(images)
    untrained.batch = 4
    real = to_network

    def limited(crops: Any, device: torch.device) -> torch.Tensor:
        if len(crops) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return real(crops, device)

    monkeypatch.setattr(infer, "to_network", limited)
    found = untrained.predict(images)
    assert untrained.batch == 1
    np.testing.assert_allclose(found.xy_px, expected.xy_px, atol=1e-4)

    def never(crops: Any, device: torch.device) -> torch.Tensor:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(infer, "to_network", never)
    with pytest.raises(torch.OutOfMemoryError):
        untrained.predict(images)


def test_no_pictures_no_points(untrained: Predictor) -> None:
    assert untrained.predict([]).xy_px.shape == (0, 3, 2)


def test_wrong_requests_are_clear_errors(untrained: Predictor) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(BadInputError, match="one box or None per picture"):
        untrained.predict([picture], [])
    with pytest.raises(BadInputError, match="flip_test: needs"):
        Predictor(untrained.network, untrained.manifest, device="cpu", flip_test=True)


def maps_and_mirrored_back(make_blobs: Any, grid: str) -> tuple[Any, Any]:
    """(K, 8, 8) maps of a picture with the flip test, and those of its mirrored picture, mirrored back."""
    skeleton = replace(make_blobs().skeleton, flip_augment=True)
    config = TrainConfig(input_px=(32, 32), network_args={"width": 4, "decoder": 8}, grid=grid)  # type: ignore[arg-type]
    network = build_network("unet_small", 3, width=4, decoder=8)
    predictor = Predictor(network, Manifest(skeleton, config), device="cpu", flip_test=True)
    picture = np.random.default_rng(1).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    mirrored = np.ascontiguousarray(picture[:, ::-1])
    found = predictor.predict([picture, mirrored], heatmaps=True)
    return found.outputs[Output.HEATMAPS][0], found.outputs[Output.HEATMAPS][1][list(skeleton.mirror)][..., ::-1]


def test_the_flip_test_of_a_mirrored_picture_mirrors_the_points(make_blobs: Any) -> None:
    maps, mirrored_back = maps_and_mirrored_back(make_blobs, "centre")
    np.testing.assert_allclose(maps, mirrored_back, atol=1e-5)


def test_mirroring_moves_a_grid_from_the_edge_by_one_cell(make_blobs: Any) -> None:
    maps, mirrored_back = maps_and_mirrored_back(make_blobs, "stride")
    np.testing.assert_allclose(maps[..., 2:-1], mirrored_back[..., 1:-2], atol=1e-5)


def test_the_box_of_the_first_look_leaves_out_points_that_are_guessed() -> None:
    xy = np.array([[10.0, 10.0], [30.0, 20.0], [200.0, 200.0], [np.nan, np.nan]])
    confidence = np.array([0.9, 0.8, 0.1, 0.0])
    assert confident_box(xy, confidence, float("nan")) == (10, 10, 21, 11)
    # Never smaller than half a typical subject, about the same centre.
    assert confident_box(xy, confidence, 60.0) == (5.5, 0.5, 30, 30)
    assert confident_box(xy, np.array([0.9, 0.2, 0.1, 0.0]), 60.0) is None
    assert confident_box(xy, np.zeros(4), 60.0) is None


def test_points_are_matched_by_name() -> None:
    batch = Prediction(np.arange(6, dtype=np.float64).reshape(1, 3, 2), np.array([[0.1, 0.2, 0.3]]), np.zeros((1, 4)))
    mapped = by_keypoint_name(batch, ("nose", "left_eye", "right_eye"), ("Right Eye", "tail", "nose"))
    np.testing.assert_array_equal(mapped.xy_px[0], [[4, 5], [np.nan, np.nan], [0, 1]])
    np.testing.assert_array_equal(mapped.confidence, [[0.3, 0, 0.1]])
    with pytest.raises(BadInputError, match="no name in common"):
        by_keypoint_name(batch, ("a", "b", "c"), ("d",))


class TwoMaxima(PoseNetwork):
    """Keypoint 0 at (12, 4) or, a little less, at (2, 4); 1 at (12, 4); 2 at (4, 10).  The limb 2–0 is √40 long, 2–1 10."""

    def forward(self, crops: torch.Tensor) -> PoseOutput:
        y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
        right, left, foot = (torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 4) for cx, cy in ((12, 4), (2, 4), (4, 10)))
        maps = torch.stack([torch.maximum(right, 0.9 * left), right, foot])
        return PoseOutput(maps.expand(len(crops), -1, -1, -1), torch.zeros(len(crops), 4), (torch.zeros(len(crops), 2, 16, 16),))


class KnownLengths(torch.nn.Module):
    def forward(self, maps: Any) -> dict[Output, torch.Tensor]:
        return {Output.LINKS: torch.tensor([[[40**0.5, 0.0], [10.0, 0.0]]]).expand(len(maps[0]), -1, -1)}


def test_limbs_choose_among_the_maxima_of_a_map(make_blobs: Any) -> None:
    skeleton, picture = make_blobs().skeleton, np.zeros((64, 64, 3), np.uint8)
    config = TrainConfig(input_px=(64, 64), auxiliary=("links",), two_stage=False)
    network = TwoMaxima()
    attach(network, config, skeleton)
    network.auxiliary = KnownLengths()
    plain = Predictor(network, Manifest(skeleton, config), device="cpu").predict([picture])
    refined = Predictor(network, Manifest(skeleton, config), device="cpu", limb_refinement=True).predict([picture])
    np.testing.assert_allclose(plain.xy_px[0], [[49.5, 17.5], [49.5, 17.5], [17.5, 41.5]], atol=0.3)
    np.testing.assert_allclose(refined.xy_px[0, 0], [9.5, 17.5], atol=0.3)
    np.testing.assert_array_equal(refined.xy_px[0, 1:], plain.xy_px[0, 1:])
    assert (plain.confidence[0, 0], refined.confidence[0, 0]) == pytest.approx((1.0, 0.9), abs=0.02)


def test_a_model_without_lengths_of_limbs_says_that_it_cannot_refine(
    untrained: Predictor, caplog: pytest.LogCaptureFixture
) -> None:
    without = Predictor(untrained.network, untrained.manifest, device="cpu", limb_refinement=True)
    picture = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(without.predict([picture]).xy_px, untrained.predict([picture]).xy_px)
    assert "limb_refinement: this model has no auxiliary network" in caplog.text
