import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.geometry.cameras import Camera
from ml_backend.simulation.motion import BLEND_FRAMES, COMMON_ACTIONS, RARE_ACTIONS
from ml_backend.simulation.ray_casting import draw, make_scene
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.simulation.studio_figure import KEYPOINTS, LEFT_RGB, RIGHT_RGB, Capsule, keypoint_depth_mm

LIMB_MM = {("left_shoulder", "left_elbow"): 290.0, ("right_elbow", "right_wrist"): 260.0, ("left_hip", "left_knee"): 430.0}


@pytest.fixture(scope="module")
def studio() -> CaptureStudio:
    return CaptureStudio(seed=3, n_frames=400, size_px=(128, 128))


def test_shapes_and_frames(studio: Any) -> None:
    assert [key.index for key in studio.frames] == list(range(400))
    assert studio.truth_xyz.shape == (400, 15, 3)
    assert studio.truth_xy.shape == (400, 4, 15, 2)
    assert studio.occluded.shape == (400, 4, 15)
    assert studio.rare.shape == (400,)
    assert len(studio.action) == 400
    picture = studio.render(0, 0)
    assert picture.shape == (128, 128, 3)
    assert picture.dtype == np.uint8


def test_truth_agrees_with_opencv(studio: Any) -> None:
    for view, camera in enumerate(studio.rig.cameras):
        vector, _ = cv2.Rodrigues(camera.R_cam_world)
        points, _ = cv2.projectPoints(studio.truth_xyz[7], vector, camera.t_cam_world, camera.K, camera.dist)
        np.testing.assert_allclose(studio.truth_xy[7, view], points[:, 0], atol=1e-6)


def test_limbs_keep_their_length(studio: Any) -> None:
    index = studio.skeleton.index
    for (a, b), length in LIMB_MM.items():
        measured = np.linalg.norm(studio.truth_xyz[:, index[a]] - studio.truth_xyz[:, index[b]], axis=-1)
        np.testing.assert_allclose(measured, length, atol=1e-6)


def test_figure_stands_on_the_floor_and_stays_in_the_picture() -> None:
    studio = CaptureStudio(seed=11, n_frames=2500, size_px=(320, 240))
    assert studio.truth_xyz[..., 2].min() > 0
    assert studio.truth_xy.min() > 0
    assert (studio.truth_xy.reshape(-1, 2).max(axis=0) < [319, 239]).all()
    height = np.ptp(studio.truth_xy[..., 1], axis=-1).mean()
    assert 0.4 < height / 240 < 0.75


def test_rare_bouts_in_a_long_recording() -> None:
    studio = CaptureStudio(seed=5, n_frames=3000, rare_fraction=0.2)
    assert studio.rare.mean() == pytest.approx(0.2, abs=0.02)
    np.testing.assert_array_equal(studio.rare, [action in RARE_ACTIONS for action in studio.action])
    assert set(studio.action) == set(COMMON_ACTIONS) | set(RARE_ACTIONS)
    starts = np.flatnonzero(np.diff(studio.rare.astype(int)) == 1)
    assert 15 < len(starts) < 60  # bouts, not single frames


def test_movement_is_continuous() -> None:
    studio = CaptureStudio(seed=5, n_frames=3000)
    step = np.linalg.norm(np.diff(studio.truth_xyz, axis=0), axis=-1)
    assert np.median(step) > 2  # it moves
    # the fastest movement is the turn-over into a handstand: half a turn of a 1.9 m body with the smooth step's peak rate of 1.5
    assert step.max() < 1.5 * np.pi / BLEND_FRAMES * 1900


def test_common_frames_are_redundant_and_rare_ones_are_not() -> None:
    studio = CaptureStudio(seed=2, n_frames=2000)
    pose = (studio.truth_xyz - studio.truth_xyz[:, :1]).reshape(2000, -1)
    centre = pose[~studio.rare].mean(axis=0)
    distance = np.linalg.norm(pose - centre, axis=1)
    assert np.median(distance[studio.rare]) > np.median(distance[~studio.rare])


