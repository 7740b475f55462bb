"""Subjects that people numbered otherwise in one camera than in the others, by geometry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from label_config.values import FloatArray, IntArray
from label_config.values.masked import median_of
from ml_backend.geometry.assignment import best_pairs
from ml_backend.geometry.association import associate
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.triangulation import triangulate_robust


@dataclass(frozen=True)
class Misnumbered:
    """One subject in one camera: the cameras together see somebody else there.

    frame, subject, view  positions in the arrays
    other   the subject that it is; None = one that no other camera shows under any number
    off_px  median distance of its points from where the other cameras see the subject whose number they carry, NaN = not known
    """

    frame: int
    subject: int
    view: int
    other: int | None
    off_px: float


def misnumbered(rig: Rig, xy_px: FloatArray) -> Iterator[Misnumbered]:
    """What contradicts the numbers of labels (n, S, V, K, 2); NaN = no point."""
    for i, found in enumerate(associate(rig, xy_px)):
        cluster = found.subject
        number = _number_of_cluster(cluster)
        for subject, view in np.argwhere(cluster >= 0).tolist():
            group = cluster == cluster[subject, view]
            is_now = number[cluster[subject, view]]
            if is_now == subject:
                continue
            alone = group.sum() == 1
            if alone and (cluster[subject] >= 0).sum() == 1:
                continue  # no other camera has this number, and none sees it elsewhere
            yield Misnumbered(i, subject, view, None if alone else is_now, _off_px(rig, xy_px[i, subject], view))


def _number_of_cluster(cluster: IntArray) -> list[int]:
    """The number that most of a cluster's instances carry, different ones for different clusters."""
    votes = np.zeros((int(cluster.max(initial=-1)) + 1, max(len(cluster), int(cluster.max(initial=-1)) + 1)))
    for subject, view in np.argwhere(cluster >= 0).tolist():
        votes[cluster[subject, view], subject] += 1
    return [number for _, number in best_pairs(votes)]


def _off_px(rig: Rig, xy_px: FloatArray, view: int) -> float:
    others = xy_px.copy()
    others[view] = np.nan
    place = rig.project(triangulate_robust(rig, others[None]).xyz_world)[0, view]
    return median_of(np.linalg.norm(place - xy_px[view], axis=-1))
