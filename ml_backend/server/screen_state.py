"""What lies on a labelling screen at the moment of a click, pieced together.

Label Studio sends the regions of the clicked keypoint in the clicked camera, and the task with the draft that it last saved.  The
rest is what the task was opened with, and what was clicked since the draft.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from label_config.labelling.binding import Binding
from label_config.labelling.region_decode import DecodedAnnotation, decode
from label_config.labelling.region_frame import PointKey, Size
from label_config.labelling.region_ids import RegionId
from label_config.values import BoolArray, FloatArray, IntArray, PointState, Pose2D, Provenance
from label_config.values.json_values import mapping
from ml_backend.server.recent_clicks import RememberedClick

#: View and keypoint.
Place = tuple[int, int]


@dataclass(frozen=True)
class Draft:
    """The draft that was saved last; ``saved_at`` is Label Studio's time of it, as text."""

    points: DecodedAnnotation
    saved_at: str


@dataclass(frozen=True)
class Click:
    """One click of the smart tool; ``around``: the other regions of its keypoint in its view, ``radius``: its size in percent."""

    key: PointKey
    xy_px: FloatArray
    around: DecodedAnnotation
    radius: float | None


@dataclass(frozen=True)
class SubjectOnScreen:
    """The clicked subject in all views of the task, px.

    clicked  (V, K, 2) what a person placed, the click itself among it; NaN = nothing
    present  (V, K, 2) where a point lies on the screen; NaN = none
    state    (V, K) PointState of the points on the screen
    removed  (V, K) a person took the point away, or said that the keypoint is not in the picture
    """

    clicked: FloatArray
    present: FloatArray
    state: IntArray
    removed: BoolArray
    subject: int
    generation: int
    regions: Mapping[Place, str]

    def region(self, view: int, keypoint: int) -> str:
        """The id of the region there; where there is none, the one that the generation would have given it."""
        return self.regions.get((view, keypoint)) or str(RegionId(self.generation, view, self.subject, keypoint))


def read_click(context: Mapping[str, Any], binding: Binding, sizes_px: Mapping[str, Size]) -> Click | None:
    """The click in a request's ``context``; None when there is none, or none that means a keypoint."""
    result = context.get("result")
    sent = [region for region in result if isinstance(region, dict)] if isinstance(result, list) else []
    positive = [region for region in sent if region.get("is_positive") is True][-1:]
    decoded = decode(positive, binding, sizes_px=sizes_px)
    if len(decoded.regions) != 1:
        return None
    (key,) = decoded.regions
    around = decode([region for region in sent if "is_positive" not in region], binding, sizes_px=sizes_px)
    width = mapping(positive[0].get("value")).get("width")
    radius = float(width) if isinstance(width, int | float) else None
    return Click(key, decoded.poses[key[0]].xy_px[key[1], key[2]], around, radius)


def newest_draft(task: Mapping[str, Any], binding: Binding, sizes_px: Mapping[str, Size]) -> Draft | None:
    """The draft of the task that was saved last."""
    drafts = task.get("drafts")
    found = [
        (str(draft.get("updated_at") or draft.get("created_at") or ""), draft.get("result"))
        for draft in (drafts if isinstance(drafts, list) else [])
        if isinstance(draft, dict) and isinstance(draft.get("result"), list)
    ]
    if not found:
        return None
    saved_at, result = max(found, key=lambda draft: draft[0])
    return Draft(decode(result, binding, sizes_px=sizes_px), saved_at)


def on_screen(
    click: Click, draft: Draft | None, shown: Pose2D, generation: int, remembered: Mapping[PointKey, RememberedClick]
) -> SubjectOnScreen:
    """The clicked subject as the person sees it.

    shown       what the task was opened with, before the draft
    generation  in which that was shown, unless a region in the request says another one
    """
    subject = click.key[0]
    current = shown if draft is None else draft.points.poses.get(subject, Pose2D.empty(*shown.state.shape))
    placed = (current.provenance == Provenance.PLACED) if draft is not None else np.zeros(shown.state.shape, dtype=np.bool_)
    clicked = np.where(placed[..., None], current.xy_px, np.nan)
    for place, xy_px in _since(draft, subject, placed, remembered):
        clicked[place] = xy_px
    clicked[click.key[1:]] = click.xy_px
    removed = np.asarray((current.state == PointState.ABSENT) | (shown.placed & (current.state == PointState.UNLABELLED)))
    read = (click.around,) if draft is None else (draft.points, click.around)
    generation = max((region.generation for decoded in read for region in decoded.shown.values()), default=generation)
    regions = {key[1:]: name for decoded in read for key, name in decoded.regions.items() if key[0] == subject}
    return SubjectOnScreen(clicked, current.xy_px, current.state, removed, subject, generation, regions)


def _since(
    draft: Draft | None, subject: int, placed: BoolArray, remembered: Mapping[PointKey, RememberedClick]
) -> Iterator[tuple[Place, tuple[float, float]]]:
    """Clicks that the draft does not have yet."""
    saved_at = None if draft is None else draft.saved_at
    for (of, *place), click in remembered.items():
        view, keypoint = place
        inside = view < len(placed) and keypoint < placed.shape[1]
        if of == subject and inside and (not placed[view, keypoint] or click.draft == saved_at):
            yield (view, keypoint), click.xy_px
