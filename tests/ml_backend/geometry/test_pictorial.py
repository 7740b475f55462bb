from itertools import product
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError, Float32Array, FloatArray
from ml_backend.geometry.cameras import Camera, Rig
from ml_backend.geometry.pictorial import (
    PictorialStructure,
    infer_heatmaps,
    infer_points,
    keep_best,
    log_determinant,
    moments,
)
from ml_backend.geometry.pictorial_body import LimbLengths, box_centres, fit_side

SIZE = (640, 480)


def limb_lengths(pairs: Any, lengths: Any, tolerance: Any = 0.0) -> Any:
    return LimbLengths(
        np.array(pairs, dtype=np.int64).reshape(-1, 2), np.array(lengths, dtype=float), np.full(len(pairs), tolerance)
    )


def ring_rig(n_views: int = 4, radius: float = 4000.0) -> Rig:
    """Cameras on a circle, looking horizontally at the origin, y down."""
    cameras = []
    for v, angle in enumerate(2 * np.pi * np.arange(n_views) / n_views * 0.7):
        forward = -np.array([np.cos(angle), 0, np.sin(angle)])
        down = np.array([0.0, 1.0, 0.0])
        R = np.stack([np.cross(down, forward), down, forward])
        K = np.array([[900.0, 0, 319.5], [0, 900.0, 239.5], [0, 0, 1]])
        cameras.append(Camera(f"cam{v}", K, R, -R @ (-radius * forward), size_px=SIZE))
    return Rig(tuple(cameras))


CHAIN = [(0, 1), (1, 2), (2, 3)]
POSE = np.array([[0.0, -300, 0], [0, 0, 100], [250, 100, 50], [300, 350, -50]])
CHAIN_LENGTHS = [float(np.linalg.norm(POSE[a] - POSE[b])) for a, b in CHAIN]


def chain_model(**options: Any) -> PictorialStructure:
    return PictorialStructure(4, limb_lengths(CHAIN, CHAIN_LENGTHS), 1200.0, **({"grid": 24} | options))


def enumerate_marginals(log_unary: Any, pairs: Any, lengths: Any, tolerance: Any) -> Any:
    """Every configuration of all joints, straight from the definition."""
    joints, grid = log_unary.shape[:2]
    voxels = np.array(list(product(range(grid), repeat=3)), dtype=float)
    weight = np.exp(log_unary.reshape(joints, -1))
    distance = np.linalg.norm(voxels[:, None] - voxels[None], axis=-1)
    result = np.zeros((joints, len(voxels)))
    for states in product(range(len(voxels)), repeat=joints):
        fits = all(abs(distance[states[a], states[b]] - n) <= tolerance for (a, b), n in zip(pairs, lengths, strict=True))
        if fits:
            p = np.prod([weight[k, s] for k, s in enumerate(states)])
            for k, s in enumerate(states):
                result[k, s] += p
    return (result / result.sum(axis=1, keepdims=True)).reshape(log_unary.shape)


@pytest.mark.parametrize("pairs", [[(0, 1), (1, 2)], [(1, 0), (1, 2)], [(2, 1)]], ids=["chain", "star", "forest"])
def test_marginals_equal_enumeration(pairs: Any) -> None:
    grid, lengths = 4, [2.0, 1.5][: len(pairs)]
    log_unary = np.random.default_rng(0).normal(size=(3, grid, grid, grid)) * 2
    expected = enumerate_marginals_fast(log_unary, pairs, lengths)
    model = PictorialStructure(3, limb_lengths(pairs, lengths), grid - 1.0, grid, dtype=np.float64)
    np.testing.assert_allclose(model.marginals(log_unary), expected, rtol=1e-9)
    np.testing.assert_allclose(
        PictorialStructure(3, limb_lengths(pairs, lengths), grid - 1.0, grid).marginals(log_unary), expected, atol=1e-6
    )


