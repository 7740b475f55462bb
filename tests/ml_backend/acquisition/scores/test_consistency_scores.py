"""Multi-view consistency, outlier ratio, maximum and covariance on rigs where the answer is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest

from ml_backend.acquisition.scores.multi_view import MaxError, MultiViewConsistency, OutlierRatio, TriangulationCovariance
from tests.predictions import changed


@pytest.fixture
def exact(make_world: Callable[..., Any]) -> Any:
    """Five calibrated views without noise."""
    return make_world(n=6, n_views=5, noise_px=0.0)


def shifted(world: Any, delta_px: float) -> Any:
    """One view of one keypoint of frame 3 is off by ``delta_px``."""
    xy = world.chunk.xy_px.copy()
    xy[3, 1, 2, 0] += delta_px
    return world.predicting(xy)


def test_exact_points_score_zero(exact: Any) -> None:
    chunk = exact.predicting(exact.chunk.xy_px).chunk
    for score in (MultiViewConsistency(), MaxError(), OutlierRatio()):
        np.testing.assert_allclose(score.score(chunk, None).raw, 0.0, atol=1e-6)


@pytest.mark.parametrize("power", [1, 2])
def test_one_wrong_view_adds_its_error_over_all_terms(power: Literal[1, 2], exact: Any) -> None:
    chunk = shifted(exact, 80.0).chunk
    scores = MultiViewConsistency(power=power).score(chunk, None)
    expected = np.zeros(6)
    expected[3] = 80.0**power / (5 * 5)  # N views, K keypoints
    np.testing.assert_allclose(scores.raw, expected, atol=1e-5)
    assert (scores.support == 25).all()
    assert scores.per_point is not None
    np.testing.assert_allclose(scores.per_point[3, 1, 2], 80.0**power, rtol=1e-6)
    np.testing.assert_allclose(MaxError().score(chunk, None).raw[3], 80.0, rtol=1e-6)
    np.testing.assert_allclose(OutlierRatio().score(chunk, None).raw[3], 1 / 25)


def test_relative_error_does_not_change_with_resolution(exact: Any) -> None:
    chunk = shifted(exact, 80.0).chunk
    box = np.broadcast_to(np.array([0.0, 0.0, 30.0, 40.0]), (6, 5, 4))
    relative = MultiViewConsistency(power=1, relative=True)
    np.testing.assert_allclose(relative.score(changed(chunk, box_px=box), None).raw[3], 80.0 / 50.0 / 25, rtol=1e-6)
    np.testing.assert_allclose(relative.score(chunk, None).raw[3], 80.0 / 800.0 / 25, rtol=1e-6)  # 640 × 480 picture


def test_two_views_are_blind_along_the_epipolar_line(make_world: Callable[..., Any]) -> None:
    world = make_world(n=4, n_views=2, noise_px=0.0)
    xyz = world.chunk.triangulated.xyz_world.copy()
    centre = world.rig.cameras[0].centre
    xyz[:, 2] = centre + 1.1 * (xyz[:, 2] - centre)  # along the first camera's ray: only the second view moves
    xy = world.chunk.xy_px.copy()
    xy[:, 1, 2] = world.rig.project(xyz)[:, 1, 2]
    assert (np.linalg.norm(xy - world.chunk.xy_px, axis=-1)[:, 1, 2] > 20).all()
    np.testing.assert_allclose(MultiViewConsistency().score(world.predicting(xy).chunk, None).raw, 0.0, atol=1e-6)


def test_a_keypoint_without_consensus_counts_in_full(exact: Any) -> None:
    inlier, consensus = exact.chunk.triangulated.inlier.copy(), exact.chunk.triangulated.consensus.copy()
    inlier[2, :, 4] = consensus[2, 4] = False
    split = replace(exact.chunk.triangulated, inlier=inlier, consensus=consensus)
    scores = OutlierRatio().score(replace(exact.chunk, triangulated=split), None)
    np.testing.assert_allclose(scores.raw[2], 1 / 5)
    assert scores.per_point is not None
    np.testing.assert_allclose(scores.per_point[2, :, 4], 1.0)


def test_missing_views_are_left_out(exact: Any) -> None:
    xy = shifted(exact, 80.0).chunk.xy_px.copy()
    xy[3, 4] = np.nan  # a whole view
    xy[3, 1:, 0] = np.nan  # a keypoint that one view alone has
    chunk = exact.predicting(xy).chunk
    scores = MultiViewConsistency().score(chunk, None)
    assert scores.support[3] == 4 * 4
    np.testing.assert_allclose(scores.raw[3], 80.0**2 / 16, rtol=1e-6)
    np.testing.assert_allclose(OutlierRatio().score(chunk, None).raw[3], (1 / 4) / 4)


def test_covariance_reads_the_worst_direction(exact: Any) -> None:
    covariance = np.tile(np.diag([1.0, 4.0, 9.0]), (6, 5, 1, 1))
    covariance[0, 0] *= 4
    covariance[1, 1] = np.nan
    chunk = replace(exact.chunk, triangulated=replace(exact.chunk.triangulated, covariance=covariance))
    scores = TriangulationCovariance().score(chunk, None)
    np.testing.assert_allclose(scores.raw, [(6 + 4 * 3) / 5, 3, 3, 3, 3, 3])
    assert scores.support.tolist() == [5, 4, 5, 5, 5, 5]


def test_fewer_views_mean_more_doubt(exact: Any) -> None:
    xy = exact.chunk.xy_px.copy()
    xy[2, 2:] = np.nan
    raw = TriangulationCovariance().score(exact.predicting(xy).chunk, None).raw
    assert raw.argmax() == 2
