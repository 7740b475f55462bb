"""Words that say of a point whether it can be seen: those that are known, and what parallax.yaml says of others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from label_config.values import PointState

#: In lower case.  Numbers are not among them: 0 is COCO's "not labelled" to some and "fully visible" to others.
_WORDS = {
    PointState.VISIBLE: {"visible", "clear", "clearly visible", "in view"},
    PointState.OCCLUDED: {"occluded", "hidden", "invisible", "not visible", "obscured", "covered", "self-occluded"},
    PointState.ABSENT: {"absent", "missing", "not in picture", "not in image", "out of frame", "out of view", "outside"},
}


def _choices_as_text(value: Any) -> Any:
    """``0: absent`` is meant as the choice "0"; ``no`` and ``on`` without quotes are no text in YAML."""
    if not isinstance(value, dict):
        return value
    for choice in value:
        if isinstance(choice, bool):
            spelt = "yes, on or true" if choice else "no, off or false"
            raise ValueError(f"expected the choice as text, got what YAML reads as {choice}; write {spelt} in quotes")
    return {str(choice): state for choice, state in value.items()}


#: Choice, or label beside another one, → what it says of the point; ``unlabelled``: the point is not used.
VisibilityWords = Annotated[dict[str, Literal["visible", "occluded", "absent", "unlabelled"]], BeforeValidator(_choices_as_text)]


def written_state(word: str, written: Mapping[str, str]) -> PointState | None:
    """What ``visibility`` of parallax.yaml (word → state) says of a word; None where it does not mention it."""
    plain = _plain(word)
    return next((PointState[state.upper()] for text, state in written.items() if _plain(text) == plain), None)


def visibility_state(word: str, written: Mapping[str, str] | None = None) -> PointState | None:
    """What a word says about a point, by parallax.yaml first; None for one that is not known."""
    state = written_state(word, written or {})
    return state if state is not None else next((of for of, words in _WORDS.items() if _plain(word) in words), None)


def stronger(*states: PointState) -> PointState:
    """What several words say together: one that takes the point out wins, then the one that hides it most."""
    return PointState.UNLABELLED if PointState.UNLABELLED in states else max(states, default=PointState.VISIBLE)


def _plain(word: str) -> str:
    return re.sub(r"[_\s]+", " ", word).strip().lower()
