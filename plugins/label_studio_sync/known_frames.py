"""Which frame, and which of its views, a task shows."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from label_config.values import BadInputError, FrameKey, ImageRef
from ml_backend.labels.split import assign_split
from ml_backend.recordings import ForbiddenAddressError, task_image_url
from ml_backend.store import frames
from ml_backend.store.workspace import Workspace


@dataclass(frozen=True)
class Place:
    """A frame's row id and the views of it that the task shows, None = all."""

    frame_id: int
    views: list[str] | None


class FrameFinder:
    """Reads tasks of ours by their ``parallax_key`` and foreign ones by the ``frames`` rules of parallax.yaml.

    A foreign task of an unknown frame adds the frame; its pictures are the addresses in the task.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.binding, self.view_names = workspace, workspace.binding, workspace.views
        self.ids = frames.ids_by_key(workspace.store, workspace.project_id)

    def find(self, data: Mapping[str, Any]) -> Place | None:
        """The place of a task, None when its data does not tell; :meth:`why` says what was missing."""
        key = self._key(data)
        if key is None:
            return None
        views = self._views(data)
        if not views:
            return None
        if key not in self.ids:
            self._add(key, views)
        elif not data.get("parallax_key"):
            self._complete(key, views)
        return Place(self.ids[key], None if len(views) == len(self.view_names) else list(views))

    def why(self, data: Mapping[str, Any]) -> str:
        """Why :meth:`find` gave None."""
        if self._key(data) is None:
            return (
                f"its data ({', '.join(sorted(map(str, data))) or 'empty'}) does not tell which frame it is; "
                "set frames.sequence and frames.index in parallax.yaml"
            )
        wanted = ", ".join(view.data_key for view in self.binding.views)
        return f"expected a picture under {wanted}, found none; the task is left alone"

    def _key(self, data: Mapping[str, Any]) -> FrameKey | None:
        if isinstance(data.get("parallax_key"), str):
            try:
                return FrameKey.parse(data["parallax_key"])
            except BadInputError:
                return None
        name = self.workspace.spec.frames.read(data)
        if name.index is None:
            return None
        return FrameKey(name.sequence or "tasks", name.index)

    def _views(self, data: Mapping[str, Any]) -> dict[str, str]:
        """View → absolute address of its picture; an address that may not be read leaves its view out."""
        found = {}
        for view in self.binding.views:
            value = data.get(view.data_key)
            if isinstance(value, str) and value.strip():
                with contextlib.suppress(ForbiddenAddressError):
                    found[view.view] = task_image_url(value, self.workspace.spec.label_studio.url)
        if len(self.binding.views) < len(self.view_names) and found:
            name = self.workspace.spec.frames.read(data).view
            return {name: next(iter(found.values()))} if name in self.view_names else {}
        return found

    def _add(self, key: FrameKey, views: Mapping[str, str]) -> None:
        project = self.workspace.project
        rules = self.workspace.spec.validation
        (split,) = assign_split(
            key.sequence,
            np.array([key.index]),
            fraction=rules.fraction,
            block_frames=rules.block_frames,
            guard_frames=rules.guard_frames,
            seed=project.seed,
        )
        images = {view: ImageRef(address) for view, address in views.items()}
        frames.add_frames(self.workspace.store, project.id, [(key, images, str(split))])
        self.ids = frames.ids_by_key(self.workspace.store, project.id)

    def _complete(self, key: FrameKey, views: Mapping[str, str]) -> None:
        """Another camera's task of a frame that is known: the frame gets one more view."""
        (row,) = frames.list_frames(self.workspace.store, self.workspace.project_id, [self.ids[key]])
        new = {view: ImageRef(address) for view, address in views.items() if view not in row.images}
        if new:
            frames.replace_images(self.workspace.store, row.id, {**row.images, **new})