def enumerate_marginals_fast(log_unary: Any, pairs: Any, lengths: Any, tolerance: Any = 1.0) -> Any:
    """All 64³ configurations of three joints at once; the loop above is the same on a smaller grid."""
    grid = log_unary.shape[1]
    voxels = np.array(list(product(range(grid), repeat=3)), dtype=float)
    distance = np.linalg.norm(voxels[:, None] - voxels[None], axis=-1)
    weight = np.exp(log_unary.reshape(3, -1))
    joint = np.einsum("a,b,c->abc", *weight)
    for (a, b), length in zip(pairs, lengths, strict=True):
        fits = np.abs(distance - length) <= tolerance
        fits = fits if a < b else fits.T
        joint = joint * np.expand_dims(fits, ({0, 1, 2} - {a, b}).pop())
    marginals = np.stack([joint.sum(axis=tuple({0, 1, 2} - {k})) for k in range(3)])
    return (marginals / marginals.sum(axis=1, keepdims=True)).reshape(log_unary.shape)


def test_the_two_enumerations_agree() -> None:
    log_unary = np.random.default_rng(1).normal(size=(3, 2, 2, 2))
    pairs, lengths = [(0, 1), (2, 1)], [1.0, 0.3]
    np.testing.assert_allclose(
        enumerate_marginals(log_unary, pairs, lengths, 0.5), enumerate_marginals_fast(log_unary, pairs, lengths, 0.5)
    )


def test_deltas_at_limb_length_stay_deltas() -> None:
    grid = 16
    log_unary = np.full((2, grid, grid, grid), -np.inf)
    log_unary[0, 3, 4, 5] = log_unary[1, 3, 10, 5] = 0.0
    model = PictorialStructure(2, limb_lengths([(0, 1)], [6.0]), grid - 1.0, grid)
    marginals = model.marginals(log_unary)
    np.testing.assert_array_equal(marginals, np.exp(log_unary))
    mean, covariance = moments(marginals, grid - 1.0)
    np.testing.assert_allclose(mean + 7.5, [[3, 4, 5], [3, 10, 5]], atol=1e-12)
    np.testing.assert_allclose(covariance, 0, atol=1e-12)


def test_limb_decides_between_two_equal_peaks() -> None:
    grid = 16
    log_unary = np.full((2, grid, grid, grid), -np.inf)
    log_unary[0, 3, 4, 5] = 0.0
    log_unary[1, 3, 10, 5] = log_unary[1, 3, 4, 14] = 0.0  # at distances 6 and 9
    marginals = PictorialStructure(2, limb_lengths([(0, 1)], [6.0]), grid - 1.0, grid).marginals(log_unary)
    assert marginals[1, 3, 10, 5] == pytest.approx(1, abs=1e-5)


def test_echo_sends_the_childs_evidence_back_to_it() -> None:
    """One limb: exact b_c = φ_c·(K φ_p); echo b_c = φ_c·K(φ_p·Kφ_c)."""
    from ml_backend.geometry.pictorial_shells import ShellConvolution

    grid, limbs = 6, limb_lengths([(0, 1)], [2.0])
    log_unary = np.random.default_rng(4).normal(size=(2, grid, grid, grid))
    phi = np.exp(log_unary)
    convolve = ShellConvolution(2.0, 1.0, grid, np.float64)
    exact = phi[1] * convolve(phi[0])
    echoed = phi[1] * convolve(phi[0] * convolve(phi[1]))
    for echo, expected in ((False, exact), (True, echoed)):
        model = PictorialStructure(2, limbs, grid - 1.0, grid, echo=echo, dtype=np.float64)
        np.testing.assert_allclose(model.marginals(log_unary)[1], expected / expected.sum(), rtol=1e-9)
    assert not np.allclose(exact / exact.sum(), echoed / echoed.sum(), rtol=1e-2)


def test_moments_of_a_box_and_of_a_tilted_pair() -> None:
    grid, side = 5, 4.0
    uniform = np.full((1, grid, grid, grid), 1 / grid**3)
    mean, covariance = moments(uniform, side)
    np.testing.assert_allclose(mean, 0, atol=1e-12)
    np.testing.assert_allclose(covariance[0], 2 * np.eye(3), atol=1e-12)  # variance of −2…2 is 2
    pair = np.zeros((1, grid, grid, grid))
    pair[0, 0, 1, 2] = pair[0, 4, 3, 2] = 0.5
    mean, covariance = moments(pair, side)
    np.testing.assert_allclose(covariance[0], np.outer([2, 1, 0], [2, 1, 0]), atol=1e-12)


