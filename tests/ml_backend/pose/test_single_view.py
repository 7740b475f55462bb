"""The single-view network on the capture studio: geometry there and back, gradients, learning from partial labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from label_config.values import BadInputError, FloatArray
from ml_backend.pose.config import TrainConfig
from ml_backend.pose.networks import PoseNetwork, PoseOutput, build_network
from ml_backend.pose.single_view_network import SingleViewNetwork, camera_targets, fit_single_view, predict_single_view, to_world
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
    for name, parameter in network.named_parameters():
        if name.startswith("backbone.final_layer"):  # maps are read before it
            continue
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
    losses = fit_single_view(network, crops[~held_out], taught_xy, taught_depth, TrainConfig(steps=120, batch=8, device="cpu"))
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
