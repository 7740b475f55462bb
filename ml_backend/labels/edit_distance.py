"""What a person changed of what was shown: the honest measure of how good pre-annotations are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from label_config.values import BadInputError, FloatArray, IntArray, Pose2D, Provenance
from label_config.values.masked import median_of


class Edit(IntEnum):
    """What became of one point between prediction and submission."""

    NOTHING = 0  #: neither shown nor submitted
    UNTOUCHED = 1  #: shown and submitted as it was
    MOVED = 2  #: shown and put elsewhere
    ADDED = 3  #: not shown, placed by the person
    REMOVED = 4  #: shown, then deleted or marked absent


@dataclass(frozen=True)
class EditDistance:
    """Edits of one subject in one annotation.

    status       (V, K) Edit
    distance_px  (V, K) image pixels between shown and submitted, 0 where untouched; NaN without both
    """

    status: IntArray
    distance_px: FloatArray

    def count(self, edit: Edit) -> int:
        """Number of points with this status."""
        return int((self.status == edit).sum())

    @property
    def median_px(self) -> float:
        """Median over the points that were shown and kept, moved or not; NaN without one."""
        return median_of(self.distance_px)

    @property
    def moved_median_px(self) -> float:
        """Median over the moved points only; NaN without one."""
        return median_of(self.distance_px[self.status == Edit.MOVED])

    @property
    def share_untouched(self) -> float:
        """Untouched points among those shown; NaN when nothing was shown."""
        shown = sum(self.count(e) for e in (Edit.UNTOUCHED, Edit.MOVED, Edit.REMOVED))
        return self.count(Edit.UNTOUCHED) / shown if shown else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value: the two arrays, counts and summary; None instead of NaN."""
        return {
            "status": self.status.tolist(),
            "distance_px": [[_number(v) for v in row] for row in self.distance_px],
            "median_px": _number(self.median_px),
            "moved_median_px": _number(self.moved_median_px),
            "share_untouched": _number(self.share_untouched),
            **{e.name.lower(): self.count(e) for e in Edit if e is not Edit.NOTHING},
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> EditDistance:
        """Inverse of :meth:`to_json`."""
        distance = [[np.nan if v is None else v for v in row] for row in data["distance_px"]]
        return cls(np.array(data["status"], dtype=np.int64), np.array(distance, dtype=np.float64))


def edit_distance(shown: Pose2D | None, submitted: Pose2D) -> EditDistance:
    """Compare a prediction with what was submitted; ``shown`` None = the task opened without points.

    Untouched is what Label Studio says it is (provenance ACCEPTED), not what lies close: a point moved by half a pixel
    was checked by the annotator.
    """
    if shown is None:
        shown = Pose2D.empty(*submitted.state.shape)
    if shown.state.shape != submitted.state.shape:
        raise BadInputError(
            f"edit distance: shown and submitted pose differ in shape, {shown.state.shape} and {submitted.state.shape}; "
            "were views or keypoints added to the project since the prediction?"
        )
    before, after = shown.placed, submitted.placed
    both = before & after
    accepted = submitted.provenance == Provenance.ACCEPTED
    status = np.full(before.shape, Edit.NOTHING, dtype=np.int64)
    status[both] = Edit.MOVED
    status[both & accepted] = Edit.UNTOUCHED
    status[after & ~before] = Edit.ADDED
    status[before & ~after] = Edit.REMOVED
    distance = np.linalg.norm(submitted.xy_px - shown.xy_px, axis=-1)
    distance = np.where(both, np.where(accepted, 0.0, distance), np.nan)
    return EditDistance(status, distance)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
