"""Which frame does a labelled picture show?  By its folder and its name, never by its name alone.

A folder of the label file stands for the folder of the frames whose path ends alike ("labeled-data/session1" for
"/data/mouse/session1"); frames of a video lie in a folder called as the video, as DeepLabCut extracts them, and are numbered
as the video numbers them.  Where no name fits, a single folder is taken for a single folder, and a note says so.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from label_config.values import Frame, FrameKey, ImageRef
from label_config.values.errors import LabelFileError
from ml_backend.formats.label_records import LabelledImage

Parts = tuple[str, ...]


class LabelPlace(NamedTuple):
    """One view of one frame."""

    key: FrameKey
    view: str
    image: ImageRef


@dataclass
class _Folder:
    """Pictures by name; frames that are extracted from a video by number; frames of the video file itself."""

    names: dict[str, list[LabelPlace]] = field(default_factory=lambda: defaultdict(list))
    numbers: dict[int, list[LabelPlace]] = field(default_factory=lambda: defaultdict(list))
    of_video: bool = False

    def find(self, label: LabelledImage) -> list[LabelPlace]:
        if label.image.frame_index is not None:
            return self.numbers.get(label.image.frame_index, []) if self.of_video else []
        if self.of_video:
            return []
        name = picture_parts(label.image.source)[-1]
        digits = re.findall(r"\d+", name.rpartition(".")[0] or name)
        return self.names.get(name) or (self.numbers.get(int(digits[-1]), []) if digits and len(digits[-1]) < 12 else [])


@dataclass(frozen=True)
class Matches:
    """found: each label with its place; rest: labels of other pictures; notes: what was assumed."""

    found: tuple[tuple[LabelledImage, LabelPlace], ...]
    rest: tuple[LabelledImage, ...]
    notes: tuple[str, ...]


def picture_parts(source: str) -> Parts:
    """Folders and name of a path or an address, Label Studio's addresses of local files and uploads among them."""
    text = source.replace("\\", "/")
    if "?d=" in text:
        text = parse_qs(urlsplit(text).query).get("d", [text])[0]
    elif "://" in text:
        text = unquote(urlsplit(text).path)
    return tuple(part for part in text.split("/") if part not in ("", ".", "..")) or (source,)


def match_labels_to_frames(labels: Sequence[LabelledImage], frames: Iterable[Frame], views: Sequence[str]) -> Matches:
    """Find the frame and view of every label.

    Raises BadInputError where a folder fits several, or a picture several cameras and the label does not say which.
    """
    folders = _folders(frames)
    by_folder: dict[tuple[Parts, str | None], list[LabelledImage]] = defaultdict(list)
    for label in labels:
        view = label.view if label.view in views and len(views) > 1 else None
        by_folder[_folder_of(label), view].append(label)
    alone = len({parts for parts, _ in by_folder}) == 1
    found: list[tuple[LabelledImage, LabelPlace]] = []
    rest: list[LabelledImage] = []
    notes: list[str] = []
    for (parts, view), members in by_folder.items():
        chosen, note = _choose(parts, view, members, folders, alone)
        notes += [note] if note else []
        for label in members:
            places = _of_view(folders[chosen].find(label), view) if chosen is not None else []
            if not places:
                rest.append(label)
            elif len(places) > 1:
                raise LabelFileError(
                    f"{label.image.source}: this picture shows {', '.join(place.view for place in places)}; the labels must say "
                    "which of them is meant: keypoint names that end in _<camera>, or --view"
                )
            else:
                found.append((label, places[0]))
    return Matches(tuple(found), tuple(rest), tuple(notes))


def _folders(frames: Iterable[Frame]) -> dict[Parts, _Folder]:
    folders: dict[Parts, _Folder] = defaultdict(_Folder)
    for frame in frames:
        for view, ref in frame.images.items():
            place, parts = LabelPlace(frame.key, view, ref), picture_parts(ref.source)
            # As we extract and export it; two cameras' videos may have one name.
            ours = [(frame.key.sequence, view), (f"{frame.key.sequence}_{view}",)]
            if ref.frame_index is None:
                folders[parts[:-1]].names[parts[-1]].append(place)
                folders[ours[0]].numbers[frame.key.index].append(place)
                continue
            folders[parts].of_video = True
            folders[parts].numbers[ref.frame_index].append(place)
            for extracted in ((*parts[:-1], parts[-1].rpartition(".")[0]), ours[1]):
                folders[extracted].numbers[ref.frame_index].append(place)
            folders[ours[0]].numbers[frame.key.index].append(place)
    return dict(folders)


def _folder_of(label: LabelledImage) -> Parts:
    parts = picture_parts(label.image.source)
    return parts if label.image.frame_index is not None else parts[:-1]


def _of_view(places: list[LabelPlace], view: str | None) -> list[LabelPlace]:
    return [place for place in places if view is None or place.view == view]


def _choose(
    parts: Parts, view: str | None, members: Sequence[LabelledImage], folders: dict[Parts, _Folder], alone: bool
) -> tuple[Parts | None, str | None]:
    """The folder of frames that this one of the file stands for, and a note."""
    able = [name for name, folder in folders.items() if any(_of_view(folder.find(label), view) for label in members)]
    if not able:
        return None, None
    score = {name: _common(parts, name) for name in able}
    best = max(score.values())
    chosen = [name for name in able if score[name] == best]
    if best == 0:
        real = [name for name in chosen if folders[name].names]  # a frame number alone says nothing
        text = "/".join(parts) or "without a folder"
        if alone and len(real) == 1 and not members[0].image.frame_index:
            return real[0], f"pictures {text} are taken for those in {'/'.join(real[0])}, which have the same names"
        return None, f"pictures {text}: their names fit, but no folder of the project is called so"
    if len({_frames_in(folders[name], members, view) for name in chosen}) > 1:
        raise LabelFileError(
            f"pictures in {'/'.join(parts)!r} may be those in {' or '.join(repr('/'.join(name)) for name in chosen[:3])}; "
            "write more of the path into the label file, or say --video FILE for frames of a video"
        )
    return chosen[0], None


def _frames_in(folder: _Folder, members: Sequence[LabelledImage], view: str | None) -> tuple[tuple[FrameKey, str], ...]:
    return tuple(sorted({(place.key, place.view) for label in members for place in _of_view(folder.find(label), view)}))


def _common(a: Parts, b: Parts) -> int:
    """Parts in which two paths agree from the end on."""
    count = 0
    for x, y in zip(reversed(a), reversed(b), strict=False):
        if x != y:
            break
        count += 1
    return count
