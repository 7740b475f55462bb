"""What the tasks of an existing project show, in words, before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from label_config.labelling.region_decode import decode
from label_config.values import BadInputError, FrameKey
from label_config.values.refusal import Refusal
from plugins.label_studio_sync.annotation_reader import trouble_of, trouble_of_several
from plugins.label_studio_sync.client import PULL_FIELDS, Client
from plugins.label_studio_sync.known_frames import find_clash
from plugins.label_studio_sync.task_names import Reading, TaskNames
from plugins.label_studio_sync.troubles import Troubles


def describe_tasks(client: Client, project: int, names: TaskNames) -> list[str]:
    """Frames, sequences and views that the tasks show, and what of tasks and annotations cannot be used, with task numbers."""
    found = _Inventory(names)
    resolved = client.tasks(project, fields="id,data", raw=False)
    for task, same in zip(client.tasks(project, fields=PULL_FIELDS), resolved, strict=False):
        found.add(task, same["data"] if same["id"] == task["id"] else None)
    return found.lines()


class _Inventory:
    """Counts tasks one by one; the first task that shows a picture keeps its place, as a pull does it."""

    def __init__(self, names: TaskNames) -> None:
        self.names, self.troubles = names, Troubles()
        self.shown: dict[tuple[FrameKey, str], tuple[int, str]] = {}
        self.total = self.annotated = self.boxed = 0

    def add(self, task: Mapping[str, Any], resolved: Mapping[str, Any] | None) -> None:
        self.total += 1
        self.annotated += bool(task["total_annotations"])
        reading = self.names.read(task["data"], resolved)
        for refusal in [reading.why] if reading.why else reading.refused.values():
            self.troubles.add(task["id"], refusal)
        if reading.why is None and self._takes_place(task["id"], reading):
            self._read_boxes(task)
            self._read_annotations(task, reading)

    def _takes_place(self, number: int, reading: Reading) -> bool:
        clash = find_clash(number, reading, self.shown)
        if clash is not None or reading.key is None:
            self.troubles.add(number, clash or Refusal("expected a frame"))
            return False
        for view, address in reading.views.items():
            self.shown.setdefault((reading.key, view), (number, address))
        return True

    def _read_boxes(self, task: Mapping[str, Any]) -> None:
        try:
            self.boxed += any((self.names.boxes(task["data"]) or {}).values())
        except BadInputError as error:
            expected, _, got = str(error).partition(", got ")
            what = f"data[{self.names.spec.frames.box!r}] is not used as the subject's box: {expected}"
            self.troubles.add(task["id"], Refusal(what, got, "see frames.box"))

    def _read_annotations(self, task: Mapping[str, Any], reading: Reading) -> None:
        binding = self.names.binding_of(list(reading.views))
        for annotation in task.get("annotations", ()):
            decoded = decode(annotation["result"], binding)
            for problem in decoded.problems:
                self.troubles.add(task["id"], trouble_of(problem))
            several = None if annotation.get("was_cancelled") else trouble_of_several(decoded, self.names.spec.subjects.max)
            if several is not None:
                self.troubles.add(task["id"], several)
            if decoded.unsized:
                what = "annotations without the size of their picture; they are used once it was measured"
                self.troubles.add(task["id"], Refusal(what))

    def lines(self) -> list[str]:
        if not self.total:
            return ["the project has no task yet"]
        sequences = sorted({key.sequence for key, _ in self.shown})
        with_picture = {view for _, view in self.shown}
        views = ", ".join(name for name in self.names.view_names if name in with_picture) or "none"
        lines = [
            f"{self.total} tasks show {len({key for key, _ in self.shown})} frames of {len(sequences)} sequences "
            f"({', '.join(sequences[:5]) or 'none'}) in the views {views}; {self.annotated} tasks are annotated"
        ]
        if self.boxed:
            key = self.names.spec.frames.box
            lines.append(f"{self.boxed} tasks say in data[{key!r}] where the subject is; crops follow these boxes")
        return lines + [f"warning: {line}" for line in self.troubles.lines().values()]
