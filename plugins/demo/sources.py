"""What the demo can label: the capture studio, or a real recording with something to take for the truth."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from label_config.skeleton import Skeleton, limbs_by_name
from label_config.values import BadInputError, BoolArray, FloatArray
from ml_backend.formats.dlc import read_dlc
from ml_backend.formats.records import LabelSet, split_views
from ml_backend.geometry.calibration import match_views, read_calibration
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.triangulation import triangulate_robust
from ml_backend.recordings import probe, reconcile_size
from ml_backend.simulation.studio import CaptureStudio


@dataclass(frozen=True)
class Source:
    """One recording with its truth.

    entry      the ``recordings`` entry of parallax.yaml
    sequence, views  names
    truth_px   (n, V, K, 2) image pixels by frame number, NaN = not known
    occluded   (n, V, K)
    rig        None without calibration
    truth_world  (n, K, 3), None without calibration
    held_out   frame numbers that are never in the pool; the error is measured there
    rare       (n,) True in rare poses, None where that is not known
    """

    title: str
    entry: dict[str, Any]
    skeleton: Skeleton
    sequence: str
    views: tuple[str, ...]
    truth_px: FloatArray
    occluded: BoolArray
    rig: Rig | None
    truth_world: FloatArray | None
    held_out: tuple[int, ...]
    rare: BoolArray | None = None


def capture_studio(folder: Path, seed: int, *, pool: int = 300, held_out: int = 60, views: int = 4) -> Source:
    """A simulated recording; its last ``held_out`` frames are not in the pool."""
    studio = CaptureStudio(seed=seed, n_frames=pool + held_out, n_views=views, size_px=(192, 192))
    recording = folder / "recording"
    shutil.rmtree(recording, ignore_errors=True)
    studio.write(recording)
    names = studio.rig.names
    entry = {
        "sequence": studio.sequence,
        "views": {name: str(recording / name) for name in names},
        "calibration": str(recording / "calibration.toml"),
        "stop": pool,
    }
    return Source(
        title=f"capture studio, seed {seed}",
        entry=entry,
        skeleton=studio.skeleton,
        sequence=studio.sequence,
        views=names,
        truth_px=studio.truth_xy,
        occluded=studio.occluded,
        rig=studio.rig,
        truth_world=studio.truth_xyz,
        held_out=tuple(range(pool, pool + held_out)),
        rare=studio.rare,
    )


def real_recording(folder: Path) -> Source:
    """A folder of ``pose2sim_single_4cam`` or ``lp_mirror_mouse``."""
    if (folder / "calibration" / "Calib.qca.txt").is_file():
        return _pose2sim(folder)
    if (folder / "CollectedData.csv").is_file() and (folder / "labeled-data").is_dir():
        return _mirror_mouse(folder)
    raise BadInputError(
        f"{folder}: expected calibration/Calib.qca.txt with videos/ and pose/, or CollectedData.csv with labeled-data/; found "
        f"{', '.join(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else 'no such folder'}"
    )


#: Keypoints of OpenPose's BODY_25 that the demo uses: the well-seen joints, without the fingers of the feet.
_BODY = [
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "mid_hip", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
]  # fmt: skip
_BODY_LIMBS = [
    ("mid_hip", "neck"), ("neck", "nose"), ("neck", "right_shoulder"), ("right_shoulder", "right_elbow"),
    ("right_elbow", "right_wrist"), ("neck", "left_shoulder"), ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
    ("mid_hip", "right_hip"), ("right_hip", "right_knee"), ("right_knee", "right_ankle"), ("mid_hip", "left_hip"),
    ("left_hip", "left_knee"), ("left_knee", "left_ankle"),
]  # fmt: skip
_MIN_CONFIDENCE = 0.4
#: A person's detections count when their points fit together this well.
_THRESHOLD_PX = 40.0


def _pose2sim(folder: Path) -> Source:
    """Detections in four videos, triangulated robustly; their projections are the oracle's labels."""
    videos = {path.stem: path for path in sorted((folder / "videos").glob("*.mp4"))}
    views = tuple(videos)
    rig = match_views(read_calibration(folder / "calibration" / "Calib.qca.txt").rig, views)
    cameras = []
    for camera, video in zip(rig.cameras, videos.values(), strict=True):
        size = probe(video).size_px
        fix = reconcile_size(camera.name, size, camera.size_px or size)
        cameras.append(camera.cropped(0, 0, *fix.keep_px).resized(fix.size_px))
    rig = Rig(tuple(cameras), rig.unit)
    detections = [_openpose(folder / "pose" / f"{view}_json") for view in views]
    n = min(len(frames) for frames in detections)
    best = [_main_person(rig, [frames[i] for frames in detections]) for i in range(n)]
    points = np.stack(best)
    found = triangulate_robust(rig, points[..., :2], valid=points[..., 2] > _MIN_CONFIDENCE, threshold_px=_THRESHOLD_PX)
    truth = np.where(found.consensus[..., None], found.xyz_world, np.nan)
    projected = rig.project(truth)
    skeleton = Skeleton("body15", tuple(_BODY), limbs_by_name(_BODY, _BODY_LIMBS), root=_BODY.index("mid_hip"))
    held_out = tuple(range(4, n, 5))
    return Source(
        title="pose2sim_single_4cam",
        entry={
            "sequence": "single",
            "views": {view: str(video) for view, video in videos.items()},
            "calibration": str(folder / "calibration" / "Calib.qca.txt"),
        },
        skeleton=skeleton,
        sequence="single",
        views=views,
        truth_px=projected,
        occluded=np.zeros(projected.shape[:-1], dtype=np.bool_),
        rig=rig,
        truth_world=truth,
        held_out=held_out,
    )


