from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_config.values import BadInputError, BoolArray, FloatArray, FrameKey, Triangulation
from ml_backend.geometry.cameras import Camera, Rig
from ml_backend.geometry.triangulation import triangulate_robust
from ml_backend.labels.pseudo_labelling import PseudoLabels, PseudoParams, acceptable_keypoints, propose

NAN = float("nan")
K = 5


def ring(n: int = 4, distance: float = 3000.0) -> Rig:
    """Cameras on a circle around the origin that look at it; x right, y down, z forward."""
    cameras = []
    for i in range(n):
        angle = 2 * np.pi * i / n + 0.3
        centre = distance * np.array([np.cos(angle), np.sin(angle), 0.1])
        forward = -centre / np.linalg.norm(centre)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        intrinsics = np.array([[800.0, 0, 319.5], [0, 800.0, 239.5], [0, 0, 1]])
        cameras.append(
            Camera(f"cam{i}", intrinsics, rotation, -rotation @ centre, dist=np.array([-0.1, 0.02, 0, 0, 0]), size_px=(640, 480))
        )
    return Rig(tuple(cameras))


RIG = ring()


def poses(n: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).uniform(-500, 500, (n, K, 3))


def keys_of(n: int) -> list[FrameKey]:
    return [FrameKey("s", i) for i in range(n)]


def seen(xyz: FloatArray, noise: float = 0.0, seed: int = 1) -> FloatArray:
    xy = RIG.project(xyz)
    return xy + np.random.default_rng(seed).normal(0, noise, xy.shape) if noise else xy


def triangulated(xy: FloatArray) -> Triangulation:
    return triangulate_robust(RIG, xy, threshold_px=10.0)


def run(xy: FloatArray, *, human_batch: int = 1000, **more: Any) -> PseudoLabels:
    params = more.pop("params", PseudoParams())
    return propose(keys_of(len(xy)), triangulated(xy), {"s": RIG}, human_batch=human_batch, params=params, **more)


def test_perfect_frames_are_accepted_whole_and_project_back() -> None:
    xyz = poses(6)
    labels = run(seen(xyz))
    order = [key.index for key in labels.keys]
    assert sorted(order) == list(range(6))
    assert labels.whole.all()
    np.testing.assert_allclose(labels.xyz_world, xyz[order], atol=1e-4)
    np.testing.assert_allclose(labels.xy_px, RIG.project(xyz[order]), atol=1e-4)
    assert (labels.weight == 1).all()
    np.testing.assert_allclose(labels.error, 0, atol=1e-8)


def test_labels_are_written_into_every_view_also_where_the_view_was_off() -> None:
    xyz = poses(1)
    xy = seen(xyz)
    xy[0, 2, 1] += [4.0, 0.0]  # still an inlier at 10 px
    labels = run(xy)
    assert labels.whole.all()
    assert np.linalg.norm(labels.xy_px[0, 2, 1] - xy[0, 2, 1]) > 1
    assert np.linalg.norm(labels.xy_px - seen(xyz), axis=-1).max() < 3, "nearer to the truth than the prediction was"
    np.testing.assert_allclose(labels.xy_px, RIG.project(labels.xyz_world), atol=1e-9)


def test_one_outlier_view_costs_the_joint_but_not_the_frame() -> None:
    xy = seen(poses(2))
    xy[0, 1, 3] += 80.0
    labels = run(xy)
    assert [key.index for key in labels.keys] == [1, 0], "whole frames first"
    assert labels.whole.tolist() == [True, False]
    assert labels.accepted[1].tolist() == [True, True, True, False, True]
    assert np.isnan(labels.xyz_world[1, 3]).all()
    assert np.isnan(labels.xy_px[1, :, 3]).all()
    assert (labels.weight[1, :, 3] == 0).all()
    published = run(xy, params=PseudoParams(per_joint=False))
    assert [key.index for key in published.keys] == [1]


def test_missing_views_are_allowed_down_to_three() -> None:
    xy = seen(poses(2))
    xy[0, 0] = NAN
    xy[1, :2] = NAN
    labels = run(xy)
    assert [key.index for key in labels.keys] == [0]
    assert labels.whole.all()
    assert np.isfinite(labels.xy_px[0, 0]).all(), "the missing view gets its label from the others"
    assert len(run(xy, params=PseudoParams(min_views=4))) == 0


def test_near_parallel_rays_prove_nothing() -> None:
    far = ring()
    near = Rig(
        tuple(replace(far.cameras[0], name=str(i), t_cam_world=far.cameras[0].t_cam_world + [40.0 * i, 0, 0]) for i in range(4))
    )
    xyz = poses(1)
    found = triangulate_robust(near, near.project(xyz), threshold_px=10.0)
    # A baseline of 120 mm at 3 m is about 2.3 degrees.
    assert (found.angle_deg < 5).all()
    assert not acceptable_keypoints(found, PseudoParams()).any()
    assert acceptable_keypoints(found, PseudoParams(min_angle_deg=0.5)).any()