def test_same_seed_same_bits_in_any_order(studio: Any) -> None:
    again = CaptureStudio(seed=3, n_frames=400, size_px=(128, 128))
    later = again.render(200, 3)
    np.testing.assert_array_equal(again.render(10, 1), studio.render(10, 1))
    np.testing.assert_array_equal(later, studio.render(200, 3))
    np.testing.assert_array_equal(again.truth_xy, studio.truth_xy)
    other = replace(studio, seed=4)
    assert not np.allclose(other.truth_xyz, studio.truth_xyz)
    assert (other.render(10, 1) != studio.render(10, 1)).mean() > 0.5


def test_visible_limbs_show_their_side(studio: Any) -> None:
    """The pixel at the middle of a forearm or thigh carries the colour of its side, in the right place, unless hidden."""
    clean = replace(studio, noise=0.0, distractor=False)
    index = clean.skeleton.index
    shins = [([index[f"{side}_knee"], index[f"{side}_ankle"]], sign) for side, sign in (("left", 1), ("right", -1))]
    hits = total = 0
    for frame in range(0, 400, 20):
        for view in range(4):
            picture = clean.render(frame, view).astype(int)
            shown = [(ends, sign) for ends, sign in shins if not clean.occluded[frame, view, ends].any()]
            for ends, sign in shown:
                x, y = np.rint(clean.truth_xy[frame, view, ends].mean(axis=0)).astype(int)
                red_minus_blue = picture[y, x, 0] - picture[y, x, 2]
                hits, total = hits + (sign * red_minus_blue > 20), total + 1
    assert total > 60
    assert hits / total > 0.97
    assert LEFT_RGB[0] > LEFT_RGB[2]
    assert RIGHT_RGB[0] < RIGHT_RGB[2]


def test_the_far_hip_is_hidden_more_often_than_the_near_one() -> None:
    studio = CaptureStudio(seed=1, n_frames=600, distractor=False)
    pair = [studio.skeleton.index["left_hip"], studio.skeleton.index["right_hip"]]
    depth = np.stack([studio.truth_xyz @ c.R_cam_world.T + c.t_cam_world for c in studio.rig.cameras], axis=1)[..., pair, 2]
    far = depth[..., 0] > depth[..., 1] + 120
    hidden_far, hidden_near = studio.occluded[..., pair][far].mean(axis=0)
    assert far.sum() > 300
    assert hidden_far > 0.9
    assert hidden_near < 0.5


def test_share_of_hidden_joints() -> None:
    studio = CaptureStudio(seed=0, n_frames=600)
    share = studio.occluded.mean(axis=(0, 1))
    assert 0.05 < share.mean() < 0.5
    assert share[studio.skeleton.index["head"]] < 0.1


def test_occlusion_by_walking_along_the_ray() -> None:
    """Independent oracle: 400 steps from camera to keypoint, asking at each whether the spot is inside some capsule."""
    studio = CaptureStudio(seed=8, n_frames=90)
    slack = 1.25 * keypoint_depth_mm()
    for frame in range(0, 90, 9):
        ends = studio._points_world[frame]
        for view, camera in enumerate(studio.rig.cameras):
            centre = -camera.R_cam_world.T @ camera.t_cam_world
            away = studio.truth_xyz[frame] - centre
            distance = np.linalg.norm(away, axis=-1)
            steps = np.linspace(0.5, 1.0, 400)[:, None] * (distance - slack)  # (steps, K)
            spots = centre + (away / distance[:, None]) * steps[..., None]
            blocked = np.zeros(len(KEYPOINTS), dtype=bool)
            for capsule in studio._capsules:
                a, axis = ends[capsule.start], ends[capsule.end] - ends[capsule.start]
                along = np.clip((spots - a) @ axis / (axis @ axis), 0, 1)
                blocked |= (np.linalg.norm(spots - a - along[..., None] * axis, axis=-1) < capsule.radius_mm).any(axis=0)
            assert (blocked == studio.occluded[frame, view]).mean() > 0.9  # grazing rays may slip between two steps


def _looking_along_y() -> Camera:
    rotation = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    return Camera("a", np.array([[200.0, 0, 64], [0, 200, 64], [0, 0, 1]]), rotation, np.array([0, 1e3, 0]), size_px=(129, 129))


