"""Sequences and frames: what could be labelled, and on which side of the validation split it lies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
from sqlalchemy import Connection, func, select, update
from sqlalchemy.engine import Row

from label_config.values import DEFAULT_SUBJECT, Box, FloatArray, FrameKey, ImageRef
from ml_backend.store.database import ProjectStore, Store, batches
from ml_backend.store.picture_marks import PictureMark, valid_marks
from ml_backend.store.schema import frames, sequences


@dataclass(frozen=True)
class SequenceRow:
    """One recording.

    rig    a geometry.cameras.Rig as JSON, None when it is not calibrated
    split  a labels.split.SplitRule as JSON, None when none was noted
    """

    name: str
    rig: dict[str, Any] | None
    video: bool
    split: dict[str, Any] | None = None


class BoxNumbers(StrEnum):
    """Where the numbers of a frame's boxes come from: the task's data, nowhere (they are places in lists), or geometry."""

    GIVEN = "given"
    UNKNOWN = "unknown"
    MATCHED = "matched"


@dataclass(frozen=True)
class FrameRow:
    """One frame.

    marks  view → why its picture could not be used at the last try
    boxes  subject → view → box in the data of its tasks
    unnumbered  place in a list → view → box of which nobody knows whose it is: the same place says nothing of two views
    matched  the numbers of ``boxes`` were found by geometry and may change; else the data says them
    """

    id: int
    key: FrameKey
    images: Mapping[str, ImageRef]
    split: str
    random_pick: bool
    marks: Mapping[str, PictureMark] = field(default_factory=dict)
    boxes: Mapping[int, Mapping[str, Box]] = field(default_factory=dict)
    unnumbered: Mapping[int, Mapping[str, Box]] = field(default_factory=dict)
    matched: bool = False

    @property
    def usable(self) -> tuple[str, ...]:
        """Views with a picture that is not known to be damaged."""
        return tuple(view for view in self.images if view not in self.marks or not self.marks[view].damaged)

    def due(self, view: str) -> bool:
        """The view has a picture, and it is not too early to try it again."""
        return view in self.images and (view not in self.marks or self.marks[view].is_due(time.time()))

    def box(self, view: str, size_px: tuple[int, int] | None = None, subject: int = DEFAULT_SUBJECT) -> Box | None:
        """Where the subject is in a view, None when nobody says so or the box lies outside the picture.

        size_px  width and height, for a picture whose size is not known here yet
        """
        box = self.boxes.get(subject, {}).get(view)
        size = size_px or (self.images[view].size_px if view in self.images else None)
        if box is None or size is None:
            return box
        x, y, width, height = box
        return box if x < size[0] and y < size[1] and x + width > 0 and y + height > 0 else None

    def boxes_around_points(self, views: Sequence[str], most: int) -> dict[int, FloatArray]:
        """Subject → (V, 4) left, top, width, height in the frame of the points; NaN = no box, or no picture of known size.

        most  numbers from there on are left out: the project was set to fewer subjects since
        """
        found: dict[int, FloatArray] = {
            subject: np.full((len(views), 4), np.nan) for subject, boxes in self.boxes.items() if boxes and subject < most
        }
        for subject, array in found.items():
            for v, view in enumerate(views):
                box = self.box(view, subject=subject)
                if box is not None and view in self.images and self.images[view].size_px is not None:
                    array[v] = np.array(box) - (0.5, 0.5, 0.0, 0.0)
        return found

    def as_listed(self) -> FrameRow:
        """The frame with its unnumbered boxes under their places in the lists, to show or predict each by itself."""
        return replace(self, boxes=self.unnumbered) if self.unnumbered else self


def _frame(row: Row[Any]) -> FrameRow:
    images = {view: ImageRef.from_json(ref) for view, ref in row.images.items()}
    key, (boxes, numbers) = FrameKey(row.sequence, row.frame_index), _boxes(row.boxes)
    known, unknown = ({}, boxes) if numbers is BoxNumbers.UNKNOWN else (boxes, {})
    matched = numbers is BoxNumbers.MATCHED
    return FrameRow(row.id, key, images, row.split, row.random_pick, valid_marks(row.marks, images), known, unknown, matched)


#: Beside the boxes of a frame: where their numbers come from.  Not there: the data says them.
_NUMBERS = "numbers"


def _boxes(stored: Mapping[str, Any] | None) -> tuple[dict[int, dict[str, Box]], BoxNumbers]:
    boxes = {
        int(subject): {view: (x, y, w, h) for view, (x, y, w, h) in of_views.items()}
        for subject, of_views in (stored or {}).items()
        if subject != _NUMBERS
    }
    return boxes, BoxNumbers((stored or {}).get(_NUMBERS, BoxNumbers.GIVEN))


def save_sequence(store: ProjectStore, row: SequenceRow) -> None:
    """Insert or replace the description of one recording; the rule of its split stays."""
    values = {"rig": row.rig, "video": row.video}
    with store.write() as connection:
        where = (sequences.c.project_id == store.project_id) & (sequences.c.name == row.name)
        if connection.execute(update(sequences).where(where).values(**values)).rowcount == 0:
            connection.execute(sequences.insert().values(project_id=store.project_id, name=row.name, **values))


def list_sequences(store: ProjectStore) -> dict[str, SequenceRow]:
    """Name → recording."""
    query = select(sequences).where(sequences.c.project_id == store.project_id).order_by(sequences.c.name)
    with store.read() as connection:
        return {row.name: SequenceRow(row.name, row.rig, row.video, row.split) for row in connection.execute(query)}


def sequence(store: ProjectStore, name: str) -> SequenceRow | None:
    """One recording, None when none was described."""
    query = select(sequences).where(sequences.c.project_id == store.project_id, sequences.c.name == name)
    with store.read() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else SequenceRow(row.name, row.rig, row.video, row.split)


def save_split(store: ProjectStore, name: str, rule: dict[str, Any]) -> None:
    """Note the rule of a sequence's split; one that was noted before stays."""
    with store.write() as connection:
        where = (sequences.c.project_id == store.project_id) & (sequences.c.name == name)
        known = connection.execute(select(sequences.c.split).where(where)).one_or_none()
        if known is None:
            connection.execute(sequences.insert().values(project_id=store.project_id, name=name, split=rule))
        elif known.split is None:
            connection.execute(update(sequences).where(where).values(split=rule))


