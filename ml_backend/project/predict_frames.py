"""Predict frames: pictures in, points of all views out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from label_config.values import ByteArray, FloatArray
from label_config.values.prediction import Prediction
from ml_backend.pose.adapter import PoseModel
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.picture_tries import Tries
from ml_backend.recordings import UnreadableImageError
from ml_backend.store import frames as frame_rows
from ml_backend.store.frames import FrameRow
from ml_backend.store.workspace import Workspace

#: Pictures that are decoded before the network predicts them together.
BATCH = 32


def predict_frames(
    workspace: Workspace,
    model: PoseModel,
    frames: Sequence[FrameRow],
    pictures: Pictures,
    *,
    heatmaps: bool = False,
    alive: Callable[[], None] = lambda: None,
) -> Prediction:
    """Predict every view of every frame (batch axes (f, V)), in the box that its task's data gives where it gives one.

    A picture that cannot be had or read is marked and left out; nothing stops for it, and it is tried again later.

    ``alive`` is called between batches and may raise to stop the work.
    """
    binding = workspace.binding  # one for all frames, even if the labelling config changes meanwhile
    views = workspace.views_of(binding)
    slots = [(f, v, frame.images[view]) for f, frame in enumerate(frames) for v, view in enumerate(views) if frame.due(view)]
    collector = _Collector(len(frames), len(views), len(binding.skeleton))
    tries = Tries(workspace)
    waiting: list[tuple[int, int, ByteArray]] = []

    def predict_batch() -> None:
        pictures = [image for *_, image in waiting]
        boxes = [frames[f].box(views[v], (image.shape[1], image.shape[0])) for f, v, image in waiting]
        collector.take(waiting, model.predict(pictures, boxes, heatmaps=heatmaps))
        waiting.clear()

    for position, picture in pictures.stream([ref for _, _, ref in slots]):
        f, v, _ = slots[position]
        if isinstance(picture, UnreadableImageError):
            tries.failed(frames[f], views[v], picture)
            continue
        tries.worked(frames[f], views[v])
        waiting.append((f, v, picture))
        if len(waiting) == BATCH:
            alive()
            predict_batch()
    if waiting:
        predict_batch()
    tries.save()
    _note_sizes(workspace, frames, views, collector.arrays["size_px"])
    return collector.result()


def _note_sizes(workspace: Workspace, frames: Sequence[FrameRow], views: Sequence[str], size_px: FloatArray) -> None:
    """Pictures known by address only get their size at first sight; pushing needs it."""
    for f, frame in enumerate(frames):
        images = dict(frame.images)
        for v, view in enumerate(views):
            if view in images and images[view].size_px is None and np.isfinite(size_px[f, v]).all():
                images[view] = replace(images[view], size_px=(int(size_px[f, v, 0]), int(size_px[f, v, 1])))
        if images != frame.images:
            frame_rows.replace_images(workspace.store, frame.id, images)


class _Collector:
    """Puts predictions of single pictures into their place; NaN where there is none."""

    def __init__(self, n_frames: int, n_views: int, n_keypoints: int) -> None:
        self.shape = (n_frames, n_views)
        self.arrays: dict[str, npt.NDArray[Any]] = {}
        for name, shape in {"xy_px": (n_keypoints, 2), "confidence": (n_keypoints,), "box_px": (4,), "size_px": (2,)}.items():
            self.arrays[name] = np.full((*self.shape, *shape), np.nan)

    def take(self, pictures: Sequence[tuple[int, int, ByteArray]], prediction: Prediction) -> None:
        f, v = np.array([row[:2] for row in pictures]).T
        size = np.array([(image.shape[1], image.shape[0]) for *_, image in pictures], dtype=np.float64)
        for name, values in replace(prediction, size_px=size).arrays().items():
            if name not in self.arrays:
                self.arrays[name] = np.full((*self.shape, *values.shape[1:]), np.nan, dtype=values.dtype)
            self.arrays[name][f, v] = values

    def result(self) -> Prediction:
        return Prediction.from_arrays(self.arrays)
