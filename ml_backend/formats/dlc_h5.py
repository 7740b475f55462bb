"""DeepLabCut's tables as HDF5, in both forms in which pandas writes them.  Runs in a child process with limits.

Read with h5py instead of pandas, whose reader executes pickles that lie in the file.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from label_config.values.errors import LabelFileError

_LEVELS = ("scorer", "individuals", "bodyparts", "coords")


def read(path: Path) -> dict[str, Any]:
    """columns: [scorer, individual, bodypart, coord] each; rows: names of pictures; values (rows, columns)."""
    with h5py.File(path, "r") as file:
        group = next((item for item in file.values() if isinstance(item, h5py.Group) and "pandas_type" in item.attrs), None)
        if group is None:
            raise LabelFileError("expected a table that pandas wrote (key df_with_missing), found none")
        kind = _text(group.attrs["pandas_type"])
        names, columns, rows, values = _fixed(group) if kind == "frame" else _table(group)
    if values.shape != (len(rows), len(columns)):
        raise LabelFileError(f"expected {len(rows)} × {len(columns)} numbers, got {values.shape}")
    if not set(names) <= set(_LEVELS) or not {"bodyparts", "coords"} <= set(names):
        raise LabelFileError(f"expected columns named by scorer, bodyparts, coords, got {', '.join(map(str, names))}")
    place = [names.index(level) if level in names else None for level in _LEVELS]
    return {
        "columns": [["" if at is None else str(column[at]) for at in place] for column in columns],
        "rows": rows,
        "values": np.asarray(values, dtype=np.float64),
    }


def _fixed(group: h5py.Group) -> tuple[list[str], list[tuple[str, ...]], list[str], Any]:
    names, columns = _axis(group, "axis0")
    _, rows = _axis(group, "axis1")
    items = _axis(group, "block0_items")[1]
    if int(group.attrs.get("nblocks", 0)) != 1 or items != columns:
        raise LabelFileError("expected one block of numbers; the table holds columns of other kinds")
    return names, columns, [_row(row) for row in rows], group["block0_values"][()]


def _axis(group: h5py.Group, name: str) -> tuple[list[str], list[tuple[str, ...]]]:
    """Names of the levels, and the labels of every position."""
    if name in group:
        return [""], [(_text(value),) for value in group[name][()]]
    levels: list[list[str]] = []
    names: list[str] = []
    while f"{name}_level{len(levels)}" in group:
        level = group[f"{name}_level{len(levels)}"]
        names.append(_text(level.attrs.get("name", b"")))
        values, codes = [_text(value) for value in level[()]], group[f"{name}_label{len(levels)}"][()]
        levels.append([values[code] if code >= 0 else "" for code in codes])
    if not levels:
        raise LabelFileError(f"expected an index {name!r}, found none")
    return names, list(zip(*levels, strict=True))


def _table(group: h5py.Group) -> tuple[list[str], list[tuple[str, ...]], list[str], Any]:
    table = group["table"]
    fields = table.dtype.names
    blocks = [name for name in fields if name.startswith("values_block_")]
    index = [name for name in fields if name == "index" or not name.startswith(("values_block_", "index_"))]
    if blocks != ["values_block_0"]:
        raise LabelFileError("expected one block of numbers; the table holds columns of other kinds")
    content = table[()]
    columns = [tuple(map(str, column)) for column in _plain(table.attrs["values_block_0_kind"])]
    rows = [_row(tuple(_text(row[name]) for name in index if name not in blocks)) for row in content]
    names = _names_of_columns(group, len(columns[0]) if columns else 0)
    return names, columns, rows, content["values_block_0"]


def _names_of_columns(group: h5py.Group, depth: int) -> list[str]:
    """pandas keeps them among pickled settings; by their number they are known as well."""
    known = {3: ["scorer", "bodyparts", "coords"], 4: list(_LEVELS)}
    if depth not in known:
        raise LabelFileError(f"expected columns of three or four levels, got {depth}")
    return known[depth]


class _PlainUnpickler(pickle.Unpickler):
    """Lists, tuples, texts and numbers; everything that could run something is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.partition(".")[0], name) in {("numpy", "str_"), ("numpy", "dtype"), ("numpy", "scalar")}:
            return super().find_class(module, name)
        raise LabelFileError(f"the file names a program part ({module}.{name}), which is not run")


def _plain(value: Any) -> Any:
    data = value.tobytes() if isinstance(value, np.ndarray) else bytes(value)
    return _PlainUnpickler(io.BytesIO(data)).load()


def _row(parts: tuple[str, ...]) -> str:
    return "/".join(part for part in parts if part)


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
