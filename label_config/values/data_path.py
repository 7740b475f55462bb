"""Task data keys as labelling configs write them: ``image``, ``files.image``, ``images[0]``, ``images[0].url``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

_STEP = re.compile(r"\.?([A-Za-z_][A-Za-z0-9_-]*)|\[([0-9]{1,6})\]")
#: What may stand behind the ``$`` of a tag's value.
PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_-]*|\[[0-9]{1,6}\])*")


def value_at(data: Mapping[str, Any], path: str) -> Any:
    """The value at a path, None where there is none.  A key that is spelt like the whole path comes first, as in Label Studio."""
    if path in data:
        return data[path]
    if not PATH.fullmatch(path):
        return None
    value: Any = data
    for name, position in _STEP.findall(path):
        if name and isinstance(value, Mapping):
            value = value.get(name)
        elif position and isinstance(value, list) and int(position) < len(value):
            value = value[int(position)]
        else:
            return None
    return value


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Task data that has these values at these paths: inverse of :func:`value_at`.

    Places of a list that no path names hold an empty text, which Label Studio shows as no picture.
    """
    root: dict[str, Any] = {}
    for path, value in values.items():
        steps = [name or int(position) for name, position in _STEP.findall(path)] if PATH.fullmatch(path) else [path]
        holder: Any = root
        for step, following in pairwise(steps):
            holder = _held(holder, step, [] if isinstance(following, int) else {})
        _held(holder, steps[-1], None)
        holder[steps[-1]] = value
    return root


def _held(holder: Any, step: str | int, empty: Any) -> Any:
    """What a mapping or a list holds at a step; where that is nothing yet, ``empty`` is put there."""
    if isinstance(step, int):
        holder.extend([""] * (step + 1 - len(holder)))
        if holder[step] == "":
            holder[step] = empty
    else:
        holder.setdefault(step, empty)
    return holder[step]


def leaves(value: Any) -> Iterator[Any]:
    """Every text and number in task data, in order, however deep in lists and mappings."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value