def sequences_with_frames(store: ProjectStore) -> set[str]:
    """Names of the sequences that have frames."""
    query = select(frames.c.sequence).where(frames.c.project_id == store.project_id).distinct()
    with store.read() as connection:
        return set(connection.execute(query).scalars())


def count_splits(store: ProjectStore) -> dict[str, int]:
    """How many frames lie on each side of the split: train, val, guard."""
    query = select(frames.c.split, func.count()).where(frames.c.project_id == store.project_id).group_by(frames.c.split)
    with store.read() as connection:
        return {split: int(number) for split, number in connection.execute(query)}


def add_frames(store: ProjectStore, new: Iterable[tuple[FrameKey, Mapping[str, ImageRef], str]]) -> int:
    """Add (key, images, split) rows that are not there yet and return how many were new; a known frame keeps its split."""
    with store.write() as connection:
        known = _ids(connection, store.project_id)
        rows = [
            {
                "project_id": store.project_id,
                "sequence": key.sequence,
                "frame_index": key.index,
                "images": {view: ref.to_json() for view, ref in images.items()},
                "split": split,
            }
            for key, images, split in new
            if key not in known
        ]
        for some in batches(rows):
            connection.execute(frames.insert(), some)
    return len(rows)


def replace_images(store: Store, frame_id: int, images: Mapping[str, ImageRef]) -> None:
    """A frame got another view, or its pictures moved."""
    with store.write() as connection:
        values = {view: ref.to_json() for view, ref in images.items()}
        connection.execute(update(frames).where(frames.c.id == frame_id).values(images=values))


def readdress(store: ProjectStore, address: Callable[[str], str]) -> None:
    """Write the addresses of pictures in another way; what is known of the pictures, their marks among it, stays."""
    with store.write() as connection:
        for row in connection.execute(select(frames).where(frames.c.project_id == store.project_id)).all():
            images = {view: {**ref, "source": address(ref["source"])} for view, ref in row.images.items()}
            if images == row.images:
                continue
            values: dict[str, Any] = {"images": images}
            if row.marks:
                pictures = {view: [address(mark["picture"][0]), *mark["picture"][1:]] for view, mark in row.marks.items()}
                values["marks"] = {view: {**mark, "picture": pictures[view]} for view, mark in row.marks.items()}
            connection.execute(update(frames).where(frames.c.id == row.id).values(**values))


