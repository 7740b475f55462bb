"""What people submitted, as decoded values, with what they had been shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.engine import Row

from label_config.values import Box
from ml_backend.store.database import ProjectStore, Store
from ml_backend.store.schema import label_annotations, tasks
from ml_backend.store.versions import snapshots_taken


@dataclass(frozen=True)
class AnnotationRow:
    """One annotation of one person.

    ``poses`` and ``edit`` are JSON of ``{subject: Pose2D}`` and of ``labels.edit_distance``; ``boxes`` has the boxes that the
    person drew, {subject: one per view of the task, None = none}; ``round`` is the round in which the annotation was first
    submitted; ``unsized``: some points wait until the size of their picture is known.
    """

    id: int
    ls_annotation_id: int
    task_id: int
    frame_id: int
    updated_at: str
    person: int | None
    cancelled: bool
    ground_truth: bool
    lead_time_s: float | None
    poses: dict[str, Any]
    boxes: dict[str, list[Box | None]] | None
    problems: list[Any]
    unsized: bool
    shown_generation: int | None
    edit: dict[str, Any] | None
    round: int
    seen_at: float
    deleted: bool


#: What makes an annotation count: neither skipped nor deleted, and its task exists.
_COUNTS = ~label_annotations.c.deleted & ~label_annotations.c.cancelled & ~tasks.c.deleted


def _annotation(row: Row[Any]) -> AnnotationRow:
    return AnnotationRow(**{name: value for name, value in row._mapping.items() if name != "project_id"})


def save(store: ProjectStore, rows: Iterable[dict[str, Any]]) -> int:
    """Insert or change annotations by ``ls_annotation_id``; the first round and time of sight stay.

    An annotation whose ``updated_at`` and ``cancelled`` are known already is left alone.  A number that belonged to an annotation
    of another task came back: the former one keeps its row under minus the row's own number.  Returns how many changed.
    """
    changed = 0
    with store.write() as connection:
        for row in rows:
            where = (label_annotations.c.project_id == store.project_id) & (
                label_annotations.c.ls_annotation_id == row["ls_annotation_id"]
            )
            known = connection.execute(select(label_annotations).where(where)).one_or_none()
            if known is not None and known.task_id != row["task_id"]:
                connection.execute(
                    update(label_annotations).where(where).values(deleted=True, ls_annotation_id=-label_annotations.c.id)
                )
                known = None
            if known is None:
                # A snapshot may have been taken since the caller looked.
                first = {**row, "round": max(row["round"], snapshots_taken(connection, store.project_id))}
                connection.execute(label_annotations.insert().values(project_id=store.project_id, **first))
            elif (known.updated_at, known.cancelled, known.deleted) != (row["updated_at"], row["cancelled"], False):
                later = {name: value for name, value in row.items() if name not in ("round", "seen_at")}
                connection.execute(update(label_annotations).where(where).values(**later, deleted=False))
            else:
                continue
            changed += 1
    return changed


def list_annotations(store: ProjectStore, *, every: bool = False) -> list[AnnotationRow]:
    """Annotations that count: not cancelled, not deleted, of tasks that exist.  ``every`` lists all, also the deleted ones."""
    query = (
        select(label_annotations, tasks.c.frame_id)
        .join(tasks, tasks.c.id == label_annotations.c.task_id)
        .where(label_annotations.c.project_id == store.project_id)
        .order_by(label_annotations.c.ls_annotation_id)
    )
    if not every:
        query = query.where(_COUNTS)
    with store.read() as connection:
        return [_annotation(row) for row in connection.execute(query)]


def count(store: ProjectStore) -> int:
    """How many annotations :func:`list_annotations` lists."""
    query = select(func.count()).select_from(label_annotations.join(tasks, tasks.c.id == label_annotations.c.task_id))
    with store.read() as connection:
        return int(connection.execute(query.where(label_annotations.c.project_id == store.project_id, _COUNTS)).scalar_one())


def state(store: ProjectStore) -> str:
    """Return a text that another one takes the place of whenever labels that count are added, changed or deleted."""
    annotation = label_annotations.c
    columns = (func.count(), func.max(annotation.updated_at), func.sum(annotation.ls_annotation_id))
    query = select(*columns).select_from(label_annotations.join(tasks, tasks.c.id == label_annotations.c.task_id))
    with store.read() as connection:
        row = connection.execute(query.where(annotation.project_id == store.project_id, _COUNTS)).one()
    return " ".join(map(str, row))


def mark_deleted(store: Store, ids: Sequence[int]) -> None:
    """These annotations (row ids) are no longer in Label Studio."""
    if not ids:
        return
    with store.write() as connection:
        for row_id in ids:
            connection.execute(update(label_annotations).where(label_annotations.c.id == row_id).values(deleted=True))
