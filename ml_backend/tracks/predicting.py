"""Every frame of a recording: decoded, predicted, triangulated and kept, in runs of frames that outlive a kill."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import cv2
import numpy as np

from label_config.values import ByteArray, FloatArray, Frame, IntArray, Triangulation
from label_config.values.prediction import Output
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.triangulation import triangulate_robust
from ml_backend.pose.adapter import PoseModel
from ml_backend.recordings import UnreadableImageError
from ml_backend.tracks.chunk_files import FRAMES, ChunkFiles
from ml_backend.tracks.reading_ahead import ReadingAhead, Stream
from ml_backend.tracks.stage_times import StageTimes
from ml_backend.tracks.track_arrays import PictureState, arrays_of

#: Pictures that the network predicts together; fewer where they are so large that these bytes would not hold them.
BATCH, BATCH_BYTES = 32, 512 * 2**20


#: Points (n, V, K, 2) and depths beyond the root (n, V, K) → places in the world.
Place = Callable[[FloatArray, FloatArray], Triangulation]


@dataclass
class PredictingProgress:
    """How far it is.

    done, total  frames, those of earlier calls among them
    per_second   frames of all cameras together, of this call
    """

    done: int
    total: int
    per_second: float
    eta_s: float


@dataclass
class Outcome:
    """What a call did: pictures predicted by it, where its time went, and the first words about unreadable pictures."""

    pictures: int = 0
    times: StageTimes = field(default_factory=StageTimes)
    problems: Counter[str] = field(default_factory=Counter)


def predict_recording(
    model: PoseModel,
    frames: Sequence[Frame],
    views: Sequence[str],
    stream: Stream,
    chunks: ChunkFiles,
    *,
    rig: Rig | None = None,
    threshold_px: float | None = None,
    place: Place | None = None,
    progress: Callable[[PredictingProgress], None] = lambda _: None,
) -> Outcome:
    """Predict what ``chunks`` do not hold yet.  Every frame is predicted by itself, without the ones before it.

    rig           of exactly these views; points that fewer than two cameras see have no place in 3-D
    threshold_px  see ``triangulate_robust``
    place         places in 3-D from points and the model's DEPTH, instead of triangulation
    """
    outcome, first = Outcome(), chunks.done
    started = time.perf_counter()
    with _one_thread_for_crops(), ReadingAhead(frames, views, stream, first * FRAMES) as reader:
        for number in range(first, chunks.count):
            start, stop = number * FRAMES, min((number + 1) * FRAMES, len(frames))
            run = _Run(model, start, stop - start, len(views), outcome)
            run.predict(reader)
            with outcome.times.stage("triangulation"):
                world = run.placed(rig, threshold_px, place)
            with outcome.times.stage("write"):
                chunks.save(number, arrays_of(run.xy_px, run.confidence, run.state, world))
            seconds = time.perf_counter() - started
            rate = (stop - first * FRAMES) / max(seconds, 1e-9)
            progress(PredictingProgress(stop, len(frames), outcome.pictures / max(seconds, 1e-9), (len(frames) - stop) / rate))
    return outcome


@contextmanager
def _one_thread_for_crops() -> Iterator[None]:
    """OpenCV's threads wait for one another longer than a crop takes, on cores that decoders use."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


class _Run:
    """The arrays of some frames, filled batch by batch."""

    def __init__(self, model: PoseModel, start: int, count: int, n_views: int, outcome: Outcome) -> None:
        self._model, self._start, self._stop, self._outcome = model, start, start + count, outcome
        shape = (count, n_views, len(model.keypoints))
        self.xy_px: FloatArray = np.full((*shape, 2), np.nan)
        self.confidence: FloatArray = np.full(shape, np.nan)
        self.state: IntArray = np.full(shape[:2], PictureState.NONE, dtype=np.int64)
        self.depth: FloatArray = np.full(shape, np.nan)
        self._waiting: list[tuple[int, int, ByteArray]] = []

    def placed(self, rig: Rig | None, threshold_px: float | None, place: Place | None) -> Triangulation | None:
        """Where the points are in 3-D; None where nothing says it."""
        if place is not None:
            return place(self.xy_px, self.depth)
        return None if rig is None else triangulate_robust(rig, self.xy_px, threshold_px=threshold_px)

    def predict(self, reader: ReadingAhead) -> None:
        """All pictures of these frames."""
        pictures = reader.pictures(self._stop)
        while True:
            with self._outcome.times.stage("decode"):
                item = next(pictures, None)
            if item is None:
                break
            f, v, picture = item
            if isinstance(picture, UnreadableImageError):
                self.state[f - self._start, v] = PictureState.UNREADABLE
                self._outcome.problems[str(picture)] += 1
                continue
            self._waiting.append((f - self._start, v, picture))
            if len(self._waiting) * max(picture.nbytes * BATCH, BATCH_BYTES) >= BATCH * BATCH_BYTES:
                self._batch()
        self._batch()

    def _batch(self) -> None:
        if not self._waiting:
            return
        before, started = _spent(self._model), time.perf_counter()
        f, v = np.array([row[:2] for row in self._waiting]).T
        found = self._model.predict([picture for *_, picture in self._waiting])
        self.xy_px[f, v], self.confidence[f, v] = found.xy_px, found.confidence
        if Output.DEPTH in found.outputs:
            self.depth[f, v] = found.outputs[Output.DEPTH]
        self.state[f, v] = PictureState.PREDICTED
        self._outcome.pictures += len(self._waiting)
        self._waiting.clear()
        after, seconds = _spent(self._model), time.perf_counter() - started
        for name, value in after.items():
            self._outcome.times.add(name, value - before[name])
        if not after:
            self._outcome.times.add("network", seconds)


def _spent(model: PoseModel) -> dict[str, float]:
    """Seconds by stage, of models that say them."""
    return dict(getattr(model, "spent_s", {}))
