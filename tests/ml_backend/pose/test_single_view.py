"""The single-view network on the capture studio: geometry there and back, gradients, learning from partial labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from label_config.values import BadInputError, FloatArray
from ml_backend.pose.config import AugmentConfig, TrainConfig
from ml_backend.pose.networks import PoseNetwork, PoseOutput, build_network
from ml_backend.pose.single_view_network import (
    SingleViewManifest,
    SingleViewNetwork,
    _augmented,
    build_single_view,
    camera_targets,
    fit_single_view,
    load_single_view,
    predict_single_view,
    root_depths,
    save_single_view,
    to_world,
)
from ml_backend.simulation.studio import CaptureStudio

SIDE = 48
STUDIO = CaptureStudio(seed=0, n_frames=100, n_views=1, size_px=(SIDE, SIDE), distractor=False)
CAMERA = STUDIO.rig.cameras[0]
ROOT = STUDIO.skeleton.root


def small(n_keypoints: int = 15) -> SingleViewNetwork:
    torch.manual_seed(0)
    return SingleViewNetwork(build_network("unet_small", 1, width=8, decoder=16), n_keypoints, (SIDE, SIDE))


def test_targets_lead_back_to_the_pose_in_the_world() -> None:
    xyz = STUDIO.truth_xyz[:5].copy()
    xyz[1, 3] = np.nan
    xy, depth = camera_targets(xyz, CAMERA, ROOT)
    np.testing.assert_allclose(xy, np.where(np.isnan(xyz[..., :1]), np.nan, STUDIO.truth_xy[:5, 0]), atol=1e-9)
    np.testing.assert_array_equal(depth[:, ROOT], 0)
    # Along the camera's axis and nowhere else: a step of 10 mm towards the viewer changes the depth by −10.
    np.testing.assert_allclose(camera_targets(xyz - 10 * CAMERA.axis, CAMERA, ROOT)[1], depth, atol=1e-9)
    nearer = xyz.copy()
    nearer[0, 4] -= 10 * CAMERA.axis
    assert camera_targets(nearer, CAMERA, ROOT)[1][0, 4] == pytest.approx(depth[0, 4] - 10)
    back = to_world(xy, depth, CAMERA.depth(xyz[:, ROOT]), CAMERA)
    np.testing.assert_allclose(back, xyz, atol=1e-6)


def test_every_weight_that_is_read_learns() -> None:
    network = small()
    network(torch.randn(2, 3, SIDE, SIDE)).square().sum().backward()
    # maps are read before the final layer
    read = [(name, parameter) for name, parameter in network.named_parameters() if not name.startswith("backbone.final_layer")]
    for name, parameter in read:
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert (parameter.grad != 0).any(), name


def test_held_out_pictures_of_the_studio_become_poses(tmp_path: Path) -> None:
    crops = np.stack([STUDIO.render(frame, 0) for frame in range(len(STUDIO.truth_xyz))])
    xy, depth = camera_targets(STUDIO.truth_xyz, CAMERA, ROOT)
    held_out = np.arange(len(crops)) % 4 == 3
    taught_xy, taught_depth = xy[~held_out].copy(), depth[~held_out].copy()
    # A harvest keeps only some joints of each frame.
    dropped = np.random.default_rng(0).random(taught_depth.shape) < 0.3
    taught_xy[dropped], taught_depth[dropped] = np.nan, np.nan
    network = small()
    config = TrainConfig(steps=120, batch=8, device="cpu", augment=AugmentConfig.none())
    losses = fit_single_view(network, crops[~held_out], taught_xy, taught_depth, config)
    assert np.mean(losses[-10:]) < 0.1 * losses[0]
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    again = small()
    again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    found_xy, found_depth = predict_single_view(again, crops[held_out], batch=7)
    truth, root_depth = STUDIO.truth_xyz[held_out], CAMERA.depth(STUDIO.truth_xyz[held_out, ROOT])

    def error(xy_px: FloatArray, beyond: FloatArray) -> float:
        pose = to_world(xy_px, beyond, root_depth, CAMERA)
        difference = (pose - pose[:, [ROOT]]) - (truth - truth[:, [ROOT]])
        return float(np.linalg.norm(difference, axis=-1).mean())

    mean_xy, mean_depth = xy[~held_out].mean(axis=0), depth[~held_out].mean(axis=0)
    always_the_mean = error(np.broadcast_to(mean_xy, found_xy.shape), np.broadcast_to(mean_depth, found_depth.shape))
    assert error(found_xy, found_depth) < 0.6 * always_the_mean
    assert np.abs(found_depth - depth[held_out]).mean() < 0.5 * np.abs(depth[held_out] - mean_depth).mean()


def test_two_runs_with_one_seed_are_the_same() -> None:
    crops = np.stack([STUDIO.render(frame, 0) for frame in range(6)])
    xy, depth = camera_targets(STUDIO.truth_xyz[:6], CAMERA, ROOT)
    config = TrainConfig(steps=4, batch=3, lr=2.5e-4, optimizer="rmsprop", schedule="constant", device="cpu")
    assert fit_single_view(small(), crops, xy, depth, config) == fit_single_view(small(), crops, xy, depth, config)


def test_what_cannot_be_learnt_is_a_clear_error() -> None:
    class WithoutMaps(PoseNetwork):
        def forward(self, crops: torch.Tensor) -> PoseOutput:
            return PoseOutput(crops, crops.mean(dim=(2, 3)))

    with pytest.raises(BadInputError, match="returns no feature maps"):
        SingleViewNetwork(WithoutMaps(), 3, (32, 32))
    crops = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    with pytest.raises(BadInputError, match="no label is known"):
        fit_single_view(small(), crops, np.full((2, 15, 2), np.nan), np.full((2, 15), np.nan), TrainConfig(device="cpu"))


def limb_lengths(xyz: FloatArray) -> FloatArray:
    parent, child = np.array(STUDIO.skeleton.limbs).T
    return np.asarray(np.linalg.norm(xyz[..., child, :] - xyz[..., parent, :], axis=-1))


def test_limbs_of_known_length_say_how_far_away_a_pose_is() -> None:
    """With exact points, depths and lengths every limb gives the root's true depth; missing ends are left out."""
    xyz = STUDIO.truth_xyz[:20].copy()
    xy, depth = camera_targets(xyz, CAMERA, ROOT)
    truth = CAMERA.depth(xyz[:, ROOT])
    for i, lengths in enumerate(limb_lengths(xyz)):
        found = root_depths(xy[i : i + 1], depth[i : i + 1], CAMERA, STUDIO.skeleton.limbs, lengths)
        np.testing.assert_allclose(found, truth[i], rtol=1e-6)
    xy[0, 3] = np.nan
    found = root_depths(xy[:1], depth[:1], CAMERA, STUDIO.skeleton.limbs, limb_lengths(xyz)[0])
    np.testing.assert_allclose(found, truth[:1], rtol=1e-6)
    assert np.isnan(root_depths(xy[:1], depth[:1], CAMERA, STUDIO.skeleton.limbs, np.zeros(len(STUDIO.skeleton.limbs)))).all()


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_a_spot_in_a_changed_crop_is_where_its_target_says(flip: float) -> None:
    """A bright spot on black follows rotation, size, shift and mirroring as its target does; depth stays."""
    side, spot = 64, np.array([22.0, 40.0])
    y, x = np.mgrid[:side, :side]
    blob = 255 * np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / 8)
    crops = np.repeat(np.repeat(blob[None, ..., None], 3, axis=-1), 12, axis=0).astype(np.uint8)
    target = np.full((12, 2, 3), 0.25, dtype=np.float32)
    target[:, :, :2] = (spot + 0.5) / side - 0.5
    target[:, 1, 2] = 0.5
    change = AugmentConfig(rotation_deg=60, scale=0.2, shift=0.1, flip=flip, brightness=0, contrast=0)
    pictures, points = _augmented(crops, target, change, (1, 0), np.random.default_rng(0))
    weight = pictures[..., 0].astype(np.float64)
    centre = np.stack([(weight * x).sum(axis=(1, 2)), (weight * y).sum(axis=(1, 2))], axis=-1) / weight.sum(axis=(1, 2))[:, None]
    np.testing.assert_allclose((points[:, 0, :2] + 0.5) * side - 0.5, centre, atol=0.3)
    np.testing.assert_array_equal(points[:, :, 2], np.broadcast_to([[0.25, 0.5], [0.5, 0.25]][int(flip)], (12, 2)))
    assert np.ptp(points[:, 0, 0]) > 0.1


