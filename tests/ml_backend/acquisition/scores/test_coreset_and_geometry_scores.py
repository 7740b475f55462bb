"""Distance from the labelled set, residuals without calibration, doubt of the pictorial structure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ml_backend.acquisition.features import pose3d_features
from ml_backend.acquisition.scores.body_features import Body
from ml_backend.acquisition.scores.coreset import CoresetDistance
from ml_backend.acquisition.scores.pictorial_entropy import PictorialLogDet
from ml_backend.acquisition.scores.uncalibrated_views import AffineResidual, EpipolarResidual
from tests.predictions import changed


def brute_force(poses: Any, references: Any) -> Any:
    """Smallest mean distance between joints that both have."""
    gap = np.linalg.norm(poses[:, None] - references[None], axis=-1)
    return np.nanmean(gap, axis=-1).min(axis=1)


def _flat(body: Body, xy: Any) -> Any:
    centred = (xy - xy[:, :, :1]) / body.size_px(xy)[..., None, None]
    return np.concatenate([centred[:, view] for view in range(xy.shape[1])], axis=1)


def test_distance_in_space_equals_brute_force(world: Any) -> None:
    score = CoresetDistance()
    labelled = replace(world.labelled, xyz_world=world.labelled.xyz_world[::7].copy())
    labelled.xyz_world[1, 3] = np.nan
    xyz = world.chunk.triangulated.xyz_world.copy()
    xyz[2, 4] = np.nan
    chunk = replace(world.chunk, triangulated=replace(world.chunk.triangulated, xyz_world=xyz))
    found = score.score(chunk, score.fit(labelled, world.rig, world.skeleton))
    expected = brute_force(pose3d_features(xyz, world.skeleton), pose3d_features(labelled.xyz_world, world.skeleton))
    np.testing.assert_allclose(found.raw, expected, rtol=1e-4)
    assert found.support[2] == 4


def test_distance_in_pictures_equals_brute_force(make_world: Callable[..., Any]) -> None:
    world = make_world(n_views=2, calibrated=False)
    score = CoresetDistance()
    found = score.score(world.chunk, score.fit(world.labelled, None, world.skeleton))
    body = Body.from_labels(world.labelled.xy_px, world.skeleton)
    poses, references = (_flat(body, xy) for xy in (world.chunk.xy_px, world.labelled.xy_px))
    np.testing.assert_allclose(found.raw, brute_force(poses, references), rtol=1e-3, atol=1e-6)


def test_a_labelled_pose_is_at_distance_zero_and_half_a_pose_says_nothing(world: Any) -> None:
    score = CoresetDistance()
    xyz = world.labelled.xyz_world[:12].copy()
    xyz[3] += [100.0, 5.0, 0.0]  # where it stands does not matter
    xyz[5, 2:] = np.nan
    xyz[6, 0] = np.nan  # no root
    chunk = replace(world.chunk, triangulated=replace(world.chunk.triangulated, xyz_world=xyz))
    found = score.score(chunk, score.fit(world.labelled, world.rig, world.skeleton))
    assert np.isnan(found.raw).tolist() == [i in (5, 6) for i in range(12)]
    np.testing.assert_allclose(found.raw[np.isfinite(found.raw)], 0.0, atol=1e-3)


@pytest.mark.parametrize("score", [EpipolarResidual(), AffineResidual()])
def test_residuals_without_calibration_accuse_the_shifted_view(score: Any, make_world: Callable[..., Any]) -> None:
    world = make_world(n=10, n_views=4, calibrated=False, noise_px=0.2)
    xy = world.chunk.xy_px.copy()
    xy[6, 2, 3] += [0.0, 60.0]
    scores = score.score(changed(world.chunk, xy_px=xy), score.fit(world.labelled, None, world.skeleton))
    assert scores.raw.argmax() == 6
    assert scores.per_point is not None
    assert [int(i) for i in np.unravel_index(np.nanargmax(scores.per_point), scores.per_point.shape)] == [6, 2, 3]


@pytest.mark.parametrize("score", [EpipolarResidual(), AffineResidual()])
def test_a_single_view_of_a_point_cannot_be_checked(score: Any, make_world: Callable[..., Any]) -> None:
    world = make_world(n=5, n_views=3, calibrated=False)
    xy = world.chunk.xy_px.copy()
    xy[1, :2, 0] = np.nan
    scores = score.score(changed(world.chunk, xy_px=xy), score.fit(world.labelled, None, world.skeleton))
    assert np.isnan(scores.per_point[1, :, 0]).all()
    assert scores.support.tolist() == [15, 12, 15, 15, 15]


def test_labels_that_only_one_pair_of_views_shares(make_world: Callable[..., Any]) -> None:
    world = make_world(n=5, n_views=3, calibrated=False)
    xy = world.labelled.xy_px.copy()
    xy[:, 2] = np.nan
    state = EpipolarResidual().fit(replace(world.labelled, xy_px=xy), None, world.skeleton)
    scores = EpipolarResidual().score(world.chunk, state)
    assert (scores.support == 10).all()
    assert scores.per_point is not None
    assert np.isnan(scores.per_point[:, 2]).all()


def test_pictorial_doubt_grows_when_views_are_lost(make_world: Callable[..., Any]) -> None:
    world = make_world(n=3, n_views=4)
    score = PictorialLogDet(grid=16)
    state = score.fit(world.labelled, world.rig, world.skeleton)
    xy = world.chunk.xy_px.copy()
    xy[1, 2:, 2] = np.nan
    less = world.predicting(xy).chunk
    raw = score.score(less, state).raw
    assert raw.argmax() == 1
    assert state is not None
    spacing = state["side"][0] / 15
    assert (raw > 3 * np.log(spacing**2 / 12) - 1e-9).all()  # what the grid leaves open at least


def test_pictorial_doubt_follows_the_spread_of_a_prediction(make_world: Callable[..., Any]) -> None:
    world = make_world(n=2, n_views=3)
    state = PictorialLogDet().fit(world.labelled, world.rig, world.skeleton)
    sharp, blunt = (PictorialLogDet(grid=16, sigma=sigma).score(world.chunk, state).raw for sigma in (0.01, 0.05))
    assert (blunt > sharp + 0.5).all()
    box = np.zeros((2, 3, 4))
    box[..., 2:] = [640.0 / 5, 480.0 / 5]
    in_crop = PictorialLogDet(grid=16, sigma=0.05).score(changed(world.chunk, box_px=box), state).raw
    np.testing.assert_allclose(in_crop, sharp)
