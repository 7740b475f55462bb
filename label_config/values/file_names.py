"""Names of recordings and cameras come from a project: files that are called by them stay in their folder."""

from __future__ import annotations

import re

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


def _part(text: str) -> str:
    name = _NOT_IN_NAMES.sub("_", text)
    name = name.encode()[:_LONGEST_BYTES].decode(errors="ignore")
    return name if name.strip(". ") else "_" * max(len(name), 1)
