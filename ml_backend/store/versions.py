"""Snapshots and model versions, and the one row that says which model is live."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, update
from sqlalchemy.engine import Row

from label_config.values import ParallaxError
from ml_backend.store.database import ProjectStore, Store
from ml_backend.store.projects import next_number
from ml_backend.store.schema import label_annotations, projects, snapshots, versions
from ml_backend.store.statuses import VersionStatus
from ml_backend.store.work import JobRow, note


@dataclass(frozen=True)
class SnapshotRow:
    """One immutable training set; ``path`` is relative to the array store."""

    id: int
    round: int
    sha256: str
    path: str
    n_frames: int
    created_at: float


@dataclass(frozen=True)
class VersionRow:
    """One trained model.

    removed_at  since when its files are gone, or about to go (``store.retention``); None while they are kept
    """

    id: int
    number: int
    attempt: int
    snapshot_id: int | None
    status: VersionStatus
    path: str
    sha256: str
    metrics: dict[str, Any]
    note: str
    created_at: float
    removed_at: float | None


def _snapshot(row: Row[Any]) -> SnapshotRow:
    return SnapshotRow(row.id, row.round, row.sha256, row.path, row.n_frames, row.created_at)


def _version(row: Row[Any]) -> VersionRow:
    values = {name: value for name, value in row._mapping.items() if name != "project_id"}
    return VersionRow(**{**values, "status": VersionStatus(row.status)})


def save_snapshot(
    store: ProjectStore,
    *,
    sha256: str,
    path: str,
    n_frames: int,
    annotations: Collection[int] | None = None,
    job: JobRow | None = None,
) -> SnapshotRow:
    """Write down a snapshot; this closes the current round and opens the next.

    annotations  Label Studio's numbers of what is in it: labels that were pulled while it was taken belong to the next round
    job          remembers it as ``snapshot_id``, so that a later try takes no other

    Raises LostLeaseError when another worker has the job; then nothing is written.
    """
    with store.write() as connection:
        values = {"round": snapshots_taken(connection, store.project_id), "sha256": sha256, "path": path, "n_frames": n_frames}
        connection.execute(snapshots.insert().values(project_id=store.project_id, created_at=time.time(), **values))
        query = select(snapshots).where(snapshots.c.project_id == store.project_id, snapshots.c.round == values["round"])
        row = _snapshot(connection.execute(query).one())
        if annotations is not None:
            _postpone(connection, store.project_id, row.round, set(annotations))
        if job is not None:
            note(connection, job, snapshot_id=row.id)
        return row


def _postpone(connection: Connection, project_id: int, round_: int, included: set[int]) -> None:
    """Labels of this round that the snapshot just missed go to the next, so that they count as new."""
    table = label_annotations
    mine = (table.c.project_id == project_id) & (table.c.round == round_) & ~table.c.cancelled & ~table.c.deleted
    for row in connection.execute(select(table.c.id, table.c.ls_annotation_id).where(mine)).all():
        if row.ls_annotation_id not in included:
            connection.execute(update(table).where(table.c.id == row.id).values(round=round_ + 1))


def snapshots_taken(connection: Connection, project_id: int) -> int:
    """Their number, which is the current round."""
    last = connection.execute(select(func.max(snapshots.c.round)).where(snapshots.c.project_id == project_id)).scalar()
    return 0 if last is None else int(last) + 1


def current_round(store: ProjectStore) -> int:
    """The round that labels of this moment belong to: the number of snapshots taken so far."""
    with store.read() as connection:
        return snapshots_taken(connection, store.project_id)


def list_snapshots(store: ProjectStore) -> list[SnapshotRow]:
    """All snapshots, oldest first."""
    query = select(snapshots).where(snapshots.c.project_id == store.project_id).order_by(snapshots.c.round)
    with store.read() as connection:
        return [_snapshot(row) for row in connection.execute(query)]


def add(
    store: ProjectStore, *, attempt: int, snapshot_id: int | None, path: str, sha256: str, metrics: dict[str, Any]
) -> VersionRow:
    """Write down a trained model as a candidate.  One model folder is one version; a repeat gives the first one back."""
    with store.write() as connection:
        where = (versions.c.project_id == store.project_id) & (versions.c.path == path)
        row = connection.execute(select(versions).where(where)).one_or_none()
        if row is None:
            values = {"attempt": attempt, "snapshot_id": snapshot_id, "path": path, "sha256": sha256, "metrics": metrics}
            number = next_number(connection, store.project_id, "version")
            connection.execute(
                versions.insert().values(
                    project_id=store.project_id, number=number, status=VersionStatus.CANDIDATE, created_at=time.time(), **values
                )
            )
            row = connection.execute(select(versions).where(where)).one()
        elif row.removed_at is not None:  # trained once more, from the same labels
            connection.execute(update(versions).where(where).values(removed_at=None, sha256=sha256))
            row = connection.execute(select(versions).where(where)).one()
        return _version(row)


def publish(store: ProjectStore, version_id: int, attempt: int) -> bool:
    """Make the version live by compare-and-swap.

    False, and nothing changes, when a later attempt is live already (a paused worker came back), when a person pinned a version
    or when its files were removed.
    """
    with store.write() as connection:
        lock_project(connection, store.project_id)
        if connection.execute(select(versions.c.removed_at).where(versions.c.id == version_id)).scalar_one() is not None:
            return False
        where = (projects.c.id == store.project_id) & (projects.c.live_attempt < attempt) & ~projects.c.pinned
        moved = (
            connection.execute(update(projects).where(where).values(live_version_id=version_id, live_attempt=attempt)).rowcount
            == 1
        )
        if moved:
            connection.execute(update(versions).where(versions.c.id == version_id).values(status=VersionStatus.PUBLISHED))
    return moved


def lock_project(connection: Connection, project_id: int) -> Row[Any]:
    """The project's row, held until the transaction ends: what is live and what is removed is decided one after the other."""
    return connection.execute(select(projects).where(projects.c.id == project_id).with_for_update()).one()


