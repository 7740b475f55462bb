"""Before there is a model: how pictures look, for a spread first order, and points of a ready-made model to begin with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from label_config.values import DEFAULT_SUBJECT, ByteArray, Float32Array
from label_config.values.prediction import predicted_pose
from ml_backend.jobs.job_context import Report
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.picture_tries import Tries
from ml_backend.project.predict_frames import BATCH, predict_frames
from ml_backend.project.thumbnail import thumbnail
from ml_backend.recordings import UnreadableImageError
from ml_backend.store.frames import FrameRow
from ml_backend.store.workspace import Workspace

#: Frames whose pictures are described; of a larger pool every n-th.
DESCRIBED = 400

Describe = Callable[[Sequence[ByteArray]], Float32Array]


def describe_pictures(
    workspace: Workspace,
    rows: Sequence[FrameRow],
    pictures: Pictures,
    report: Report = lambda _: None,
    *,
    every: bool = False,
) -> Float32Array:
    """(f, V·D) how the pictures of all views look, side by side; zeros for a missing view, NaN rows for frames left out.

    By ``cold_start.embedding`` if parallax.yaml names a backbone; else small grey pictures, which need no network and no
    download and distinguish one posture or place from another.  Of many frames some are left out, unless ``every``.  Raises
    BadInputError for a backbone that cannot be had.
    """
    describe = _describer(workspace)
    stride = 1 if every else max(1, len(rows) // DESCRIBED)
    views = workspace.views
    slots = [
        (f, v, rows[f].images[view]) for f in range(0, len(rows), stride) for v, view in enumerate(views) if rows[f].due(view)
    ]
    tries = Tries(workspace)
    found: dict[tuple[int, int], Float32Array] = {}
    waiting: list[tuple[int, int, ByteArray]] = []

    def describe_waiting() -> None:
        described = describe([picture for *_, picture in waiting])
        found.update({(f, v): row for (f, v, _), row in zip(waiting, described, strict=True)})
        waiting.clear()

    started = time.monotonic()
    for done, (position, picture) in enumerate(pictures.stream([ref for *_, ref in slots])):
        left_s = (time.monotonic() - started) / done * (len(slots) - done) if done else None
        report({"stage": "compare pictures", "step": done, "steps": len(slots), "eta_s": left_s})
        f, v, _ = slots[position]
        if isinstance(picture, UnreadableImageError):
            tries.failed(rows[f], views[v], picture)
            continue
        tries.worked(rows[f], views[v])
        waiting.append((f, v, picture))
        if len(waiting) == BATCH:
            describe_waiting()
    if waiting:
        describe_waiting()
    tries.save()
    width = len(next(iter(found.values()))) if found else 1
    features = np.full((len(rows), len(views), width), np.nan, dtype=np.float32)
    features[::stride] = 0.0
    for place, row in found.items():
        features[place] = row
    return features.reshape(len(rows), len(views) * width)


def _describer(workspace: Workspace) -> Describe:
    weights = workspace.spec.cold_start.embedding
    if weights is None:
        return lambda images: np.stack([thumbnail(image) for image in images])
    from ml_backend.pose.embedding import Embedder
    from ml_backend.pose.networks import build_network

    return Embedder(build_network("backbone", 1, pretrained=weights), device=workspace.spec.train.device).embed


def first_poses(workspace: Workspace, rows: Sequence[FrameRow], pictures: Pictures) -> list[dict[str, Any]]:
    """What the ready-made model of ``cold_start.pose_model`` says about these frames, as ``PickRow.poses``.

    {} without one, or in a project of several subjects.

    Its keypoints are matched to the project's by name.  Raises BadInputError when it cannot be had or knows none of them.
    """
    weights = workspace.spec.cold_start.pose_model
    if weights is None or not rows or workspace.spec.subjects.max > 1:
        return [{} for _ in rows]
    from ml_backend.pose.vitpose import VitPose

    model = VitPose.load(workspace.binding.skeleton.keypoints, weights, device=workspace.spec.train.device)
    seen = predict_frames(workspace, model, rows, pictures)
    poses: list[dict[str, Any]] = []
    for xy, confidence in zip(seen.xy_px, seen.confidence, strict=True):
        pose = predicted_pose(xy, confidence)
        poses.append({str(DEFAULT_SUBJECT): pose.to_json()} if pose.placed.any() else {})
    return poses
