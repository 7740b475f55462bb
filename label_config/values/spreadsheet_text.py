"""Text that a spreadsheet would run as a formula when it opens a CSV file.

Names of labels, recordings and annotators come from a project: ``=HYPERLINK(…)`` is a name like any other until somebody
double-clicks the file.  Numbers are no text, whatever their sign.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from label_config.values.errors import LabelFileError

_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def runs(text: str) -> bool:
    """A spreadsheet may take the text for a formula, also behind blanks."""
    return text.startswith(_STARTS) or text.lstrip().startswith(_STARTS)


def shown_as_text(text: str) -> str:
    """For tables that only people read: with an apostrophe before what would run, which a spreadsheet shows as text."""
    return "'" + re.sub(r"[\t\r\n]", " ", text) if runs(text) else text


def check_no_formula(where: object, texts: Iterable[str]) -> None:
    """For tables of tools, which need every name as it is.  Raises BadInputError naming the text that would run."""
    found = next((text for text in texts if runs(text)), None)
    if found is not None:
        raise LabelFileError(
            f"{where}: {found[:80]!r} would run as a formula where a spreadsheet opens this table, and the tool that it is for "
            "needs the name as it is; give it another name (`aliases` in parallax.yaml for a label), or export as coco"
        )
