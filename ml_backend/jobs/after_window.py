"""What follows the window: every other open task, so that each can be reached.

Label Studio serves tasks that carry the current version, and only when a person has none of these left, the others.  A
task that somebody holds counts as one of them: the next annotator then gets the answer that there is no more, with half
the project open.  So the open tasks outside of the window stand in the order as well, behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from label_config.values import Pose2D
from ml_backend.acquisition.order_window import rank_score
from ml_backend.jobs.preannotations import Poses
from ml_backend.labels.split import GUARD, VALIDATION
from ml_backend.project.round_state import RoundState
from ml_backend.store import generations
from ml_backend.store.frames import FrameRow
from ml_backend.store.generations import LAST, PickRow
from ml_backend.store.submissions import AnnotationRow

#: An order holds at most so many frames besides those of the window: a push of 500 tasks takes seconds, one of 5,000 minutes.
REACH = 500


class Why(StrEnum):
    """Why a frame stands behind the chosen ones, in this order; the value is what annotators read."""

    MEASURES = "kept apart to measure the model; nothing is learnt from it"
    ANOTHER_PERSON = "wants one more person's annotation"
    OTHER_CAMERA = "another camera's picture of this frame is labelled"
    LEFT = "after the frames that were chosen"
    GUARD = "next to frames that measure the model; nothing is learnt from it"
    UNREADABLE = "its picture could not be read"
    SKIPPED = "skipped by somebody"


_PLACES = list(Why)


def following(state: RoundState, order: Sequence[PickRow], seen: Mapping[int, Poses]) -> list[PickRow]:
    """The picks behind ``order``; ``seen`` is what the live model says about frames, by their id, as ``PickRow.poses``.

    Validation frames fill the window up, as the random places hold only a few of them; they are shown as random picks are,
    and those of a recording become tasks where they are picked.
    Everything else has the score ``LAST``: it is not of the window.  A task that wants another person's annotation shows what
    the first one was shown, since the model may have learnt what the first one said.
    """
    others = _Others.find(state)
    ordered = {pick.frame_id for pick in order}
    ids = sorted((others.open_frames | others.may_become_tasks) - ordered)
    rows = [state.frames[i] for i in ids]
    why = {row.id: others.why(row) for row in rows}
    ranked = sorted(rows, key=lambda row: (_PLACES.index(why[row.id]), row.key))
    room = max(0, state.spec.selection.window - len(order))
    measuring = [row for row in ranked if why[row.id] is Why.MEASURES][:room]
    size = len(order) + len(measuring)
    filled = {row.id for row in measuring}
    rest = [row for row in ranked if row.id in others.open_frames - filled][:REACH]
    shown = [_pick(state, row, why[row.id], seen, others) for row in [*measuring, *rest]]
    return [
        replace(pick, rank=rank, score=rank_score(rank, size) if rank < size else LAST)
        for rank, pick in enumerate(shown, start=len(order))
    ]


@dataclass(frozen=True)
class _Others:
    """What people did so far to the frames with an open task.

    started  frame → first annotation of an open task of it: Label Studio asks for more than one
    """

    open_frames: set[int]
    may_become_tasks: set[int]
    labelled: frozenset[int]
    skipped: set[int]
    started: Mapping[int, AnnotationRow]

    @classmethod
    def find(cls, state: RoundState) -> _Others:
        known, labels = state.tasks, state.annotations
        open_tasks = {task.id: task.frame_id for task in known if not task.is_labeled}
        started: dict[int, AnnotationRow] = {}
        for row in sorted(labels, key=lambda row: (row.seen_at, row.ls_annotation_id)):
            if row.task_id in open_tasks:
                started.setdefault(row.frame_id, row)
        skipped = {task.frame_id for task in known if task.skipped}
        may_become_tasks = set[int]()
        if state.spec.documents_root is not None:
            selectable = {row.id for row in state.frames.values() if row.usable and row.split != GUARD}
            may_become_tasks = selectable - {task.frame_id for task in known}
        return cls(set(open_tasks.values()), may_become_tasks, state.labelled, skipped, started)

    def why(self, row: FrameRow) -> Why:
        reasons = {
            Why.SKIPPED: row.id in self.skipped,
            Why.UNREADABLE: not row.usable,
            Why.ANOTHER_PERSON: row.id in self.started,
            Why.OTHER_CAMERA: row.id in self.labelled,
            Why.MEASURES: row.split == VALIDATION,
            Why.GUARD: row.split == GUARD,
        }
        return next((reason for reason, holds in reasons.items() if holds), Why.LEFT)


def _pick(state: RoundState, row: FrameRow, why: Why, seen: Mapping[int, Poses], others: _Others) -> PickRow:
    poses = seen.get(row.id, {})
    without_points = why is Why.MEASURES and state.spec.selection.blind_random
    if why is Why.ANOTHER_PERSON:
        poses = _as_first_shown(state, others.started[row.id])
    return PickRow(0, row.id, LAST, without_points or not poses, False, why.value, None, poses, None)


def _as_first_shown(state: RoundState, first: AnnotationRow) -> dict[str, Any]:
    """{} when the first annotator saw no points, or points of other keypoints or cameras than the project has now."""
    if first.shown_generation is None:
        return {}
    pick = generations.pick_of(state.workspace.store, first.shown_generation, first.frame_id)
    shape = (len(state.views), len(state.binding.skeleton))
    poses = {} if pick is None else pick.poses
    return poses if all(Pose2D.from_json(pose).state.shape == shape for pose in poses.values()) else {}