def test_log_determinant_adds_the_grids_own_variance() -> None:
    spacing = 6.0  # κ = 3
    assert log_determinant(np.zeros((3, 3)), spacing) == pytest.approx(3 * np.log(3))
    result = log_determinant(np.stack([np.diag([1.0, 2, 3]), np.full((3, 3), np.nan)]), spacing)
    np.testing.assert_allclose(result, [np.log(4 * 5 * 6), np.nan])


def test_points_of_four_views_are_found_again() -> None:
    rig = ring_rig()
    pose = infer_points(chain_model(grid=32), rig, rig.project(POSE)[None], None, 10.0, np.zeros((1, 3)))
    np.testing.assert_allclose(pose.mean_world[0], POSE, atol=12)  # 39 mm voxels, σ of 10 px is 44 mm
    assert (np.linalg.eigvalsh(pose.covariance) > 0).all()


def gaussian_maps(xy_hm: FloatArray, size: int = 64, sigma: float = 1.5) -> Float32Array:
    axis = np.arange(size)
    squared = (axis[:, None] - xy_hm[..., 1, None, None]) ** 2 + (axis - xy_hm[..., 0, None, None]) ** 2
    maps: Float32Array = np.exp(-squared / (2 * sigma**2)).astype(np.float32)
    return maps


def test_heatmaps_and_the_points_they_stand_for_agree() -> None:
    rig, model = ring_rig(), chain_model()
    affine = np.tile([[0.1, 0, -0.5], [0, 0.1, 6.0]], (1, len(rig), 1, 1))
    xy_px = rig.project(POSE)[None]
    xy_hm = xy_px @ affine[0, 0, :, :2].T + affine[0, 0, :, 2]
    from_maps = infer_heatmaps(model, rig, gaussian_maps(xy_hm), affine, np.zeros((1, 3)))
    from_points = infer_points(model, rig, xy_px, None, 15.0, np.zeros((1, 3)))
    np.testing.assert_allclose(from_maps.mean_world, from_points.mean_world, atol=3)


def test_single_precision_agrees_with_double() -> None:
    rig = ring_rig()
    xy_px = rig.project(POSE)[None] + np.random.default_rng(0).normal(size=(1, 4, 4, 2)) * 3
    single, double = (
        infer_points(chain_model(dtype=dtype), rig, xy_px, None, 12.0, np.zeros((1, 3))) for dtype in (np.float32, np.float64)
    )
    np.testing.assert_allclose(single.mean_world, double.mean_world, atol=0.1)
    np.testing.assert_allclose(single.logdet, double.logdet, atol=0.01)


def test_batch_equals_single_frames() -> None:
    rig, model, rng = ring_rig(), chain_model(grid=16), np.random.default_rng(0)
    xy_px = rig.project(POSE) + rng.normal(size=(3, 4, 4, 2)) * 3
    confidence, centres = rng.uniform(0.2, 1, (3, 4, 4)), rng.normal(size=(3, 3)) * 20
    together = infer_points(model, rig, xy_px, confidence, 12.0, centres)
    for i in range(3):
        alone = infer_points(model, rig, xy_px[i : i + 1], confidence[i : i + 1], 12.0, centres[i : i + 1])
        np.testing.assert_array_equal(together.mean_world[i], alone.mean_world[0])
        np.testing.assert_array_equal(together.covariance[i], alone.covariance[0])


def test_floor_keeps_one_wrong_view_from_vetoing_the_others() -> None:
    rig = ring_rig()
    xy_px = rig.project(POSE)[None]
    xy_px[0, 0, 3] += (30, -35)  # one view is wrong by 6 σ: far below the floor, far above the float epsilon
    robust = infer_points(chain_model(), rig, xy_px, None, 8.0, np.zeros((1, 3)))
    paper = infer_points(chain_model(mode="paper"), rig, xy_px, None, 8.0, np.zeros((1, 3)))
    assert np.linalg.norm(robust.mean_world[0, 3] - POSE[3]) < 15
    assert np.linalg.norm(paper.mean_world[0, 3] - POSE[3]) > 30


