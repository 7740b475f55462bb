"""A model looks at frames: pictures in, points of all views out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from label_config.values import ByteArray, Float32Array, FloatArray
from ml_backend.jobs.pictures import Pictures
from ml_backend.jobs.tries import Tries
from ml_backend.pose.adapter import PoseModel, PredictionBatch
from ml_backend.recordings import UnreadableImageError
from ml_backend.store import frames as frame_rows
from ml_backend.store.frames import FrameRow
from ml_backend.store.workspace import Workspace

#: Pictures that are decoded before the network sees them together.
BATCH = 32


@dataclass(frozen=True)
class Predictions:
    """What a model says about f frames.

    xy_px       (f, V, K, 2) image pixels, NaN where a view is missing or unreadable
    confidence  (f, V, K), NaN likewise
    box_px      (f, V, 4) x, y, width, height of the crop that was looked at, NaN likewise
    size_px     (f, V, 2) width and height of the pictures, NaN likewise
    peak_xy_px, peak_value  (f, V, K, M, 2), (f, V, K, M); None when the model has no peaks
    features    (f, V, D); None when it has none
    heatmaps    (f, V, K, h, w); None unless asked for
    ensemble_xy_px  (E, f, V, K, 2) the points of several models, this one first; None unless asked for
    links, log_variance, learning_loss  (f, V, L, 2), (f, V, K), (f, V); None when the model does not tell them
    """

    xy_px: FloatArray
    confidence: FloatArray
    box_px: FloatArray
    size_px: FloatArray
    peak_xy_px: FloatArray | None = None
    peak_value: FloatArray | None = None
    features: Float32Array | None = None
    heatmaps: Float32Array | None = None
    links: FloatArray | None = None
    log_variance: FloatArray | None = None
    learning_loss: FloatArray | None = None
    ensemble_xy_px: FloatArray | None = None


def predict_frames(
    workspace: Workspace,
    model: PoseModel,
    frames: Sequence[FrameRow],
    pictures: Pictures,
    *,
    heatmaps: bool = False,
    alive: Callable[[], None] = lambda: None,
) -> Predictions:
    """Predict every view of every frame, in the box that its task's data gives where it gives one.

    A picture that cannot be had or read is marked and left out; nothing stops for it, and it is tried again later.

    ``alive`` is called between batches and may raise to stop the work.
    """
    slots = [
        (f, v, frame.images[view]) for f, frame in enumerate(frames) for v, view in enumerate(workspace.views) if frame.due(view)
    ]
    collector = _Collector(len(frames), len(workspace.views), len(workspace.binding.skeleton))
    tries = Tries(workspace)
    waiting: list[tuple[int, int, ByteArray]] = []

    def look() -> None:
        pictures = [image for *_, image in waiting]
        boxes = [frames[f].box(workspace.views[v], (image.shape[1], image.shape[0])) for f, v, image in waiting]
        collector.take(waiting, model.predict(pictures, boxes, heatmaps=heatmaps))
        waiting.clear()

    for position, picture in pictures.stream([ref for _, _, ref in slots]):
        f, v, _ = slots[position]
        if isinstance(picture, UnreadableImageError):
            tries.failed(frames[f], workspace.views[v], picture)
            continue
        tries.worked(frames[f], workspace.views[v])
        waiting.append((f, v, picture))
        if len(waiting) == BATCH:
            alive()
            look()
    if waiting:
        look()
    tries.save()
    result = collector.result()
    _note_sizes(workspace, frames, result.size_px)
    return result


def _note_sizes(workspace: Workspace, frames: Sequence[FrameRow], size_px: FloatArray) -> None:
    """Pictures known by address only get their size at first sight; pushing needs it."""
    for f, frame in enumerate(frames):
        images = dict(frame.images)
        for v, view in enumerate(workspace.views):
            if view in images and images[view].size_px is None and np.isfinite(size_px[f, v]).all():
                images[view] = replace(images[view], size_px=(int(size_px[f, v, 0]), int(size_px[f, v, 1])))
        if images != frame.images:
            frame_rows.replace_images(workspace.store, frame.id, images)


class _Collector:
    """Puts predictions of single pictures into their place."""

    def __init__(self, n_frames: int, n_views: int, n_keypoints: int) -> None:
        self.shape = (n_frames, n_views)
        self.arrays: dict[str, FloatArray] = {
            "xy_px": np.full((*self.shape, n_keypoints, 2), np.nan),
            "confidence": np.full((*self.shape, n_keypoints), np.nan),
            "box_px": np.full((*self.shape, 4), np.nan),
            "size_px": np.full((*self.shape, 2), np.nan),
        }

    def take(self, seen: Sequence[tuple[int, int, ByteArray]], batch: PredictionBatch) -> None:
        f, v = np.array([row[:2] for row in seen]).T
        self.arrays["size_px"][f, v] = [(image.shape[1], image.shape[0]) for *_, image in seen]
        for item in fields(batch):
            name, values = item.name, getattr(batch, item.name)
            if values is None:
                continue
            if name not in self.arrays:
                self.arrays[name] = np.full((*self.shape, *values.shape[1:]), np.nan, dtype=values.dtype)
            self.arrays[name][f, v] = values

    def result(self) -> Predictions:
        return Predictions(**self.arrays)  # type: ignore[arg-type]
