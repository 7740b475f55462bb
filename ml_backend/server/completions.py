"""What a click of the smart tool is answered: the same keypoint in every other camera, as suggestions that a person accepts.

The answer holds

* the click itself, as the person's own point;
* its keypoint in all views where nobody clicked it;
* every other keypoint that was clicked in two views or more, in the views where it lies elsewhere still.

A suggestion has the id of the point that it replaces, so that accepting it leaves no second point behind, and the origin
"prediction": left as it is it counts as shown and accepted, dragged as placed by a person.

Tasks that are served without points measure the model, so that it is not asked there; two clicks are triangulated all the same.
Without a calibration, and in tasks that show one camera, the click is answered by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from label_config.labelling import regions
from label_config.labelling.binding import Binding
from label_config.labelling.region_frame import PointKey, Size
from label_config.labelling.region_ids import RegionId
from label_config.values import BoolArray, PointState, Pose2D, Provenance
from ml_backend.geometry.cameras import Rig
from ml_backend.labels.cross_view import CompletedFrame, complete_frame
from ml_backend.server.events import NO_VERSION
from ml_backend.server.recent_clicks import RecentClicks
from ml_backend.server.screen_state import Click, SubjectOnScreen, newest_draft, on_screen, read_click
from ml_backend.store import frames, generations
from ml_backend.store.generations import PickRow
from ml_backend.store.projects import Project
from ml_backend.store.tasks import TaskRow
from ml_backend.store.workspace import Workspace

#: A point that lies so near to its completed place stays as it is.
SAME_PX = 0.5
#: Recordings whose cameras are kept ready.
_MAX_RIGS = 64


class Completions:
    """Answers clicks from the store, the request and its own short memory; several threads may ask."""

    def __init__(self, workspace: Workspace, clicks: RecentClicks | None = None) -> None:
        self.workspace, self.clicks = workspace, clicks or RecentClicks()
        self._lock = threading.Lock()
        self._binding: tuple[Any, Binding] | None = None
        self._rigs: dict[str, tuple[Any, Rig]] = {}

    def of(self, sent: Mapping[str, Any], context: Mapping[str, Any], task: TaskRow, project: Project) -> dict[str, Any]:
        """The answer for one task; without regions where the click cannot be read.

        sent     the task as Label Studio sends it, with its drafts
        context  ``result``: the regions of the clicked keypoint in the clicked view, the click marked ``is_positive``
        project  as it is now
        """
        store, number = self.workspace.store, project.generation
        name = NO_VERSION if number is None else generations.get(store, number).name
        whole = self._binding_of(project)
        binding = self.workspace.of_task(whole, task.views)
        (frame,) = frames.list_frames(store, [task.frame_id])
        sizes = {view: ref.size_px for view, ref in frame.images.items() if ref.size_px is not None}
        click = read_click(context, binding, sizes)
        if click is None:
            return {"result": [], "score": 0.0, "model_version": name}
        pick = None if number is None else generations.pick_of(store, number, task.frame_id)
        draft = newest_draft(sent, binding, sizes)
        all_views = len(binding.views) == len(self.workspace.views_of(binding))
        shown = _shown(pick, click.key[0], binding) if all_views else Pose2D.empty(len(binding.views), len(binding.skeleton))
        self.clicks.note(task.ls_task_id, click.key, _pair(click.xy_px), None if draft is None else draft.saved_at)
        screen = on_screen(click, draft, shown, number or 0, self.clicks.of(task.ls_task_id))
        rig = self._rig(frame.key.sequence, whole) if all_views else None
        completed = None if rig is None else self._complete(rig, click, screen, shown)
        there = np.array([view.view in sizes for view in binding.views])
        result = _encode(click, screen, completed, binding, sizes, there)
        return {"result": result, "score": 1.0, "model_version": name}

    def _complete(self, rig: Rig, click: Click, screen: SubjectOnScreen, shown: Pose2D) -> CompletedFrame:
        _, view, keypoint = click.key
        asked = np.arange(screen.state.shape[1]) == keypoint
        limit = self.workspace.spec.pseudo_labels.threshold_px
        return complete_frame(rig, screen.clicked, shown.xy_px, asked, newest=view, threshold_px=limit)

    def _binding_of(self, project: Project) -> Binding:
        """What the labelling config means, read anew when it changed."""
        with self._lock:
            if self._binding is None or self._binding[0] != project.binding:
                self._binding = (project.binding, self.workspace.binding_in(project))
            return self._binding[1]

    def _rig(self, sequence: str, binding: Binding) -> Rig | None:
        """The cameras of a recording, None without a calibration."""
        row = frames.sequence(self.workspace.store, sequence)
        if row is None or row.rig is None:
            return None
        with self._lock:
            held = self._rigs.get(sequence)
            if held is None or held[0] != row.rig:
                if len(self._rigs) >= _MAX_RIGS:
                    self._rigs.clear()
                held = self._rigs[sequence] = (row.rig, Rig.from_json(row.rig).subset(self.workspace.views_of(binding)))
            return held[1]


def _shown(pick: PickRow | None, subject: int, binding: Binding) -> Pose2D:
    """What the order shows of the subject; nothing where the task is served without points or views came since."""
    nothing = Pose2D.empty(len(binding.views), len(binding.skeleton))
    data = None if pick is None or pick.without_points else pick.poses.get(str(subject))
    pose = nothing if data is None else Pose2D.from_json(data)
    return pose if pose.state.shape == nothing.state.shape else nothing


def _pair(xy_px: Any) -> tuple[float, float]:
    return float(xy_px[0]), float(xy_px[1])


def _encode(
    click: Click,
    screen: SubjectOnScreen,
    completed: CompletedFrame | None,
    binding: Binding,
    sizes: Mapping[str, Size],
    there: BoolArray,
) -> list[dict[str, Any]]:
    """The regions of the answer: the click first.

    there  (V,) the view has a picture
    """
    subject, *place = click.key
    pose = Pose2D.empty(*screen.state.shape)
    notes: dict[PointKey, str] = {}
    if completed is not None:
        suggested = _suggested(click, screen, completed) & there[:, None]
        pose.xy_px[suggested] = completed.xy_px[suggested]
        pose.confidence[suggested] = completed.sure[suggested]
        pose.state[suggested] = np.where(screen.state == PointState.OCCLUDED, PointState.OCCLUDED, PointState.VISIBLE)[suggested]
        pose.provenance[suggested] = Provenance.PREDICTED
        notes = _notes(screen, completed, suggested, subject, binding)
        off = float(completed.off_px[place[0], place[1]])
        if np.isfinite(off):
            notes[subject, place[0], place[1]] = f"{off:.1f} px off where all clicks together put it"
    pose.xy_px[place[0], place[1]] = click.xy_px
    pose.state[place[0], place[1]] = PointState.VISIBLE
    # Any generation: the ids are replaced by those of the regions on the screen.
    encoded = regions.encode({subject: pose}, binding, sizes, 0, notes=notes)
    encoded.sort(key=lambda region: RegionId.parse(region["id"]) != RegionId(0, place[0], subject, place[1]))
    return [_as_on_screen(region, click, screen) for region in encoded]


def _suggested(click: Click, screen: SubjectOnScreen, completed: CompletedFrame) -> BoolArray:
    """(V, K) points to suggest: of the clicked keypoint all, of others those that are on the screen elsewhere or not yet."""
    asked = np.arange(screen.state.shape[1]) == click.key[2]
    absent = screen.state == PointState.ABSENT
    elsewhere = ~(np.linalg.norm(completed.xy_px - screen.present, axis=-1) < SAME_PX)
    wanted = np.where(asked, ~absent, ~screen.removed)
    return np.asarray(np.isfinite(completed.sure) & wanted & elsewhere)


def _notes(
    screen: SubjectOnScreen, completed: CompletedFrame, suggested: BoolArray, subject: int, binding: Binding
) -> dict[PointKey, str]:
    """What each suggestion follows from."""
    names = np.array(binding.names)
    clicked: BoolArray = np.asarray(np.isfinite(screen.clicked).all(axis=-1))
    notes = {}
    for view, keypoint in np.argwhere(suggested):
        by = "the model's points and the click" if completed.by_model[keypoint] else "the clicks"
        notes[subject, int(view), int(keypoint)] = f"from {by} in {', '.join(names[clicked[:, keypoint]])}"
    return notes


def _as_on_screen(region: dict[str, Any], click: Click, screen: SubjectOnScreen) -> dict[str, Any]:
    """The region under the id of the one that it replaces."""
    ours = RegionId.parse(region["id"])
    if ours is None or ours.keypoint is None:
        raise ValueError(f"region {region['id']!r}: expected a point of ours")
    clicked = (ours.view, ours.keypoint) == click.key[1:]
    if clicked and click.radius is not None and region["type"] == "keypointlabels":
        region["value"]["width"] = click.radius
    return {**region, "id": screen.region(ours.view, ours.keypoint), "origin": "manual" if clicked else "prediction"}