def test_joint_without_any_view_is_placed_by_its_limb_and_is_doubtful() -> None:
    rig = ring_rig()
    xy_px = rig.project(POSE)[None]
    xy_px[0, :, 3] = np.nan
    pose = infer_points(chain_model(), rig, xy_px, None, 10.0, np.zeros((1, 3)))
    assert np.linalg.norm(pose.mean_world[0, 3] - POSE[2]) < CHAIN_LENGTHS[2]  # mean of a sphere around its parent
    assert pose.logdet[0, 3] > pose.logdet[0, :3].max() + 3


def test_nothing_seen_is_nan_for_the_whole_tree_only() -> None:
    rig = ring_rig()
    xy_px = rig.project(POSE)[None].repeat(3, axis=0)
    xy_px[0] = np.nan  # frame without a point
    xy_px[1, :, :2] = np.nan  # the first of two trees without a point
    centres = np.zeros((3, 3))
    centres[2] = np.nan  # no box
    model = PictorialStructure(4, limb_lengths([(0, 1), (2, 3)], [CHAIN_LENGTHS[0], CHAIN_LENGTHS[2]]), 1200.0, 16)
    pose = infer_points(model, rig, xy_px, None, 10.0, centres)
    missing = np.array([[True] * 4, [True, True, False, False], [True] * 4])
    for values in (pose.mean_world[..., 0], pose.covariance[..., 0, 0], pose.logdet):
        np.testing.assert_array_equal(np.isnan(values), missing)


def test_missing_view_equals_a_rig_without_it() -> None:
    rig, model = ring_rig(), chain_model(grid=16)
    xy_px = rig.project(POSE)[None]
    without = infer_points(model, rig.subset(rig.names[1:]), xy_px[:, 1:], None, 12.0, np.zeros((1, 3)))
    xy_px[:, 0] = np.nan
    np.testing.assert_array_equal(infer_points(model, rig, xy_px, None, 12.0, np.zeros((1, 3))).mean_world, without.mean_world)


def test_skeleton_without_limbs_places_every_keypoint_alone() -> None:
    rig = ring_rig()
    model = PictorialStructure(4, limb_lengths([], []), 1200.0, 32)
    pose = infer_points(model, rig, rig.project(POSE)[None], None, 10.0, np.zeros((1, 3)))
    np.testing.assert_allclose(pose.mean_world[0], POSE, atol=12)


def test_unknown_limb_is_left_out() -> None:
    known = PictorialStructure(3, limb_lengths([(0, 1)], [2.0]), 5.0, 6)
    partly = PictorialStructure(3, limb_lengths([(0, 1), (1, 2)], [2.0, np.nan]), 5.0, 6)
    log_unary = np.random.default_rng(0).normal(size=(3, 6, 6, 6))
    np.testing.assert_array_equal(known.marginals(log_unary), partly.marginals(log_unary))


def test_limb_lengths_are_medians_with_the_spread_of_the_labels() -> None:
    xyz = np.zeros((5, 3, 3))
    xyz[:, 1, 0] = [10, 11, 12, 13, 90]  # one label is wrong
    xyz[:, 2] = np.nan
    limbs = LimbLengths.from_labels(xyz, [(0, 1), (1, 2)], coverage=0.75)
    np.testing.assert_allclose(limbs.length_world, [12, np.nan])
    np.testing.assert_allclose(limbs.tolerance_world, [2, np.nan])


def test_box_is_as_large_as_the_largest_pose_and_ignores_stray_joints() -> None:
    xyz = np.stack([POSE, 2 * POSE])
    assert fit_side(xyz, margin=1.5) == pytest.approx(1.5 * 2 * 650)  # y runs from −300 to 350
    xyz[0, 3] = (9000, 0, 0)
    xyz[1] = np.nan
    centres = box_centres(xyz, 1300.0)
    np.testing.assert_allclose(centres, np.array([[125, -100, 50], [np.nan] * 3]))
    with pytest.raises(BadInputError, match="at least two known keypoints"):
        fit_side(np.full((2, 4, 3), np.nan))