def take_down(store: ProjectStore) -> None:
    """No model is live, as before the first; the next one that is published will be, pinned or not."""
    with store.write() as connection:
        lock_project(connection, store.project_id)
        values = {"live_version_id": None, "pinned": False}
        connection.execute(update(projects).where(projects.c.id == store.project_id).values(**values))


def reject(store: Store, version_id: int, why: str) -> None:
    """Keep the version, visible, as not good enough."""
    with store.write() as connection:
        connection.execute(update(versions).where(versions.c.id == version_id).values(status=VersionStatus.REJECTED, note=why))


def pin(store: ProjectStore, version_id: int) -> None:
    """A person chose this version: it is live, and nothing is published until :func:`unpin`.

    Raises ParallaxError when its files were removed.
    """
    with store.write() as connection:
        lock_project(connection, store.project_id)
        row = connection.execute(select(versions).where(versions.c.id == version_id)).one()
        if row.removed_at is not None:
            kept = connection.execute(
                select(versions.c.number)
                .where(versions.c.project_id == store.project_id, versions.c.removed_at.is_(None))
                .order_by(versions.c.number)
            ).scalars()
            names = ", ".join(f"px-{number}" for number in kept)
            raise ParallaxError(
                f"px-{row.number} cannot be made live: its weights were removed, as those of all models that are not needed any "
                f"more; there are still {names}, and backups hold what there was when they were made"
            )
        values = {"live_version_id": version_id, "pinned": True}
        connection.execute(update(projects).where(projects.c.id == store.project_id).values(**values))
        connection.execute(update(versions).where(versions.c.id == version_id).values(status=VersionStatus.PUBLISHED))


def unpin(store: ProjectStore) -> None:
    """Let trained models go live again."""
    with store.write() as connection:
        connection.execute(update(projects).where(projects.c.id == store.project_id).values(pinned=False))


def list_versions(store: ProjectStore) -> list[VersionRow]:
    """All versions, oldest first."""
    query = select(versions).where(versions.c.project_id == store.project_id).order_by(versions.c.number)
    with store.read() as connection:
        return [_version(row) for row in connection.execute(query)]


def get(store: Store, version_id: int) -> VersionRow:
    """One version.  Raises NoResultFound when there is none."""
    with store.read() as connection:
        return _version(connection.execute(select(versions).where(versions.c.id == version_id)).one())


def live(store: ProjectStore) -> VersionRow | None:
    """The model that is live, None before the first."""
    query = select(versions).join(projects, projects.c.live_version_id == versions.c.id).where(projects.c.id == store.project_id)
    with store.read() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else _version(row)
