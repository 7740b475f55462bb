"""Points of annotators that something contradicts, by the tasks in which they can be corrected.

With a calibration the other cameras do, and the lengths of limbs; without one other people who labelled the same task, and the
labelled frames just before and after.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from label_config.labelling.box_numbers import number_word
from label_config.values import DEFAULT_SUBJECT, FloatArray, FrameKey, IntArray
from ml_backend.geometry.cameras import Rig
from ml_backend.labels.label_check import Conflict, contradicted_clicks, swapped_pairs
from ml_backend.labels.leave_one_out import deleted_residuals
from ml_backend.labels.limb_check import odd_limbs
from ml_backend.labels.merge import Annotation
from ml_backend.labels.single_camera_check import jumps_in_time, pairs_of_people, people_apart
from ml_backend.labels.snapshot import Snapshot
from ml_backend.labels.subject_check import misnumbered
from ml_backend.project.label_snapshot import as_annotation, collect_labels
from ml_backend.project.round_state import RoundState
from ml_backend.store.submissions import AnnotationRow
from ml_backend.store.workspace import Workspace


@dataclass(frozen=True)
class LabelProblem:
    """One point, or one pair of points, that does not fit.

    tasks   Label Studio's numbers of the tasks that show the frame
    view    the camera whose point it is; None when none can be named
    off     how far it is from where it is expected, in ``unit``: pixels, or the calibration's unit of length
    advice  what may have happened, in words
    """

    tasks: tuple[int, ...]
    frame: FrameKey
    keypoint: str
    view: str | None
    off: float
    advice: str
    unit: str = "px"

    @property
    def line(self) -> str:
        """The suspected point, view and size, in one line."""
        where = f" in {self.view}" if self.view else ""
        return f"{self.keypoint}{where}: {self.off:.3g} {self.unit} off; {self.advice}"


def label_problems(workspace: Workspace) -> list[LabelProblem]:
    """Return what annotators should look into, what the cameras say first, and of each kind the farthest off first.

    Points count as everywhere else: annotators merged, untouched points that two corrected ones contradict put right.
    """
    now = RoundState(workspace)
    snapshot = collect_labels(now)
    numbers: dict[int, list[int]] = defaultdict(list)
    for task in now.tasks:
        numbers[task.frame_id].append(task.ls_task_id)
    problems: list[LabelProblem] = []
    for sequence in dict.fromkeys(key.sequence for key in snapshot.keys):
        in_recording = np.array([key.sequence == sequence for key in snapshot.keys])
        rig = now.rigs.get(sequence)
        for subject in np.unique(snapshot.subjects[in_recording]).tolist():
            rows = np.flatnonzero(in_recording & (snapshot.subjects == subject))
            of = _Recording(now, snapshot, rows, numbers)
            problems += of.by_time() if rig is None else [*of.by_cameras(rig), *of.by_limbs(rig.unit)]
        if rig is not None:
            problems += _by_numbers(now, snapshot, np.flatnonzero(in_recording), rig, numbers)
    problems += _by_people(now, numbers)
    return sorted(problems, key=lambda problem: (problem.unit != "px", -np.nan_to_num(problem.off, nan=np.inf)))


class _Recording:
    """The labelled frames of one recording."""

    def __init__(self, now: RoundState, snapshot: Snapshot, rows: IntArray, numbers: Mapping[int, Sequence[int]]) -> None:
        self.now, self.numbers = now, numbers
        self.skeleton, self.views = now.binding.skeleton, now.views
        self.keys = [snapshot.keys[row] for row in rows]
        self.ids = snapshot.frame_ids[rows]
        self.points = np.where(snapshot.human[rows, ..., None], snapshot.xy_px[rows], np.nan)
        self.xyz_world = snapshot.xyz_world[rows]
        self.named: set[tuple[int, int]] = set()

    def _problem(self, at: int, keypoint: str, view: int | None, off: float, advice: str, unit: str = "px") -> LabelProblem:
        of_frame = tuple(sorted(self.numbers[int(self.ids[at])]))
        return LabelProblem(of_frame, self.keys[at], keypoint, None if view is None else self.views[view], off, advice, unit)

    def by_cameras(self, rig: Rig) -> Iterator[LabelProblem]:
        """Points that the other cameras contradict; a pair that was exchanged is one entry."""
        names, limit = self.skeleton.keypoints, self.now.spec.pseudo_labels.threshold_px
        found = deleted_residuals(rig, self.points, limit)
        exchanged = set()
        for swap in swapped_pairs(rig, self.points, self.skeleton.pairs, threshold_px=limit, found=found):
            exchanged |= {(swap.frame, swap.view, swap.left), (swap.frame, swap.view, swap.right)}
            self.named |= {(swap.frame, swap.left), (swap.frame, swap.right)}
            advice = f"left and right exchanged? the other way round they are {swap.swapped_px:.1f} px off"
            yield self._problem(swap.frame, f"{names[swap.left]}, {names[swap.right]}", swap.view, swap.labelled_px, advice)
        for conflict in contradicted_clicks(rig, self.points, threshold_px=limit, found=found):
            self.named.add((conflict.frame, conflict.keypoint))
            if (conflict.frame, conflict.view, conflict.keypoint) not in exchanged:
                advice = _advice(conflict)
                yield self._problem(conflict.frame, names[conflict.keypoint], conflict.view, conflict.residual_px, advice)

    def by_limbs(self, unit: str) -> Iterator[LabelProblem]:
        """Limbs of another length than usual, unless one of their ends was named already."""
        names, limbs = self.skeleton.keypoints, self.skeleton.limbs
        for odd in odd_limbs(self.xyz_world, limbs):
            a, b = limbs[odd.limb]
            if not {(odd.frame, a), (odd.frame, b)} & self.named:
                advice = f"the limb is {odd.length:.3g} {unit} long, usually {odd.usual:.3g} {unit}".replace("  ", " ")
                off = abs(odd.length - odd.usual)
                yield self._problem(odd.frame, f"{names[a]}, {names[b]}", None, off, advice, unit or "units")

    def by_time(self) -> Iterator[LabelProblem]:
        """Points that jump between labelled frames just before and after."""
        if not self.keys or self.keys[0].sequence not in self.now.videos:
            return
        index = np.array([key.index for key in self.keys])
        for one in jumps_in_time(index, self.points):
            before, after = index[one.frame - 1], index[one.frame + 1]
            advice = f"frames {before} and {after} have it elsewhere"
            yield self._problem(one.frame, self.skeleton.keypoints[one.keypoint], one.view, one.off_px, advice)


def _advice(conflict: Conflict) -> str:
    if conflict.expected_px is None:
        return "the cameras disagree, and none can be named"
    others = f"{conflict.witnesses} cameras see it" if conflict.certain else "two cameras, which may be the wrong ones, see it"
    return f"{others} at {conflict.expected_px[0]:.0f}, {conflict.expected_px[1]:.0f}"


def _by_numbers(
    now: RoundState, snapshot: Snapshot, rows: IntArray, rig: Rig, numbers: Mapping[int, Sequence[int]]
) -> Iterator[LabelProblem]:
    """Subjects that carry another number in one camera than in the others."""
    ids, position = np.unique(snapshot.frame_ids[rows], return_inverse=True)
    subjects = snapshot.subjects[rows]
    if not subjects.any():
        return
    xy = np.full((len(ids), int(subjects.max()) + 1, *snapshot.xy_px.shape[1:]), np.nan)
    xy[position, subjects] = np.where(snapshot.human[rows, ..., None], snapshot.xy_px[rows], np.nan)
    for one in misnumbered(rig, xy):
        frame_id = int(ids[one.frame])
        seen = "nobody of the other cameras" if one.other is None else f"subject {number_word(one.other)} of the other cameras"
        advice = f"it is {seen} by geometry; is the number of its box right?"
        tasks, name = tuple(sorted(numbers[frame_id])), f"subject {number_word(one.subject)}"
        yield LabelProblem(tasks, now.frames[frame_id].key, name, now.views[one.view], one.off_px, advice)


def _by_people(now: RoundState, numbers: Mapping[int, Sequence[int]]) -> Iterator[LabelProblem]:
    """Points of tasks without a calibration on which two people disagree."""
    pairs: list[tuple[AnnotationRow, FloatArray, FloatArray]] = []
    by_task: dict[int, list[AnnotationRow]] = defaultdict(list)
    for row in now.annotations:
        by_task[row.task_id].append(row)
    for rows in by_task.values():
        frame = now.frames[rows[0].frame_id]
        poses = _newest_of_each(rows) if len(rows) > 1 and frame.key.sequence not in now.rigs else []
        pairs += [(rows[0], first, second) for first, second in pairs_of_people(poses) if first.shape == second.shape]
    of_task = {task.id: task for task in now.tasks}
    for shape in {first.shape for _, first, _ in pairs}:
        same = [pair for pair in pairs if pair[1].shape == shape]
        for one in people_apart(np.stack([first for _, first, _ in same]), np.stack([second for _, _, second in same])):
            row = same[one.frame][0]
            shown = of_task[row.task_id].views if row.task_id in of_task else None
            views = now.views if shape[0] == len(now.views) else shown or now.views
            key, tasks = now.frames[row.frame_id].key, tuple(sorted(numbers[row.frame_id]))
            keypoint = now.binding.skeleton.keypoints[one.keypoint]
            yield LabelProblem(tasks, key, keypoint, views[one.view], one.off_px, "two people placed it so far apart")


def _newest_of_each(rows: Sequence[AnnotationRow]) -> list[FloatArray]:
    """The placed points (V, K, 2) of the newest annotation of each person."""
    newest: dict[object, Annotation] = {}
    for row in sorted(rows, key=lambda row: datetime.fromisoformat(row.updated_at)):
        one = as_annotation(row)
        if one.person is not None and DEFAULT_SUBJECT in one.poses:
            newest[one.person] = one
    poses = [newest[person].poses[DEFAULT_SUBJECT] for person in sorted(newest, key=str)]
    return [np.where(pose.placed[..., None], pose.xy_px, np.nan) for pose in poses]
