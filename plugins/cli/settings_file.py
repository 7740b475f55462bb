"""parallax.yaml is changed in one place, and everything else that people wrote there stays as it is."""

from __future__ import annotations

import errno
import io
import os
import re
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.util import load_yaml_guess_indent

from label_config.settings.yaml_files import parse_yaml, read_yaml
from label_config.values import BadInputError
from label_config.values.atomic_files import replacing

#: A file that is mounted by itself, as into a container, is busy; its folder may be read-only, or somebody else's.
_FIXED_IN_PLACE = (errno.EBUSY, errno.EROFS, errno.EACCES, errno.EPERM)


def set_in_yaml(path: str | Path, section: str, name: str, value: int) -> None:
    """Set ``section.name`` in a file and keep its comments, quotes and layout.

    Raises BadInputError when the file cannot be written, or when its other content would not stay the same.
    """
    by_hand = f"write `{name}: {value}` into {section} yourself"
    before = read_yaml(path) or {}
    wanted = {**before, section: {**(before.get(section) or {}), name: value}}
    text = Path(path).read_bytes().decode("utf-8")
    try:
        changed = _with_value(text, section, name, value)
        same = parse_yaml(changed, str(path)) == wanted
    except (YAMLError, BadInputError):
        same = False
    if not same:
        raise BadInputError(f"{path}: {by_hand}; the file is written in a way that cannot be changed without harm")
    write_whole(Path(path), changed, by_hand)


def _with_value(text: str, section: str, name: str, value: int) -> str:
    lines = "\r\n" if "\r\n" in text else "\n"
    plain = text.replace("\r\n", "\n")
    editor = YAML()
    editor.preserve_quotes, editor.width = True, 4096
    document = editor.load(plain)
    if document is None:  # nothing but remarks, which have no value to stand at
        document = CommentedMap()
        remarks = plain if not plain or plain.endswith("\n") else f"{plain}\n"
    else:
        remarks = ""
        _, indent, offset = load_yaml_guess_indent(plain)
        deeper = re.search(r"^( +)[^\s#-]", plain, flags=re.MULTILINE)
        editor.indent(mapping=len(deeper[1]) if deeper else 2, sequence=indent or 2, offset=offset or 0)
    if document.get(section) is None:
        document[section] = CommentedMap()
    document[section][name] = value
    output = io.StringIO()
    editor.dump(document, output)
    return (remarks + output.getvalue()).replace("\n", lines)


def write_whole(path: Path, text: str, by_hand: str) -> None:
    """Replace a file, all or nothing: a full disk must not leave half of somebody's settings.

    by_hand  what to do where it cannot be written, for the BadInputError
    """
    target, data = path.resolve(), text.encode("utf-8")
    try:
        try:
            with replacing(target) as temporary:
                temporary.write_bytes(data)
                temporary.chmod(target.stat().st_mode)
        except OSError as error:
            if error.errno not in _FIXED_IN_PLACE:
                raise
            _write_in_place(target, data)
    except OSError as error:
        raise BadInputError(f"{path}: {by_hand}; it cannot be written ({error.strerror})") from error


def _write_in_place(target: Path, data: bytes) -> None:
    """Write over what stands there; that comes back when the new does not fit.  Raises OSError."""
    before = target.read_bytes()
    with target.open("r+b", buffering=0) as file:
        try:
            _overwrite(file, data)
        except OSError:
            _overwrite(file, before)
            raise


def _overwrite(file: io.FileIO, data: bytes) -> None:
    file.seek(0)
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
    file.truncate()
    os.fsync(file.fileno())
