"""Entropy and unimodality of whole heatmaps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from label_config.values.prediction import Output
from ml_backend.acquisition.scores.heatmap import HeatmapEntropy, Unimodality, subpixel_argmax
from tests.predictions import changed


def with_maps(world: Any, one: np.ndarray[Any, Any]) -> Any:
    maps = np.broadcast_to(one.astype(np.float32), (*world.chunk.confidence.shape, *one.shape))
    return changed(world.chunk, {Output.HEATMAPS: maps})


def test_entropy_of_uniform_empty_and_negative_maps(world: Any) -> None:
    uniform = np.full((4, 6), 0.3)
    for one in (uniform, np.zeros((4, 6)), -uniform):
        np.testing.assert_allclose(HeatmapEntropy().score(with_maps(world, one), None).raw, np.log(24))


def test_entropy_of_cells_that_share_the_mass(world: Any) -> None:
    one = np.zeros((4, 6))
    one[1, 1] = one[3, 5] = 0.4
    one[0, 0] = -5.0  # clamped, not counted
    np.testing.assert_allclose(HeatmapEntropy().score(with_maps(world, one), None).raw, np.log(2))


def test_entropy_of_a_wide_gaussian(world: Any, gaussian_maps: Callable[..., Any]) -> None:
    sigma = 3.0
    one = gaussian_maps(np.array([32.0, 32.0]), sigma, (64, 64))
    expected = np.log(2 * np.pi * np.e * sigma**2)  # differential entropy; the grid is fine against sigma
    np.testing.assert_allclose(HeatmapEntropy().score(with_maps(world, one), None).raw, expected, rtol=1e-3)


@pytest.mark.parametrize("centre", [(10.0, 12.0), (10.3, 12.45), (20.5, 3.5)])
@pytest.mark.parametrize("height", [1.0, 0.2])
def test_a_gaussian_anywhere_at_any_height_is_perfect(
    centre: tuple[float, float], height: float, world: Any, gaussian_maps: Callable[..., Any]
) -> None:
    one = height * gaussian_maps(np.array(centre))
    np.testing.assert_allclose(Unimodality().score(with_maps(world, one), None).raw, 0.0, atol=1e-5)


def test_two_far_blobs(world: Any, gaussian_maps: Callable[..., Any]) -> None:
    one = gaussian_maps(np.array([12.0, 30.0]), 2.0, (60, 60)) + gaussian_maps(np.array([45.0, 30.0]), 2.0, (60, 60))
    # P = (g + f)/2 and Q = g with disjoint f and g:  JS = ½·KL(P‖M) + ½·KL(Q‖M), M = ¾g + ¼f
    expected = 0.5 * (0.5 * np.log(2 / 3) + 0.5 * np.log(2)) + 0.5 * np.log(4 / 3)
    np.testing.assert_allclose(Unimodality().score(with_maps(world, one), None).raw, expected, atol=1e-4)


def test_worse_maps_rank_higher(world: Any, gaussian_maps: Callable[..., Any]) -> None:
    blob = gaussian_maps(np.array([10.0, 12.0]))
    second = 0.3 * gaussian_maps(np.array([25.0, 5.0]))
    noise = np.random.default_rng(0).uniform(0, 1, blob.shape)
    ranks = [Unimodality().score(with_maps(world, one), None).raw[0] for one in (blob, blob + second, noise)]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == 3


def test_subpixel_argmax_is_exact_for_gaussians_and_stays_on_the_border(gaussian_maps: Callable[..., Any]) -> None:
    centres = np.array([[10.3, 7.8], [0.0, 0.0], [31.0, 23.0]])
    x, y = subpixel_argmax(gaussian_maps(centres).astype(np.float64))
    np.testing.assert_allclose(np.stack([x, y], axis=1), centres, atol=1e-4)
