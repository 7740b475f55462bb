"""How the frame, and the camera, of an existing task are read from its data.

Projects that were not made by Parallax name their pictures in their own way.  Three rules in parallax.yaml say where
the sequence, the frame number and (for one task per camera picture) the view are written::

    frames:
      sequence: {key: trial}                                # the value of data["trial"]
      index: {key: image, pattern: "frame_(\\d+)\\.jpg$"}     # the group of a regular expression found in data["image"]
      view: {pattern: "/(cam[A-D])/"}                       # no key: the first text value of the data that matches

A plain string is short for a key: ``sequence: trial``.  ``box`` names the key that holds the subject's boxes
(``task_boxes``); it is ``box`` unless the project calls it otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator, model_validator


class FieldRule(BaseModel):
    """Where one value is found in task data: a key, a regular expression with one group, or both."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str | None = None
    pattern: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _key_alone(cls, value: Any) -> Any:
        return {"key": value} if isinstance(value, str) else value

    @field_validator("pattern")
    @classmethod
    def _one_group(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        if groups != 1:
            raise ValueError(f"expected exactly one group in parentheses, got {groups}")
        return pattern

    @model_validator(mode="after")
    def _not_empty(self) -> FieldRule:
        if self.key is None and self.pattern is None:
            raise ValueError("expected a key, a pattern or both, got neither")
        return self

    def read(self, data: Mapping[str, Any]) -> str | None:
        """The value, or None when the key is missing or nothing matches."""
        values = data.values() if self.key is None else [data.get(self.key)]
        for value in values:
            if isinstance(value, bool) or not isinstance(value, str | int):
                continue
            if self.pattern is None:
                return str(value)
            match = re.search(self.pattern, str(value))
            if match and match.group(1):
                return match.group(1)
        return None


@dataclass(frozen=True)
class FrameName:
    """What the rules found; None where there is no rule or nothing matched."""

    sequence: str | None
    index: int | None
    view: str | None


class FrameRules(BaseModel):
    """The three rules, of which one that is absent leaves its value open, and the key of the boxes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sequence: FieldRule | None = None
    index: FieldRule | None = None
    view: FieldRule | None = None
    box: str = "box"

    def read(self, data: Mapping[str, Any]) -> FrameName:
        """Sequence, frame number and view of a task.  A frame number that is no whole number counts as not found."""
        sequence, index, view = (rule.read(data) if rule else None for rule in (self.sequence, self.index, self.view))
        number = int(index) if index is not None and re.fullmatch(r"[0-9]{1,18}", index) else None
        return FrameName(sequence=sequence, index=number, view=view)
