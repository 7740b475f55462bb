"""Tasks and annotations as Label Studio lists them → rows of the store, in batches of one transaction each.

A task is its number and the time of its creation: Label Studio on SQLite gives the numbers of deleted tasks to others.  What it
shows may change; its digest says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from label_config.values import BadInputError, Box
from label_config.values.refusal import Refusal
from ml_backend.store import frames, ledger, presence, pseudo_labels, submissions, tasks
from ml_backend.store.frames import BoxNumbers
from ml_backend.store.statuses import EventLevel
from ml_backend.store.submissions import AnnotationRow
from ml_backend.store.tasks import TaskRow
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.annotation_reader import AnnotationReader
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.known_frames import FrameFinder, TaskFrame
from plugins.label_studio_sync.second_net import UNUSABLE, is_away, save_what_can_be
from plugins.label_studio_sync.task_identity import is_another
from plugins.label_studio_sync.task_names import KEY, Reading
from plugins.label_studio_sync.times import instant
from plugins.label_studio_sync.troubles import Troubles, listed

BATCH = 500
#: Task data that Parallax itself changes; it says nothing about the picture.
MARKS = ("parallax_reason", "parallax_source", "parallax_check")

Item = Mapping[str, Any]


class TaskReader:
    """Compares what Label Studio lists with what the store holds.  Tasks are listed with their data as it is stored there.

    again   read annotations again that could not be read completely before
    newest  largest ``updated_at`` seen
    lost    annotations that counted and are gone
    """

    def __init__(self, workspace: Workspace, client: Client, *, again: bool = False) -> None:
        self.workspace, self.client, self.again = workspace, client, again
        self.store = workspace.store
        self.finder = FrameFinder(workspace)
        self.annotations = AnnotationReader(workspace, client, self.finder.names)
        self.boxes = frames.boxes_by_id(self.store)
        self.held: dict[int, dict[int, AnnotationRow]] = {}
        self._list_annotations()
        self.labels_before = submissions.count(self.store)
        self.tasks: dict[int, TaskRow] = {}
        self._list_tasks()
        self.newest: str | None = None
        self.changed = self.lost = 0
        self.problems: list[str] = []

    def _list_tasks(self) -> None:
        self.tasks = {row.ls_task_id: row for row in tasks.list_tasks(self.store, deleted=True)}

    def _list_annotations(self) -> None:
        self.held = {}
        for row in submissions.list_annotations(self.store, every=True):
            self.held.setdefault(row.task_id, {})[row.ls_annotation_id] = row

    def notice(self, updated_at: str) -> None:
        """Remember the newest change."""
        if self.newest is None or instant(updated_at) > instant(self.newest):
            self.newest = updated_at

    def differs(self, item: Item) -> bool:
        """Whether a task, listed with its data and the numbers and times of its annotations, is not as the store has it."""
        row = self.tasks.get(item["id"])
        if row is None or self._shows_anew(row, item) or row.is_labeled != item["is_labeled"]:
            return True
        held = {number: a for number, a in self.held.get(row.id, {}).items() if not a.deleted}
        if held.keys() != {a["id"] for a in item["annotations"]}:
            return True
        return any(self._is_news(held.get(a["id"]), a) for a in item["annotations"])

    def _shows_anew(self, row: TaskRow | None, item: Item) -> bool:
        """The task is new, another one, or its data changed."""
        return row is None or row.deleted or (row.created_at, row.data_digest) != (item.get("created_at"), _digest(item["data"]))

    def _is_news(self, old: AnnotationRow | None, item: Item) -> bool:
        if old is None or old.deleted or (self.again and bool(old.problems)):
            return True
        return (old.updated_at, old.cancelled) != (item["updated_at"], bool(item["was_cancelled"]))

    def read(self, items: Iterable[Item]) -> None:
        """Take over tasks with their annotations."""
        left = iter(items)
        while batch := list(islice(left, BATCH)):
            self._read(batch)
        self._say_troubles()

    def read_again(self, items: Iterable[Item]) -> None:
        """Take over the annotations of known tasks anew: the sizes of their pictures became known, say."""
        self._list_annotations()
        known = [(self.tasks[item["id"]], item["annotations"]) for item in items if item["id"] in self.tasks]
        self._save_annotations(known, {task.id for task, _ in known})
        self._say_troubles()

    def _say_troubles(self) -> None:
        """What annotations say that cannot be used: one event for each kind of trouble."""
        lines, self.annotations.troubles = self.annotations.troubles.lines(), Troubles()
        for kind, line in lines.items():
            self._problem(line, key=kind)

    def _read(self, batch: Sequence[Item]) -> None:
        for item in batch:
            self.notice(item["updated_at"])
        self._retire(batch)
        moved = self._save_tasks(batch)
        self._save_boxes(batch)
        known = [(row, item["annotations"]) for item in batch if (row := self._live(item["id"])) is not None]
        self._save_annotations(known, moved)

    def _live(self, number: int) -> TaskRow | None:
        row = self.tasks.get(number)
        return None if row is None or row.deleted else row

    def _retire(self, batch: Sequence[Item]) -> None:
        """The rows of tasks whose number belongs to another task now; their labels stay with them and count no more."""
        gone = [item["id"] for item in batch if (row := self.tasks.get(item["id"])) is not None and is_another(row, item)]
        if not gone:
            return
        self._count_lost(gone)
        tasks.retire(self.store, gone)
        for entry in ledger.entries(self.store, "task_data"):
            if int(entry.ls_id) in gone:
                ledger.undone(self.store, entry.id)
        self._list_tasks()
        text = f"{listed(gone)}: Label Studio gave the number of a deleted task to another one; what was known of it is put aside"
        self._problem(text, key="numbers came back", level=EventLevel.INFO)

    def _save_tasks(self, batch: Sequence[Item]) -> set[int]:
        """Returns the tasks (row ids) that show another picture than before."""
        anew = [item for item in batch if self._shows_anew(self.tasks.get(item["id"]), item)]
        places = self._places(anew) if anew else {}
        rows = []
        for item in batch:
            known, place, number = self.tasks.get(item["id"]), places.get(item["id"]), item["id"]
            row: dict[str, Any] = {
                "ls_task_id": number,
                "is_labeled": bool(item["is_labeled"]),
                "skipped": bool(item["cancelled_annotations"]) and not item["total_annotations"],
                "updated_at": item["updated_at"],
                "deleted": False,
            }
            if place is not None:
                key = item["data"].get(KEY) if self.finder.names.own_key(item["data"]) else None
                row |= {"frame_id": place.frame_id, "views": place.views, "key": key}
                row |= {"created_at": item.get("created_at"), "data_digest": _digest(item["data"])}
            elif number in places:
                continue  # shows nothing that can be used
            elif known and (known.is_labeled, known.skipped, known.deleted) == (row["is_labeled"], row["skipped"], False):
                continue
            rows.append(row)
        save_what_can_be(rows, partial(tasks.save, self.store), self._task_refused)
        unusable = [number for number, place in places.items() if place is None and self._live(number) is not None]
        self._count_lost(unusable)
        tasks.mark_deleted(self.store, unusable)
        before = self.tasks
        if rows or unusable:
            self._list_tasks()
        return self._moved(before)

    def _task_refused(self, row: Mapping[str, Any], error: Exception) -> None:
        why = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
        self._problem(f"task {row['ls_task_id']} cannot be stored and is left out: {why}", key="task not stored")

    def _places(self, anew: Sequence[Item]) -> dict[int, TaskFrame | None]:
        """Number → place; None for a task that shows nothing that can be used, which is said."""
        names, troubles = self.finder.names, Troubles()
        foreign = [item["id"] for item in anew if names.own_key(item["data"]) not in self.finder.ids]
        resolved = self._resolved(foreign) if foreign else {}
        readings: dict[int, Reading] = {}
        for item in anew:
            reading = readings[item["id"]] = names.read(item["data"], resolved.get(item["id"]))
            for refusal in reading.refused.values() if reading.why is None else ():
                troubles.add(item["id"], refusal)
        places, refused = self.finder.places(readings, [row for row in self.tasks.values() if not row.deleted])
        for number, refusal in refused.items():
            troubles.add(number, refusal)
        for kind, line in troubles.lines().items():
            self._problem(line, key=f"task data: {kind}")
        return {number: places.get(number) for number in readings}

    def _resolved(self, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Task data with addresses that can be fetched, as Label Studio makes them of those in its storages."""
        project = self.workspace.project.ls_project_id
        return {item["id"]: item["data"] for item in self.client.tasks_by_id(project, numbers, fields="id,data")}

    def _moved(self, before: Mapping[int, TaskRow]) -> set[int]:
        """Tasks (row ids) whose labels must be read again: their frame, or a picture of it, is another one than before."""
        replaced, self.finder.replaced = self.finder.replaced, set()
        now = {row.id: row for row in self.tasks.values() if not row.deleted}
        moved = {row.id for row in before.values() if row.id in now and now[row.id].frame_id != row.frame_id}
        moved |= {row.id for row in now.values() if row.frame_id in replaced and row.ls_task_id in before}
        if replaced:
            stale = pseudo_labels.list_pseudo(self.store)
            pseudo_labels.withdraw(self.store, [row.id for row in stale if row.frame_id in replaced])
        labelled = sorted(now[row].ls_task_id for row in moved if any(not a.deleted for a in self.held.get(row, {}).values()))
        if labelled:
            text = (
                "another picture, or frame, than when it was labelled; its labels are used for the new one, as Label Studio shows"
            )
            self._problem(f"{listed(labelled)}: {text} them", key=f"picture changed {labelled[0]}"[:200])
        return moved

    def _save_boxes(self, batch: Sequence[Item]) -> None:
        """Boxes in task data; a task that does not mention them leaves those of its frame as they are."""
        changed: dict[BoxNumbers, dict[int, dict[int, dict[str, Box]]]] = {numbers: {} for numbers in BoxNumbers}
        refused: dict[int, str] = {}
        for item in batch:
            row = self._live(item["id"])
            if row is None:
                continue
            try:
                given = self.finder.names.boxes(item["data"])
            except BadInputError as error:
                refused[item["id"]] = str(error)
                continue
            if given is None:
                continue
            held, before = self.boxes.get(row.frame_id, ({}, BoxNumbers.GIVEN))
            numbered = self.finder.names.boxes_have_numbers(item["data"])
            if not numbered and before is not BoxNumbers.GIVEN and _same_boxes(held, given):
                continue  # numbers that geometry found since stay
            after = {subject: {v: box for v, box in of.items() if v not in given} for subject, of in held.items()}
            others = any(after.values())
            for view, of_view in given.items():
                for subject, box in of_view.items():
                    after.setdefault(subject, {})[view] = box
            after = {subject: of for subject, of in sorted(after.items()) if of}
            known = numbered and (before is BoxNumbers.GIVEN or not others)
            numbers = BoxNumbers.GIVEN if known or not after else BoxNumbers.UNKNOWN
            if (after, numbers) != (held, before):
                changed[numbers][row.frame_id] = after
                self.boxes[row.frame_id] = after, numbers
        for numbers, boxes in changed.items():
            if boxes:
                frames.save_boxes(self.store, boxes, numbers)
        if refused:
            key, why = self.workspace.spec.frames.box, next(iter(refused.values()))
            text = f"{listed(list(refused))}: data[{key!r}] is not used as the subject's box: {why}; see frames.box"
            self._problem(text, key="boxes")

    def _save_annotations(self, known: Sequence[tuple[TaskRow, Sequence[Item]]], moved: set[int]) -> None:
        news, gone, stale = [], list[AnnotationRow](), list[AnnotationRow]()
        for task, listed_there in known:
            held = self.held.get(task.id, {})
            present = {item["id"] for item in listed_there}
            gone += [row for number, row in held.items() if number not in present and not row.deleted]
            for item in listed_there:
                if task.id in moved or self._is_news(held.get(item["id"]), item):
                    news.append((task, item))
                    # Unchanged in Label Studio, but read with another config or picture: the store must take the new reading.
                    stale += [held[item["id"]]] if item["id"] in held and (self.again or task.id in moved) else []
        submissions.mark_deleted(self.store, [row.id for row in [*gone, *stale]])
        self.lost += sum(not row.cancelled for row in gone)
        if not news:
            return
        rows_of = {row.id: row for row in frames.list_frames(self.store, [task.frame_id for task, _ in news])}
        numbers = {task.id: task.ls_task_id for task, _ in news}
        rows = []
        for task, item in news:
            try:
                rows.append(self.annotations.read(task, rows_of[task.frame_id], item))
            except UNUSABLE as error:
                self._unusable(task.ls_task_id, error)
        save = partial(submissions.save, self.store)
        self.changed += save_what_can_be(rows, save, lambda row, error: self._unusable(numbers[row["task_id"]], error))

    def _unusable(self, number: int, error: Exception) -> None:
        if is_away(error):
            raise error
        wanted = "annotations that cannot be read or stored; they are left out"
        self.annotations.troubles.add(number, Refusal(wanted, f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"))

    def forget(self, numbers: Sequence[int]) -> None:
        """These tasks are gone, and their annotations with them."""
        tasks.mark_deleted(self.store, numbers)
        self._count_lost(numbers)

    def _count_lost(self, numbers: Sequence[int]) -> None:
        for row in (self.tasks[number] for number in numbers):
            labels = () if row.deleted else self.held.get(row.id, {}).values()
            self.lost += sum(not label.deleted and not label.cancelled for label in labels)

    def _problem(self, text: str, key: str | None = None, level: EventLevel = EventLevel.WARNING) -> None:
        self.problems.append(text)
        presence.tell(self.store, text, level=level, key=(key or text)[:200])


def _same_boxes(held: Mapping[int, Mapping[str, Box]], given: Mapping[str, Mapping[int, Box]]) -> bool:
    """The same boxes in these views, whatever their numbers."""
    return all(sorted(of[view] for of in held.values() if view in of) == sorted(boxes.values()) for view, boxes in given.items())


def _digest(data: Mapping[str, Any]) -> str:
    """Of everything in a task's data but our own marks."""
    kept = {name: value for name, value in data.items() if name not in MARKS}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
