"""What the demo can label: the capture studio, or a real recording with something to take for the truth."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from label_config.settings.recording_settings import RecordingSettings as RecordingSpec
from label_config.values import BadInputError, BoolArray, Box, FloatArray, Frame, IntArray
from label_config.values.skeleton import Skeleton, limbs_by_name
from ml_backend.formats.dlc import read_dlc
from ml_backend.formats.label_records import LabelSet, split_views
from ml_backend.geometry.calibration import match_views, read_calibration
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.triangulation import triangulate_robust
from ml_backend.recordings import open_recording, probe, reconcile_size
from ml_backend.simulation.studio import CaptureStudio


@dataclass(frozen=True)
class DemoTruth:
    """What is true of n frames with up to S subjects.

    px        (n, S, V, K, 2) image pixels, NaN = not known, or the subject is not there
    occluded  (n, S, V, K)
    world     (n, S, K, 3), None without calibration
    rare      (n,) True in rare poses, None where that is not known
    boxes     (n, S, V, 4) left, top, width, height by a detector; None = nothing says where the subject is
    """

    px: FloatArray
    occluded: BoolArray
    world: FloatArray | None = None
    rare: BoolArray | None = None
    boxes: FloatArray | None = None

    @property
    def subjects(self) -> int:
        """How many there are at most."""
        return self.px.shape[1]

    def box(self, frame: int, subject: int, view: int) -> Box | None:
        """Where a detector says that the subject is, None where nothing does."""
        found = None if self.boxes is None else self.boxes[frame, subject, view]
        if found is None or not np.isfinite(found).all():
            return None
        x, y, width, height = found.tolist()
        return x, y, width, height

    def of(self, frames: IntArray) -> DemoTruth:
        """The truth of some of the frames."""
        world, rare = self.world, self.rare
        return DemoTruth(
            self.px[frames],
            self.occluded[frames],
            None if world is None else world[frames],
            None if rare is None else rare[frames],
            None if self.boxes is None else self.boxes[frames],
        )


@dataclass(frozen=True)
class DemoRecording:
    """One recording with its truth.

    entry      the ``recordings`` entry of parallax.yaml
    sequence, views  names
    truth      by frame number of the pool
    rig        None without calibration
    held_out, held_out_truth  frames that nobody labels and on which the error is measured, in the same order
    tasks      data of tasks that exist before Parallax comes; () = it makes its own from the recording
    """

    title: str
    entry: dict[str, Any]
    skeleton: Skeleton
    sequence: str
    views: tuple[str, ...]
    truth: DemoTruth
    rig: Rig | None
    held_out: tuple[Frame, ...]
    held_out_truth: DemoTruth
    tasks: tuple[dict[str, Any], ...] = ()


def every_frame(entry: dict[str, Any]) -> tuple[Frame, ...]:
    """All frames of a recording, whatever its stride."""
    return open_recording(RecordingSpec.model_validate({**entry, "stride": 1})).frames


def capture_studio(folder: Path, seed: int, *, pool: int = 300, held_out: int = 60, views: int = 4) -> DemoRecording:
    """A simulated recording.  Every second frame is in the pool; the held-out frames lie evenly between those."""
    studio = CaptureStudio(seed=seed, n_frames=2 * pool, n_views=views, size_px=(192, 192))
    truth = DemoTruth(studio.subjects_xy, studio.subjects_occluded, studio.subjects_xyz, studio.rare)
    return of_studio(studio, folder / "recording", truth, f"capture studio, seed {seed}", held_out)


def of_studio(studio: CaptureStudio, recording: Path, truth: DemoTruth, title: str, held_out: int) -> DemoRecording:
    """Write the studio's pictures below ``recording``; every second frame is in the pool, ``held_out`` lie between those."""
    studio.write(recording)
    names = studio.rig.names
    entry = {
        "sequence": studio.sequence,
        "views": {name: str(recording / name) for name in names},
        "calibration": str(recording / "calibration.toml"),
        "stride": 2,
    }
    kept = np.arange(1, studio.n_frames, studio.n_frames // held_out)
    every = every_frame(entry)
    return DemoRecording(
        title=title,
        entry=entry,
        skeleton=studio.skeleton,
        sequence=studio.sequence,
        views=names,
        truth=truth,
        rig=studio.rig,
        held_out=tuple(every[i] for i in kept),
        held_out_truth=truth.of(kept),
    )


def real_recording(folder: Path, work: Path) -> DemoRecording:
    """A folder of ``pose2sim_single_4cam`` or ``lp_mirror_mouse``; ``work`` takes what must be written."""
    if (folder / "calibration" / "Calib.qca.txt").is_file():
        return _pose2sim(folder)
    if (folder / "CollectedData.csv").is_file() and (folder / "labeled-data").is_dir():
        return _mirror_mouse(folder, work)
    raise BadInputError(
        f"{folder}: expected calibration/Calib.qca.txt with videos/ and pose/, or CollectedData.csv with labeled-data/; found "
        f"{', '.join(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else 'no such folder'}"
    )


#: Keypoints of OpenPose's BODY_25 that the demo uses: the well-seen keypoints, without the fingers of the feet.
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


def _pose2sim(folder: Path) -> DemoRecording:
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
    world = np.where(found.consensus[..., None], found.xyz_world, np.nan)
    projected = rig.project(world)
    skeleton = Skeleton("body15", tuple(_BODY), limbs_by_name(_BODY, _BODY_LIMBS), root=_BODY.index("mid_hip"))
    entry = {
        "sequence": "single",
        "views": {view: str(video) for view, video in videos.items()},
        "calibration": str(folder / "calibration" / "Calib.qca.txt"),
        "stride": 2,
    }
    truth = DemoTruth(projected[:, None], np.zeros((n, 1, *projected.shape[1:-1]), dtype=np.bool_), world[:, None])
    kept = np.arange(1, n, 4)
    every = every_frame(entry)
    return DemoRecording(
        title="pose2sim_single_4cam",
        entry=entry,
        skeleton=skeleton,
        sequence="single",
        views=views,
        truth=truth,
        rig=rig,
        held_out=tuple(every[i] for i in kept),
        held_out_truth=truth.of(kept),
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


def _mirror_mouse(folder: Path, work: Path) -> DemoRecording:
    """Hand-labelled pictures with two views each, uncalibrated; every third labelled picture is held out."""
    labels = read_dlc(folder / "CollectedData.csv")
    names = [name for name in labels.skeleton.keypoints if not name.startswith("obs")]  # the obstacle is no body part
    keep = [labels.skeleton.index[name] for name in names]
    labels = LabelSet(
        Skeleton("mouse", tuple(names)),
        tuple(replace(label, xy_px=label.xy_px[keep], state=label.state[keep]) for label in labels.labels),
    )
    width, height = probe(folder / "labeled-data").size_px
    crops = {"top": (0, 0, width, _MOUSE_SPLIT_Y), "bot": (0, _MOUSE_SPLIT_Y, width, height - _MOUSE_SPLIT_Y)}
    pictures = sorted({folder / label.image.source for label in labels.labels})
    found = split_views(labels, {"top": "_top", "bot": "_bot"}, crops)
    parts = {"held-out": pictures[2::3], "pool": [path for i, path in enumerate(pictures) if i % 3 != 2]}
    entries, truths = {}, {}
    for name, chosen in parts.items():
        _link(chosen, work / name)
        views = {view: {"source": str(work / name), "crop": list(crop)} for view, crop in crops.items()}
        entries[name] = {"sequence": "mouse", "views": views}
        truths[name] = _mouse_truth(found, [path.name for path in chosen])
    return DemoRecording(
        title="lp_mirror_mouse",
        entry=entries["pool"],
        skeleton=replace(found.skeleton, name="mouse"),
        sequence="mouse",
        views=("top", "bot"),
        truth=truths["pool"],
        rig=None,
        held_out=every_frame(entries["held-out"]),
        held_out_truth=truths["held-out"],
    )


def _link(pictures: list[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for path in pictures:
        (folder / path.name).symlink_to(path.resolve())


def _mouse_truth(found: LabelSet, names: list[str]) -> DemoTruth:
    px = np.full((len(names), 2, len(found.skeleton), 2), np.nan)
    for label in found.labels:
        name = Path(label.image.source).name
        if name in names and label.view is not None:
            px[names.index(name), ("top", "bot").index(label.view)] = label.xy_px
    return DemoTruth(px[:, None], np.zeros((len(px), 1, *px.shape[1:-1]), dtype=np.bool_))