def _openpose(folder: Path) -> list[FloatArray]:
    """Per frame (people, K, 3) x, y, confidence."""
    frames = []
    for path in sorted(folder.glob("*.json")):
        people = json.loads(path.read_text())["people"]
        points = [np.array(person["pose_keypoints_2d"], dtype=np.float64).reshape(-1, 3)[: len(_BODY)] for person in people]
        frames.append(np.stack(points) if points else np.zeros((0, len(_BODY), 3)))
    return frames


def _main_person(rig: Rig, people: list[FloatArray]) -> FloatArray:
    """(V, K, 3) the choice of one person per view whose points fit together best."""
    choice = [int(np.argmax(person[..., 2].sum(axis=1))) if len(person) else -1 for person in people]
    for view, candidates in enumerate(people):
        if len(candidates) > 1:
            errors = [_misfit(rig, people, [*choice[:view], c, *choice[view + 1 :]]) for c in range(len(candidates))]
            choice[view] = int(np.argmin(errors))
    return _stack(people, choice)


def _stack(people: list[FloatArray], choice: list[int]) -> FloatArray:
    nobody = np.zeros((len(_BODY), 3))
    return np.stack([view[c] if c >= 0 else nobody for view, c in zip(people, choice, strict=True)])


def _misfit(rig: Rig, people: list[FloatArray], choice: list[int]) -> float:
    points = _stack(people, choice)
    found = triangulate_robust(rig, points[None, ..., :2], valid=points[None, ..., 2] > _MIN_CONFIDENCE)
    return float(np.nanmedian(found.reprojection_px)) if np.isfinite(found.reprojection_px).any() else np.inf


#: The two halves of the picture that are the two views: side view above, mirrored bottom view below.
_MOUSE_SPLIT_Y = 203


def _mirror_mouse(folder: Path) -> Source:
    """Hand-labelled pictures with two views each, uncalibrated."""
    labels = read_dlc(folder / "CollectedData.csv")
    names = [name for name in labels.skeleton.keypoints if not name.startswith("obs")]  # the obstacle is no body part
    keep = [labels.skeleton.index[name] for name in names]
    labels = LabelSet(
        Skeleton("mouse", tuple(names)),
        tuple(replace(label, xy_px=label.xy_px[keep], state=label.state[keep]) for label in labels.labels),
    )
    pictures = [folder / label.image.source for label in labels.labels]
    width, height = probe(pictures[0].parent).size_px
    crops = {"top": (0, 0, width, _MOUSE_SPLIT_Y), "bot": (0, _MOUSE_SPLIT_Y, width, height - _MOUSE_SPLIT_Y)}
    found = split_views(labels, {"top": "_top", "bot": "_bot"}, crops)
    order = {name: i for i, name in enumerate(probe(pictures[0].parent).pictures or ())}
    skeleton = replace(found.skeleton, name="mouse")
    truth = np.full((len(order), 2, len(skeleton), 2), np.nan)
    for label in found.labels:
        position = order.get(str(folder / label.image.source))
        if position is not None and label.view is not None:
            truth[position, ("top", "bot").index(label.view)] = label.xy_px
    labelled = np.flatnonzero(np.isfinite(truth).any(axis=(1, 2, 3)))
    return Source(
        title="lp_mirror_mouse",
        entry={
            "sequence": "mouse",
            "views": {view: {"source": str(pictures[0].parent), "crop": list(crop)} for view, crop in crops.items()},
        },
        skeleton=skeleton,
        sequence="mouse",
        views=("top", "bot"),
        truth_px=truth,
        occluded=np.zeros(truth.shape[:-1], dtype=np.bool_),
        rig=None,
        truth_world=None,
        held_out=tuple(int(i) for i in labelled[2::3]),
    )
