"""Which prediction is compared with which label where a frame shows several subjects, and whether their numbers agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from label_config.values import FloatArray, IntArray
from ml_backend.acquisition.features import known_points
from ml_backend.evaluation.validation_error import Validation
from ml_backend.metrics.assigned_poses import assigned_poses
from ml_backend.metrics.identities import Identities, Seen, identities
from ml_backend.metrics.oks import labelled_area, oks


def assigned(seen: Validation) -> Validation:
    """The same with every prediction beside the label that it lies nearest to, all of a picture together (Kuhn 1955).

    In the pictures camera by camera, in the world frame by frame.  Frames of one subject stay as they are.
    """
    xy, confidence, world = seen.predicted.xy_px.copy(), seen.predicted.confidence.copy(), seen.predicted_world.copy()
    for rows in _frames_of_several(seen):
        for view in range(xy.shape[1]):
            order = rows[assigned_poses(seen.truth_px[rows, view], xy[rows, view])]
            xy[rows, view], confidence[rows, view] = xy[order, view], confidence[order, view]
        world[rows] = world[rows[assigned_poses(seen.truth_world[rows], world[rows])]]
    return replace(seen, predicted=replace(seen.predicted, xy_px=xy, confidence=confidence), predicted_world=world)


def _frames_of_several(seen: Validation) -> Iterator[IntArray]:
    rows: dict[int, list[int]] = defaultdict(list)
    for row, frame in enumerate(seen.frames):
        rows[frame.id].append(row)
    return (np.array(several, dtype=np.int64) for several in rows.values() if len(several) > 1)


def number_agreement(seen: Validation, sigmas: FloatArray, least_oks: float) -> Identities | None:
    """Numbers of predictions against those of labels, camera by camera over the frames of a recording; None with one subject.

    A prediction may be a label's from an OKS of ``least_oks`` on.  Labels without an area are left out.
    """
    if not any(True for _ in _frames_of_several(seen)):
        return None
    placed = known_points(seen.truth_px)
    areas = labelled_area(seen.truth_px, placed)
    there = np.asarray(known_points(seen.predicted.xy_px).any(axis=-1))
    pictures: dict[tuple[str, int], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, frame in enumerate(seen.frames):
        for view in np.flatnonzero((areas[row] > 0) & seen.predicted.read[row]).tolist():
            pictures[frame.key.sequence, view][frame.key.index].append(row)
    recordings = []
    for (_, view), frames in pictures.items():
        compared = []
        for _, rows in sorted(frames.items()):
            found = [row for row in rows if there[row, view]]
            alike = np.array(
                [
                    oks(seen.predicted.xy_px[found, view], seen.truth_px[row, view], placed[row, view], areas[row, view], sigmas)
                    for row in rows
                ]
            ).reshape(len(rows), len(found))
            numbers = [tuple(seen.subjects[part].tolist()) for part in (rows, found)]
            compared.append(Seen(numbers[0], numbers[1], np.where(alike >= least_oks, 1 - alike, np.nan)))
        recordings.append(compared)
    return identities(recordings)
