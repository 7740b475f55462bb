"""Paths made from names that others chose."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from label_config.values import FrameKey
from label_config.values.errors import RecordingError


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


def frame_path(root: str | Path, key: FrameKey, view: str, suffix: str = ".jpg") -> Path:
    """Where the extracted picture of one view of one frame lives: root/sequence/view/000412.jpg."""
    for name in (key.sequence, view):
        if name in ("", ".") or "/" in name or "\\" in name:
            raise RecordingError(f"{key}, view {view!r}: {name!r} cannot be the name of a folder; rename it")
    return safe_join(root, f"{key.sequence}/{view}/{key.index:06d}{suffix}")
