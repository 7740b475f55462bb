"""Every public function of the geometry room on pools that are empty, tiny, blank, repeated, infinite or of another shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError, FloatArray
from ml_backend.geometry.affine import AffineModel, affine_residual, fit_affine
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.consistency import (
    multi_view_consistency,
    outlier_ratio,
    trusted,
    weak_geometry,
)
from ml_backend.geometry.diagnosis import camera_errors, frame_offsets, suspect_camera
from ml_backend.geometry.epipolar import (
    epipolar_residual,
    fit_fundamental,
    fit_fundamentals,
    fundamental_from_rig,
    pair_distance,
)
from ml_backend.geometry.pictorial import (
    PictorialStructure,
    infer_heatmaps,
    infer_points,
    keep_best,
    log_determinant,
    moments,
)
from ml_backend.geometry.pictorial_body import LimbLengths, box_centres, fit_side, tree_order
from ml_backend.geometry.triangulation import triangulate_linear, triangulate_robust

Ring = Callable[..., Rig]
POSE = np.random.default_rng(0).normal(size=(4, 3)) * 100
LIMBS = LimbLengths.from_labels(POSE[None], [(0, 1), (1, 2), (2, 3)])
MODEL = PictorialStructure(4, LIMBS, 1000.0, 8)


def plane(views: int) -> AffineModel:
    return AffineModel(np.zeros((views, 2)), np.random.default_rng(1).normal(size=(views, 2, 3)), 1.0)


def pictorial(rig: Rig, xy: FloatArray) -> FloatArray:
    return infer_points(MODEL, rig, xy, None, 20.0, np.zeros((len(xy), 3))).mean_world


#: name → (function of rig and points (n, V, K, 2), its shape by n, V and K)
OF_POINTS: dict[str, tuple[Callable[[Rig, FloatArray], FloatArray], Callable[[int, int, int], tuple[int, ...]]]] = {
    "triangulate_linear": (triangulate_linear, lambda n, v, k: (n, k, 3)),
    "robust point": (lambda rig, xy: triangulate_robust(rig, xy).xyz_world, lambda n, v, k: (n, k, 3)),
    "robust residual": (lambda rig, xy: triangulate_robust(rig, xy).reprojection_px, lambda n, v, k: (n, v, k)),
    "robust covariance": (lambda rig, xy: triangulate_robust(rig, xy).covariance, lambda n, v, k: (n, k, 3, 3)),
    "robust angle": (lambda rig, xy: triangulate_robust(rig, xy).angle_deg, lambda n, v, k: (n, k)),
    "Rig.undistort": (Rig.undistort, lambda n, v, k: (n, v, k, 2)),
    "pair_distance": (lambda rig, xy: pair_distance(fundamental_from_rig(rig), xy), lambda n, v, k: (n, v, v, k)),
    "epipolar_residual": (lambda rig, xy: epipolar_residual(fundamental_from_rig(rig), xy), lambda n, v, k: (n, v, k)),
    "affine_residual": (lambda rig, xy: affine_residual(plane(len(rig)), xy), lambda n, v, k: (n, v, k)),
    "infer_points": (pictorial, lambda n, v, k: (n, k, 3)),
}
every_function = pytest.mark.parametrize("name", OF_POINTS)


@every_function
@pytest.mark.parametrize("views", [2, 3])
def test_an_empty_pool_gives_empty_arrays(name: str, views: int, make_ring: Ring) -> None:
    function, shape = OF_POINTS[name]
    assert function(make_ring(views), np.zeros((0, views, 4, 2))).shape == shape(0, views, 4)


@every_function
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_missing_and_infinite_points_give_nan(name: str, value: float, make_ring: Ring) -> None:
    function, shape = OF_POINTS[name]
    found = function(make_ring(3), np.full((2, 3, 4, 2), value))
    assert found.shape == shape(2, 3, 4)
    assert np.isnan(found).all()


@every_function
def test_copies_of_a_frame_have_the_same_points(name: str, make_ring: Ring) -> None:
    function, _ = OF_POINTS[name]
    rig = make_ring(3)
    xy = rig.project(POSE[None])
    alone, copies = function(rig, xy), function(rig, np.repeat(xy, 5, axis=0))
    assert np.isfinite(alone).any()
    np.testing.assert_allclose(copies, np.repeat(alone, 5, axis=0), rtol=1e-9, atol=1e-9)


@every_function
@pytest.mark.parametrize("shape", [(1, 4, 4, 2), (1, 3, 4, 3), (5,)])
def test_other_shapes_are_refused(name: str, shape: tuple[int, ...], make_ring: Ring) -> None:
    with pytest.raises(BadInputError, match="expected"):
        OF_POINTS[name][0](make_ring(3), np.zeros(shape))


@pytest.mark.parametrize("name", sorted(set(OF_POINTS) - {"infer_points"}))
def test_no_keypoints_at_all(name: str, make_ring: Ring) -> None:
    function, shape = OF_POINTS[name]
    assert function(make_ring(3), np.zeros((2, 3, 0, 2))).shape == shape(2, 3, 0)


@pytest.mark.parametrize("name", sorted(set(OF_POINTS) - {"Rig.undistort", "affine_residual", "infer_points"}))
def test_one_view_says_nothing(name: str, make_ring: Ring) -> None:
    rig = make_ring(1)
    assert np.isnan(OF_POINTS[name][0](rig, rig.project(POSE[None]))).all()


# --- residuals -----------------------------------------------------------------------------------------------------------

OF_RESIDUALS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "multi_view_consistency": lambda r: multi_view_consistency(r)[0],
    "distance": lambda r: multi_view_consistency(r, power=1)[0],
    "outlier_ratio": lambda r: outlier_ratio(np.isfinite(r), r),
}
of_residuals = pytest.mark.parametrize("name", OF_RESIDUALS)


@of_residuals
def test_residuals_of_no_frames(name: str) -> None:
    found = OF_RESIDUALS[name](np.zeros((0, 3, 4)))
    assert found.shape == (0,)


@of_residuals
@pytest.mark.parametrize("views", [0, 3])
@pytest.mark.parametrize("keypoints", [0, 4])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_residuals_without_a_term_are_nan(name: str, views: int, keypoints: int, value: float) -> None:
    found = OF_RESIDUALS[name](np.full((2, views, keypoints), value))
    assert found.shape == (2,)
    assert np.isnan(found).all()


@of_residuals
def test_one_residual_of_one_frame(name: str) -> None:
    expected = {"multi_view_consistency": 9.0, "outlier_ratio": 0.0}.get(name, 3.0)
    np.testing.assert_allclose(OF_RESIDUALS[name](np.array([[[3.0]]])).ravel(), [expected])
    np.testing.assert_allclose(OF_RESIDUALS[name](np.array([[3.0]])).ravel(), [expected])  # no batch axis


@of_residuals
def test_residuals_without_views_and_keypoints_as_axes_are_refused(name: str) -> None:
    with pytest.raises(BadInputError, match=r"expected shape \(..., V, K\)"):
        OF_RESIDUALS[name](np.zeros(5))


def test_inliers_of_another_shape_are_refused() -> None:
    with pytest.raises(BadInputError, match="inlier"):
        outlier_ratio(np.ones((2, 3), dtype=bool), np.ones((2, 3, 4)))


def test_trust_in_no_frames(make_ring: Ring) -> None:
    found = triangulate_robust(make_ring(3), np.zeros((0, 3, 4, 2)))
    assert trusted(found).shape == weak_geometry(found).shape == (0, 4)


# --- cameras -------------------------------------------------------------------------------------------------------------

OF_CAMERA: dict[str, tuple[int, tuple[int, ...]]] = {
    "project": (3, (2,)),
    "depth": (3, ()),
    "distort": (2, (2,)),
    "undistort": (2, (2,)),
    "rays": (2, (3,)),
}
LENSES: dict[str, dict[str, Any]] = {
    "none": {"dist": np.zeros(0)},
    "brown": {"dist": np.array([-0.1, 0.03, 0.001, 0.0, 0.0])},
    "fisheye": {"dist": np.zeros(4), "model": "fisheye"},
}


@pytest.mark.parametrize("method", OF_CAMERA)
@pytest.mark.parametrize("lens", LENSES)
def test_camera_methods_at_the_edges(method: str, lens: str, make_ring: Ring) -> None:
    call = getattr(replace(make_ring(1).cameras[0], **LENSES[lens]), method)
    size, result = OF_CAMERA[method]
    assert call(np.zeros((0, size))).shape == (0, *result)
    for value in (np.nan, np.inf, -np.inf):
        blank = call(np.full((2, 5, size), value))
        assert blank.shape == (2, 5, *result)
        assert np.isnan(blank).all()
    for shape in ((), (3, size + 1)):
        with pytest.raises(BadInputError, match=rf"expected points of shape \(..., {size}\)"):
            call(np.zeros(shape))


# --- labels, diagnosis ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0, 3, 4, 2), (9, 3, 0, 2), (1, 3, 4, 2)])
def test_too_few_labels_teach_no_model(shape: tuple[int, ...]) -> None:
    assert fit_affine(np.ones(shape)) is None
    assert np.isnan(fit_fundamentals(np.ones(shape))).all()
    assert fit_fundamental(np.zeros((0, 2)), np.zeros((0, 2))) is None


def test_labels_of_another_shape_are_refused() -> None:
    for call in (fit_affine, fit_fundamentals):
        with pytest.raises(BadInputError, match="expected shape"):
            call(np.zeros((3, 4)))
    with pytest.raises(BadInputError, match="two arrays"):
        fit_fundamental(np.zeros((4, 2)), np.zeros((5, 2)))


@pytest.mark.parametrize("frames", [0, 1, 4])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_blank_recordings_accuse_nobody(frames: int, value: float, make_ring: Ring) -> None:
    rig, blank = make_ring(3), np.full((frames, 3, 4, 2), value)
    assert np.isnan(camera_errors(rig, blank)).all()
    assert suspect_camera(rig, blank).camera is None


@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_blank_recordings_have_no_offsets(frames: int, value: float, make_ring: Ring) -> None:
    assert frame_offsets(make_ring(3), np.full((frames, 3, 4, 2), value), 0).offset.tolist() == [0, 0, 0]


def test_offsets_of_no_frames_are_refused(make_ring: Ring) -> None:
    with pytest.raises(BadInputError, match="max_offset"):
        frame_offsets(make_ring(3), np.zeros((0, 3, 4, 2)), 0)


# --- pictorial structures ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("poses", [np.zeros((0, 4, 3)), np.full((2, 4, 3), np.nan), np.full((2, 4, 3), np.inf)])
def test_bodies_of_which_nothing_is_known(poses: FloatArray) -> None:
    assert np.isnan(LimbLengths.from_labels(poses, [(0, 1), (1, 2)]).length_world).all()
    assert np.isnan(box_centres(poses, 500.0)).all()
    with pytest.raises(BadInputError, match="at least two known keypoints"):
        fit_side(poses)


def test_one_pose_and_its_copies_make_the_same_body() -> None:
    copies = LimbLengths.from_labels(np.repeat(POSE[None], 3, axis=0), [(0, 1), (1, 2), (2, 3)])
    np.testing.assert_allclose(copies.length_world, LIMBS.length_world)
    np.testing.assert_allclose(copies.tolerance_world, 0.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: LimbLengths.from_labels(POSE, [(0, 1)]),
        lambda: LimbLengths.from_labels(POSE[None], [(0, 9)]),
        lambda: fit_side(POSE),
        lambda: box_centres(POSE[0], 500.0),
        lambda: tree_order(2, np.array([[0, 5]])),
        lambda: tree_order(2, np.array([[0, 1], [1, 0]])),
        lambda: moments(np.zeros((8, 8)), 1.0),
        lambda: log_determinant(np.zeros((2, 2)), 1.0),
        lambda: keep_best(np.zeros(3)),
        lambda: keep_best(np.zeros((3, 1)), 1.5),
        lambda: MODEL.marginals(np.zeros((4, 8, 8))),
        lambda: MODEL.marginals(np.full((4, 8, 8, 8), -np.inf)),
    ],
)
def test_impossible_bodies_are_refused(call: Callable[[], object]) -> None:
    with pytest.raises(BadInputError, match=r"expected|no finite"):
        call()


def test_pictorial_arrays_that_do_not_fit_are_refused(make_ring: Ring) -> None:
    rig, xy, centre = make_ring(3), np.zeros((2, 3, 4, 2)), np.zeros((2, 3))
    maps, affine = np.zeros((2, 3, 4, 8, 8), dtype=np.float32), np.zeros((2, 3, 2, 3))
    calls: tuple[Callable[[], object], ...] = (
        lambda: infer_points(MODEL, rig, xy, None, np.ones(7), centre),
        lambda: infer_points(MODEL, rig, xy, np.ones((2, 3, 3)), 9.0, centre),
        lambda: infer_points(MODEL, rig, xy, None, 9.0, centre[:1]),
        lambda: infer_heatmaps(MODEL, rig, maps, affine[:, :2], centre),
        lambda: infer_heatmaps(MODEL, rig, maps[:, :, :3], affine, centre),
    )
    for call in calls:
        with pytest.raises(BadInputError, match="expected"):
            call()


def test_heatmaps_at_the_edges(make_ring: Ring) -> None:
    rig, affine = make_ring(3), np.tile(np.eye(3)[:2] / 200, (2, 3, 1, 1))
    blank = np.full((2, 3, 4, 8, 8), np.nan, dtype=np.float32)
    assert infer_heatmaps(MODEL, rig, blank[:0], affine[:0], np.zeros((0, 3))).mean_world.shape == (0, 4, 3)
    assert np.isnan(infer_heatmaps(MODEL, rig, blank, affine, np.zeros((2, 3))).mean_world).all()
    assert np.isnan(infer_heatmaps(MODEL, rig, np.nan_to_num(blank), affine, np.full((2, 3), np.nan)).mean_world).all()


def test_nothing_to_keep() -> None:
    assert keep_best(np.zeros((0, 4))).shape == (0, 4)
    assert not keep_best(np.full((3, 2), np.nan)).any()
    assert log_determinant(np.zeros((0, 3, 3)), 1.0).shape == (0,)
    assert np.isnan(log_determinant(np.full((1, 3, 3), np.nan), 1.0)).all()
    assert moments(np.zeros((0, 8, 8, 8)), 1.0)[0].shape == (0, 3)
