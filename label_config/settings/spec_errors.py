"""What is wrong with parallax.yaml, in words: the place, the reason and, for an unknown key, the nearest known one."""

from __future__ import annotations

import difflib
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

#: Nobody reads more at once.
_MOST_LINES = 30


def explain(error: ValidationError, root: type[BaseModel]) -> str:
    """One indented line per problem."""
    details = error.errors(include_url=False, include_context=False)
    wrong = [detail for detail in details if not _other_branch(detail)]
    lines = list(dict.fromkeys(f"  {_line(detail, root)}" for detail in wrong[:_MOST_LINES]))
    return "\n".join(lines + ([f"  … and {len(wrong) - _MOST_LINES} more"] if len(wrong) > _MOST_LINES else []))


def _other_branch(detail: Any) -> bool:
    """A mapping was given where a fixed word or a mapping may stand: the complaint about the word is noise."""
    return detail["type"] == "literal_error" and isinstance(detail["input"], dict)


def _line(detail: Any, root: type[BaseModel]) -> str:
    # pydantic adds the branch of a union to the place, such as dict[str,float]; people did not write that
    *places, last = detail["loc"] or ("top level",)
    unknown = detail["type"] == "extra_forbidden"  # what is last was written by people then, whatever it is
    location = tuple(
        part for part in (*places, last) if (unknown and part is last) or not (isinstance(part, str) and "[" in part)
    )
    where = ".".join(str(part) for part in location) or "top level"
    if not unknown:
        given = "" if detail["type"] in ("missing", "value_error") else f", got {_short(detail['input'])}"
        return f"{where}: {detail['msg'].removeprefix('Value error, ')}{given}"
    known = _fields_at(location[:-1], root)
    near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.0)
    suggestion = f"; did you mean {near[0]!r}?" if near else ""
    return f"{where}: unknown key{suggestion} (known here: {', '.join(known)})"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _fields_at(location: tuple[str | int, ...], root: type[BaseModel]) -> list[str]:
    """Names that may stand at a place in the file."""
    section = root
    for part in location:
        field = section.model_fields.get(str(part))
        if field is not None:
            section = _model_in(field.annotation) or section
    return list(section.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The section inside an annotation such as ``tuple[Recording, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part)) is not None), None)
