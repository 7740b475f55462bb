"""What the data of a task says: which frame it shows, and in which views."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from label_config.labelling.binding import Binding
from label_config.labelling.task_boxes import have_numbers, read_boxes_of_subjects
from label_config.settings.frame_rules import LONGEST_SEQUENCE
from label_config.settings.spec import Spec
from label_config.values import BadInputError, Box, FrameKey
from label_config.values.data_path import value_at
from label_config.values.refusal import Refusal
from ml_backend.recordings import ForbiddenAddressError, task_image_url

#: Task data of ours: the frame, and the camera where the labelling config has a single picture.
KEY, VIEW = "parallax_key", "parallax_view"
#: Frame numbers that the store can hold.
_LARGEST_INDEX = 10**18
#: The sequence of projects that set no rule for it.
ONE_SEQUENCE = "tasks"


@dataclass(frozen=True)
class Reading:
    """What a task shows.

    key      the frame, None when the data does not tell
    views    view → address of its picture
    refused  view → why its picture cannot be used
    why      why the task shows nothing that can be used, None when it does
    """

    key: FrameKey | None
    views: Mapping[str, str]
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    why: Refusal | None = None


@dataclass(frozen=True)
class TaskNames:
    """Reads tasks of ours by their ``parallax_key`` and foreign ones by the ``frames`` rules of parallax.yaml.

    public_url  of Label Studio, as it says itself; parallax.yaml goes before
    """

    spec: Spec
    binding: Binding
    view_names: tuple[str, ...]
    public_url: str | None = None

    def read(self, data: Mapping[str, Any], resolved: Mapping[str, Any] | None = None) -> Reading:
        """The frame and the pictures of a task.

        data      as the user wrote it; frame, sequence and view are read from it
        resolved  the same as Label Studio resolves it, with addresses that can be fetched; None = nothing to resolve
        """
        key = self._key(data)
        view = self._view(data) if self.one_picture else None
        if isinstance(key, Refusal) or isinstance(view, Refusal):
            return Reading(None, {}, why=key if isinstance(key, Refusal) else view if isinstance(view, Refusal) else None)
        views, refused = self._addresses(data if resolved is None else resolved)
        if view is not None:
            views = dict(zip([view], views.values(), strict=False))  # the one picture, whichever camera's it is
            refused = dict(zip([view], refused.values(), strict=False))
        if views:
            return Reading(key, views, refused)
        wanted = ", ".join(of.data_key for of in self.binding.views)
        nothing = Refusal(f"expected the address of a picture under {wanted}", "none", "correct the task's data")
        return Reading(key, {}, refused, why=next(iter(refused.values()), nothing))

    def boxes(self, data: Mapping[str, Any]) -> dict[str, dict[int, Box]] | None:
        """View → subject → box, {} = the data says that there is none; None where the data says nothing about boxes.

        Raises BadInputError for a value that is no box.
        """
        if self.spec.frames.box not in data:
            return None
        own = self._view(data)
        views = [view for view in self.view_names if view == own or not self.one_picture]
        found = read_boxes_of_subjects(data[self.spec.frames.box], views, self.spec.subjects.max)
        return {view: found.get(view, {}) for view in views}

    def boxes_have_numbers(self, data: Mapping[str, Any]) -> bool:
        """Whether the boxes in the data say which subject each is of, the same in all cameras."""
        return self.spec.subjects.max == 1 or have_numbers(data.get(self.spec.frames.box))

    @property
    def one_picture(self) -> bool:
        """The config has one picture and serves several cameras, one task each."""
        return len(self.binding.views) < len(self.view_names)

    def binding_of(self, views: Sequence[str] | None) -> Binding:
        """The binding for a task that shows these views (None = all)."""
        return self.binding.for_view(views[0]) if self.one_picture and len(self.binding.views) == 1 and views else self.binding

    @staticmethod
    def own_key(data: Mapping[str, Any]) -> FrameKey | None:
        """The frame that Parallax wrote into the data, None where there is none or it was damaged."""
        text = data.get(KEY)
        if not isinstance(text, str):
            return None
        with contextlib.suppress(BadInputError, ValueError):
            key = FrameKey.parse(text)
            usable = len(key.sequence) <= LONGEST_SEQUENCE and key.sequence.isprintable() and key.index < _LARGEST_INDEX
            return key if usable else None
        return None

    def _key(self, data: Mapping[str, Any]) -> FrameKey | Refusal:
        own = self.own_key(data)
        if own is not None:
            return own
        rules = self.spec.frames
        name = rules.read(data)
        for rule in ("index", "sequence"):
            if rule in name.refused:
                return name.refused[rule]
        if name.index is None:
            has = ", ".join(sorted(map(str, data)))[:200] or "nothing"
            fix = "set frames.index (and frames.sequence) in parallax.yaml"
            return Refusal("expected to know which frame the task shows", f"data with {has}", fix)
        return FrameKey(name.sequence or ONE_SEQUENCE, name.index)

    def _view(self, data: Mapping[str, Any]) -> str | Refusal:
        """The camera of a task with one picture."""
        name = self.spec.frames.read(data)
        found = data[VIEW] if isinstance(data.get(VIEW), str) else name.view
        if found in self.view_names:
            return str(found)
        wanted = f"frames.view: expected one of the cameras {', '.join(self.view_names)}"
        if found is None:
            return name.refused.get("view") or Refusal(wanted, "no rule", "set frames.view in parallax.yaml")
        return Refusal(wanted, repr(found)[:80], "correct frames.view or views in parallax.yaml")

    def _addresses(self, data: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Refusal]]:
        """View → address, and view → why there is none although the data says something."""
        found, refused = {}, {}
        server = self.spec.label_studio
        for view in self.binding.views:
            value, where = value_at(data, view.data_key), f"{view.view}: data[{view.data_key!r}]"
            if value is None or (isinstance(value, str) and not value.strip()):
                continue
            if not isinstance(value, str):
                refused[view.view] = Refusal(f"{where}: expected one address of a picture", f"a {type(value).__name__}")
                continue
            try:
                found[view.view] = task_image_url(value, server.url, server.public_url or self.public_url)
            except ForbiddenAddressError as error:
                problem = str(error).removeprefix(f"{error.where}: ")
                refused[view.view] = Refusal(f"{where}: this address cannot be used: {problem}", repr(error.where))
        return found, refused