def test_keep_best_is_per_joint_and_never_keeps_nan() -> None:
    logdet = np.stack([np.arange(10.0), np.arange(10.0)[::-1]], axis=1)
    logdet[9, 1] = np.nan  # would have been joint 1's best
    keep = keep_best(logdet)
    assert keep[:, 0].tolist() == [True] * 7 + [False] * 3
    assert keep[:, 1].tolist() == [False] * 2 + [True] * 7 + [False]  # 0.7 · 9 rounded up
    assert not keep_best(np.full((3, 1), np.nan)).any()
    assert keep_best(np.zeros((10, 1)), 0.7).sum() == 7  # ties


@pytest.mark.parametrize(
    ("pairs", "message"),
    [([(0, 2), (1, 2)], "one parent"), ([(0, 1), (1, 0)], "cycle"), ([(0, 7)], "below 3")],
)
def test_limbs_that_are_no_forest_are_errors(pairs: Any, message: Any) -> None:
    with pytest.raises(BadInputError, match=message):
        PictorialStructure(3, limb_lengths(pairs, [2.0] * len(pairs)), 5.0, 6)


def test_wrong_input_is_named() -> None:
    rig, model = ring_rig(), chain_model(grid=8)
    xy_px = rig.project(POSE)[None]
    with pytest.raises(BadInputError, match="centre_world"):
        infer_points(model, rig, xy_px, None, 10.0, np.zeros((2, 3)))
    with pytest.raises(BadInputError, match="sigma_px"):
        infer_points(model, rig, xy_px, None, 0.0, np.zeros((1, 3)))
    with pytest.raises(BadInputError, match="expected 4 keypoints, got 3"):
        infer_points(model, rig, xy_px[:, :, :3], None, 10.0, np.zeros((1, 3)))
    with pytest.raises(BadInputError, match="log_unary"):
        model.marginals(np.zeros((4, 8, 8)))
    with pytest.raises(BadInputError, match="no finite unary"):
        model.marginals(np.full((4, 8, 8, 8), np.nan))
    with pytest.raises(BadInputError, match="floor"):
        chain_model(floor=0.0)
    with pytest.raises(BadInputError, match="does not fit"):
        PictorialStructure(2, limb_lengths([(0, 1)], [99.0]), 5.0, 6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_paper_mode_lets_a_limb_veto(dtype: Any) -> None:
    """A place that no limb reaches has probability 0 whatever its unary term, as the product with a zero in print."""
    grid, unary = 16, np.full((2, 16, 16, 16), -np.inf)
    unary[1, 8, 8, 8] = 0.0
    unary[0, 0, 0, 0], unary[0, 8, 8, 13] = 0.0, np.log(8e-7)
    limbs = limb_lengths([(0, 1)], [5.0])
    paper = PictorialStructure(2, limbs, grid - 1.0, grid, mode="paper", dtype=dtype).marginals(unary)
    assert paper[0, 0, 0, 0] == 0.0
    assert paper[0, 8, 8, 13] == pytest.approx(1.0)
    assert paper[1, 8, 8, 8] == pytest.approx(1.0)


def test_paper_mode_is_the_printed_product_over_many_orders_of_magnitude() -> None:
    rng, grid = np.random.default_rng(3), 4
    unary = 10.0 ** -rng.uniform(0, 30, (3,) + (grid,) * 3)
    unary[rng.uniform(size=unary.shape) < 0.7] = 0.0
    limbs = limb_lengths([(0, 1), (1, 2)], [2.0, 1.5])
    with np.errstate(divide="ignore"):
        log_unary = np.log(unary)
    found = PictorialStructure(3, limbs, grid - 1.0, grid, mode="paper").marginals(log_unary)
    expected = enumerate_marginals_fast(log_unary, [(0, 1), (1, 2)], [2.0, 1.5])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_array_equal(found[expected == 0], 0.0)


def test_a_keypoint_without_any_possible_place_has_no_marginal_in_paper_mode() -> None:
    unary = np.full((2, 8, 8, 8), -np.inf)
    unary[0, 0, 0, 0] = unary[1, 7, 7, 7] = 0.0
    limbs = limb_lengths([(0, 1)], [3.0])
    assert np.isnan(PictorialStructure(2, limbs, 7.0, 8, mode="paper").marginals(unary)).all()
