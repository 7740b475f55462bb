"""The frames behind tasks: tasks that we did not make may show frames that nobody knew before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from label_config.values import FrameKey, ImageRef
from ml_backend.labels.split import assign_split
from ml_backend.store import frames
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.task_names import KEY, TaskNames


@dataclass(frozen=True)
class Place:
    """A frame's row id and the views of it that the task shows, None = all."""

    frame_id: int
    views: list[str] | None


class FrameFinder:
    """Tells the place of tasks whose frames it has learned."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.names = TaskNames(workspace.spec, workspace.binding, workspace.views)
        self.ids = frames.ids_by_key(workspace.store, workspace.project_id)

    def learn(self, tasks: Iterable[Mapping[str, Any]]) -> None:
        """Add the frames in the data of these tasks that are new, and to known ones the views that were missing."""
        found: dict[FrameKey, dict[str, str]] = defaultdict(dict)
        for data in tasks:
            read = self.names.read(data)
            if read is not None and not (data.get(KEY) and read[0] in self.ids):
                key, views = read
                found[key] = {**views, **found[key]}
        new = {key: views for key, views in found.items() if key not in self.ids}
        self._complete({self.ids[key]: views for key, views in found.items() if key in self.ids})
        if new:
            self._add(new)

    def find(self, data: Mapping[str, Any]) -> Place | None:
        """The place of a task, None when its data does not tell; ``names.why`` says what was missing."""
        read = self.names.read(data)
        if read is None:
            return None
        key, views = read
        return Place(self.ids[key], None if len(views) == len(self.names.view_names) else list(views))

    def _add(self, new: Mapping[FrameKey, Mapping[str, str]]) -> None:
        project, rules = self.workspace.project, self.workspace.spec.validation
        by_sequence: dict[str, list[FrameKey]] = defaultdict(list)
        for key in new:
            by_sequence[key.sequence].append(key)
        rows = []
        for sequence, keys in by_sequence.items():
            splits = assign_split(
                sequence,
                np.array([key.index for key in keys]),
                fraction=rules.fraction,
                block_frames=rules.block_frames,
                guard_frames=rules.guard_frames,
                seed=project.seed,
            )
            for key, split in zip(keys, splits, strict=True):
                rows.append((key, {view: ImageRef(address) for view, address in new[key].items()}, str(split)))
        frames.add_frames(self.workspace.store, project.id, rows)
        self.ids = frames.ids_by_key(self.workspace.store, project.id)

    def _complete(self, known: Mapping[int, Mapping[str, str]]) -> None:
        """Another camera's task of a frame that is known: the frame gets one more view."""
        for row in frames.list_frames(self.workspace.store, self.workspace.project_id, list(known)):
            new = {view: ImageRef(address) for view, address in known[row.id].items() if view not in row.images}
            if new:
                frames.replace_images(self.workspace.store, row.id, {**row.images, **new})
