"""Points of annotators that the other cameras contradict, by the tasks in which they can be corrected."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from label_config.values import FrameKey, ParallaxError
from ml_backend.labels.label_check import contradicted_clicks, swapped_pairs
from ml_backend.project.label_snapshot import collect, rigs_of
from ml_backend.store import tasks
from ml_backend.store.workspace import Workspace


@dataclass(frozen=True)
class ContradictedLabel:
    """One point, or one pair of points, that does not agree with the other cameras.

    tasks   Label Studio's numbers of the tasks that show the frame
    view    the camera whose point it is; None when the cameras disagree and none can be named
    off_px  distance from where the others see it
    advice  what may have happened, in words
    """

    tasks: tuple[int, ...]
    frame: FrameKey
    keypoint: str
    view: str | None
    off_px: float
    advice: str


def contradicted_labels(workspace: Workspace) -> list[ContradictedLabel]:
    """Return what annotators should look into, the farthest off first; a pair that was exchanged is one entry.

    Points count as everywhere else: annotators merged, untouched points that two corrected ones contradict put right.
    Raises ParallaxError when no recording has a calibration.
    """
    rigs = rigs_of(workspace)
    if not rigs:
        raise ParallaxError("labels can be compared between calibrated cameras alone; no recording has a calibration")
    snapshot, skeleton = collect(workspace), workspace.binding.skeleton
    points = np.where(snapshot.human[..., None], snapshot.xy_px, np.nan)
    numbers: dict[int, list[int]] = defaultdict(list)
    for task in tasks.list_tasks(workspace.store):
        numbers[task.frame_id].append(task.ls_task_id)
    limit, names, views = workspace.spec.pseudo_labels.threshold_px, skeleton.keypoints, workspace.views
    entries: list[ContradictedLabel] = []

    def add(row: int, keypoint: str, view: int | None, off_px: float, advice: str) -> None:
        of_frame = tuple(sorted(numbers[int(snapshot.frame_ids[row])]))
        name = None if view is None else views[view]
        entries.append(ContradictedLabel(of_frame, snapshot.keys[row], keypoint, name, off_px, advice))

    for sequence, rig in rigs.items():
        rows = [i for i, key in enumerate(snapshot.keys) if key.sequence == sequence]
        if not rows:
            continue
        exchanged = set()
        for swap in swapped_pairs(rig, points[rows], skeleton.pairs, threshold_px=limit):
            exchanged |= {(swap.frame, swap.view, swap.left), (swap.frame, swap.view, swap.right)}
            advice = f"left and right exchanged? the other way round they are {swap.swapped_px:.1f} px off"
            add(rows[swap.frame], f"{names[swap.left]}, {names[swap.right]}", swap.view, swap.labelled_px, advice)
        for conflict in contradicted_clicks(rig, points[rows], threshold_px=limit):
            if (conflict.frame, conflict.view, conflict.keypoint) in exchanged:
                continue
            if conflict.expected_px is None:
                advice = "the cameras disagree, and none can be named"
            else:
                others = (
                    f"{conflict.witnesses} cameras see it"
                    if conflict.certain
                    else "two cameras, which may be the wrong ones, see it"
                )
                advice = f"{others} at {conflict.expected_px[0]:.0f}, {conflict.expected_px[1]:.0f}"
            add(rows[conflict.frame], names[conflict.keypoint], conflict.view, conflict.residual_px, advice)
    return sorted(entries, key=lambda entry: -np.nan_to_num(entry.off_px, nan=np.inf))