def _ids(connection: Connection, project_id: int) -> dict[FrameKey, int]:
    query = select(frames.c.id, frames.c.sequence, frames.c.frame_index).where(frames.c.project_id == project_id)
    return {FrameKey(row.sequence, row.frame_index): row.id for row in connection.execute(query)}


def ids_by_key(store: ProjectStore) -> dict[FrameKey, int]:
    """Frame key → row id."""
    with store.read() as connection:
        return _ids(connection, store.project_id)


def list_frames(store: ProjectStore, ids: Sequence[int] | None = None) -> list[FrameRow]:
    """All frames, or those with these ids, ordered by sequence and index."""
    query = select(frames).where(frames.c.project_id == store.project_id).order_by(frames.c.sequence, frames.c.frame_index)
    with store.read() as connection:
        if ids is None:
            return [_frame(row) for row in connection.execute(query)]
        found: list[FrameRow] = []
        for some in batches(ids):
            found += [_frame(row) for row in connection.execute(query.where(frames.c.id.in_(some)))]
    return sorted(found, key=lambda frame: frame.key)


def boxes_by_id(store: ProjectStore) -> dict[int, tuple[dict[int, dict[str, Box]], BoxNumbers]]:
    """Frame id → its boxes and where their numbers come from, of the frames that have any."""
    query = select(frames.c.id, frames.c.boxes).where(frames.c.project_id == store.project_id, frames.c.boxes.is_not(None))
    with store.read() as connection:
        return {row.id: found for row in connection.execute(query) if (found := _boxes(row.boxes))[0]}


def save_boxes(
    store: Store, boxes: Mapping[int, Mapping[int, Mapping[str, Box]]], numbers: BoxNumbers = BoxNumbers.GIVEN
) -> None:
    """Replace the boxes of these frames; frame id → subject → view → box."""
    note = {} if numbers is BoxNumbers.GIVEN else {_NUMBERS: numbers.value}
    with store.write() as connection:
        for frame_id, subjects in boxes.items():
            values: dict[str, Any] = {str(s): {view: list(box) for view, box in views.items()} for s, views in subjects.items()}
            values |= note
            connection.execute(update(frames).where(frames.c.id == frame_id).values(boxes=values))


def count(store: ProjectStore) -> int:
    """How many frames the project has."""
    with store.read() as connection:
        return int(connection.execute(select(func.count()).where(frames.c.project_id == store.project_id)).scalar_one())


def selectable(store: ProjectStore) -> set[int]:
    """Ids of the frames that an order may hold: with a picture that is not known to be damaged, and on one side of the split."""
    mine = (frames.c.project_id == store.project_id) & (frames.c.split != "guard")
    with store.read() as connection:
        ids = set(connection.execute(select(frames.c.id).where(mine, frames.c.marks.is_(None))).scalars())
        marked = connection.execute(select(frames).where(mine, frames.c.marks.is_not(None)))
        return ids | {row.id for row in map(_frame, marked) if row.usable}


def save_marks(store: Store, marks: Mapping[int, Mapping[str, PictureMark | None]]) -> None:
    """Set the marks of these views, None = none; frame id → view → mark.  Those of other views stay."""
    with store.write() as connection:
        for frame_id, views in marks.items():
            held = connection.execute(select(frames.c.marks).where(frames.c.id == frame_id)).scalar_one() or {}
            changed = {**held, **{view: mark and mark.to_json() for view, mark in views.items()}}
            left = {view: mark for view, mark in changed.items() if mark is not None}
            connection.execute(update(frames).where(frames.c.id == frame_id).values(marks=left or None))


def mark_random_picks(store: Store, frame_ids: Sequence[int]) -> None:
    """These frames were drawn at random; they keep their place until labelled."""
    with store.write() as connection:
        connection.execute(update(frames).where(frames.c.id.in_(frame_ids)).values(random_pick=True))