def manifest(config: TrainConfig) -> SingleViewManifest:
    lengths = (*np.median(limb_lengths(STUDIO.truth_xyz), axis=0).tolist()[:-1], float("nan"))
    return SingleViewManifest(STUDIO.skeleton, config, CAMERA, "mm", lengths)


def test_a_file_brings_network_camera_and_lengths_back(tmp_path: Path) -> None:
    config = TrainConfig(input_px=(SIDE, SIDE), network_args={"width": 4, "decoder": 8}, seed=3)
    network, path = build_single_view(config, len(STUDIO.skeleton)), tmp_path / "w.safetensors"
    network.depth_scale.fill_(123.0)
    save_single_view(network, manifest(config), path)
    again, about = load_single_view(path)
    crops = np.stack([STUDIO.render(0, 0)])
    np.testing.assert_array_equal(predict_single_view(again, crops)[1], predict_single_view(network, crops)[1])
    assert (about.skeleton, about.config, about.unit) == (STUDIO.skeleton, config, "mm")
    np.testing.assert_array_equal(about.camera.K, CAMERA.K)
    np.testing.assert_array_equal(about.length_world, manifest(config).length_world)


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    plain, text = tmp_path / "plain.safetensors", tmp_path / "text.safetensors"
    save_file({"a": torch.zeros(2)}, plain)
    text.write_text("no tensors")
    lists = tmp_path / "lists.safetensors"
    save_file({"a": torch.zeros(2)}, lists, {"parallax_single_view": "[1]"})
    for path in (plain, text, lists, tmp_path / "missing.safetensors"):
        with pytest.raises(BadInputError, match=rf"{path.name}: cannot be read"):
            load_single_view(path)
