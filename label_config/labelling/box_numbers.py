"""Labels of boxes that say which subject they are of: "1", "2", …, the same in all cameras.

People count from one; everywhere else subjects are numbered from zero.
"""

from __future__ import annotations

from collections.abc import Iterable

#: Label of a box that does not say whose it is.
BOX_LABEL = "subject"
_MOST_DIGITS = 4


def number_word(subject: int) -> str:
    """The label of a subject's boxes, and its name wherever people read of it."""
    return str(subject + 1)


def numbered_by(labels: Iterable[str]) -> int | None:
    """The subject that the labels of a box name, None where they name none, or several."""
    found = {int(label) - 1 for label in labels if label.isascii() and label.isdigit() and len(label) <= _MOST_DIGITS}
    return found.pop() if len(found) == 1 and min(found) >= 0 else None
