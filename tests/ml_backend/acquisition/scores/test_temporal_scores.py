"""Change of points, heatmaps and triangulated points over time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import erf

from label_config.values.prediction import Output
from ml_backend.acquisition.score import Chunk
from ml_backend.acquisition.scores.temporal import Jitter3D, TemporalHeatmapContinuity, TemporalPoseChange
from tests.predictions import changed, predicted


def track(x_px: list[float], outputs: Any = None, **changes: Any) -> Chunk:
    """One view, one keypoint that moves along x."""
    n = len(x_px)
    xy = np.stack([np.array(x_px), np.zeros(n)], axis=1)[:, None, None, :]
    chunk = Chunk(
        sequence="t",
        index=np.arange(n, dtype=np.int64),
        core=slice(0, n),
        prediction=predicted(xy, outputs=outputs),
        size_px=np.array([[400.0, 100.0]]),
    )
    return replace(chunk, **changes)


def blobs(x_hm: list[float], sigma: float, gaussian_maps: Callable[..., Any], **changes: Any) -> Chunk:
    """Unit blobs that move along x."""
    centre = np.stack([np.array(x_hm), np.full(len(x_hm), 24.0)], axis=1)
    return track(x_hm, {Output.HEATMAPS: gaussian_maps(centre, sigma, (48, 64))[:, None, None]}, **changes)


def sampled_difference(shift: int, sigma: float = 2.0) -> float:
    """Sum of absolute differences on whole cells: telescopes to twice the ``shift`` cells around the middle of the blobs."""
    last = shift // 2
    cells = np.arange(last - shift + 1, last + 1)
    return float(2 * np.exp(-(cells**2) / (2 * sigma**2)).sum() * np.sqrt(2 * np.pi) * sigma)


@pytest.mark.parametrize(("sigma", "shift"), [(2.0, 30.0), (5.0, 1.0), (5.0, 3.5), (4.0, 20.0)])
def test_difference_of_two_blobs(sigma: float, shift: float, gaussian_maps: Callable[..., Any]) -> None:
    centre = np.stack([40.0 + np.array([0.0, shift]), [40.0, 40.0]], axis=1)
    chunk = track([0.0, 1.0], {Output.HEATMAPS: gaussian_maps(centre, sigma, (80, 110))[:, None, None]})
    one = 2 * 2 * np.pi * sigma**2 * erf(shift / (2 * np.sqrt(2) * sigma))
    # each of the two frames has one neighbour, so its difference is doubled
    np.testing.assert_allclose(TemporalHeatmapContinuity().score(chunk, None).raw, 2 * one, rtol=2e-3)


def test_known_figures_of_unit_blobs(gaussian_maps: Callable[..., Any]) -> None:
    """One cell apart the integral is 9.92 and the sum over cells 1 % more; far apart both are 4πσ²."""
    step = TemporalHeatmapContinuity().score(blobs([20.0, 21.0], 2.0, gaussian_maps), None).raw[0] / 2
    far = TemporalHeatmapContinuity().score(blobs([12.0, 52.0], 2.0, gaussian_maps), None).raw[0] / 2
    assert step == pytest.approx(sampled_difference(1), rel=1e-5)
    assert step == pytest.approx(9.92, rel=0.011)
    assert far == pytest.approx(50.27, abs=0.01)


def test_previous_and_next_add_up_and_ends_double(gaussian_maps: Callable[..., Any]) -> None:
    small, large = sampled_difference(1), sampled_difference(3)
    raw = TemporalHeatmapContinuity().score(blobs([20.0, 21.0, 24.0], 2.0, gaussian_maps), None).raw
    np.testing.assert_allclose(raw, [2 * small, small + large, 2 * large], rtol=1e-5)


def test_a_cut_ends_the_neighbourhood(gaussian_maps: Callable[..., Any]) -> None:
    gap = np.array([True, False, True, False, True])
    chunk = blobs([20.0, 21.0, 40.0, 41.0, 10.0], 2.0, gaussian_maps, gap=gap)
    scores = TemporalHeatmapContinuity().score(chunk, None)
    small = sampled_difference(1)
    np.testing.assert_allclose(scores.raw, [2 * small] * 4 + [np.nan], rtol=1e-5)
    assert scores.support.tolist() == [1, 1, 1, 1, 0]


def test_without_marks_only_consecutive_numbers_are_neighbours() -> None:
    chunk = track([0.0, 5.0, 50.0, 52.0], index=np.array([3, 4, 9, 10]))
    np.testing.assert_allclose(TemporalPoseChange().score(chunk, None).raw, [5.0, 5.0, 2.0, 2.0])
    marked = replace(chunk, gap=np.array([True, False, False, False]))
    np.testing.assert_allclose(TemporalPoseChange().score(marked, None).raw, [5.0, 25.0, 23.5, 2.0])


def test_pose_change_is_the_mean_of_both_steps() -> None:
    chunk = track([0.0, 3.0, 10.0, 10.0])
    np.testing.assert_allclose(TemporalPoseChange().score(chunk, None).raw, [3.0, 5.0, 3.5, 0.0])
    np.testing.assert_allclose(TemporalPoseChange(dead_zone_px=5.0).score(chunk, None).raw, [0.0, 3.5, 3.5, 0.0])


def test_where_a_frame_is_missing_steady_motion_is_still_steady() -> None:
    """4 px per frame; frame 2 of a recording of every frame is not there."""
    index = np.array([0, 1, 3, 4], dtype=np.int64)
    chunk = track([0.0, 4.0, 12.0, 16.0], index=index, gap=np.zeros(4, dtype=np.bool_), step=1.0)
    np.testing.assert_allclose(TemporalPoseChange().score(chunk, None).raw, 4.0)
    np.testing.assert_allclose(TemporalPoseChange(dead_zone_px=5.0).score(chunk, None).raw, 0.0)
    every_second = replace(chunk, index=2 * index, step=2.0)
    np.testing.assert_allclose(TemporalPoseChange().score(every_second, None).raw, 4.0)


def test_a_missing_point_is_no_neighbour() -> None:
    scores = TemporalPoseChange().score(track([0.0, np.nan, 10.0, 14.0]), None)
    np.testing.assert_allclose(scores.raw, [np.nan, np.nan, 4.0, 4.0])


def test_paper_mode_is_the_printed_sum_of_displacements() -> None:
    """Previous plus next, doubled at the ends: 2·1, 1 + 3, 3 + 0, 2·0 for one keypoint in one view."""
    scores = TemporalPoseChange(mode="paper").score(track([0.0, 1.0, 4.0, 4.0]), None)
    np.testing.assert_allclose(scores.raw, [2.0, 4.0, 3.0, 0.0])
    assert TemporalPoseChange(mode="paper").unit == "px"


def test_released_mode_counts_keypoints_that_moved() -> None:
    chunk = track([0.0, 1.0, 4.0, 4.0])  # threshold: 1 % of sqrt(400 · 100) = 2 px
    np.testing.assert_allclose(TemporalPoseChange(mode="released").score(chunk, None).raw, [0.0, 1.0, 1.0, 0.0])
    box = np.broadcast_to(np.array([0.0, 0.0, 50.0, 50.0]), (4, 1, 4))  # threshold 0.5 px
    released = TemporalPoseChange(mode="released").score(changed(chunk, box_px=box), None)
    np.testing.assert_allclose(released.raw, [2.0, 2.0, 1.0, 0.0])


def test_jitter_of_steady_motion_with_a_missing_frame_is_zero(make_world: Callable[..., Any]) -> None:
    chunk = make_world(n=5).chunk
    index = np.array([0, 1, 3, 4, 5], dtype=np.int64)
    xyz = np.broadcast_to(3.0 * index[:, None, None], chunk.triangulated.xyz_world.shape).copy()
    found = replace(chunk.triangulated, xyz_world=xyz)
    steady = replace(chunk, index=index, triangulated=found, gap=np.zeros(5, dtype=np.bool_))
    np.testing.assert_allclose(Jitter3D().score(steady, None).raw[1:-1], 0.0, atol=1e-9)


def test_jitter_is_blind_to_steady_motion(make_world: Callable[..., Any]) -> None:
    world = make_world(n=7)
    steady = np.arange(7.0)[:, None, None] * np.array([10.0, -4.0, 2.0]) + np.arange(5.0)[None, :, None]
    steady[3, 1] += [0.0, 30.0, 40.0]
    chunk = replace(world.chunk, triangulated=replace(world.chunk.triangulated, xyz_world=steady))
    scores = Jitter3D().score(chunk, None)
    # 50 away from the middle of its neighbours, which in turn are 25 away from theirs; one of five keypoints
    np.testing.assert_allclose(scores.raw, [np.nan, 0, 5, 10, 5, 0, np.nan], atol=1e-9)
    cut = replace(chunk, gap=np.arange(7) == 3)
    np.testing.assert_allclose(Jitter3D().score(cut, None).raw, [np.nan, 0, np.nan, np.nan, 5, 0, np.nan], atol=1e-9)
