"""What the data of a task says: which frame it shows, and in which views."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from label_config.binding import Binding
from label_config.spec import Spec
from label_config.task_boxes import read_boxes
from label_config.values import BadInputError, Box, FrameKey
from ml_backend.recordings import ForbiddenAddressError, task_image_url

#: Task data of ours: the frame, and the camera where the labelling config has a single picture.
KEY, VIEW = "parallax_key", "parallax_view"


@dataclass(frozen=True)
class TaskNames:
    """Reads tasks of ours by their ``parallax_key`` and foreign ones by the ``frames`` rules of parallax.yaml."""

    spec: Spec
    binding: Binding
    view_names: tuple[str, ...]

    def read(self, data: Mapping[str, Any]) -> tuple[FrameKey, dict[str, str]] | None:
        """The frame and {view: absolute address of its picture}; None when the data does not tell, see :meth:`why`."""
        key, views = self._key(data), self._views(data)
        return (key, views) if key is not None and views else None

    def boxes(self, data: Mapping[str, Any]) -> dict[str, Box | None] | None:
        """View → the subject's box, None = the data says that there is none; None where the data says nothing about boxes.

        Raises BadInputError for a value that is no box.
        """
        if self.spec.frames.box not in data:
            return None
        own = self._view(data)
        views = [view for view in self.view_names if view == own or not self._one_picture]
        found = read_boxes(data[self.spec.frames.box], views)
        return {view: found.get(view) for view in views}

    def why(self, data: Mapping[str, Any]) -> str:
        """Why :meth:`read` gave None, and what to do."""
        if self._key(data) is None:
            return (
                f"its data ({', '.join(sorted(map(str, data))) or 'empty'}) does not tell which frame it is; "
                "set frames.index (and frames.sequence) in parallax.yaml"
            )
        if self._one_picture and self._view(data) not in self.view_names:
            return (
                f"its data does not tell which camera it shows (found {self._view(data)!r}, "
                f"expected one of {', '.join(self.view_names)}); set frames.view in parallax.yaml"
            )
        wanted = ", ".join(view.data_key for view in self.binding.views)
        return f"expected the http(s) address of a picture under {wanted}, found none; correct the task's data"

    @property
    def _one_picture(self) -> bool:
        """The config has one picture and serves several cameras, one task each."""
        return len(self.binding.views) < len(self.view_names)

    def _key(self, data: Mapping[str, Any]) -> FrameKey | None:
        if isinstance(data.get(KEY), str):
            with contextlib.suppress(BadInputError):
                return FrameKey.parse(data[KEY])
        name = self.spec.frames.read(data)
        return None if name.index is None else FrameKey(name.sequence or "tasks", name.index)

    def _view(self, data: Mapping[str, Any]) -> str | None:
        return data[VIEW] if isinstance(data.get(VIEW), str) else self.spec.frames.read(data).view

    def _views(self, data: Mapping[str, Any]) -> dict[str, str]:
        """An address that may not be read leaves its view out."""
        found = {}
        for view in self.binding.views:
            value = data.get(view.data_key)
            if isinstance(value, str) and value.strip():
                with contextlib.suppress(ForbiddenAddressError):
                    found[view.view] = task_image_url(value, self.spec.label_studio.url)
        if self._one_picture and found:
            name = self._view(data)
            return {name: next(iter(found.values()))} if name in self.view_names else {}
        return found
