"""Pseudo-labels: accepted by self-training, withdrawn when newer ones take their place; never annotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select, update

from ml_backend.store.database import ProjectStore, Store
from ml_backend.store.schema import pseudo_labels


@dataclass(frozen=True)
class PseudoRow:
    """``pose`` is a Pose2D as JSON that holds the accepted points only; ``xyz_world`` is (K, 3) with null elsewhere."""

    id: int
    frame_id: int
    subject: int
    round: int
    generation: int
    whole: bool
    xyz_world: list[Any]
    pose: dict[str, Any]
    weight: float
    withdrawn: bool


def replace_round(store: ProjectStore, round_: int, rows: Sequence[dict[str, Any]]) -> None:
    """Set the pseudo-labels of one round, without duplicates when a selection repeats; those of other rounds are withdrawn."""
    with store.write() as connection:
        of_project = pseudo_labels.c.project_id == store.project_id
        connection.execute(delete(pseudo_labels).where(of_project, pseudo_labels.c.round == round_))
        connection.execute(update(pseudo_labels).where(of_project).values(withdrawn=True))
        for row in rows:
            connection.execute(pseudo_labels.insert().values(project_id=store.project_id, round=round_, **row))


def list_pseudo(store: ProjectStore, *, round_: int | None = None, withdrawn: bool = False) -> list[PseudoRow]:
    """Pseudo-labels in force (or also the withdrawn ones), of one round or of all."""
    query = select(pseudo_labels).where(pseudo_labels.c.project_id == store.project_id).order_by(pseudo_labels.c.id)
    if round_ is not None:
        query = query.where(pseudo_labels.c.round == round_)
    if not withdrawn:
        query = query.where(~pseudo_labels.c.withdrawn)
    with store.read() as connection:
        return [
            PseudoRow(**{name: value for name, value in row._mapping.items() if name != "project_id"})
            for row in connection.execute(query)
        ]


def withdraw(store: Store, ids: Sequence[int]) -> None:
    """Take pseudo-labels back; they stay visible as withdrawn."""
    with store.write() as connection:
        for start in range(0, len(ids), 500):
            connection.execute(
                update(pseudo_labels).where(pseudo_labels.c.id.in_(ids[start : start + 500])).values(withdrawn=True)
            )
