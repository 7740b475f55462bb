"""Generations: one ordered window of picks, shown to annotators under one model_version string."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.engine import Row

from ml_backend.store.database import ProjectStore, batches
from ml_backend.store.projects import next_number
from ml_backend.store.schema import generations, picks, projects, versions
from ml_backend.store.statuses import GenerationStatus

#: Score of a frame that was added behind the order; scores lie in [0, 1].
LAST = 1.0


@dataclass(frozen=True)
class Generation:
    """``status`` is selected, pushing, current, past, abandoned, cleaned, or empty (no open task was left to order)."""

    id: int
    number: int
    version_id: int | None
    name: str
    status: GenerationStatus
    created_at: float
    switched_at: float | None


@dataclass(frozen=True)
class PickRow:
    """One place in the order; ``poses`` ({subject: Pose2D} as JSON) is what the annotator is shown there,
    unless the task is served ``without_points``."""

    rank: int
    frame_id: int
    score: float
    without_points: bool
    pseudo: bool
    reason: str
    record: dict[str, Any] | None
    poses: dict[str, Any]
    notes: list[Any] | None

    @property
    def in_window(self) -> bool:
        """One of the frames that were chosen; what follows them only has to be reachable."""
        return self.score < LAST


def _generation(row: Row[Any]) -> Generation:
    values = {name: value for name, value in row._mapping.items() if name != "project_id"}
    return Generation(**{**values, "status": GenerationStatus(row.status)})


def _pick(row: Row[Any]) -> PickRow:
    return PickRow(row.rank, row.frame_id, row.score, row.blind, row.pseudo, row.reason, row.record, row.poses, row.notes)


def _columns(pick: PickRow) -> dict[str, Any]:
    values = dict(vars(pick))
    return values | {"blind": values.pop("without_points")}


def add(store: ProjectStore, version_id: int | None, order: Sequence[PickRow]) -> Generation:
    """Write down a new order, ready to be pushed.  Orders that were selected but never pushed are dropped."""
    with store.write() as connection:
        number = next_number(connection, store.project_id, "generation")
        model = 0
        if version_id is not None:
            model = connection.execute(select(versions.c.number).where(versions.c.id == version_id)).scalar_one()
        stale = (generations.c.project_id == store.project_id) & (generations.c.status == GenerationStatus.SELECTED)
        connection.execute(update(generations).where(stale).values(status=GenerationStatus.CLEANED))
        values = {"number": number, "version_id": version_id, "name": f"px-{model}.{number}", "status": GenerationStatus.SELECTED}
        connection.execute(generations.insert().values(project_id=store.project_id, created_at=time.time(), **values))
        rows = [{"project_id": store.project_id, "generation": number, **_columns(pick)} for pick in order]
        for start in range(0, len(rows), 200):
            connection.execute(picks.insert(), rows[start : start + 200])
        return _generation(
            connection.execute(
                select(generations).where(generations.c.project_id == store.project_id, generations.c.number == number)
            ).one()
        )


def renumber(store: ProjectStore, number: int) -> Generation:
    """Abandon a generation whose push is ambiguous and give the same order a new number."""
    order = list_picks(store, number)
    old = get(store, number)
    set_status(store, number, GenerationStatus.ABANDONED)
    return add(store, old.version_id, order)


def set_status(store: ProjectStore, number: int, status: GenerationStatus) -> None:
    """Move a generation on."""
    with store.write() as connection:
        where = (generations.c.project_id == store.project_id) & (generations.c.number == number)
        connection.execute(update(generations).where(where).values(status=status))


def switch(store: ProjectStore, number: int) -> None:
    """Label Studio serves this generation now: it becomes current, the one before it past."""
    with store.write() as connection:
        mine = generations.c.project_id == store.project_id
        connection.execute(
            update(generations).where(mine, generations.c.status == GenerationStatus.CURRENT).values(status=GenerationStatus.PAST)
        )
        values = {"status": GenerationStatus.CURRENT, "switched_at": time.time()}
        connection.execute(update(generations).where(mine, generations.c.number == number).values(**values))
        connection.execute(update(projects).where(projects.c.id == store.project_id).values(generation=number))


def get(store: ProjectStore, number: int) -> Generation:
    """One generation.  Raises NoResultFound when there is none."""
    query = select(generations).where(generations.c.project_id == store.project_id, generations.c.number == number)
    with store.read() as connection:
        return _generation(connection.execute(query).one())


def list_generations(store: ProjectStore) -> list[Generation]:
    """All generations, oldest first."""
    query = select(generations).where(generations.c.project_id == store.project_id).order_by(generations.c.number)
    with store.read() as connection:
        return [_generation(row) for row in connection.execute(query)]


def list_picks(store: ProjectStore, number: int) -> list[PickRow]:
    """The order of one generation, first pick first."""
    query = select(picks).where(picks.c.project_id == store.project_id, picks.c.generation == number).order_by(picks.c.rank)
    with store.read() as connection:
        return [_pick(row) for row in connection.execute(query)]


def pick_of(store: ProjectStore, number: int, frame_id: int) -> PickRow | None:
    """What one generation showed for one frame, None when it did not contain the frame."""
    query = select(picks).where(
        picks.c.project_id == store.project_id, picks.c.generation == number, picks.c.frame_id == frame_id
    )
    with store.read() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else _pick(row)


def picks_of(store: ProjectStore, number: int, frame_ids: Sequence[int]) -> dict[int, PickRow]:
    """Frame id → what one generation showed for it, of the frames that it contains."""
    query = select(picks).where(picks.c.project_id == store.project_id, picks.c.generation == number)
    found: dict[int, PickRow] = {}
    with store.read() as connection:
        for ids in batches(frame_ids):
            found |= {row.frame_id: _pick(row) for row in connection.execute(query.where(picks.c.frame_id.in_(ids)))}
    return found


def append(store: ProjectStore, number: int, frame_id: int, poses: dict[str, Any]) -> None:
    """Add a frame behind all others of a generation, unless it is there already."""
    with store.write() as connection:
        mine = (picks.c.project_id == store.project_id) & (picks.c.generation == number)
        if connection.execute(select(picks.c.id).where(mine, picks.c.frame_id == frame_id)).first() is not None:
            return
        last = connection.execute(select(func.max(picks.c.rank)).where(mine)).scalar()
        rank = 0 if last is None else int(last) + 1
        values = {"rank": rank, "frame_id": frame_id, "score": LAST, "poses": poses}
        connection.execute(picks.insert().values(project_id=store.project_id, generation=number, **values))
