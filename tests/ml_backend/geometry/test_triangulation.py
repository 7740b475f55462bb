"""Triangulation against closed forms, plain references and the properties that any solution must have."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from label_config.values import BadInputError, BoolArray, FloatArray, Triangulation
from ml_backend.geometry import consensus
from ml_backend.geometry.cameras import Camera, Rig
from ml_backend.geometry.normalised import NormalisedRig
from ml_backend.geometry.triangulation import triangulate_linear, triangulate_robust

Ring = Callable[..., Rig]
LENS = (-0.1, 0.03, 0.001, -0.001, 0.0)


def body(n: int, keypoints: int = 6, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 1, 3)) * 100 + rng.normal(size=(n, keypoints, 3)) * 200


def wild(rig: Rig, xyz: FloatArray, share: float, noise_px: float = 1.0, seed: int = 0) -> tuple[FloatArray, BoolArray]:
    """Noisy projections of which a share is anywhere in the picture; and which."""
    rng = np.random.default_rng(seed)
    xy = rig.project(xyz)
    xy = xy + rng.normal(size=xy.shape) * noise_px
    bad = rng.random(xy.shape[:-1]) < share
    xy[bad] = rng.uniform(size=(bad.sum(), 2)) * (1920, 1080)
    return xy, bad


# --- oracles -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("views", [2, 3, 4, 8, 31])
@pytest.mark.parametrize("dist", [(), LENS])
def test_noise_free_points_are_exact(make_ring: Ring, views: int, dist: tuple[float, ...]) -> None:
    rig, xyz = make_ring(views, dist=dist), body(5)
    found = triangulate_robust(rig, rig.project(xyz))
    assert np.abs(found.xyz_world - xyz).max() < 1e-6
    assert np.abs(triangulate_linear(rig, rig.project(xyz)) - xyz).max() < 1e-6
    assert found.reprojection_px.max() < 1e-6
    assert found.inlier.all()
    assert found.consensus.all()


@pytest.mark.parametrize("focal_px", [20_000.0, 136_000.0])
def test_long_lenses_are_well_conditioned(make_ring: Ring, focal_px: float) -> None:
    rig = make_ring(3, focal_px=focal_px, distance=250.0, dist=(-60.0, 0, 0, 0, 0))
    moved = Rig(tuple(replace(c, t_cam_world=c.t_cam_world - c.R_cam_world @ np.full(3, 5e4)) for c in rig.cameras))
    xyz = body(5) * 0.005
    for candidate, offset in ((rig, 0.0), (moved, 5e4)):
        seen = candidate.project(xyz + offset)
        found = triangulate_robust(candidate, seen)
        assert np.abs(found.xyz_world - xyz - offset).max() < 1e-6
        assert np.abs(triangulate_linear(candidate, seen) - xyz - offset).max() < 1e-6


def test_one_wrong_view_is_excluded_and_its_residual_is_its_displacement(make_ring: Ring) -> None:
    rig, xyz = make_ring(5, dist=LENS), body(3)
    xy = rig.project(xyz)
    xy[1, 2, 4] += (30.0, 40.0)
    found = triangulate_robust(rig, xy)
    expected = np.zeros(xy.shape[:-1])
    expected[1, 2, 4] = 50.0
    np.testing.assert_allclose(found.reprojection_px, expected, atol=1e-6)
    np.testing.assert_array_equal(found.inlier, expected == 0)


def test_two_views_cannot_see_an_error_along_the_epipolar_line(make_ring: Ring) -> None:
    rig, xyz = make_ring(2), body(1)
    first, second = rig.cameras
    xy = rig.project(xyz)
    xy[0, 1] = second.project(first.centre + 1.3 * (xyz[0] - first.centre))  # other points on the rays of the first view
    found = triangulate_robust(rig, xy)
    assert found.reprojection_px.max() < 1e-6
    assert np.linalg.norm(found.xyz_world - xyz, axis=-1).min() > 100


def test_angle_is_the_largest_between_rays_of_agreeing_views(make_ring: Ring) -> None:
    rig, xyz = make_ring(4), body(2)
    xy = rig.project(xyz)
    xy[:, 1] += 200
    found = triangulate_robust(rig, xy)
    for f, k in np.ndindex(2, 6):
        rays = [rig.cameras[v].centre - xyz[f, k] for v in (0, 2, 3)]
        cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in itertools.combinations(rays, 2)]
        assert found.angle_deg[f, k] == pytest.approx(np.degrees(np.arccos(min(cosines))), abs=1e-6)


@pytest.mark.parametrize("dist", [(), LENS])
def test_covariance_is_that_of_repeated_noise(make_ring: Ring, dist: tuple[float, ...]) -> None:
    rig, xyz = make_ring(4, dist=dist), body(1, 1)
    noise = np.random.default_rng(0).normal(size=(4000, 4, 1, 2))
    found = triangulate_robust(rig, rig.project(xyz) + noise)
    spread = np.cov(found.xyz_world[:, 0].T)
    predicted = triangulate_robust(rig, rig.project(xyz)).covariance[0, 0]
    np.testing.assert_allclose(spread, predicted, atol=0.08 * np.trace(predicted))


def test_covariance_is_that_of_the_agreeing_views_at_the_reported_point(make_ring: Ring) -> None:
    rig, xyz = make_ring(5), body(4, 5)
    xy, _ = wild(rig, xyz, 0.2)
    found = triangulate_robust(rig, xy, threshold_px=12.0)
    for f, k in zip(*np.nonzero(found.consensus), strict=True):
        around = found.xyz_world[f, k] + np.concatenate((np.eye(3), -np.eye(3))) * 1e-3
        up, down = np.split(rig.project(around).transpose(1, 0, 2)[:, found.inlier[f, :, k]], 2)
        jacobian = ((up - down) / 2e-3).reshape(3, -1)
        expected = np.linalg.inv(jacobian @ jacobian.T)
        np.testing.assert_allclose(found.covariance[f, k], expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("dist", [(), LENS])
def test_the_solution_minimises_the_reprojection_error(make_ring: Ring, dist: tuple[float, ...]) -> None:
    rig, xyz = make_ring(4, dist=dist), body(2, 3)
    xy, _ = wild(rig, xyz, 0.0, noise_px=2.0)
    found = triangulate_robust(rig, xy)
    for f, k in np.ndindex(2, 3):
        best = least_squares(lambda p, f=f, k=k: (rig.project(p[None])[:, 0] - xy[f, :, k]).ravel(), xyz[f, k], xtol=1e-12)
        # Without a lens the minimum itself; with one the lens is linearised at every observation.
        assert np.linalg.norm(found.xyz_world[f, k] - best.x) < (0.02 if dist else 1e-5)


def test_thresholds_are_pixels_as_the_lens_shows_them(make_ring: Ring) -> None:
    """At the rim of a fisheye one seen pixel is many undistorted ones; 2 px of noise are still far below 12 px."""
    ring = make_ring(4, focal_px=500.0)
    aside = Rotation.from_euler("y", 68, degrees=True).as_matrix()
    rig = Rig(
        tuple(
            replace(c, model="fisheye", dist=np.zeros(4), R_cam_world=aside @ c.R_cam_world, t_cam_world=aside @ c.t_cam_world)
            for c in ring.cameras
        )
    )
    xyz = body(30)
    ideal, enlarged = rig.cameras[0].undistort_scaled(rig.cameras[0].project(xyz))
    assert np.median(1 / enlarged) > 3
    assert np.isfinite(ideal).all()
    xy, _ = wild(rig, xyz, 0.0, noise_px=2.0)
    assert triangulate_robust(rig, xy, threshold_px=12.0).inlier.mean() > 0.99


def test_linear_solution_obeys_weights(make_ring: Ring) -> None:
    rig, xyz = make_ring(4), body(3)
    xy = rig.project(xyz)
    xy[:, 3] += 100
    weight = np.ones(xy.shape[:-1])
    weight[:, 3] = 0
    assert np.abs(triangulate_linear(rig, xy, weight) - xyz).max() < 1e-6
    assert np.abs(triangulate_linear(rig, xy) - xyz).max() > 1


# --- consensus -----------------------------------------------------------------------------------------------------------


def plain_all_pairs(rig: Rig, xy: FloatArray, threshold: float) -> tuple[int, float]:
    """Plainly: most agreeing views over all pairs, and the least truncated squared error among those."""
    best = (0, -np.inf)
    centres = np.stack([camera.centre for camera in rig.cameras])
    rays = np.stack([camera.rays(point) for camera, point in zip(rig.cameras, xy, strict=True)])
    for a, b in itertools.combinations(range(len(rig)), 2):
        along = np.linalg.lstsq(np.stack((rays[a], -rays[b]), axis=1), centres[b] - centres[a], rcond=None)[0]
        x = (centres[a] + along[0] * rays[a] + centres[b] + along[1] * rays[b]) / 2
        error = np.linalg.norm(rig.project(x[None])[:, 0] - xy, axis=1)
        agree = error < threshold  # NaN (behind a camera) does not agree
        best = max(best, (int(agree.sum()), -float(np.where(agree, error, threshold) @ np.where(agree, error, threshold))))
    return best


@pytest.mark.parametrize(("views", "share"), [(3, 0.15), (4, 0.15), (4, 0.3), (6, 0.3), (8, 0.3), (12, 0.15)])
def test_no_pair_finds_more_agreeing_views(make_ring: Ring, views: int, share: float) -> None:
    rig = make_ring(views)
    xy, _ = wild(rig, body(20, 3, seed=views), share, seed=views)
    found = triangulate_robust(rig, xy, threshold_px=12.0)
    for f, k in np.ndindex(20, 3):
        count, _ = plain_all_pairs(rig, xy[f, :, k], 12.0)
        assert found.inlier[f, :, k].sum() >= (count if count >= 2 and found.consensus[f, k] else 0)
        assert found.consensus[f, k] or count < 3


@pytest.mark.parametrize("views", [3, 4, 5, 8])
def test_leaving_out_the_worst_views_finds_what_all_pairs_find(
    make_ring: Ring, views: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_ring(views)
    xy, _ = wild(rig, body(500, seed=views), 0.2, noise_px=2.0, seed=views)
    xy[::7, 0] = np.nan
    found = triangulate_robust(rig, xy, threshold_px=12.0)
    monkeypatch.setattr(consensus, "_SHARED_VIEWS", 1000)  # no set of views is ever large enough to stand
    monkeypatch.setattr(consensus, "_SPARE_GROUPS", 1000)  # and no pair is left out
    exhaustive = triangulate_robust(rig, xy, threshold_px=12.0)
    np.testing.assert_array_equal(found.inlier, exhaustive.inlier)
    np.testing.assert_array_equal(found.consensus, exhaustive.consensus)
    np.testing.assert_allclose(found.xyz_world, exhaustive.xyz_world, atol=1e-4)  # refined from elsewhere


def test_more_agreeing_views_win_and_smaller_errors_break_ties() -> None:
    ratio = np.array([[0.9, 0.0, 0.5, 0.2], [0.9, 0.0, 0.5, 0.5], [0.9, 1.0, 1.0, 1.0]])
    value, agreeing = consensus.rank(ratio)
    np.testing.assert_array_equal(agreeing, [3, 2, 2, 2])
    np.testing.assert_array_equal(np.argsort(-value), [0, 1, 3, 2])


def test_of_two_equally_large_consensuses_the_tighter_wins(make_ring: Ring) -> None:
    rig, xyz = make_ring(4), body(10)
    xy = rig.project(xyz)
    xy[:, :2] = rig.project(xyz + [0, 0, 300.0])[:, :2]  # two views show one place, two another ...
    ray = rig.cameras[0].centre - xyz
    xy[:, 0] += 0.004 * (rig.cameras[0].project(xyz + ray * 0.1) - xy[:, 0]) + 2.0  # ... the first two with some noise
    found = triangulate_robust(rig, xy)
    decided = found.consensus & (found.inlier.sum(axis=1) == 2)
    assert decided.any()
    assert found.inlier[:, 2][decided].all()


def test_outliers_are_found(make_ring: Ring) -> None:
    rig, xyz = make_ring(8, dist=LENS), body(50)
    xy, bad = wild(rig, xyz, 0.15)
    found = triangulate_robust(rig, xy)
    far = np.linalg.norm(xy - rig.project(xyz), axis=-1) > 20
    assert not (found.inlier & far).any()
    assert (found.inlier | bad).mean() > 0.999
    assert np.linalg.norm(found.xyz_world - xyz, axis=-1).max() < 15


@pytest.mark.parametrize("views", [2, 3, 5, 8, 16, 17, 31, 40])
def test_after_every_step_larger_sets_contain_a_tested_pair(make_ring: Ring, views: int) -> None:
    steps = consensus.plan(NormalisedRig(make_ring(views)))
    tested = np.zeros((views, views), dtype=bool)
    for step in steps:
        assert not tested[step.first, step.second].any()
        tested[step.first, step.second] = tested[step.second, step.first] = True
        for group in step.group:
            members = np.flatnonzero(group)
            assert (tested[np.ix_(members, members)] | np.eye(len(members), dtype=bool)).all()
        np.testing.assert_array_equal(step.group.sum(axis=0), 1)


@pytest.mark.parametrize("views", [2, 3, 5, 8, 16])
def test_up_to_16_views_every_pair_is_tested(make_ring: Ring, views: int) -> None:
    steps = consensus.plan(NormalisedRig(make_ring(views)))
    assert sum(len(step.first) for step in steps) == views * (views - 1) / 2  # no pair twice, see above


@pytest.mark.parametrize("views", [17, 31, 40])
def test_of_many_views_a_limited_number_of_pairs_is_tested(make_ring: Ring, views: int) -> None:
    steps = consensus.plan(NormalisedRig(make_ring(views)))
    assert sum(len(step.first) for step in steps) <= consensus.MAX_PAIRS
    assert len(steps[-1].group) <= 8


def test_no_consensus_falls_back_to_all_views_and_says_so(make_ring: Ring) -> None:
    rig = make_ring(3)
    xyz = body(1, 3, seed=3)
    xy = np.stack([rig.cameras[v].project(xyz[0, v] + [0, 0, 400.0 * v])[None] for v in range(3)])[None]
    found = triangulate_robust(rig, xy, threshold_px=1.0)
    assert not found.consensus.any()
    assert not found.inlier.any()
    np.testing.assert_allclose(found.xyz_world, triangulate_linear(rig, xy), atol=1e-9)
    assert np.isfinite(found.reprojection_px).all()
    assert np.isfinite(found.covariance).all()


def test_narrow_pairs_count_only_when_nothing_else_is_left() -> None:
    """Two cameras 2° apart agree on a wrong place for a point that two others see rightly."""

    def looking_at_origin(name: str, degrees: float) -> Camera:
        turn = Rotation.from_euler("y", degrees, degrees=True).as_matrix()
        return Camera(
            name, np.array([[1000.0, 0, 500], [0, 1000, 500], [0, 0, 1]]), turn, np.array([0, 0, 3000.0]), size_px=(1000, 1000)
        )

    rig = Rig(tuple(looking_at_origin(str(angle), angle) for angle in (0.0, 2.0, 60.0, 120.0)))
    xyz, elsewhere = np.zeros((1, 1, 3)), np.array([[[250.0, 180.0, -100.0]]])
    xy = rig.project(xyz)
    xy[:, :2] = rig.project(elsewhere)[:, :2]
    found = triangulate_robust(rig, xy)
    np.testing.assert_array_equal(found.inlier[0, :, 0], [False, False, True, True])
    alone = triangulate_robust(rig.subset(["0.0", "2.0"]), xy[:, :2])
    np.testing.assert_allclose(alone.xyz_world, elsewhere, atol=1e-4)
    assert alone.angle_deg[0, 0] < 5


def test_a_point_behind_a_camera_is_not_seen_by_it() -> None:
    """The mirror point behind the camera projects to the same pixel; only the side tells them apart."""
    front = Camera("front", np.diag([1000.0, 1000, 1]), np.eye(3), np.zeros(3), size_px=(1000, 1000))
    others = [
        Camera(str(x), np.diag([1000.0, 1000, 1]), np.eye(3), np.array([-x, 0, 4000.0]), size_px=(1000, 1000))
        for x in (-900.0, 0.0, 900.0)
    ]
    rig = Rig((front, *others))
    point = np.array([[[30.0, 40.0, -1000.0]]])
    xy = rig.project(point)
    xy[0, 0, 0] = (-30.0, -40.0)  # what x/z gives for the point behind the front camera
    found = triangulate_robust(rig, xy)
    np.testing.assert_array_equal(found.inlier[0, :, 0], [False, True, True, True])


# --- properties ----------------------------------------------------------------------------------------------------------


def same(a: Triangulation, b: Triangulation) -> None:
    np.testing.assert_array_equal(a.inlier, b.inlier)
    np.testing.assert_array_equal(a.consensus, b.consensus)
    for name in ("reprojection_px", "angle_deg"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-6)


@settings(deadline=None, max_examples=12)
@given(
    turn=st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    shift=st.lists(st.floats(-5e3, 5e3), min_size=3, max_size=3),
    unit=st.sampled_from([1e-3, 1.0, 25.4]),
)
def test_moving_and_rescaling_the_world_moves_and_rescales_the_points(
    make_ring: Ring, turn: list[float], shift: list[float], unit: float
) -> None:
    rig = make_ring(4, dist=LENS)
    R = Rotation.from_rotvec(turn).as_matrix()
    # New world w' = unit · (R w + shift).
    moved = Rig(
        tuple(
            replace(
                c, R_cam_world=c.R_cam_world @ R.T, t_cam_world=unit * (c.t_cam_world - c.R_cam_world @ R.T @ np.array(shift))
            )
            for c in rig.cameras
        )
    )
    xy, _ = wild(rig, body(4), 0.15, noise_px=2.0)
    before, after = triangulate_robust(rig, xy), triangulate_robust(moved, xy)
    same(before, after)
    np.testing.assert_allclose(after.xyz_world, unit * (before.xyz_world @ R.T + shift), atol=1e-5 * unit)
    turned = unit**2 * R @ before.covariance @ R.T
    # The normal matrix is that of the last full step, up to 1e-5 camera distances from the point.
    np.testing.assert_allclose(after.covariance, turned, atol=1e-4 * np.abs(turned).max())


@settings(deadline=None, max_examples=12)
@given(order=st.permutations(range(5)))
def test_the_order_of_views_does_not_matter(make_ring: Ring, order: list[int]) -> None:
    rig = make_ring(5)
    xy, _ = wild(rig, body(6), 0.1)
    before = triangulate_robust(rig, xy)
    after = triangulate_robust(rig.subset([rig.names[v] for v in order]), xy[:, order])
    np.testing.assert_allclose(after.xyz_world, before.xyz_world, atol=1e-4)
    np.testing.assert_array_equal(after.inlier, before.inlier[:, order])


def test_results_do_not_depend_on_company_and_are_repeatable(make_ring: Ring) -> None:
    rig = make_ring(8, dist=LENS)
    xy, _ = wild(rig, body(900, 4), 0.4)
    together, again = triangulate_robust(rig, xy), triangulate_robust(rig, xy)
    np.testing.assert_array_equal(together.xyz_world, again.xyz_world)
    for size in (1, 7, 100, 450):
        for f in range(0, 900, max(size, 30)):
            some = triangulate_robust(rig, xy[f : f + size])
            np.testing.assert_array_equal(some.inlier, together.inlier[f : f + size])
            np.testing.assert_allclose(some.xyz_world, together.xyz_world[f : f + size], rtol=1e-6, atol=1e-6)


def test_batch_axes_and_many_keypoints(make_ring: Ring) -> None:
    rig = make_ring(3)
    xyz = body(6, 4).reshape(2, 3, 4, 3)
    found = triangulate_robust(rig, rig.project(xyz))
    assert found.xyz_world.shape == (2, 3, 4, 3)
    assert found.inlier.shape == found.reprojection_px.shape == (2, 3, 3, 4)
    assert found.covariance.shape == (2, 3, 4, 3, 3)
    assert found.angle_deg.shape == found.consensus.shape == (2, 3, 4)
    cloud = body(1, 20_000)
    assert np.abs(triangulate_linear(rig, rig.project(cloud)) - cloud).max() < 1e-6
    assert triangulate_robust(rig, np.zeros((0, 3, 4, 2))).xyz_world.shape == (0, 4, 3)


# --- missing and impossible input ----------------------------------------------------------------------------------------


def test_missing_views_are_as_if_the_rig_had_none(make_ring: Ring) -> None:
    rig, xyz = make_ring(5, dist=LENS), body(8)
    xy, _ = wild(rig, xyz, 0.1)
    part = triangulate_robust(rig.subset(["cam0", "cam2", "cam3"]), xy[:, [0, 2, 3]])
    valid = np.zeros(xy.shape[:-1], dtype=bool)
    valid[:, [0, 2, 3]] = True
    holes = np.where(valid[..., None], xy, np.nan)
    for found in (triangulate_robust(rig, holes), triangulate_robust(rig, xy, valid=valid)):
        np.testing.assert_allclose(found.xyz_world, part.xyz_world, atol=2e-3)
        np.testing.assert_array_equal(found.inlier[:, [0, 2, 3]], part.inlier)
        assert not found.inlier[:, [1, 4]].any()
        assert np.isnan(found.reprojection_px[:, [1, 4]]).all()


@pytest.mark.parametrize("views_left", [0, 1])
def test_fewer_than_two_views_give_nan_and_never_zero(make_ring: Ring, views_left: int) -> None:
    rig = make_ring(3)
    xy = rig.project(body(2))
    xy[:, views_left:, 0] = np.nan
    xy[:, 0, 1] = np.inf
    found = triangulate_robust(rig, xy)
    assert np.isnan(found.xyz_world[:, 0]).all()
    assert np.isnan(triangulate_linear(rig, xy)[:, 0]).all()
    assert np.isnan(found.reprojection_px[:, :, 0]).all()
    assert np.isnan(found.covariance[:, 0]).all()
    assert np.isnan(found.angle_deg[:, 0]).all()
    assert not found.inlier[:, :, 0].any()
    assert not found.consensus[:, 0].any()
    assert np.isfinite(found.xyz_world[:, 1:]).all()
    assert np.isnan(found.reprojection_px[:, 0, 1]).all()


def test_one_camera_is_an_ordinary_rig_without_points(make_ring: Ring) -> None:
    rig = make_ring(1)
    assert np.isnan(triangulate_robust(rig, np.full((3, 1, 4, 2), 500.0)).xyz_world).all()


def test_two_cameras_in_one_place_give_no_point(make_ring: Ring) -> None:
    camera = make_ring(1).cameras[0]
    rig = Rig((camera, replace(camera, name="twin")))
    assert np.isnan(triangulate_linear(rig, rig.project(body(1)))).all()
    assert np.isnan(triangulate_robust(rig, rig.project(body(1))).xyz_world).all()


def test_threshold_may_differ_between_frames_and_views(make_ring: Ring) -> None:
    rig = make_ring(4)
    xy = rig.project(body(2))
    xy[:, 1] += (105.0, 140.0)  # 175 px
    wide = np.full((2, 4), 30.0)
    wide[1] = 300.0
    inlier = triangulate_robust(rig, xy, threshold_px=wide).inlier
    assert not inlier[0, 1].any()
    assert inlier[1].all()


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("nan")])
def test_impossible_thresholds_are_refused(make_ring: Ring, threshold: float) -> None:
    with pytest.raises(BadInputError, match="threshold_px"):
        triangulate_robust(make_ring(2), np.zeros((1, 2, 3, 2)), threshold_px=threshold)


def test_foreign_shapes_are_refused(make_ring: Ring) -> None:
    rig = make_ring(2)
    with pytest.raises(BadInputError, match="V = 2"):
        triangulate_robust(rig, np.zeros((1, 3, 4, 2)))
    with pytest.raises(BadInputError, match="valid"):
        triangulate_robust(rig, np.zeros((1, 2, 4, 2)), valid=np.ones((1, 2), dtype=bool))
    with pytest.raises(BadInputError, match="threshold_px"):
        triangulate_robust(rig, np.zeros((1, 2, 4, 2)), threshold_px=np.ones(3))
    with pytest.raises(BadInputError, match="weight"):
        triangulate_linear(rig, np.zeros((1, 2, 4, 2)), np.full((1, 2, 4), -1.0))
