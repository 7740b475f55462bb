"""Sequences and frames: what could be labelled, and on which side of the validation split it lies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, update
from sqlalchemy.engine import Row

from label_config.values import FrameKey, ImageRef
from ml_backend.store.database import Store
from ml_backend.store.schema import frames, sequences

#: Rows per statement; well under SQLite's limit on bound values.
BATCH = 500


@dataclass(frozen=True)
class SequenceRow:
    """One recording.  ``rig`` is a geometry.cameras.Rig as JSON, None when it is not calibrated."""

    name: str
    rig: dict[str, Any] | None
    video: bool


@dataclass(frozen=True)
class FrameRow:
    """One frame.  ``unreadable`` says why a picture of it cannot be read."""

    id: int
    key: FrameKey
    images: Mapping[str, ImageRef]
    split: str
    random_pick: bool
    unreadable: str | None


def _frame(row: Row[Any]) -> FrameRow:
    images = {view: ImageRef.from_json(ref) for view, ref in row.images.items()}
    return FrameRow(row.id, FrameKey(row.sequence, row.frame_index), images, row.split, row.random_pick, row.unreadable)


def save_sequence(store: Store, project_id: int, row: SequenceRow) -> None:
    """Insert or replace the description of one recording."""
    values = {"rig": row.rig, "video": row.video}
    with store.write() as connection:
        where = (sequences.c.project_id == project_id) & (sequences.c.name == row.name)
        if connection.execute(update(sequences).where(where).values(**values)).rowcount == 0:
            connection.execute(sequences.insert().values(project_id=project_id, name=row.name, **values))


def list_sequences(store: Store, project_id: int) -> dict[str, SequenceRow]:
    """Name → recording."""
    query = select(sequences).where(sequences.c.project_id == project_id).order_by(sequences.c.name)
    with store.read() as connection:
        return {row.name: SequenceRow(row.name, row.rig, row.video) for row in connection.execute(query)}


def add_frames(store: Store, project_id: int, new: Iterable[tuple[FrameKey, Mapping[str, ImageRef], str]]) -> int:
    """Add (key, images, split) rows that are not there yet and return how many were new; a known frame keeps its split."""
    with store.write() as connection:
        known = _ids(connection, project_id)
        rows = [
            {
                "project_id": project_id,
                "sequence": key.sequence,
                "frame_index": key.index,
                "images": {view: ref.to_json() for view, ref in images.items()},
                "split": split,
            }
            for key, images, split in new
            if key not in known
        ]
        for start in range(0, len(rows), BATCH):
            connection.execute(frames.insert(), rows[start : start + BATCH])
    return len(rows)


def replace_images(store: Store, frame_id: int, images: Mapping[str, ImageRef]) -> None:
    """A frame got another view, or its pictures moved."""
    with store.write() as connection:
        values = {view: ref.to_json() for view, ref in images.items()}
        connection.execute(update(frames).where(frames.c.id == frame_id).values(images=values))


def _ids(connection: Connection, project_id: int) -> dict[FrameKey, int]:
    query = select(frames.c.id, frames.c.sequence, frames.c.frame_index).where(frames.c.project_id == project_id)
    return {FrameKey(row.sequence, row.frame_index): row.id for row in connection.execute(query)}


def ids_by_key(store: Store, project_id: int) -> dict[FrameKey, int]:
    """Frame key → row id."""
    with store.read() as connection:
        return _ids(connection, project_id)


def list_frames(store: Store, project_id: int, ids: Sequence[int] | None = None) -> list[FrameRow]:
    """All frames, or those with these ids, ordered by sequence and index."""
    query = select(frames).where(frames.c.project_id == project_id).order_by(frames.c.sequence, frames.c.frame_index)
    with store.read() as connection:
        if ids is None:
            return [_frame(row) for row in connection.execute(query)]
        found: list[FrameRow] = []
        for start in range(0, len(ids), BATCH):
            found += [_frame(row) for row in connection.execute(query.where(frames.c.id.in_(ids[start : start + BATCH])))]
    return sorted(found, key=lambda frame: frame.key)


def count(store: Store, project_id: int) -> int:
    """How many frames the project has."""
    with store.read() as connection:
        return int(connection.execute(select(func.count()).where(frames.c.project_id == project_id)).scalar_one())


def mark_unreadable(store: Store, frame_id: int, why: str | None) -> None:
    """A picture of this frame cannot be read (None: it can again)."""
    with store.write() as connection:
        connection.execute(update(frames).where(frames.c.id == frame_id).values(unreadable=why))


def mark_random_picks(store: Store, frame_ids: Sequence[int]) -> None:
    """These frames were drawn at random; they keep their place until labelled."""
    with store.write() as connection:
        connection.execute(update(frames).where(frames.c.id.in_(frame_ids)).values(random_pick=True))
