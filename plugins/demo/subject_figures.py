"""Are there as many subjects as the loop believes, is each one subject in all cameras, and does it keep its number?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from label_config.values import FloatArray, IntArray
from ml_backend.store import versions, work
from ml_backend.store.frames import list_frames
from ml_backend.store.versions import VersionRow
from ml_backend.store.workspace import Workspace
from plugins.demo.demo_recordings import DemoRecording

#: Edges in px by which a box may differ from the detector's and still be taken for it.
SAME_BOX_PX = 0.1


@dataclass(frozen=True)
class SubjectFigures:
    """Of all predicted frames; NaN where there is nothing to count.

    count    share of the frames with the right number of subjects
    matched  share of the subjects that are one subject in all cameras that have a box of theirs, and nobody else
    switches  how often the number of a subject changes from one frame to the next
    """

    count: float
    matched: float
    switches: int


def subject_figures(workspace: Workspace, source: DemoRecording, version: VersionRow) -> SubjectFigures:
    """What the newest rescan of a version made of the detector's boxes."""
    truth = source.truth
    assert truth.boxes is not None
    round_ = versions.current_round(workspace.store)
    ids = [number for shard in work.list_shards(workspace.store, version.id, round_) for number in shard.frame_ids]
    right_count: list[bool] = []
    matched: list[bool] = []
    last: dict[int, int] = {}
    switches = 0
    for frame in list_frames(workspace.store, ids):
        boxes = frame.boxes_around_points(source.views, truth.subjects)
        held = np.full(truth.boxes.shape[1:], np.nan)
        for subject, of_subject in boxes.items():
            held[subject] = of_subject + np.array([0.5, 0.5, 0.0, 0.0])
        number = numbers_of(truth.boxes[frame.key.index], held)
        there = np.isfinite(truth.px[frame.key.index]).any(axis=(1, 2, 3))
        right_count.append(int(there.sum()) == len(boxes))
        for figure in np.flatnonzero((number != NOTHING).sum(axis=1) >= 2).tolist():
            own = np.unique(number[figure][number[figure] != NOTHING])
            alone = len(own) == 1 and own[0] >= 0 and not (np.delete(number, figure, axis=0) == own[0]).any()
            matched.append(alone)
            if alone:
                switches += last.get(figure, int(own[0])) != int(own[0])
                last[figure] = int(own[0])
    return SubjectFigures(_share(right_count), _share(matched), switches)


#: The detector has no box there; it has one, and the loop does not use it.
NOTHING, UNUSED = -2, -1


def numbers_of(detected: FloatArray, held: FloatArray) -> IntArray:
    """(S, V) the number under which the loop holds each figure's box, from boxes (S, V, 4) by figure and by number."""
    apart = np.abs(detected[:, None] - held[None]).max(axis=-1)  # (figures, numbers, V)
    same = np.nan_to_num(apart, nan=np.inf) < SAME_BOX_PX
    number = np.where(same.any(axis=1), same.argmax(axis=1), UNUSED)
    return np.where(np.isfinite(detected).all(axis=-1), number, NOTHING)


def _share(right: list[bool]) -> float:
    return float(np.mean(right)) if right else float("nan")
