"""Where the extracted pictures of a project lie."""

from __future__ import annotations

from pathlib import Path

from label_config.values import FrameKey
from label_config.values.errors import RecordingError
from label_config.values.file_names import is_one_name, safe_join


def frame_path(root: str | Path, key: FrameKey, view: str, suffix: str = ".jpg") -> Path:
    """Where the extracted picture of one view of one frame lives: root/sequence/view/000412.jpg."""
    for name in (key.sequence, view):
        if not is_one_name(name):
            raise RecordingError(f"{key}, view {view!r}: {name!r} cannot be the name of a folder; rename it")
    return safe_join(root, f"{key.sequence}/{view}/{key.index:06d}{suffix}")
