"""The ledger: everything we created or changed in Label Studio, so that it can be taken back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update

from ml_backend.store.database import ProjectStore, Store
from ml_backend.store.schema import ledger


@dataclass(frozen=True)
class Entry:
    """One thing of ours in Label Studio.  ``old`` is what stood there before, None when we created it."""

    id: int
    kind: str
    ls_id: str
    old: Any
    new: Any
    created_at: float
    undone_at: float | None


def record(store: ProjectStore, kind: str, ls_id: str | int, *, old: Any = None, new: Any = None) -> None:
    """Write down an effect.  For a thing that is in the ledger already the first ``old`` stays: it is what we must restore."""
    with store.write() as connection:
        where = (
            (ledger.c.project_id == store.project_id)
            & (ledger.c.kind == kind)
            & (ledger.c.ls_id == str(ls_id))
            & ledger.c.undone_at.is_(None)
        )
        if connection.execute(update(ledger).where(where).values(new=new)).rowcount == 0:
            values = {"kind": kind, "ls_id": str(ls_id), "old": old, "new": new, "created_at": time.time()}
            connection.execute(ledger.insert().values(project_id=store.project_id, **values))


def entries(store: ProjectStore, kind: str | None = None) -> list[Entry]:
    """What still stands, oldest first."""
    query = select(ledger).where(ledger.c.project_id == store.project_id, ledger.c.undone_at.is_(None)).order_by(ledger.c.id)
    if kind is not None:
        query = query.where(ledger.c.kind == kind)
    with store.read() as connection:
        return [
            Entry(row.id, row.kind, row.ls_id, row.old, row.new, row.created_at, row.undone_at)
            for row in connection.execute(query)
        ]


def undone(store: Store, entry_id: int) -> None:
    """This effect was taken back."""
    with store.write() as connection:
        connection.execute(update(ledger).where(ledger.c.id == entry_id).values(undone_at=time.time()))
