"""What a person says about a frame: the truth, as they see it, in all views or in some of them."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from label_config.values import BadInputError, FloatArray, IntArray, Provenance
from ml_backend.geometry.cameras import Rig
from ml_backend.labels.completion import complete
from ml_backend.labels.snapshot import WEIGHTS
from ml_backend.simulation.experiments.arms import Arm
from ml_backend.simulation.experiments.data import TrueRecording
from ml_backend.simulation.experiments.design import Design
from ml_backend.simulation.experiments.learner import TrainingSet
from ml_backend.simulation.noise import AnnotatorNoise


def annotate(design: Design, recording: TrueRecording, rows: IntArray, labelled_views: int = 0) -> TrainingSet:
    """The labels of ``rows``.

    labelled_views  how many views of a frame the person labels, those that fix its depth best; geometry fills the
                    others with the weight that it has in the product.  0 = all
    """
    xy = recording.xy_px[rows]
    if design.annotator_px and len(rows):
        noise = AnnotatorNoise(sigma_px=design.annotator_px, occluded_sigma_px=2.5 * design.annotator_px)
        poses = [noise.annotate(int(r), recording.xy_px[r], recording.hidden[r], recording.skeleton) for r in rows]
        xy = np.stack([pose.xy_px for pose in poses])
    weight = np.asarray(np.isfinite(xy).all(axis=-1), dtype=np.float64)
    if not labelled_views or labelled_views == xy.shape[1] or not len(rows):
        return TrainingSet(rows, xy, weight)
    if recording.rig is None or recording.xyz is None:
        raise BadInputError("experiment: labelling only some views takes a calibrated recording, such as 'studio'")
    given = np.zeros(weight.shape, dtype=np.bool_)
    for i, centre in enumerate(recording.xyz[rows].mean(axis=1)):
        given[i, best_views(recording.rig, centre, labelled_views)] = True
    given &= weight > 0
    completed = complete(recording.rig, np.where(given[..., None], xy, np.nan), given, ~given)
    return TrainingSet(rows, completed.xy_px, np.where(completed.filled, WEIGHTS[Provenance.GEOMETRY], np.where(given, 1.0, 0.0)))


def best_views(rig: Rig, point_world: FloatArray, count: int) -> list[int]:
    """The ``count`` cameras that together locate a point (3,) best: the largest least eigenvalue of sum (I - d d').

    d is the direction of a camera's ray; for two of them that is the pair whose rays cross most nearly at a right angle.
    Raises BadInputError unless 2 <= count <= number of cameras.
    """
    if not 2 <= count <= len(rig.cameras):
        raise BadInputError(f"experiment: expected 2 to {len(rig.cameras)} labelled views, got {count}")
    ray = np.stack([point_world - camera.centre for camera in rig.cameras])
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    known = np.eye(3) - ray[:, :, None] * ray[:, None, :]
    chosen = np.array(list(combinations(range(len(ray)), count)))
    least = np.linalg.eigvalsh(known[chosen].sum(axis=1))[:, 0]
    best: list[int] = chosen[int(np.argmax(least))].tolist()
    return best


def frames_per_batch(design: Design, arm: Arm, n_views: int, round_: int, labelled: int, pool: int) -> int:
    """As many frames after ``round_`` as make its batch's worth of labelled pictures."""
    batch = design.batch_of(round_, pool, labelled)
    return batch if not arm.views else round(batch * n_views / arm.views)
