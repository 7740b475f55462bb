"""The cells of a CSV file as spreadsheets and other tools save it: any of the usual encodings and separators."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from pathlib import Path

from label_config.values.errors import LabelFileError

#: Words for "no number", as pandas reads them.
EMPTY = frozenset({"", "na", "n/a", "#n/a", "nan", "-nan", "null", "none", "<na>"})
_NUMBER_WITH_COMMA = re.compile(r"[-+]?\d+,\d+(e[-+]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Cells:
    """rows: (line in the file, cells); notes: what was assumed; comma: numbers have a decimal comma."""

    rows: list[tuple[int, list[str]]]
    notes: tuple[str, ...]
    comma: bool = False

    def number(self, path: Path, line: int, column: int, cell: str) -> float:
        """NaN for an empty cell.  Raises BadInputError naming line and column (from 1) for what is no finite number."""
        text = cell.strip()
        try:
            value = float(text.replace(",", ".") if self.comma else text)
        except ValueError:
            value = float("nan")
        if math.isfinite(value) and "_" not in text:
            return value
        if text.lower() not in EMPTY:
            raise LabelFileError(f"{path}:{line}: column {column}: expected a number or nothing, got {cell[:80]!r}")
        return float("nan")


def read_cells(path: Path, most_lines: int | None = None) -> Cells:
    """Rows with any content, of so many lines at most.

    UTF-8, UTF-16 with its mark, else Windows-1252; separated by comma, semicolon or tab.

    Raises BadInputError for a file that is no text, or cannot be opened.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LabelFileError(f"{path}: cannot be read ({error.strerror or error})") from error
    text, notes = _decoded(path, data)
    separator = _separator(text)
    if separator != ",":
        notes.append(f"cells are separated by {'semicolons' if separator == ';' else 'tabs'}")
    try:
        reader = csv.reader(text.splitlines(keepends=True)[:most_lines], delimiter=separator)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise LabelFileError(f"{path}: cannot be read as a CSV table ({error})") from error
    comma = separator != "," and any(_NUMBER_WITH_COMMA.fullmatch(cell) for _, row in rows for cell in row)
    if comma:
        notes.append("numbers have a decimal comma")
    return Cells(rows, tuple(notes), comma)


def _decoded(path: Path, data: bytes) -> tuple[str, list[str]]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings, notes = ["utf-16"], ["the file is UTF-16"]
    else:
        encodings, notes = ["utf-8-sig", "cp1252"], []
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text, notes if encoding != "cp1252" else ["the file is not UTF-8; it was read as Windows-1252"]
    raise LabelFileError(f"{path}: cannot be read as text: expected a CSV table in UTF-8, UTF-16 or Windows-1252")


def _separator(text: str) -> str:
    """Of the first line with any: headers of these tables repeat it in every cell."""
    head = next((line for line in text.splitlines() if line.strip()), "")
    return max(",;\t", key=head.count)
