"""Which versions keep their files: the live one, pinned or not, those just before it, and those that something still needs."""

from __future__ import annotations

import time
from collections.abc import Iterable

from sqlalchemy import Connection, delete, not_, select, update

from ml_backend.store.database import ProjectStore, Store
from ml_backend.store.lease_clock import is_over, now_of
from ml_backend.store.schema import generations, jobs, shards, versions
from ml_backend.store.statuses import OPEN_WORK, WAITING_ORDERS, GenerationStatus, JobKind, VersionStatus, WorkStatus
from ml_backend.store.versions import VersionRow, list_versions, lock_project
from ml_backend.store.work import LEASE_S

#: Versions beside the live one that keep their files: the one to go back to, and the other one that ensembles are made of.
EARLIER = 2
#: Kinds of jobs that write model folders.
TRAINING = (JobKind.RETRAIN, JobKind.HARVEST)


def retire(store: ProjectStore) -> list[VersionRow]:
    """Mark the versions whose files may go, and return all that are marked.

    A marked version cannot become live again.  Its row stays, with metrics and all that refers to it.  The mark comes before
    the files go, so that whoever was killed in between is only behind with the work.
    """
    with store.write() as connection:
        project = lock_project(connection, store.project_id)
        kept = {project.live_version_id} | _earlier(connection, store.project_id, project.live_version_id)
        kept |= _needed(connection, store.project_id)
        mine = (versions.c.project_id == store.project_id) & versions.c.removed_at.is_(None)
        for row in connection.execute(select(versions.c.id, versions.c.status).where(mine)).all():
            if row.id not in kept and project.live_version_id is not None:
                connection.execute(update(versions).where(versions.c.id == row.id).values(removed_at=time.time()))
    return [row for row in list_versions(store) if row.removed_at is not None]


def _earlier(connection: Connection, project_id: int, live: int | None) -> set[int]:
    """The newest versions that were live and are not."""
    mine = (
        (versions.c.project_id == project_id) & (versions.c.status == VersionStatus.PUBLISHED) & versions.c.removed_at.is_(None)
    )
    query = select(versions.c.id).where(mine, versions.c.id != live).order_by(versions.c.number.desc()).limit(EARLIER)
    return set(connection.execute(query).scalars())


def _needed(connection: Connection, project_id: int) -> set[int]:
    """Versions of orders that are shown or about to be, of open jobs, and of shards in somebody's hands."""
    waiting = (generations.c.project_id == project_id) & generations.c.status.in_((*WAITING_ORDERS, GenerationStatus.CURRENT))
    found = set(connection.execute(select(generations.c.version_id).where(waiting)).scalars())
    unfinished = (jobs.c.project_id == project_id) & jobs.c.status.in_(OPEN_WORK)
    for arguments in connection.execute(select(jobs.c.arguments).where(unfinished)).scalars():
        found |= {arguments.get("version_id"), arguments.get("parent")}
    lasts = not_(is_over(shards.c.lease_until, now_of(connection), LEASE_S))
    held = (shards.c.project_id == project_id) & (shards.c.status == WorkStatus.RUNNING) & lasts
    return found | set(connection.execute(select(shards.c.version_id).where(held)).scalars())


def is_training(store: ProjectStore) -> bool:
    """A job that writes model folders runs, or waits to."""
    query = select(jobs.c.id).where(
        jobs.c.project_id == store.project_id, jobs.c.kind.in_(TRAINING), jobs.c.status.in_(OPEN_WORK)
    )
    with store.read() as connection:
        return connection.execute(query).first() is not None


def forget_shards(store: Store, version_ids: Iterable[int]) -> None:
    """The arrays of these versions are gone, and with them what the rows point to."""
    with store.write() as connection:
        for version_id in version_ids:
            connection.execute(delete(shards).where(shards.c.version_id == version_id))