def test_sphere_is_drawn_where_a_pinhole_puts_it() -> None:
    """Closed form: a sphere of radius r at distance d on the axis is a disc of f·r/√(d² − r²) pixels."""
    camera = _looking_along_y()
    points = np.array([[0.0, 1000, 1000], [0, 1000 + 1e-3, 1000]])
    picture = draw(
        make_scene(camera, np.random.default_rng(0)), points, camera.project(points), [Capsule(0, 1, 200.0, (255, 0, 0))]
    )
    inside = np.hypot(*(np.mgrid[:129, :129] - 64)) < 200 * 200 / np.sqrt(1000**2 - 200**2)
    drawn = (picture[..., 1] == 0) & (picture[..., 2] == 0)
    np.testing.assert_array_equal(drawn, inside)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_surface_is_drawn(order: Any) -> None:
    """Two capsules that cross like an X, one 300 mm behind the other: at the crossing the near one is seen."""
    camera = _looking_along_y()
    points = np.array([[-200.0, 1000, 800], [200, 1000, 1200], [-200, 1300, 1200], [200, 1300, 800]])
    capsules = [Capsule(0, 1, 40.0, (255, 0, 0)), Capsule(2, 3, 40.0, (0, 0, 255))]
    scene = make_scene(camera, np.random.default_rng(0))
    picture = draw(scene, points, camera.project(points), [capsules[i] for i in order])
    red, _, blue = picture[64, 64]
    assert red > 0
    assert blue == 0


def test_every_pixel_has_a_colour() -> None:
    """Rays that graze a capsule, or run along its axis, must not leave holes of NaN."""
    studio = CaptureStudio(seed=0, n_frames=300, size_px=(128, 128))
    for frame in range(300):
        view = frame % 4
        picture = draw(studio._scenes[view], studio._points_world[frame], studio._points_px[frame, view], studio._capsules)
        assert np.isfinite(picture).all()


def test_fast_enough(studio: Any) -> None:
    studio.render(0, 0)
    start = time.process_time()
    for frame in range(40):
        studio.render(frame, frame % 4)
    assert (time.process_time() - start) / 40 < 0.025  # 300 × 4 pictures in 30 s


def test_write_images_and_video(tmp_path: Path) -> None:
    studio = CaptureStudio(seed=1, n_frames=5, n_views=2, size_px=(96, 64))
    frames = studio.write(tmp_path / "a")
    picture = cv2.imread(frames[3].images["cam2"].source)
    assert picture is not None
    assert np.abs(picture[..., ::-1].astype(int) - studio.render(3, 1)).mean() < 6
    truth = np.load(tmp_path / "a" / "truth.npz")
    np.testing.assert_array_equal(truth["xyz_mm"], studio.truth_xyz)
    assert tuple(truth["keypoints"]) == KEYPOINTS
    frames = studio.write(tmp_path / "b", "video")
    assert frames[4].images["cam1"].frame_index == 4
    assert (tmp_path / "b" / "cam2.mp4").stat().st_size > 0


def test_written_calibration_holds_the_rig(tmp_path: Path) -> None:
    studio = CaptureStudio(seed=1, n_frames=1)
    studio.write(tmp_path)
    data = tomllib.loads((tmp_path / "calibration.toml").read_text())
    for i, camera in enumerate(studio.rig.cameras):
        section = data[f"cam_{i}"]
        rotation, _ = cv2.Rodrigues(np.array(section["rotation"]))
        np.testing.assert_allclose(rotation, camera.R_cam_world, atol=1e-12)
        np.testing.assert_array_equal(section["matrix"], camera.K)
        np.testing.assert_array_equal(section["distortions"], camera.dist)
        np.testing.assert_array_equal(section["translation"], camera.t_cam_world)
        assert (section["name"], section["size"]) == (camera.name, [256, 256])


def test_depth_of_joints_is_positive() -> None:
    assert (keypoint_depth_mm() > 0).all()


def test_bad_arguments() -> None:
    with pytest.raises(BadInputError, match="at least 1 frame"):
        CaptureStudio(seed=0, n_frames=0)
