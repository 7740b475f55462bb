"""How the frame, and the camera, of an existing task are read from its data.

Projects that were not made by Parallax name their pictures in their own way.  Three rules in parallax.yaml say where
the sequence, the frame number and (for one task per camera picture) the view are written::

    frames:
      sequence: {key: trial}                                # the value of data["trial"]
      index: {key: image, pattern: "frame_(\\d+)\\.jpg$"}     # the group of a regular expression found in data["image"]
      view: {pattern: "/(cam[A-D])/"}                       # no key: the first text value of the data that matches

A plain string is short for a key: ``sequence: trial``.  Rules see what the user wrote: addresses before Label Studio resolves
them, percent-decoded and without signatures (``written_address``).  ``box`` names the key that holds the subject's boxes
(``task_boxes``); it is ``box`` unless the project calls it otherwise.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from label_config.values import BadInputError
from label_config.values.data_path import leaves, value_at
from label_config.values.refusal import Refusal
from label_config.values.written_address import written_address

#: Characters that the name of a sequence may have in the store.
LONGEST_SEQUENCE = 300


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

    def read(self, data: Mapping[str, Any], name: str) -> str:
        """The value.  ``name`` is the rule's own name, for the message of the RefusedError that says why there is none."""
        if self.key is not None and value_at(data, self.key) is None:
            raise FrameRuleError(Refusal(f"{name}: expected {self.key!r} in the task's data", _keys(data)))
        candidates = leaves(data) if self.key is None else [value_at(data, self.key)]
        texts = [text for value in candidates if (text := _text(value))]
        if self.pattern is None:
            if texts:
                return texts[0]
            wanted = f"{name}: expected text or a number in data[{self.key!r}]"
            raise FrameRuleError(Refusal(wanted, _short(value_at(data, self.key or ""))))
        for text in texts:
            match = re.search(self.pattern, text)
            if match and match.group(1):
                return match.group(1)
        where = "any text of the task's data" if self.key is None else f"data[{self.key!r}]"
        any_case = any(re.search(self.pattern, text, re.IGNORECASE) for text in texts)
        fix = "begin the pattern with (?i) to read capital and small letters alike" if any_case else ""
        raise FrameRuleError(Refusal(f"{name}: expected the pattern '{self.pattern}' in {where}", _short_list(texts), fix))


class FrameRuleError(BadInputError):
    """A rule found nothing that can be used; ``refusal`` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


def _text(value: Any) -> str | None:
    """Text and numbers as they are matched: addresses as a person reads them, 12.0 (as tables of numbers write it) as 12."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value) if math.isfinite(value) else None
    return written_address(value) if isinstance(value, str) else str(value)


def _keys(data: Mapping[str, Any]) -> str:
    return f"the keys {', '.join(sorted(map(str, data)))}"[:200] if data else "no data"


def _short(value: Any) -> str:
    text = repr(written_address(value) if isinstance(value, str) else value)
    return text if len(text) <= 80 else text[:77] + "..."


def _short_list(texts: Sequence[str]) -> str:
    return ", ".join(map(_short, texts[:3])) + (" …" if len(texts) > 3 else "") or "no text"


@dataclass(frozen=True)
class FrameName:
    """What the rules found; None where there is no rule or nothing matched.

    refused  name of the value → why a rule that is set did not find it
    """

    sequence: str | None
    index: int | None
    view: str | None
    refused: Mapping[str, Refusal] = field(default_factory=dict)


class FrameRules(BaseModel):
    """The three rules, of which one that is absent leaves its value open, and the key of the boxes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sequence: FieldRule | None = None
    index: FieldRule | None = None
    view: FieldRule | None = None
    box: str = "box"

    def read(self, data: Mapping[str, Any]) -> FrameName:
        """Sequence, frame number and view of a task.  Addresses are read percent-decoded and without their signatures."""
        found: dict[str, str] = {}
        refused: dict[str, Refusal] = {}
        for name in ("sequence", "index", "view"):
            rule = getattr(self, name)
            try:
                if rule is not None:
                    found[name] = rule.read(data, f"frames.{name}")
            except FrameRuleError as error:
                refused[name] = error.refusal
        sequence, index = found.get("sequence"), None
        if sequence is not None and (len(sequence) > LONGEST_SEQUENCE or not sequence.isprintable()):
            wanted = f"frames.sequence: expected at most {LONGEST_SEQUENCE} printable characters"
            sequence, refused["sequence"] = None, Refusal(wanted, _short(found["sequence"]))
        if "index" in found:
            number = re.fullmatch(r"([0-9]{1,18})(?:[.]0+)?", found["index"])
            if number:
                index = int(number.group(1))
            else:
                refused["index"] = _no_number(found["index"])
        return FrameName(sequence=sequence, index=index, view=found.get("view"), refused=refused)


def _no_number(text: str) -> Refusal:
    digits = re.findall("[0-9]{1,18}", text)
    fix = f"a pattern with the number in parentheses would find {digits[0]}" if len(digits) == 1 and text[:1] != "-" else ""
    return Refusal("frames.index: expected a whole number from 0 to 18 digits", _short(text), fix)
