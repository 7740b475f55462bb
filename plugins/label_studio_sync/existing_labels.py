"""Labels that exist already become ordinary annotations, so that people can see and correct them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from label_config.labelling.binding import Binding
from label_config.settings.recording_settings import RecordingSettings as RecordingSpec
from label_config.settings.spec import Spec
from label_config.values import (
    DEFAULT_SUBJECT,
    BadInputError,
    FloatArray,
    Frame,
    FrameKey,
    ImageRef,
    PointState,
    Pose2D,
    Provenance,
)
from label_config.values.skeleton import Skeleton
from ml_backend.formats.format_registry import read_labels
from ml_backend.formats.label_records import LabelledImage, LabelSet, map_to_skeleton, split_views
from ml_backend.formats.label_studio import given_regions
from ml_backend.formats.matching import LabelPlace, Matches, match_labels_to_frames
from ml_backend.recordings import Recording, ViewTransform
from ml_backend.store import frames, ledger, tasks
from ml_backend.store.frames import FrameRow
from ml_backend.store.generations import PickRow
from ml_backend.store.tasks import TaskRow
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.new_tasks import create_missing
from plugins.label_studio_sync.task_identity import IDENTITY_FIELDS, is_another

People = tuple[str, ...]
#: Points so far outside of the picture are a mistake; nearer ones are moved to its edge, as Label Studio would.
OUTSIDE_PX = 1.0


@dataclass(frozen=True)
class LabelledFrames:
    """Poses by frame and by the people who made them.

    source  the file, for people to read
    notes   what was assumed or left out
    """

    source: str
    poses: Mapping[FrameKey, Mapping[People, Pose2D]]
    notes: tuple[str, ...] = ()
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def import_into(self, workspace: Workspace, client: Client) -> int:
        """Create tasks and annotations for frames that have none yet; returns how many annotations were made."""
        rows = _rows(workspace, self.poses)
        self._create_tasks(workspace, client, rows)
        done = {entry.ls_id for entry in ledger.entries(workspace.store, "existing_label")}
        wanted = [task for task in _tasks_of(workspace, rows) if str(rows[task.frame_id].key) not in done]
        # One that an interrupted import made is not in the ledger yet, but in Label Studio.
        by_number = {task.ls_task_id: task for task in wanted}
        fields = f"{IDENTITY_FIELDS},annotations"
        listed = client.tasks_by_id(workspace.project.ls_project_id, list(by_number), fields=fields, raw=True)
        empty = {item["id"] for item in listed if not item["annotations"] and not is_another(by_number[item["id"]], item)}
        users = client.users() if any(people for by in self.poses.values() for people in by) else {}
        views, binding_of, made = workspace.views, cache(workspace.binding_of), 0
        for task in wanted:
            if task.ls_task_id not in empty:
                continue
            for people, pose in self.poses[rows[task.frame_id].key].items():
                result = self._result(views, binding_of(task.views), rows[task.frame_id], pose, people)
                if result:
                    client.annotate(task.ls_task_id, result, by=users.get(people[0]) if len(people) == 1 else None)
                    made += 1
        for row in rows.values():
            ledger.record(workspace.store, "existing_label", str(row.key))
        return made

    def predict_into(self, workspace: Workspace, client: Client, version: str) -> int:
        """Create tasks and predictions of this ``model_version``; returns how many predictions Label Studio took."""
        rows = _rows(workspace, self.poses)
        self._create_tasks(workspace, client, rows)
        have = client.model_versions(workspace.project.ls_project_id)
        if version in have:
            raise BadInputError(f"the project has predictions {version!r} already ({have[version]}); choose another name")
        views, binding_of, body = workspace.views, cache(workspace.binding_of), list[dict[str, Any]]()
        for task in _tasks_of(workspace, rows):
            pose = next(iter(self.poses[rows[task.frame_id].key].values()))
            result = self._result(views, binding_of(task.views), rows[task.frame_id], pose, ())
            for region in result:
                region.pop("origin")
            if result:
                body.append({"task": task.ls_task_id, "result": result, "model_version": version})
        return client.import_predictions(workspace.project.ls_project_id, body) if body else 0

    def _create_tasks(self, workspace: Workspace, client: Client, rows: Mapping[int, FrameRow]) -> None:
        picks = [PickRow(n, number, 0.0, False, False, "labelled before", None, {}, None) for n, number in enumerate(rows)]
        create_missing(workspace, client, picks, rows)

    def _result(
        self, views: tuple[str, ...], binding: Binding, row: FrameRow, pose: Pose2D, people: People
    ) -> list[dict[str, Any]]:
        """With the origin of the points as a text that Label Studio shows with each."""
        sizes = {view: size for view, ref in row.images.items() if (size := ref.size_px or self.sizes.get(ref.source))}
        if len(binding.views) < len(views):
            pose = pose.of_view(views.index(binding.views[0].view))
        result = given_regions({DEFAULT_SUBJECT: pose}, binding, sizes)
        text = f"imported from {self.source}" + (f", made by {', '.join(people)}" if people else "")
        return [region | {"meta": {"text": [text]}} if region["type"] == "keypointlabels" else region for region in result]


def _rows(workspace: Workspace, keys: Iterable[FrameKey]) -> dict[int, FrameRow]:
    ids = frames.ids_by_key(workspace.store)
    wanted = [ids[key] for key in keys if key in ids]
    return {row.id: row for row in frames.list_frames(workspace.store, wanted)}


def _tasks_of(workspace: Workspace, rows: Mapping[int, FrameRow]) -> list[TaskRow]:
    return [task for task in tasks.list_tasks(workspace.store) if task.frame_id in rows]


def read_existing_labels(
    entry: RecordingSpec, recording: Recording, skeleton: Skeleton, views: Sequence[str], spec: Spec
) -> LabelledFrames:
    """The labels of ``entry.labels``, in any format that is read, matched to frames by folder and name of the picture.

    Their keypoints and words of visibility are understood as ``aliases`` and ``visibility`` of parallax.yaml say.

    With several views the keypoint names may end in ``_<view>``, as mirror rigs have them.
    """
    path = Path(entry.labels or "")
    found = fit_to_project(read_labels(path, words=spec.visibility), skeleton, views, spec.aliases)
    matches = match_labels_to_frames(found.labels, recording.frames, views)
    if not matches.found:
        raise BadInputError(
            f"{path}: none of its {len({label.image for label in found.labels})} pictures is a frame of recording "
            f"{entry.sequence!r}; expected the recording's folder and file names, or its video's name and frame numbers"
            + "".join(f"\n  {note}" for note in matches.notes)
        )
    notes = [*found.notes, *matches.notes, *said_of_rest(matches)]
    return in_frames(path.name, replace(found, notes=tuple(notes)), matches, views)


def fit_to_project(
    found: LabelSet,
    skeleton: Skeleton,
    views: Sequence[str],
    aliases: Mapping[str, str] | None = None,
    subject: int | None = None,
    predicted: bool = False,
) -> LabelSet:
    """People's labels (or ``predicted`` ones) of one subject, in the project's keypoints, a label per camera of mirror rigs.

    subject  None = the only one, of several the first
    """
    labels = [label for label in found.labels if (label.confidence is not None) == predicted]
    notes = list(found.notes)
    if not labels:
        kind, other = ("predictions", "labels that people made") if predicted else ("labels that people made", "predictions")
        raise BadInputError(
            f"expected {kind}, got only {len(found.labels)} {other}" if found.labels else "the file has no labels"
        )
    counts = Counter(label.subject for label in labels)
    chosen = subject if subject is not None else min(counts)
    if chosen not in counts:
        raise BadInputError(f"subject {chosen}: expected one of {', '.join(map(str, sorted(counts)))}")
    if len(counts) > 1:
        others = ", ".join(f"{n} of subject {s}" for s, n in sorted(counts.items()) if s != chosen)
        notes.append(f"a project has one subject per frame: subject {chosen} is imported, left out are {others} (see --subject)")
    found = LabelSet(
        found.skeleton, tuple(replace(label, subject=DEFAULT_SUBJECT) for label in labels if label.subject == chosen)
    )
    if len(views) > 1 and all(any(name.endswith(f"_{view}") for name in found.skeleton.keypoints) for view in views):
        found, others_left = _only_with_view(found, views)
        notes += others_left
        found = split_views(found, {view: f"_{view}" for view in views})
        found = replace(found, labels=tuple(label for label in found.labels if label.says_something))
    fitted = map_to_skeleton(found, skeleton, aliases, leave_out=True)
    kept = tuple(label for label in fitted.labels if label.says_something)
    return LabelSet(skeleton, kept, (*notes, *fitted.notes))


def _only_with_view(found: LabelSet, views: Sequence[str]) -> tuple[LabelSet, list[str]]:
    """Only keypoints that name a view: calibration objects and the like belong to none."""
    names = found.skeleton.keypoints
    keep = [i for i, name in enumerate(names) if name.endswith(tuple(f"_{view}" for view in views))]
    kept = tuple(replace(label, xy_px=label.xy_px[keep], state=label.state[keep], confidence=None) for label in found.labels)
    left = [name for i, name in enumerate(names) if i not in keep]
    notes = [f"keypoints that name no camera are left out: {', '.join(left)}"] if left else []
    return LabelSet(Skeleton(found.skeleton.name, tuple(names[i] for i in keep)), kept), notes


def said_of_rest(matches: Matches) -> list[str]:
    """A note about pictures that are no frames."""
    names = list(dict.fromkeys(label.image.source for label in matches.rest))
    if not names:
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"{len(names)} pictures are no frames here and are left out: {', '.join(names[:3])}{more}"]


def in_frames(source: str, found: LabelSet, matches: Matches, views: Sequence[str]) -> LabelledFrames:
    """The matched labels as poses in the pixels of the views.

    Raises BadInputError for two labels of one view by the same people, and for pictures of another size than the frames'.
    """
    notes, outside = list(found.notes), list[str]()
    poses: dict[FrameKey, dict[People, Pose2D]] = defaultdict(dict)
    by: dict[tuple[FrameKey, str, People], LabelledImage] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for label, place in matches.found:
        other = by.setdefault((place.key, place.view, label.people), label)
        if other is not label:
            raise BadInputError(
                f"{source}: {other.image.source!r} and {label.image.source!r} are both taken for {place.view} of {place.key}; "
                "delete one of them"
            )
        if label.image.size_px is not None:
            sizes[place.image.source] = label.image.size_px
        pose = poses[place.key].setdefault(label.people, Pose2D.empty(len(views), len(found.skeleton)))
        v = views.index(place.view)
        xy, state = points_in_view(source, label, place), label.state.copy()
        gone = _outside(xy, place.image.size_px or label.image.size_px)
        if gone.any():
            outside += [label.image.source] * int(gone.sum())
            xy, state = np.where(gone[:, None], np.nan, xy), np.where(gone, PointState.UNLABELLED, state).astype(np.int64)
        placed = np.isin(state, (PointState.VISIBLE, PointState.OCCLUDED))
        pose.xy_px[v], pose.state[v] = xy, state
        pose.confidence[v] = np.where(placed, 1.0 if label.confidence is None else label.confidence, np.nan)
        pose.provenance[v] = np.where(placed, Provenance.PLACED, Provenance.NONE)
    if outside:
        notes.append(f"{len(outside)} points lie outside of their picture and are left out, the first in {outside[0]}")
    return LabelledFrames(source, poses, tuple(notes), sizes)


def points_in_view(source: str, label: LabelledImage, place: LabelPlace) -> FloatArray:
    """(K, 2) from the picture that the file names to the view of the frame: turned, cut out, mirrored."""
    ref, given = place.image, label.image.size_px
    whole = ref.crop is None
    if given is not None and ref.size_px is not None and whole and given not in (ref.size_px, _turned(ref.size_px, ref)):
        raise BadInputError(
            f"{source}: {label.image.source}: its labels are for a picture of {given[0]} × {given[1]}, but view {place.view!r} "
            f"of {place.key} has {ref.size_px[0]} × {ref.size_px[1]}"
        )
    if ref == replace(ref, crop=None, flip=False, rotation=0):
        return label.xy_px
    if whole and ref.size_px is None and given is not None:
        return ViewTransform.of(ref, given).to_view(label.xy_px)
    return ViewTransform.of_view(ref).to_view(label.xy_px)


def _turned(size_px: tuple[int, int], ref: ImageRef) -> tuple[int, int]:
    return size_px[::-1] if ref.rotation in (90, 270) else size_px


def _outside(xy: FloatArray, size_px: tuple[int, int] | None) -> Any:
    """(K,) placed points off the picture."""
    if size_px is None:
        return np.zeros(len(xy), dtype=bool)
    low, high = -0.5 - OUTSIDE_PX, np.array(size_px) - 0.5 + OUTSIDE_PX
    with np.errstate(invalid="ignore"):
        return ((xy < low) | (xy > high)).any(axis=1)


def frames_of(rows: Iterable[FrameRow]) -> list[Frame]:
    """Frames of the store as matching needs them."""
    return [Frame(row.key, row.images) for row in rows]
