"""Videos and folders that a user names → recordings, each with the file of every camera.

A file belongs to the camera whose name is its own (as calibrations and views are matched), or a part of it between separators:
``monday_cam1.mp4`` is cam1's file of the recording ``monday``, ``monday/cam1.mp4`` and ``cam1/monday.mp4`` are as well.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from label_config.values.errors import RecordingError
from label_config.values.file_names import file_name
from ml_backend.recordings.sources import VIDEO_SUFFIXES, is_video, list_pictures

#: Recording → camera → file.
Recordings = dict[str, dict[str, str]]
#: The camera of a recording that has one, and says no name.
CAMERA = "camera"


def recordings_of(given: Sequence[Path], views: Sequence[str], *, shared: bool = False) -> Recordings:
    """Group files by recording and camera; folders stand for the videos, or the folders of pictures, in them.

    views   cameras that are known, () = none: then every file is a recording of one camera
    shared  all views are parts of one picture, as in a mirror rig: every file then has all of them
    Raises BadInputError in words where a file fits no camera or several, and where a camera has two files.
    """
    # Decoders are other processes, which may stand in another folder.
    sources = [source.absolute() for path in given for source in _expanded(path)]
    if shared or len(views) < 2:
        names = _own_names(sources)
        return {name: dict.fromkeys(views or (CAMERA,), str(source)) for name, source in zip(names, sources, strict=True)}
    groups: dict[tuple[Path, str], dict[str, Path]] = defaultdict(dict)
    for source in sources:
        view, home, rest = _place(source, views)
        other = groups[home, rest].setdefault(view, source)
        if other != source:
            raise RecordingError(
                f"{other} and {source} both fit camera {view!r} of one recording; name them apart, or give one of them at a time"
            )
    return {
        name: {view: str(of_view[view]) for view in views if view in of_view}
        for name, of_view in zip(_group_names(list(groups)), groups.values(), strict=True)
    }


def named_cameras(pairs: Sequence[str], views: Sequence[str]) -> dict[str, str]:
    """``NAME=FILE`` each → camera → file.  Raises BadInputError for anything else and for cameras that nobody knows."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not (equals and name and file):
            raise RecordingError(f"--camera {pair!r}: expected NAME=FILE, such as --camera left=monday_left.mp4")
        if views and name not in views:
            raise RecordingError(f"--camera {pair!r}: expected one of the cameras {', '.join(views)}, got {name!r}")
        if name in found:
            raise RecordingError(f"--camera {name}: given twice, with {found[name]} and {file}")
        if not Path(file).exists():
            raise RecordingError(f"--camera {pair!r}: no such file or folder: {file}")
        found[name] = str(Path(file).absolute())
    return found


def recording_name(text: str) -> str:
    """A name that can also be a folder's."""
    name = file_name(text).strip().lstrip(".")
    return name if name.strip("_") else "recording"


def _expanded(path: Path) -> list[Path]:
    """The sources behind one argument: a file itself, a folder of pictures itself, else the videos or picture folders in it."""
    if not path.exists():
        raise RecordingError(f"{path}: no recording of the project, and no such file or folder")
    if path.is_file():
        return [path]
    inside = sorted(item for item in path.iterdir() if not item.name.startswith("."))
    videos = [item for item in inside if item.is_file() and is_video(item)]
    pictures, below = _has_pictures(path), [item for item in inside if item.is_dir() and _has_pictures(item)]
    if bool(videos) + pictures + bool(below) > 1:
        raise RecordingError(f"{path}: holds videos and pictures, or pictures and folders of them; name what is meant")
    if pictures:
        return [path]
    if videos or below:
        return videos or below
    raise RecordingError(f"{path}: expected videos ({', '.join(VIDEO_SUFFIXES)}) or pictures in this folder, found none")


def _has_pictures(folder: Path) -> bool:
    try:
        return bool(list_pictures(folder))
    except RecordingError:
        return False


def _place(source: Path, views: Sequence[str]) -> tuple[str, Path, str]:
    """(camera, folder of the recording, what else the name says)."""
    stem = source.name if source.is_dir() else source.stem
    whole = source.resolve()
    for text, home, rest in ((stem, whole.parent, None), (whole.parent.name, whole.parent.parent, stem)):
        fits = _cameras_in(text, views)
        if len(fits) > 1:
            raise RecordingError(
                f"{source}: its name fits the cameras {' and '.join(fits)}; say which it is: --camera {fits[0]}={source}"
            )
        if fits:
            return fits[0], home, _without(text, fits[0]) if rest is None else rest
    raise RecordingError(
        f"{source}: which camera is it? Expected one of {', '.join(views)} in its name; say it: --camera {views[0]}={source}"
    )


def _cameras_in(text: str, views: Sequence[str]) -> list[str]:
    plain = _letters(text)
    whole = [view for view in views if view == text] or [view for view in views if _letters(view) == plain]
    if whole:
        return whole
    parts = [view for view in views if _pattern(view).search(text)]
    # "left" is also a part of "left-top": the longer name is meant.
    return [view for view in parts if not any(view != other and _pattern(view).search(other) for other in parts)]


def _pattern(view: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z0-9]){re.escape(view)}(?![a-z0-9])", re.IGNORECASE)


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _without(text: str, view: str) -> str:
    """What is left of a name, without separators at its ends."""
    before, _, after = _pattern(view).sub("\0", text, count=1).partition("\0")
    if _letters(text) == _letters(view):
        return ""
    return "_".join(part for part in (before.strip(" _-.,"), after.strip(" _-.,")) if part)


def _group_names(groups: Sequence[tuple[Path, str]]) -> list[str]:
    """What the names say beside the camera, else the folder; with the folder where that is not enough."""
    names = [recording_name(rest or home.name) for home, rest in groups]
    return [
        name if names.count(name) == 1 else recording_name(f"{home.name}_{rest}" if rest else "_".join(home.parts[-2:]))
        for name, (home, rest) in zip(names, groups, strict=True)
    ]


def _own_names(sources: Sequence[Path]) -> list[str]:
    """By the file, with its folder where two have one name.  Raises BadInputError where that is not enough."""
    stems = [recording_name(source.name if source.is_dir() else source.stem) for source in sources]
    names = [
        stem if stems.count(stem) == 1 else recording_name(f"{source.resolve().parent.name}_{source.name}")
        for stem, source in zip(stems, sources, strict=True)
    ]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        alike = " and ".join(str(source) for source, name in zip(sources, names, strict=True) if name == twice)
        raise RecordingError(f"{alike}: would have one name, {twice!r}; give them in two calls")
    return names