def test_residual_threshold() -> None:
    xy = seen(poses(30), noise=1.0)
    residual = triangulated(xy).reprojection_px
    strict = acceptable_keypoints(triangulated(xy), PseudoParams(threshold_px=1.0))
    assert strict.any()
    assert not strict.all()
    assert (strict == (residual <= 1.0).all(axis=1)).all()


@given(st.integers(0, 1000), st.integers(0, 60), st.floats(0, 0.5), st.booleans())
@settings(deadline=None, max_examples=20)
def test_cap_exclusion_and_agreement_always_hold(seed: int, human_batch: int, ratio: float, per_joint: bool) -> None:
    rng = np.random.default_rng(seed)
    xy = seen(poses(30, seed), noise=2.0, seed=seed)
    wild = rng.random(xy.shape[:3]) < 0.05
    xy[wild] += 150.0
    previous = {FrameKey("s", int(i)) for i in rng.integers(0, 30, 8)}
    params = PseudoParams(max_ratio=ratio, per_joint=per_joint)
    labels = run(xy, human_batch=human_batch, previous=previous, params=params)
    assert not previous & set(labels.keys)
    assert labels.accepted.sum() <= ratio * human_batch * K + 1e-6
    assert labels.whole.sum() <= ratio * human_batch + 1e-6
    rows = [key.index for key in labels.keys]
    found = triangulated(xy)
    assert found.inlier[rows].transpose(0, 2, 1)[labels.accepted].all()
    assert not np.any(wild[rows], axis=1)[labels.accepted].any()
    whole = labels.error[labels.whole]
    assert (np.diff(whole) >= 0).all(), "whole frames come by increasing error"
    assert per_joint or labels.whole.all()


def test_the_best_come_first_and_the_last_frame_is_cut_to_its_best_joints() -> None:
    xy = seen(poses(3))
    xy[0, 0, :] += [3.0, 0.0]  # frame 0: small errors everywhere
    xy[1, 0, 4] += 90.0  # frame 1: one joint lost, large error
    xy[1, 1, 0] += [2.0, 0.0]  # and one a little off
    # Two whole frames and three joints of frame 1: 13 of 15.
    labels = run(xy, human_batch=13, params=PseudoParams(max_ratio=1 / K))
    assert [key.index for key in labels.keys] == [2, 0, 1]
    assert labels.accepted.sum() == 13
    assert labels.accepted[2].tolist() == [False, True, True, True, False]


def test_excluded_and_uncalibrated_frames() -> None:
    xy = seen(poses(3))
    assert {key.index for key in run(xy, excluded=[FrameKey("s", 1)]).keys} == {0, 2}
    assert len(run(xy, excluded=keys_of(3))) == 0
    assert len(propose(keys_of(3), triangulated(xy), {"other": RIG}, human_batch=100)) == 0


def test_outside_the_picture_has_no_weight() -> None:
    xyz = poses(1) * 0.1
    xyz[0, 0] = [0.0, 0.0, 1400.0]
    xy = seen(xyz)
    inside: BoolArray = np.all((xy >= -0.5) & (xy <= np.array([639.5, 479.5])), axis=-1)
    assert inside[0, :, 1:].all()
    assert not inside[0, :, 0].any()
    labels = run(xy)
    assert labels.whole.all()
    assert (labels.weight == inside).all()
    assert np.isnan(labels.xy_px[0, :, 0]).all()


def test_nothing_in_nothing_out() -> None:
    xy = seen(poses(4))
    assert len(run(xy[:0])) == 0
    assert len(run(xy, human_batch=0)) == 0
    assert len(run(np.full_like(xy, NAN))) == 0
    assert run(xy[:0]).xy_px.shape == (0, 4, K, 2)


def test_rounds_alternate() -> None:
    """Only the round before is barred, so a frame may come back every second round."""
    xy = seen(poses(10))
    previous: tuple[FrameKey, ...] = ()
    rounds = []
    for _ in range(3):
        previous = run(xy, human_batch=20, previous=previous).keys
        rounds.append(set(previous))
    assert all(len(keys) == 4 for keys in rounds)
    assert not rounds[0] & rounds[1]
    assert not rounds[1] & rounds[2]
    assert rounds[0] == rounds[2]


@pytest.mark.parametrize("settings_", [{"min_views": 2}, {"max_ratio": -0.1}, {"max_ratio": NAN}])
def test_bad_settings_are_named(settings_: dict[str, float]) -> None:
    with pytest.raises(BadInputError, match="min_views"):
        PseudoParams(**settings_)  # type: ignore[arg-type]


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(BadInputError, match="3 frames"):
        propose(keys_of(3), triangulated(seen(poses(2))), {"s": RIG}, human_batch=1)
    with pytest.raises(BadInputError, match="rig of 's' has 3"):
        propose(keys_of(2), triangulated(seen(poses(2))), {"s": ring(3)}, human_batch=100)
