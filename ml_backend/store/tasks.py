"""The map between Label Studio's tasks and our frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.engine import Row

from ml_backend.store.database import ProjectStore, batches
from ml_backend.store.schema import tasks


@dataclass(frozen=True)
class TaskRow:
    """One task.

    created_at   Label Studio's time of its creation, None until it was listed
    views        the views that it shows, None = all of the frame
    data_digest  of the data from which frame and views were read
    """

    id: int
    ls_task_id: int
    frame_id: int
    views: tuple[str, ...] | None
    created_at: str | None
    data_digest: str | None
    key: str | None
    ours: bool
    is_labeled: bool
    skipped: bool
    updated_at: str | None
    pseudo: bool
    reason: str | None
    check: str | None
    deleted: bool


def _task(row: Row[Any]) -> TaskRow:
    values = {name: value for name, value in row._mapping.items() if name != "project_id"}
    values["views"] = tuple(values["views"]) if values["views"] is not None else None
    return TaskRow(**values)


def save(store: ProjectStore, rows: Sequence[dict[str, Any]]) -> int:
    """Insert or change tasks by ``ls_task_id``; each dict holds columns of the table.  Returns how many there were."""
    with store.write() as connection:
        for row in rows:
            where = (tasks.c.project_id == store.project_id) & (tasks.c.ls_task_id == row["ls_task_id"])
            if connection.execute(update(tasks).where(where).values(**row)).rowcount == 0:
                connection.execute(tasks.insert().values(project_id=store.project_id, **row))
    return len(rows)


def list_tasks(store: ProjectStore, *, deleted: bool = False) -> list[TaskRow]:
    """Tasks by Label Studio's number; those deleted there only when asked."""
    query = select(tasks).where(tasks.c.project_id == store.project_id).order_by(tasks.c.ls_task_id)
    if not deleted:
        query = query.where(~tasks.c.deleted)
    with store.read() as connection:
        return [_task(row) for row in connection.execute(query)]


def to_check(store: ProjectStore) -> list[TaskRow]:
    """Tasks whose labels something contradicts, by Label Studio's number."""
    mine = (tasks.c.project_id == store.project_id) & ~tasks.c.deleted & tasks.c.check.is_not(None)
    with store.read() as connection:
        return [_task(row) for row in connection.execute(select(tasks).where(mine).order_by(tasks.c.ls_task_id))]


def by_ls_ids(store: ProjectStore, ls_task_ids: Sequence[int]) -> dict[int, TaskRow]:
    """Label Studio's number → task, of those that are known."""
    query = select(tasks).where(tasks.c.project_id == store.project_id)
    found: dict[int, TaskRow] = {}
    with store.read() as connection:
        for numbers in batches(ls_task_ids):
            found |= {row.ls_task_id: _task(row) for row in connection.execute(query.where(tasks.c.ls_task_id.in_(numbers)))}
    return found


def by_ls_id(store: ProjectStore, ls_task_id: int) -> TaskRow | None:
    """One task by Label Studio's number."""
    query = select(tasks).where(tasks.c.project_id == store.project_id, tasks.c.ls_task_id == ls_task_id)
    with store.read() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else _task(row)


def mark_deleted(store: ProjectStore, ls_task_ids: Sequence[int]) -> None:
    """These tasks are no longer in Label Studio, or show nothing that can be used."""
    with store.write() as connection:
        for ls_task_id in ls_task_ids:
            where = (tasks.c.project_id == store.project_id) & (tasks.c.ls_task_id == ls_task_id)
            connection.execute(update(tasks).where(where).values(deleted=True))


def retire(store: ProjectStore, ls_task_ids: Sequence[int]) -> None:
    """These numbers belong to other tasks now: the former ones keep their row and labels under minus the row's own number."""
    with store.write() as connection:
        for ls_task_id in ls_task_ids:
            where = (tasks.c.project_id == store.project_id) & (tasks.c.ls_task_id == ls_task_id)
            connection.execute(update(tasks).where(where).values(deleted=True, ls_task_id=-tasks.c.id))
