"""A snapshot: the immutable set of labels that one training run saw."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from label_config.values import DEFAULT_SUBJECT, BoolArray, Box, FloatArray, FrameKey, IntArray, PointState, Provenance

#: Loss weight of a point by where it came from; pseudo-labels carry the weight they were accepted with.
WEIGHTS = {Provenance.PLACED: 1.0, Provenance.ACCEPTED: 1.0, Provenance.GEOMETRY: 0.5}


_ARRAYS = (
    *("frame_ids", "split", "xy_px", "state", "provenance", "xyz_world", "box_px"),
    *("pseudo_ids", "pseudo_xy_px", "pseudo_weight", "pseudo_box_px"),
)


@dataclass(frozen=True)
class Snapshot:
    """m poses with labels of people, one for each subject of each frame, and p frames with pseudo-labels.

    frame_ids    (m,) rows of the store
    keys         (m,) frames
    split        (m,) "train", "val" or "guard"
    annotations  (annotation number, updated_at) of everything that went in, ascending
    xy_px        (m, V, K, 2) image pixels, NaN = none
    state        (m, V, K) PointState
    provenance   (m, V, K) Provenance (PLACED, ACCEPTED, or GEOMETRY where a view was filled from the others)
    xyz_world    (m, K, 3) triangulated from people's points, NaN = not known or no calibration
    box_px       (m, V, 4) x, y, width, height of the subject where prediction will know it too, NaN = not known
    subjects     (m,) number of the subject in its frame; () = subject 0 in all
    pseudo_ids   (p,) rows of the store
    pseudo_xy_px (p, V, K, 2) image pixels, NaN where not accepted
    pseudo_weight (p,) loss weight
    pseudo_box_px (p, V, 4) like ``box_px``
    pseudo_subjects (p,) like ``subjects``
    """

    frame_ids: IntArray
    keys: tuple[FrameKey, ...]
    split: npt.NDArray[np.str_]
    annotations: tuple[tuple[int, str], ...]
    xy_px: FloatArray
    state: IntArray
    provenance: IntArray
    xyz_world: FloatArray
    pseudo_ids: IntArray
    pseudo_xy_px: FloatArray
    pseudo_weight: FloatArray
    box_px: FloatArray
    pseudo_box_px: FloatArray
    subjects: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    pseudo_subjects: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        for name, count in (("subjects", len(self.keys)), ("pseudo_subjects", len(self.pseudo_ids))):
            if len(getattr(self, name)) != count:
                object.__setattr__(self, name, np.full(count, DEFAULT_SUBJECT, dtype=np.int64))

    @property
    def human(self) -> BoolArray:
        """(m, V, K) True where a person's point stands."""
        placed = np.isin(self.provenance, (Provenance.PLACED, Provenance.ACCEPTED))
        return np.asarray(placed & np.isin(self.state, (PointState.VISIBLE, PointState.OCCLUDED)))

    @property
    def weight(self) -> FloatArray:
        """(m, V, K) loss weight of every point; 0 where there is none."""
        weight = np.zeros(self.provenance.shape)
        for provenance, value in WEIGHTS.items():
            weight[self.provenance == provenance] = value
        return np.where(np.isfinite(self.xy_px).all(axis=-1), weight, 0.0)

    @property
    def sha256(self) -> str:
        """Digest of the labels alone: the same labels give the same digest, whenever they were collected."""
        digest = hashlib.sha256(json.dumps([self.annotations, [str(key) for key in self.keys]]).encode())
        for name in ("xy_px", "state", "provenance", "pseudo_ids", "pseudo_xy_px", "pseudo_weight"):
            digest.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        for boxes in (self.box_px, self.pseudo_box_px):
            if np.isfinite(boxes).any():  # without boxes the digest is that of format 1
                digest.update(np.ascontiguousarray(boxes).tobytes())
        for subjects in (self.subjects, self.pseudo_subjects):
            if subjects.any():  # with one subject the digest is that of before there were several
                digest.update(np.ascontiguousarray(subjects).tobytes())
        digest.update("".join(self.split).encode())
        return digest.hexdigest()

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """For the array store."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays["keys"] = np.array([str(key) for key in self.keys], dtype=np.str_)
        arrays["annotation_ids"] = np.array([number for number, _ in self.annotations], dtype=np.int64)
        several = {"subjects": self.subjects, "pseudo_subjects": self.pseudo_subjects}
        arrays |= {name: of for name, of in several.items() if of.any()}
        arrays["annotation_times"] = np.array([when for _, when in self.annotations], dtype=np.str_)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Snapshot:
        """Inverse of :meth:`to_arrays`; files from before there were boxes have none."""
        values = {name: arrays[name] for name in (*_ARRAYS, "subjects", "pseudo_subjects") if name in arrays}
        for boxes, points in (("box_px", "xy_px"), ("pseudo_box_px", "pseudo_xy_px")):
            values.setdefault(boxes, np.full((*arrays[points].shape[:2], 4), np.nan))
        pairs = zip(arrays["annotation_ids"].tolist(), arrays["annotation_times"].tolist(), strict=True)
        return cls(keys=tuple(FrameKey.parse(key) for key in arrays["keys"]), annotations=tuple(pairs), **values)

    def of_subject(self, subject: int) -> Snapshot:
        """The labels of one subject alone."""
        mine = self.subjects == subject
        names = ("frame_ids", "split", "xy_px", "state", "provenance", "xyz_world", "box_px", "subjects")
        keys = tuple(key for key, is_mine in zip(self.keys, mine, strict=True) if is_mine)
        return replace(self, keys=keys, **{name: getattr(self, name)[mine] for name in names})

    def rows(self, split: str) -> IntArray:
        """Positions of the frames of one split, oldest label first."""
        return np.asarray(np.flatnonzero(self.split == split), dtype=np.int64)


def box_or_none(box_px: FloatArray) -> Box | None:
    """(4,) → a box, None where it is NaN."""
    x, y, width, height = box_px.tolist()
    return (x, y, width, height) if np.isfinite(box_px).all() else None
