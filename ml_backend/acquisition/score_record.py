"""The record of a score: everything needed to say, later and elsewhere, why a frame was at its place in the order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from label_config.values import BadInputError

#: Name of ``without_points`` in stored records.
_STORED_WITHOUT_POINTS = "blind"


@dataclass(frozen=True)
class PointDetail:
    """The point that stands out most in one component.

    value        in the unit of the component
    residual_px  reprojection error of this point in this view, NaN = not known
    disagreeing  views that the consensus on this keypoint rejects, of ``views`` that see it; None = not known
    """

    view: str
    keypoint: str
    value: float
    residual_px: float = math.nan
    disagreeing: int | None = None
    views: int | None = None


@dataclass(frozen=True)
class ComponentRecord:
    """One score of one frame.  ``raw`` and ``pct`` are NaN when it says nothing; ``weight`` 0 = recorded, not counted.

    subject  of several in the frame, the one for which it is highest; None = there are not several
    """

    name: str
    raw: float
    unit: str
    pct: float
    weight: float
    support: int | None = None
    worst: PointDetail | None = None
    subject: int | None = None


@dataclass(frozen=True)
class DiversityRecord:
    """What the diverse order saw when it picked the frame.

    distance    to the nearest labelled or picked frame, in ``unit``; infinite when there was none
    stands_for  k-medians: frames that it is nearer to than anything labelled or picked before; ``term_distance`` is then the
                fall of their weighted mean distance over the pool, in ``unit``.  None for other strategies
    """

    space: str
    unit: str
    distance: float
    nearest_labelled: str | None
    order: int
    performance: float
    trade_off: float
    scale: float
    term_distance: float
    term_uncertainty: float
    stands_for: int | None = None


@dataclass(frozen=True)
class ScoreRecord:
    """Everything about one frame in one round; ``recompute_final`` gives ``final`` from the record alone.

    task_id   str(FrameKey)
    rank      place in the window, None = not in it
    kind      ``window.Kind`` of the pick, "" when not in the window
    scaling   how ``pct`` was made: percentile or minmax
    without_points  the frame is shown without pre-annotations
    missing   score name -> why it could not be computed for this frame
    hygiene, outcome  plain JSON values; ``outcome`` is filled in after labelling
    """

    task_id: str
    round: int
    model_id: str
    final: float
    components: tuple[ComponentRecord, ...]
    rank: int | None = None
    kind: str = ""
    without_points: bool = False
    why: tuple[str, ...] = ()
    scaling: str = "percentile"
    diversity: DiversityRecord | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    hygiene: Mapping[str, Any] = field(default_factory=dict)
    outcome: Mapping[str, Any] = field(default_factory=dict)
    pool_hash: str = ""
    seed: int = 0
    code_version: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value; NaN becomes null."""
        data = _to_json(self)
        assert isinstance(data, dict)
        data[_STORED_WITHOUT_POINTS] = data.pop("without_points")
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ScoreRecord:
        """Inverse of ``to_json``.  Raises BadInputError when a field is missing or unknown."""
        values = dict(data)
        if _STORED_WITHOUT_POINTS in values:
            values["without_points"] = values.pop(_STORED_WITHOUT_POINTS)
        values["components"] = tuple(_component(item) for item in values.get("components", ()))
        values["why"] = tuple(values.get("why", ()))
        if values.get("diversity") is not None:
            values["diversity"] = _make(DiversityRecord, values["diversity"])
        record = _make(cls, values)
        assert isinstance(record, cls)
        return record


def recompute_final(record: ScoreRecord) -> float:
    """The fused score from the components of the record; NaN when none of them counts."""
    counted = [item for item in record.components if item.weight > 0 and not math.isnan(item.pct)]
    weight = sum(item.weight for item in counted)
    return sum(item.weight * item.pct for item in counted) / weight if counted else math.nan


#: Numbers that null stands for.
_NAN_FIELDS = frozenset({"final", "raw", "pct", "value", "residual_px", "distance", "performance", "scale"})
_INFINITE = {"inf": math.inf, "-inf": -math.inf}


def _to_json(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {item.name: _to_json(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _component(data: Mapping[str, Any]) -> ComponentRecord:
    values = dict(data)
    if values.get("worst") is not None:
        values["worst"] = _make(PointDetail, values["worst"])
    record = _make(ComponentRecord, values)
    assert isinstance(record, ComponentRecord)
    return record


def _make(kind: type[Any], data: Mapping[str, Any]) -> Any:
    values: dict[str, Any] = {}
    for name, value in data.items():
        number = math.nan if value is None and name in _NAN_FIELDS else value
        values[name] = _INFINITE.get(number, number) if isinstance(number, str) and name in _NAN_FIELDS else number
    try:
        return kind(**values)
    except TypeError as error:
        raise BadInputError(
            f"score record: this is not a {kind.__name__} ({error}); it was written by another version"
        ) from error
