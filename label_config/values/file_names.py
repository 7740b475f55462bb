"""Names of recordings and cameras come from a project: files that are called by them stay in their folder."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from label_config.values.errors import RecordingError

#: Not in a file's name on every system: control characters, surrogates, separators and what Windows keeps for itself.
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f\ud800-\udfff\\:*?"<>|]')
#: File systems take 255 bytes.
_LONGEST_BYTES = 200


def file_name(text: str) -> str:
    """A name without folders: ``../a/b`` → ``.._a_b``, ``..`` → ``__``."""
    return _part(text.replace("/", "_"))


def inner_path(text: str) -> str:
    """A relative path that leads nowhere but down: ``day 1/run`` stays, ``../../a`` → ``__/__/a``."""
    return "/".join(_part(part) for part in text.split("/") if part) or "_"


def is_one_name(text: str) -> bool:
    """The text can name a folder as it is: two recordings must not share one because their names were made alike."""
    return text not in ("", ".", "..") and not any(character in text for character in "/\\\0")


def safe_join(root: str | Path, relative: str) -> Path:
    """``root / relative`` when that lies inside ``root`` after following every link.

    Raises BadInputError for absolute paths, ``..``, NUL and their percent-encoded forms, and for links that lead out.
    """
    base = Path(root).resolve()
    decoded = unquote(unquote(relative))
    climbs = any(part == ".." for text in (relative, decoded) for part in text.replace("\\", "/").split("/"))
    absolute = any(text.startswith(("/", "\\")) or Path(text).is_absolute() for text in (relative, decoded))
    if not relative or "\0" in decoded or climbs or absolute:
        raise RecordingError(f"path {relative!r}: expected a path inside {base}, without '..' and not absolute")
    path = (base / relative).resolve()
    if not path.is_relative_to(base):
        raise RecordingError(f"path {relative!r}: a link leads out of {base}")
    return path


def _part(text: str) -> str:
    name = _NOT_IN_NAMES.sub("_", text)
    name = name.encode()[:_LONGEST_BYTES].decode(errors="ignore")
    return name if name.strip(". ") else "_" * max(len(name), 1)
