"""Making the record of a pick, and telling it in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from label_config.values import FrameKey
from ml_backend.acquisition.feature_spaces import FeatureSet
from ml_backend.acquisition.fusion import Fused, Scaling
from ml_backend.acquisition.kcenter import Balance
from ml_backend.acquisition.order_window import Kind, Pick, Selection
from ml_backend.acquisition.reasons import reasons, subject_words
from ml_backend.acquisition.score_record import ComponentRecord, DiversityRecord, PointDetail, ScoreRecord, recompute_final


@dataclass(frozen=True)
class RoundContext:
    """What all records of a round share.

    labelled  keys of the rows of ``FeatureSet.labelled``, so that the nearest labelled frame can be named
    """

    round: int
    model_id: str
    pool_hash: str = ""
    code_version: str = ""
    scaling: Scaling = "percentile"
    labelled: Sequence[FrameKey] = ()


def build_record(
    pick: Pick,
    selection: Selection,
    fused: Fused,
    context: RoundContext,
    *,
    features: FeatureSet | None = None,
    worst: Mapping[str, PointDetail | None] | None = None,
    subjects: Mapping[str, int] | None = None,
    missing: Mapping[str, str] | None = None,
    hygiene: Mapping[str, Any] | None = None,
) -> ScoreRecord:
    """The record of one pick.

    fused    the same scores that ``select`` ordered by
    worst    score name -> the point that stands out (``reasons.worst_point``)
    subjects score name -> the subject for which it is highest, where the frame shows several
    missing  score name -> why it could not be computed
    """
    components = tuple(
        ComponentRecord(
            name=component.name,
            raw=float(component.raw[pick.position]),
            unit=component.unit,
            pct=float(scaled[pick.position]),
            weight=float(component.weight),
            support=None if component.support is None else int(component.support[pick.position]),
            worst=(worst or {}).get(component.name),
            subject=(subjects or {}).get(component.name),
        )
        for component, scaled in zip(fused.components, fused.scaled, strict=True)
    )
    return ScoreRecord(
        task_id=str(pick.key),
        round=context.round,
        model_id=context.model_id,
        final=float(fused.total[pick.position]),
        components=components,
        rank=pick.rank,
        kind=str(pick.kind),
        without_points=pick.without_points,
        why=reasons(components, pick.kind, pick.without_points, pick.greedy.stands_for if pick.greedy else None),
        scaling=context.scaling,
        diversity=_diversity(pick, selection, context, features),
        missing=missing or {},
        hygiene=hygiene or {},
        pool_hash=context.pool_hash,
        seed=selection.params.seed,
        code_version=context.code_version,
    )


def _diversity(pick: Pick, selection: Selection, context: RoundContext, features: FeatureSet | None) -> DiversityRecord | None:
    if pick.greedy is None or features is None:
        return None
    # Frames without a score are chosen by distance alone, whatever the round's balance is.
    seen, balance = pick.greedy, Balance() if pick.kind is Kind.UNSCORED else selection.params.balance
    earlier = sum(other.greedy is not None and other.rank < pick.rank for other in selection.picks)
    return DiversityRecord(
        space=features.name,
        unit=features.unit,
        distance=seen.distance,
        nearest_labelled=str(context.labelled[seen.nearest]) if 0 <= seen.nearest < len(context.labelled) else None,
        order=earlier,
        performance=balance.performance,
        trade_off=balance.trade_off,
        scale=seen.scale,
        term_distance=seen.term_distance,
        term_uncertainty=seen.term_uncertainty,
        stands_for=seen.stands_for,
    )


def explain(record: ScoreRecord) -> str:
    """The record in words, several lines, with the final score recomputed from its components."""
    place = "not in the window" if record.rank is None else f"rank {record.rank} ({record.kind})"
    lines = [f"{record.task_id}: {place}, round {record.round}, model {record.model_id}"]
    lines += [f"  because {text}" for text in record.why]
    recomputed = recompute_final(record)
    if math.isnan(recomputed):
        lines.append("  final score: none, because no counted score says anything about this frame")
    else:
        lines.append(f"  final score: {record.final:.6f} stored, {recomputed:.6f} recomputed from the components below")
    lines += [_component_line(item, record.scaling) for item in record.components]
    lines += [f"  {name}: missing, {reason}" for name, reason in record.missing.items()]
    if record.diversity is not None:
        lines.append(_diversity_line(record.diversity))
    return "\n".join(lines)


def _component_line(item: ComponentRecord, scaling: str) -> str:
    if math.isnan(item.pct):
        return f"  {item.name}: says nothing about this frame"
    support = "" if item.support is None else f", from {item.support} values"
    point = "" if item.subject is None else f"; highest for {subject_words(item.subject)}"
    if item.worst is not None:
        point += f"; most at {item.worst.keypoint} in {item.worst.view}"
        point += f" ({item.worst.residual_px:.1f} px)" if math.isfinite(item.worst.residual_px) else ""
    return f"  {item.name}: {item.raw:.4g} {item.unit}, {scaling} {item.pct:.4f}, weight {item.weight:g}{support}{point}"


def _diversity_line(seen: DiversityRecord) -> str:
    if seen.stands_for is not None:
        near = f"; nearest labelled frame {seen.nearest_labelled}" if seen.nearest_labelled else ""
        return (
            f"  diversity ({seen.space}): stands for {seen.stands_for} frames; lowers the mean distance to what is labelled or "
            f"picked, weighted by score, by {seen.term_distance:.4g} {seen.unit}; pick {seen.order} of the diverse order{near}"
        )
    if math.isinf(seen.distance):
        return f"  diversity ({seen.space}): the first frame, nothing was labelled yet"
    near = f", nearest labelled frame {seen.nearest_labelled}" if seen.nearest_labelled else ""
    return (
        f"  diversity ({seen.space}): {seen.distance:.4g} {seen.unit} from the labelled and picked frames{near}; "
        f"pick {seen.order} of the diverse order, distance term {seen.term_distance:.4f}, "
        f"uncertainty term {seen.term_uncertainty:.4f} (G = {seen.performance:.2f}, lambda = {seen.trade_off:g})"
    )
