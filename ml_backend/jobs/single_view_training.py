"""``parallax harvest single-view``: the last harvest trains a network that predicts a 3-D pose from the picture of one camera."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from label_config.values import BadInputError, BoolArray, ByteArray, FloatArray, IntArray
from label_config.values.masked import masked_median
from ml_backend.geometry.cameras import Camera
from ml_backend.heatmaps.crops import CropTransform, box_around, padded_box
from ml_backend.jobs.harvest_job import last_harvest
from ml_backend.labels.harvested_labels import Harvest
from ml_backend.pose.dataset import BOX_MARGIN
from ml_backend.pose.presets import preset
from ml_backend.pose.single_view_network import (
    SingleViewManifest,
    SingleViewNetwork,
    build_single_view,
    camera_targets,
    fit_single_view,
    predict_single_view,
    to_world,
)
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.label_snapshot import rigs_of, unit_of
from ml_backend.project.training_config import config_for
from ml_backend.recordings import UnreadableImageError
from ml_backend.store.frames import list_frames
from ml_backend.store.workspace import Workspace

#: Frames of one block in five are not trained on; neighbours are alike, so whole blocks are left out.
BLOCK, EVERY = 10, 5


@dataclass(frozen=True)
class SingleViewResult:
    """A trained network and how far its keypoints are from harvested ones that it has not seen.

    error_world  (K,) mean 3-D distance from the harvested depth of the root, world units; NaN = nothing to compare
    """

    network: SingleViewNetwork
    manifest: SingleViewManifest
    error_world: FloatArray
    trained_on: int
    evaluated_on: int


def train_single_view(workspace: Workspace, view: str, *, printed: bool = False) -> SingleViewResult:
    """Learn the trusted poses of the last harvest from the pictures of one camera, with ``train``'s network and steps.

    printed  with the recipe of Pavlakos et al.: RMSprop at 2.5e-4, batches of 4, turned by ±30°, ±25 % in size, mirrored

    Raises BadInputError for an unknown camera, or when no harvested frame shows it; ParallaxError when nothing was harvested.
    """
    if view not in workspace.views:
        raise BadInputError(f"single view: expected one of the cameras {', '.join(workspace.views)}, got {view!r}")
    data = _data(workspace, last_harvest(workspace).best, view)
    config = config_for(workspace.spec.train, warm=False, round_=0)
    if printed:
        config = preset("personalise", config, n_targets=len(data.index)).but(steps=config.steps)
    skeleton = workspace.binding.skeleton
    network = build_single_view(config, len(skeleton))
    apart = data.index // BLOCK % EVERY == EVERY - 1
    xy_input, depth = np.where(data.kept[..., None], data.xy_input, np.nan), np.where(data.kept, data.depth, np.nan)
    mirror = skeleton.mirror if skeleton.flip_augment else None
    fit_single_view(network, data.crops[~apart], xy_input[~apart], depth[~apart], config, mirror)
    error = np.full(data.kept.shape, np.nan)
    if apart.any():
        error[apart] = _errors(data, np.flatnonzero(apart), *predict_single_view(network, data.crops[apart]))
    count = np.isfinite(error).sum(axis=0)
    mean = np.divide(np.nansum(error, axis=0), count, out=np.full(len(count), np.nan), where=count > 0)
    manifest = SingleViewManifest(skeleton, config, data.cameras[0], unit_of(workspace), _lengths(data, skeleton.limbs))
    return SingleViewResult(network, manifest, mean, int((~apart).sum()), int(apart.sum()))


def _lengths(data: _Data, limbs: Sequence[tuple[int, int]]) -> tuple[float, ...]:
    """Median length of each limb in the harvest, world units; NaN = never seen whole."""
    xyz = np.where(data.kept[..., None], data.xyz_world, np.nan)
    parent, child = np.array(limbs, dtype=np.int64).reshape(-1, 2).T
    return tuple(masked_median(np.linalg.norm(xyz[:, child] - xyz[:, parent], axis=-1).T).tolist())


@dataclass(frozen=True)
class _Data:
    """n crops with what a harvest says about them; kept is False where a keypoint is not trusted."""

    crops: ByteArray
    transforms: tuple[CropTransform, ...]
    cameras: tuple[Camera, ...]
    index: IntArray
    xyz_world: FloatArray
    xy_px: FloatArray
    xy_input: FloatArray
    depth: FloatArray
    root_depth: FloatArray
    kept: BoolArray


def _data(workspace: Workspace, found: Harvest, view: str) -> _Data:
    rows = {row.key: row for row in list_frames(workspace.store)}
    rigs, root, input_px = rigs_of(workspace), workspace.binding.skeleton.root, workspace.spec.train.input_px
    camera_of = {name: rig.cameras[rig.names.index(view)] for name, rig in rigs.items()}
    kept = found.kept & np.isfinite(found.xyz_world).all(axis=-1)
    usable = [
        i
        for i, key in enumerate(found.keys)
        if key.sequence in camera_of and key in rows and view in rows[key].images and kept[i, root] and kept[i].sum() >= 2
    ]
    cameras = [camera_of[found.keys[i].sequence] for i in usable]
    targets = [camera_targets(found.xyz_world[[i]], camera, root) for i, camera in zip(usable, cameras, strict=True)]
    seen: list[int] = []
    crops: list[ByteArray] = []
    transforms: list[CropTransform] = []
    with closing(Pictures(workspace)) as pictures:
        for n, picture in pictures.stream([rows[found.keys[i]].images[view] for i in usable]):
            box = None if isinstance(picture, UnreadableImageError) else box_around(targets[n][0][0][kept[usable[n]]])
            if isinstance(picture, UnreadableImageError) or box is None:
                continue
            crop = CropTransform(padded_box(box, input_px[0] / input_px[1], BOX_MARGIN), input_px, input_px)
            seen.append(n)
            crops.append(crop.extract(picture))
            transforms.append(crop)
    if not seen:
        raise BadInputError(f"single view: no harvested frame with a trusted root shows camera {view!r}; harvest it first")
    chosen = [usable[n] for n in seen]
    xy = np.concatenate([targets[n][0] for n in seen])
    xyz = found.xyz_world[chosen]
    return _Data(
        crops=np.stack(crops),
        transforms=tuple(transforms),
        cameras=tuple(cameras[n] for n in seen),
        index=np.array([found.keys[i].index for i in chosen], dtype=np.int64),
        xyz_world=xyz,
        xy_px=xy,
        xy_input=np.stack([crop.image_to_input(points) for crop, points in zip(transforms, xy, strict=True)]),
        depth=np.concatenate([targets[n][1] for n in seen]),
        root_depth=np.array([cameras[n].depth(xyz[j, root]) for j, n in enumerate(seen)]),
        kept=kept[chosen],
    )


def _errors(data: _Data, chosen: IntArray, xy_input: FloatArray, depth: FloatArray) -> FloatArray:
    """(m, K) 3-D distances of what was predicted in the crops ``chosen`` from the harvest."""
    error = np.full(depth.shape, np.nan)
    for row, i in enumerate(chosen):
        xy = data.transforms[i].input_to_image(xy_input[row])
        predicted = to_world(xy[None], depth[[row]], data.root_depth[[i]], data.cameras[i])[0]
        distance = np.linalg.norm(predicted - data.xyz_world[i], axis=-1)
        error[row] = np.where(data.kept[i], distance, np.nan)
    return error
