"""Labels that a recording brings along become ordinary annotations, so that people can see and correct them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from label_config import regions
from label_config.skeleton import Skeleton
from label_config.spec import Recording as RecordingSpec
from label_config.values import DEFAULT_SUBJECT, BadInputError, FrameKey, PointState, Pose2D, Provenance
from ml_backend.formats.dlc import read_dlc
from ml_backend.formats.records import LabelSet, map_to_skeleton, split_views
from ml_backend.recordings import Recording
from ml_backend.store import frames, ledger, tasks
from ml_backend.store.frames import FrameRow
from ml_backend.store.generations import PickRow
from ml_backend.store.tasks import TaskRow
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.new_tasks import create_missing

#: Generation of region ids that were never shown: no order has this number.
NEVER_SHOWN = 0


@dataclass(frozen=True)
class LabelledFrames:
    """Poses by frame of one sequence."""

    sequence: str
    poses: Mapping[FrameKey, Pose2D]

    def import_into(self, workspace: Workspace, client: Client) -> int:
        """Create tasks and annotations for frames that have none yet; returns how many annotations were made."""
        ids = frames.ids_by_key(workspace.store, workspace.project_id)
        wanted = [key for key in self.poses if key in ids]
        rows = {row.id: row for row in frames.list_frames(workspace.store, workspace.project_id, [ids[key] for key in wanted])}
        picks = [PickRow(n, ids[key], 0.0, False, False, "labelled before", None, {}, None) for n, key in enumerate(wanted)]
        create_missing(workspace, client, picks, rows)
        done = {entry.ls_id for entry in ledger.entries(workspace.store, workspace.project_id, "existing_label")}
        wanted_tasks = [
            task
            for task in tasks.list_tasks(workspace.store, workspace.project_id)
            if task.frame_id in rows and str(rows[task.frame_id].key) not in done
        ]
        # One that an interrupted import made is not in the ledger yet, but in Label Studio.
        numbers = [task.ls_task_id for task in wanted_tasks]
        listed = client.tasks_by_id(workspace.project.ls_project_id, numbers, fields="id,annotations")
        annotated = {item["id"] for item in listed if item["annotations"]}
        for task in wanted_tasks:
            if task.ls_task_id not in annotated:
                client.annotate(task.ls_task_id, self._result(workspace, task, rows[task.frame_id]))
        for row in rows.values():
            ledger.record(workspace.store, workspace.project_id, "existing_label", str(row.key))
        return len(wanted_tasks) - len(annotated)

    def _result(self, workspace: Workspace, task: TaskRow, row: FrameRow) -> list[dict[str, Any]]:
        sizes = {view: ref.size_px for view, ref in row.images.items() if ref.size_px is not None}
        binding, pose = workspace.binding_of(task.views), self.poses[row.key]
        if len(binding.views) < len(workspace.views):
            pose = pose.of_view(workspace.views.index(binding.views[0].view))
        result = regions.encode({DEFAULT_SUBJECT: pose}, binding, sizes, NEVER_SHOWN)
        for region in result:
            # Not one of our region ids: nobody was shown these points.
            region |= {"id": f"given{region['id'].removeprefix('px')}".replace(":", "_"), "origin": "manual"}
            region.pop("score", None)
        return result


def read_existing_labels(entry: RecordingSpec, recording: Recording, skeleton: Skeleton, views: Sequence[str]) -> LabelledFrames:
    """The labels of ``entry.labels`` (a DeepLabCut CSV), matched to frames by the name of the picture.

    With several views the keypoint names end in ``_<view>``, as mirror rigs have them.
    """
    path = Path(entry.labels or "")
    found = read_dlc(path)
    crops = {view: source.crop for view, source in entry.views.items() if source.crop is not None}
    if len(views) > 1:
        found = split_views(_with_view(found, views), {view: f"_{view}" for view in views}, crops)
    found = map_to_skeleton(_known_only(found, skeleton), skeleton)
    key_of = _keys_by_picture(recording)
    poses: dict[FrameKey, Pose2D] = {}
    for label in found.labels:
        key = key_of.get(Path(label.image.source).name)
        if key is None or label.subject != DEFAULT_SUBJECT:
            continue
        pose = poses.setdefault(key, Pose2D.empty(len(views), len(skeleton)))
        v = views.index(label.view) if label.view is not None else 0
        placed = np.isin(label.state, (PointState.VISIBLE, PointState.OCCLUDED))
        pose.xy_px[v], pose.state[v] = label.xy_px, label.state
        pose.confidence[v] = np.where(placed, 1.0, np.nan)
        pose.provenance[v] = np.where(placed, Provenance.PLACED, Provenance.NONE)
    if not poses:
        raise BadInputError(
            f"{path}: none of its {len(found.labels)} pictures is a frame of recording {entry.sequence!r}; "
            "expected the file names of the recording's pictures in its first column"
        )
    return LabelledFrames(entry.sequence, poses)


def _with_view(found: LabelSet, views: Sequence[str]) -> LabelSet:
    """Only keypoints that name a view: calibration objects and the like belong to none."""
    return _subset(found, [i for i, name in enumerate(found.skeleton.keypoints) if name.endswith(tuple(f"_{v}" for v in views))])


def _known_only(found: LabelSet, skeleton: Skeleton) -> LabelSet:
    return _subset(found, [i for i, name in enumerate(found.skeleton.keypoints) if name in skeleton.index])


def _subset(found: LabelSet, keep: list[int]) -> LabelSet:
    names = tuple(found.skeleton.keypoints[i] for i in keep)
    labels = tuple(
        type(label)(**{**vars(label), "xy_px": label.xy_px[keep], "state": label.state[keep]}) for label in found.labels
    )
    return LabelSet(Skeleton(found.skeleton.name, names), labels)


def _keys_by_picture(recording: Recording) -> dict[str, FrameKey]:
    return {
        Path(ref.source).name: frame.key for frame in recording.frames for ref in frame.images.values() if ref.frame_index is None
    }
