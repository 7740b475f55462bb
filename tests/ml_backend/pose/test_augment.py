"""Augmentation: pictures and keypoints go through the same map; photometry moves nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from label_config.values import TrainingTarget
from ml_backend.pose.augment import draw_geometry, headroom, photometric
from ml_backend.pose.config import AugmentConfig, TrainConfig
from ml_backend.pose.dataset import CropDataset, crop_box, subject_box, whole_picture
from ml_backend.pose.heads import make_head
from ml_backend.pose.networks import build_network
from ml_backend.pose.randaugment import OPERATIONS, rand_augment

STRONG = AugmentConfig(rotation_deg=40, scale=0.3, shift=0.1, flip=0.5, brightness=0, contrast=0)


def dataset(blobs: Any, **config: Any) -> CropDataset:
    settings = TrainConfig(input_px=(64, 64), **{"augment": STRONG, **config})
    head = make_head(build_network("unet_small", 3), settings)
    return CropDataset(blobs.targets, blobs.skeleton, head, settings, blobs.load)


@pytest.mark.parametrize("flip", [False, True])
def test_the_colour_under_every_augmented_keypoint_is_its_own(make_blobs: Any, flip: bool) -> None:
    """Red, green and blue blobs: the network's target and the pixels must name the same place."""
    blobs = make_blobs(n=8, size=(96, 96), radius=4)
    blobs = replace(blobs, skeleton=replace(blobs.skeleton, flip_augment=flip, pairs=()))
    batch = dataset(blobs).batch(0, 64)
    colours = [
        (k, crop[row, col].argmax())
        for crop, points in zip(batch.crops, batch.xy_hm, strict=True)
        for k, (col, row) in enumerate(np.round((points + 0.5) * 4 - 0.5).astype(int))
        if 2 <= col < 62 and 2 <= row < 62 and np.linalg.norm(np.delete(points, k, 0) - points[k], axis=1).min() > 4
    ]
    assert [colour for _, colour in colours] == [k for k, _ in colours]
    assert len(colours) > 80


def test_flipping_swaps_the_names_of_left_and_right_only_where_allowed(make_blobs: Any) -> None:
    blobs = make_blobs(n=4)
    always = AugmentConfig(rotation_deg=0, scale=0, shift=0, flip=1.0, brightness=0, contrast=0)
    plain, still = dataset(blobs, augment=always).batch(0, 4), dataset(blobs, augment=AugmentConfig.none()).batch(0, 4)
    np.testing.assert_allclose(plain.xy_hm, still.xy_hm)  # the skeleton does not allow it
    allowed = replace(blobs, skeleton=replace(blobs.skeleton, flip_augment=True))
    flipped = dataset(allowed, augment=always).batch(0, 4)
    mirrored = still.xy_hm[:, [1, 0, 2]]
    mirrored[..., 0] = 15 - mirrored[..., 0]
    np.testing.assert_allclose(flipped.xy_hm, mirrored)


def test_the_weight_of_a_swapped_keypoint_travels_with_it(make_blobs: Any) -> None:
    blobs = make_blobs(n=1)
    target = replace(blobs.targets[0], weight=np.array([1.0, 0.0, 0.5]))
    allowed = replace(blobs, targets=[target], skeleton=replace(blobs.skeleton, flip_augment=True))
    always = AugmentConfig(rotation_deg=0, scale=0, shift=0, flip=1.0, brightness=0, contrast=0)
    np.testing.assert_array_equal(dataset(allowed, augment=always).batch(0, 1).weight, [[0.0, 1.0, 0.5]])


def test_a_draw_depends_on_its_number_alone(make_blobs: Any) -> None:
    data = dataset(make_blobs())
    together = data.batch(0, 12)
    for first in (6, 0):
        alone = data.batch(first, 6)
        np.testing.assert_array_equal(alone.crops, together.crops[first : first + 6])


def test_every_epoch_shows_every_picture_once(make_blobs: Any) -> None:
    data = dataset(make_blobs(n=5), augment=AugmentConfig.none())
    first, second = data.batch(0, 5).xy_hm[:, 0, 0], data.batch(5, 5).xy_hm[:, 0, 0]
    np.testing.assert_allclose(np.sort(first), np.sort(second))
    assert len(np.unique(first)) == 5


def test_drawn_geometry_stays_in_its_range() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_geometry(STRONG, True, rng) for _ in range(500)]
    assert 35 < max(abs(g.rotation_deg) for g in drawn) <= 40
    assert 0.7 <= min(g.scale for g in drawn) < 0.75
    assert 200 < sum(g.flip for g in drawn) < 300
    assert headroom(AugmentConfig.none()) == 1.0


def test_no_photometry_changes_nothing_and_all_of_it_keeps_shape_and_kind() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    np.testing.assert_array_equal(photometric(crop, AugmentConfig.none(), np.random.default_rng(0)), crop)
    strong = AugmentConfig(brightness=0.5, contrast=0.5, noise=20, randaugment=(2, 9.0))
    changed = photometric(crop, strong, np.random.default_rng(0))
    assert changed.shape == crop.shape
    assert changed.dtype == np.uint8
    assert (changed != crop).any()


@pytest.mark.parametrize("name", OPERATIONS)
def test_randaugment_operations_move_nothing_and_do_nothing_at_magnitude_0(name: str) -> None:
    """A bright dot on a dim ramp stays the most unusual pixel of its neighbourhood, wherever it is."""
    picture = np.tile(np.linspace(60, 120, 32).astype(np.uint8)[None, :, None], (32, 1, 3)).copy()
    picture[9, 21] = (250, 240, 200)
    np.testing.assert_array_equal(OPERATIONS[name](picture, 0.0, 1.0), picture)
    for sign in (1.0, -1.0):
        changed = OPERATIONS[name](picture, 0.6, sign).astype(float)
        unusual = np.abs(changed - np.median(changed, axis=0)).sum(axis=2)
        assert unusual[9, 21] == unusual.max()


def test_randaugment_is_reproducible() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    first, second = (rand_augment(crop, 2, 9, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_boxes_around_few_points_are_no_keyholes() -> None:
    assert subject_box(np.array([[10.0, 10.0]]), 40.0) == (0.5, 0.5, 20, 20)
    assert subject_box(np.full((2, 2), np.nan), 40.0) is None
    target = TrainingTarget(image=None, xy_px=np.full((1, 2), np.nan), weight=np.zeros(1))  # type: ignore[arg-type]
    assert crop_box(target, 40.0, (100, 50), (64, 64)) == whole_picture((100, 50), (64, 64)) == (0, -25, 100, 100)
