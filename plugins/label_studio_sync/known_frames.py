"""The frames behind tasks: tasks that we did not make may show frames that nobody knew before, or other ones than before."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from label_config.values import FrameKey, ImageRef
from label_config.values.refusal import Refusal
from label_config.values.written_address import written_address
from ml_backend.project.splitting import split_of
from ml_backend.recordings import is_url
from ml_backend.recordings.from_spec import make_fetcher
from ml_backend.store import frames
from ml_backend.store.frames import FrameRow
from ml_backend.store.tasks import TaskRow
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.task_names import Reading, TaskNames

#: (frame, view) → the task that shows it and the address of its picture.
Claims = Mapping[tuple[FrameKey, str], tuple[int, str]]


def _picture(address: str) -> str:
    """What an address shows, whoever asks for it: without signature, and without the task through which a storage is asked."""
    return re.sub(r"/(tasks|projects)/[0-9]+/(?=(resolve|presign)/)", "/", written_address(address))


@dataclass(frozen=True)
class TaskFrame:
    """A frame's row id and the views of it that the task shows, None = all."""

    frame_id: int
    views: list[str] | None


class FrameFinder:
    """Says the place of tasks, and keeps the pictures of their frames as the tasks' data has them.

    replaced  frames that got another picture in a view
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.names = TaskNames(workspace.spec, workspace.binding, workspace.views, workspace.project.public_url)
        self.ids = frames.ids_by_key(workspace.store)
        self.replaced: set[int] = set()

    def places(
        self, readings: Mapping[int, Reading], known: Iterable[TaskRow]
    ) -> tuple[dict[int, TaskFrame], dict[int, Refusal]]:
        """Task number → its place, and for tasks without one the reason.

        readings  task number → what its data says, of tasks that are new or whose data changed
        known     tasks of the store that exist
        """
        held = list(known)
        before = {row.ls_task_id: row for row in held if row.ls_task_id in readings}
        # Whoever had a frame before keeps it; among new tasks the first one.
        order = sorted(readings, key=lambda number: (number not in before, number))
        rows = self._rows({reading.key for reading in readings.values() if reading.key is not None})
        claims = self._claims(rows, [row for row in held if row.ls_task_id not in readings])
        refused: dict[int, Refusal] = {}
        found: dict[FrameKey, dict[str, str]] = defaultdict(dict)
        shown: dict[int, tuple[FrameKey, list[str]]] = {}
        for number in order:
            reading = readings[number]
            if reading.key is None or reading.why is not None:
                refused[number] = reading.why or Refusal("expected a frame")
                continue
            clash = find_clash(number, reading, claims)
            if clash is not None:
                refused[number] = clash
                continue
            for view, address in reading.views.items():
                claims.setdefault((reading.key, view), (number, address))
                found[reading.key].setdefault(view, address)
            shown[number] = (reading.key, list(reading.views))
        self._add({key: views for key, views in found.items() if key not in rows})
        self._update({rows[key].id: views for key, views in found.items() if key in rows}, rows.values())
        self._release(before, shown, held)
        known_before = {row.frame_id for row in before.values() if row.data_digest is not None}
        self._look_again(sorted(known_before - self.replaced))  # another address is what was meant, where one changed
        everything = len(self.names.view_names)
        places = {
            number: TaskFrame(self.ids[key], None if len(views) == everything else views)
            for number, (key, views) in shown.items()
        }
        return places, refused

    def _look_again(self, frame_ids: Sequence[int]) -> None:
        """Somebody corrected these frames' tasks: pictures under the addresses that stayed may be others than those kept here."""
        rows = frames.list_frames(self.workspace.store, list(frame_ids))
        if not any(is_url(ref.source) for row in rows for ref in row.images.values()):
            return
        with closing(make_fetcher(self.workspace.spec, self.workspace.project.public_url)) as fetcher:
            for row in rows:
                for ref in row.images.values():
                    fetcher.forget(ref.source)
        frames.save_marks(self.workspace.store, {row.id: dict.fromkeys(row.marks) for row in rows if row.marks})

    def _rows(self, keys: set[FrameKey]) -> dict[FrameKey, FrameRow]:
        ids = [self.ids[key] for key in keys if key in self.ids]
        return {row.key: row for row in frames.list_frames(self.workspace.store, ids)}

    def _claims(self, rows: Mapping[FrameKey, FrameRow], held: Iterable[TaskRow]) -> dict[tuple[FrameKey, str], tuple[int, str]]:
        """(frame, view) → the task that shows it and the address of its picture, of tasks that stay as they are."""
        by_id = {row.id: row for row in rows.values()}
        claims: dict[tuple[FrameKey, str], tuple[int, str]] = {}
        for task in held:
            frame = by_id.get(task.frame_id)
            for view in (task.views or self.names.view_names) if frame else ():
                if frame and view in frame.images and is_url(frame.images[view].source):
                    claims.setdefault((frame.key, view), (task.ls_task_id, frame.images[view].source))
        return claims

    def _add(self, new: Mapping[FrameKey, Mapping[str, str]]) -> None:
        numbers: dict[str, list[int]] = defaultdict(list)
        for key in new:
            numbers[key.sequence].append(key.index)
        if not new:
            return
        split = split_of(self.workspace, {name: np.array(of, dtype=np.int64) for name, of in numbers.items()})
        rows = [(key, {view: ImageRef(address) for view, address in new[key].items()}, split[key]) for key in new]
        frames.add_frames(self.workspace.store, rows)
        self.ids = frames.ids_by_key(self.workspace.store)

    def _update(self, found: Mapping[int, Mapping[str, str]], rows: Iterable[FrameRow]) -> None:
        """Views that were missing, and pictures that stand elsewhere now.  What a recording brought along stays."""
        for row in rows:
            images = dict(row.images)
            for view, address in found.get(row.id, {}).items():
                old = images.get(view)
                if old is None:
                    images[view] = ImageRef(address)
                elif is_url(old.source) and old.source != address:
                    same = _picture(old.source) == _picture(address)  # signed anew, or asked for through another task
                    images[view] = replace(old, source=address) if same else ImageRef(address)
                    self.replaced |= set() if same else {row.id}
            if images != row.images:
                frames.replace_images(self.workspace.store, row.id, images)

    def _release(
        self, before: Mapping[int, TaskRow], shown: Mapping[int, tuple[FrameKey, list[str]]], held: Iterable[TaskRow]
    ) -> None:
        """Views that a task stopped to show leave a frame that other tasks, or this one, still show."""
        now: dict[int, set[str]] = defaultdict(set)
        for task in held:
            if task.ls_task_id not in before:
                now[task.frame_id] |= set(task.views or self.names.view_names)
        for key, views in shown.values():
            now[self.ids[key]] |= set(views)
        touched = {task.frame_id for task in before.values()} & now.keys()
        for row in frames.list_frames(self.workspace.store, sorted(touched)):
            images = {view: ref for view, ref in row.images.items() if view in now[row.id] or not is_url(ref.source)}
            if images != row.images and images:
                frames.replace_images(self.workspace.store, row.id, images)
                self.replaced.add(row.id)


def find_clash(number: int, reading: Reading, claims: Claims) -> Refusal | None:
    """Why a task may not show its frame: another one shows a different picture of it.  None when it may."""
    for view, address in reading.views.items() if reading.key else ():
        other, theirs = claims.get((reading.key, view), (number, address)) if reading.key else (number, address)
        if other != number and _picture(theirs) != _picture(address):
            return Refusal(
                "another task shows a different picture of the same frame and view, so that this one is left alone",
                f"{reading.key}, view {view}, of task {other}",
                "correct the frames rules in parallax.yaml, or the data of one of them",
            )
    return None
