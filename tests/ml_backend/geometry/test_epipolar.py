"""Epipolar and affine residuals: calibrated, and learnt from labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_config.values import BadInputError, FloatArray
from ml_backend.geometry.affine import affine_residual, fit_affine
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.epipolar import (
    epipolar_residual,
    fit_fundamental,
    fit_fundamentals,
    fundamental_from_rig,
    pair_distance,
)

Ring = Callable[..., Rig]
LENS = (-0.1, 0.03, 0.001, -0.001, 0.0)


def body(n: int, seed: int = 0, spread: float = 200.0) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(n, 5, 3)) * spread


def test_calibrated_matrices_annihilate_true_points(make_ring: Ring) -> None:
    rig = make_ring(4, dist=LENS)
    xy = rig.undistort(rig.project(body(20)))
    matrices = fundamental_from_rig(rig)
    assert np.nanmax(pair_distance(matrices, xy)) < 1e-6
    np.testing.assert_allclose(matrices[0, 2], matrices[2, 0].T, atol=1e-12)
    assert np.abs(np.linalg.det(matrices)).max() < 1e-12


def test_distance_is_that_of_the_point_from_the_projected_ray(make_ring: Ring) -> None:
    rig = make_ring(2)
    xyz = body(1)
    xy = rig.project(xyz)
    ray = rig.cameras[0].centre + 1.1 * (xyz[0] - rig.cameras[0].centre)
    along = rig.cameras[1].project(ray) - xy[0, 1]
    normal = np.stack((-along[:, 1], along[:, 0]), axis=-1) / np.linalg.norm(along, axis=-1, keepdims=True)
    xy[0, 1] += 7.0 * normal + 3.0 * along  # only the part across the line counts
    np.testing.assert_allclose(pair_distance(fundamental_from_rig(rig), xy)[0, 0, 1], 7.0, atol=1e-6)


def test_a_wrong_view_accuses_itself(make_ring: Ring) -> None:
    rig = make_ring(5)
    xy = rig.project(body(10))
    xy[:, 3] += np.random.default_rng(1).normal(size=xy[:, 3].shape) * 40
    residual = epipolar_residual(fundamental_from_rig(rig), xy)
    assert np.median(residual[:, 3]) > 10
    assert residual[:, [0, 1, 2, 4]].max() < 1e-6


def test_points_without_partner_are_nan(make_ring: Ring) -> None:
    rig = make_ring(3)
    xy = rig.project(body(2))
    xy[0, 1:, 0] = np.nan
    xy[1, 2] = np.nan
    residual = epipolar_residual(fundamental_from_rig(rig), xy)
    assert np.isnan(residual[0, :, 0]).all()
    assert np.isnan(residual[1, 2]).all()
    assert np.isfinite(residual[1, :2]).all()
    assert np.isfinite(residual[0, :, 1:]).all()
    with pytest.raises(BadInputError, match="V = 3"):
        epipolar_residual(fundamental_from_rig(rig), xy[:, :2])


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10_000))
def test_exact_correspondences_give_the_calibrated_matrix(make_ring: Ring, seed: int) -> None:
    rig = make_ring(2)
    xy = rig.project(body(30, seed))
    fitted = fit_fundamental(xy[:, 0].reshape(-1, 2), xy[:, 1].reshape(-1, 2))
    assert fitted is not None
    expected = fundamental_from_rig(rig)[0, 1]
    fitted = fitted * np.sign((fitted * expected).sum())
    np.testing.assert_allclose(fitted, expected, atol=1e-6)


def test_a_quarter_of_wrong_labels_does_not_spoil_the_matrix(make_ring: Ring) -> None:
    rig, rng = make_ring(2), np.random.default_rng(3)
    clean = rig.project(body(60))
    xy = clean + rng.normal(size=clean.shape)
    bad = rng.random((60, 5)) < 0.25
    xy[:, 1][bad] = rng.uniform(0, 1000, size=(bad.sum(), 2))
    first = fit_fundamentals(xy)
    np.testing.assert_array_equal(first, fit_fundamentals(xy))
    # Noise of 1 px in both images leaves a matrix that fits the clean points to well below a pixel.
    assert np.median(epipolar_residual(first, clean)) < 0.3
    assert np.median(epipolar_residual(first, xy)[:, 1][bad]) > 50


def test_too_few_common_points_give_nothing(make_ring: Ring) -> None:
    xy = make_ring(3).project(body(3))  # 15 points
    assert np.isfinite(fit_fundamentals(xy)[0, 1]).all()
    xy[0, 0, 0] = np.nan
    matrices = fit_fundamentals(xy)
    assert np.isnan(matrices[0, 1]).all()
    assert np.isfinite(matrices[1, 2]).all()
    assert np.isnan(epipolar_residual(np.full((3, 3, 3, 3), np.nan), xy)).all()
    with pytest.raises(BadInputError, match="correspondences"):
        fit_fundamental(np.zeros((20, 2)), np.zeros((19, 2)))
    with pytest.raises(BadInputError, match="labelled points"):
        fit_fundamentals(np.zeros((20, 2)))


# --- affine --------------------------------------------------------------------------------------------------------------


def affine_views(n: int, views: int, seed: int = 0) -> FloatArray:
    """(n, views, 5, 2) exactly affine projections of random points."""
    rng = np.random.default_rng(seed)
    basis, mean = rng.normal(size=(views, 2, 3)), rng.uniform(0, 1000, size=(views, 1, 2))
    projected: FloatArray = np.einsum("vci,nki->nvkc", basis, body(n, seed, 80.0)) + mean
    return projected


@pytest.mark.parametrize("views", [2, 3, 6])
def test_affine_views_fit_exactly_also_with_holes(views: int) -> None:
    xy = affine_views(40, views)
    holes = np.random.default_rng(1).random(xy.shape[:-1]) < 0.1
    model = fit_affine(np.where(holes[..., None], np.nan, xy))
    assert model is not None
    assert np.nanmax(affine_residual(model, xy)) < 1e-3
    assert model.epsilon_px < 1e-3


def test_two_affine_views_keep_the_residual_across_the_epipolar_line() -> None:
    xy = affine_views(40, 2)
    model = fit_affine(xy)
    assert model is not None
    normal = np.linalg.svd(model.basis.reshape(4, 3))[0][:, 3]  # the one direction that no hidden point can produce
    moved = xy[:1].copy()
    moved[0, :, 0] += 6.0 * normal.reshape(2, 2)
    residual = affine_residual(model, moved)
    np.testing.assert_allclose(np.hypot(residual[0, 0, 0], residual[0, 1, 0]), 6.0, atol=1e-3)
    assert residual[0, :, 1:].max() < 1e-3


def test_swapped_labels_do_not_bend_the_affine_model() -> None:
    xy = affine_views(60, 3)
    noisy = xy + np.random.default_rng(0).normal(size=xy.shape)
    noisy[::15, 1, [0, 1]] = noisy[::15, 1, [1, 0]]
    model = fit_affine(noisy)
    assert model is not None
    assert model.epsilon_px < 3
    assert np.nanmean(affine_residual(model, xy)) < 0.5


def test_affine_model_needs_labels_in_every_view() -> None:
    xy = affine_views(3, 2)
    assert fit_affine(xy) is not None
    xy[0, 0, 0] = np.nan
    assert fit_affine(xy) is None
    model = fit_affine(affine_views(20, 3))
    assert model is not None
    alone = affine_views(2, 3)
    alone[0, 1:] = np.nan
    alone[1, 2] = np.nan
    residual = affine_residual(model, alone)
    assert np.isnan(residual[0]).all()
    assert np.isnan(residual[1, 2]).all()
    assert np.isfinite(residual[1, :2]).all()
    with pytest.raises(BadInputError, match="3 views"):
        affine_residual(model, affine_views(1, 2))
    with pytest.raises(BadInputError, match="two views"):
        fit_affine(np.zeros((5, 1, 4, 2)))


def test_distant_perspective_cameras_are_nearly_affine(make_ring: Ring) -> None:
    rig = make_ring(3, focal_px=100_000.0, distance=200_000.0)
    xy = rig.project(body(60))
    model = fit_affine(xy)
    assert model is not None
    # A relative depth of 200·3 / 200,000 shifts points 100 px from the centre by about 0.3 px.
    assert np.nanmax(affine_residual(model, xy)) < 2
    wrong = xy.copy()
    wrong[0, 1, 2] += (30, 0)
    assert affine_residual(model, wrong)[0, :, 2].max() > 5
