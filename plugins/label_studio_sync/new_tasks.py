"""Frames that were picked but have no task yet: their pictures are written where Label Studio serves them, then imported.

What is about to be imported is written down first.  An import whose answer never came is looked up by its
``parallax_key`` before anything is imported again, so that no frame gets two tasks.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from label_config.labelling.build_xml import PAGE_KEY
from label_config.values import ImageRef, ParallaxError
from label_config.values.data_path import nested
from label_config.values.errors import ServiceError
from ml_backend.project.picture_tries import Tries
from ml_backend.recordings import UnavailableImageError, browsers_show, extract_frames, frame_path, limits_of
from ml_backend.store import ledger, presence, tasks
from ml_backend.store.fault_points import reach
from ml_backend.store.frames import FrameRow
from ml_backend.store.generations import PickRow
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.task_marks import PSEUDO
from plugins.label_studio_sync.task_names import KEY, VIEW

#: Folder under the documents root that holds the pictures which we wrote.
OUR_FOLDER = "parallax"
PAGE_LINK = "all cameras, before and after"
#: An import that was interrupted may still land for so long.
LANDING_S = 30.0


class ImportOpenError(ServiceError):
    """It is not known yet whether an interrupted import landed."""


def create_missing(workspace: Workspace, client: Client, picks: Sequence[PickRow], frames: Mapping[int, FrameRow]) -> int:
    """Import the tasks of every pick without one; returns how many were created.  Raises ImportOpenError."""
    _settle(workspace, client)
    have = {task.frame_id for task in tasks.list_tasks(workspace.store)}
    missing = [pick for pick in picks if pick.frame_id not in have and frames[pick.frame_id].usable]
    if not missing:
        return 0
    if workspace.spec.documents_root is None:
        raise ParallaxError(
            f"{len(missing)} picked frames have no task yet, and documents_root in parallax.yaml is not set. "
            "Set it to Label Studio's LOCAL_FILES_DOCUMENT_ROOT, so that their pictures can be written there."
        )
    # Only the head of the order carries its reason, so that few tasks need another one later.
    head = {pick.frame_id for pick in picks[: workspace.spec.sync.reason_tasks]}
    pictures = _Pictures(workspace, Path(workspace.spec.documents_root))
    # All pictures first: whatever the order, each video is decoded once.
    readable = _readable(workspace, pictures, [frames[pick.frame_id] for pick in missing])
    chunk, created = workspace.spec.sync.chunk, 0
    for start in range(0, len(missing), chunk):
        wanted = [
            {"frame_id": pick.frame_id, "pseudo": pick.pseudo, "views": views, "data": data}
            for pick in missing[start : start + chunk]
            if pick.frame_id in readable
            for views, data in pictures.tasks(readable[pick.frame_id], pick, pick.frame_id in head)
        ]
        created += _import(workspace, client, wanted)
    return created


def _import(workspace: Workspace, client: Client, wanted: Sequence[dict[str, Any]]) -> int:
    if not wanted:
        return 0
    name = secrets.token_hex(8)
    ledger.record(workspace.store, "import", name, new=list(wanted))
    numbers = client.import_tasks(workspace.project.ls_project_id, [task["data"] for task in wanted])
    reach("tasks imported")
    _take_over(workspace, zip(wanted, numbers, strict=True))
    for entry in ledger.entries(workspace.store, "import"):
        if entry.ls_id == name:
            ledger.undone(workspace.store, entry.id)
    return len(numbers)


def _take_over(workspace: Workspace, imported: Any) -> None:
    rows = []
    for task, number in imported:
        row = {name: task[name] for name in ("frame_id", "pseudo", "views")}
        rows.append(
            {**row, "ls_task_id": number, "key": task["data"][KEY], "ours": True, "reason": task["data"]["parallax_reason"]}
        )
    tasks.save(workspace.store, rows)


def _settle(workspace: Workspace, client: Client) -> None:
    """Find out what became of imports whose answer never came."""
    unanswered = ledger.entries(workspace.store, "import")
    if not unanswered:
        return
    listed = client.tasks(workspace.project.ls_project_id, fields="id,data")
    numbers = {(item["data"].get(KEY), item["data"].get(VIEW)): item["id"] for item in listed}
    for entry in unanswered:
        landed = [(task, numbers.get((task["data"][KEY], task["data"].get(VIEW)))) for task in entry.new]
        if all(number is None for _, number in landed) and abs(time.time() - entry.created_at) < LANDING_S:
            raise ImportOpenError(f"an import of {len(landed)} tasks was interrupted; the next ticks look whether it landed")
        _take_over(workspace, [(task, number) for task, number in landed if number is not None])
        ledger.undone(workspace.store, entry.id)


def _readable(workspace: Workspace, pictures: _Pictures, rows: Sequence[FrameRow]) -> dict[int, FrameRow]:
    """Frame id → the frame with the views that can be shown.

    A damaged view is left out.  A frame with a picture that could not be had or written waits until it can.
    """
    due = [replace(row, images={view: row.images[view] for view in row.usable}) for row in rows]
    due = [row for row in due if all(row.due(view) for view in row.images)]
    to_write, key = pictures.to_write(due), "pictures are written"
    if to_write:
        text = f"writing {len(to_write)} pictures of {len(due)} frames for Label Studio; of long videos this takes some minutes"
        presence.tell(workspace.store, text, key=key)
    failed = extract_frames(to_write, limits=limits_of(workspace.spec.cache), longest_px=workspace.spec.screen.picture_px)
    presence.settle(workspace.store, key)
    tries = Tries(workspace)
    readable = {}
    for row in due:
        errors = {view: failed[target] for view in row.images if (target := pictures.target(row, view)) in failed}
        for view in row.images:
            if view in errors:
                tries.failed(row, view, errors[view])
            else:
                tries.worked(row, view)
        left = {view: ref for view, ref in row.images.items() if view not in errors}
        if left and not any(isinstance(error, UnavailableImageError) for error in errors.values()):
            readable[row.id] = replace(row, images=left)
    tries.save()
    return readable


class _Pictures:
    """Where Label Studio finds the pictures of frames, and the task data that says so."""

    def __init__(self, workspace: Workspace, root: Path) -> None:
        self.root, self.binding, self.views = root, workspace.binding, workspace.views
        self.folder = root / OUR_FOLDER / str(workspace.project.ls_project_id)
        self.longest_px = workspace.spec.screen.picture_px
        self.page = (workspace.spec.backend.public_url or workspace.spec.backend.url).rstrip("/")

    def target(self, frame: FrameRow, view: str) -> Path:
        """The server's own file when the picture lies under the root as it is, else a file of ours."""
        ref = frame.images[view]
        if self._served_as_it_is(ref):
            return Path(ref.source)
        # Tasks that exist keep their pictures when the setting changes.
        return frame_path(self.folder / f"{self.longest_px}px" if self._reduced(ref) else self.folder, frame.key, view)

    def _reduced(self, ref: ImageRef) -> bool:
        return self.longest_px is not None and ref.size_px is not None and max(ref.size_px) > self.longest_px

    def _served_as_it_is(self, ref: ImageRef) -> bool:
        untouched = ref.frame_index is None and ref.crop is None and not ref.flip and not ref.rotation
        return untouched and not self._reduced(ref) and Path(ref.source).is_relative_to(self.root) and browsers_show(ref.source)

    def to_write(self, frames: Sequence[FrameRow]) -> list[tuple[ImageRef, Path]]:
        """Pictures that are not there yet."""
        wanted = [(ref, self.target(frame, view)) for frame in frames for view, ref in frame.images.items()]
        return [(ref, target) for ref, target in wanted if not self._served_as_it_is(ref) and not target.exists()]

    def tasks(self, frame: FrameRow, pick: PickRow, with_reason: bool) -> list[tuple[list[str] | None, dict[str, Any]]]:
        """(views, data) of the tasks of one frame: one, or one per camera where the config has a single picture."""
        common: dict[str, Any] = {
            KEY: str(frame.key),
            "parallax_reason": pick.reason if with_reason else "",
            PAGE_KEY: f'<a href="{self.page}/page/frame/{frame.id}" target="_blank">{PAGE_LINK}</a>',
            "sequence": frame.key.sequence,
            "frame": frame.key.index,
        }
        if pick.pseudo:
            common["parallax_source"] = PSEUDO
        if len(self.binding.views) < len(self.views):
            data_key = self.binding.views[0].data_key
            return [([view], {**common, VIEW: view, **nested({data_key: self._address(frame, view)})}) for view in frame.images]
        pictures = nested({view.data_key: self._address(frame, view.view) for view in self.binding.views})
        there = [view for view in self.views if view in frame.images]
        return [(None if len(there) == len(self.views) else there, {**common, **pictures})]

    def _address(self, frame: FrameRow, view: str) -> str:
        if view not in frame.images:
            return ""
        return f"/data/local-files/?d={quote(self.target(frame, view).relative_to(self.root).as_posix())}"
