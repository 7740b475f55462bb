"""Jobs and shards: rows with a lease that any worker may claim, so that a killed worker costs one lease and nothing else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Table, delete, func, not_, or_, select, update
from sqlalchemy.engine import Row

from label_config.values.errors import InterruptedWorkError
from ml_backend.store.database import ProjectStore, Store
from ml_backend.store.lease_clock import is_over, now_of
from ml_backend.store.projects import next_number
from ml_backend.store.schema import jobs, shards
from ml_backend.store.statuses import WorkStatus

#: A lease that was not refreshed for this long is free again; it is refreshed every 10 s.
LEASE_S = 45.0
#: After this many claims without an end a job or shard is put aside with its reason.
MAX_TRIES = 3
#: The argument by which a job remembers, as long as it trains, with which batch.  A later try finds it when the worker died over
#: it without a word, as one does that the system kills because memory ran out.
TRAINING_BATCH = "training_batch"


class LostLeaseError(InterruptedWorkError):
    """Another worker has taken the job over; this one must stop and touch nothing more."""


@dataclass(frozen=True)
class JobRow:
    """``attempt`` is the fencing token of the claim: a publish with an older one is refused."""

    id: int
    project_id: int
    kind: str
    status: WorkStatus
    arguments: dict[str, Any]
    attempt: int
    tries: int
    owner: str | None
    lease_until: float | None
    progress: dict[str, Any] | None
    error: str | None
    created_at: float
    started_at: float | None
    finished_at: float | None


@dataclass(frozen=True)
class ShardRow:
    """A run of frames of one sequence to be predicted and scored by one version."""

    id: int
    project_id: int
    version_id: int
    round: int
    sequence: str
    frame_ids: list[int]
    halo_ids: list[list[int]]
    status: WorkStatus
    tries: int
    owner: str | None
    lease_until: float | None
    path: str | None
    error: str | None


def _job(row: Row[Any]) -> JobRow:
    return JobRow(**{**row._mapping, "status": WorkStatus(row.status)})


def _shard(row: Row[Any]) -> ShardRow:
    return ShardRow(**{**row._mapping, "status": WorkStatus(row.status)})


def request(store: ProjectStore, kind: str, arguments: dict[str, Any] | None = None) -> JobRow:
    """One running, one pending: a request while one is pending is that one, and it takes the newer arguments."""
    arguments = arguments or {}
    with store.write() as connection:
        where = (jobs.c.project_id == store.project_id) & (jobs.c.kind == kind) & (jobs.c.status == WorkStatus.PENDING)
        row = connection.execute(select(jobs).where(where)).first()
        if row is not None:
            connection.execute(update(jobs).where(jobs.c.id == row.id).values(arguments=arguments))
            job_id = row.id
        else:
            values = {"kind": kind, "status": WorkStatus.PENDING, "arguments": arguments, "created_at": time.time()}
            job_id = connection.execute(
                jobs.insert().values(project_id=store.project_id, **values).returning(jobs.c.id)
            ).scalar_one()
        return _job(connection.execute(select(jobs).where(jobs.c.id == job_id)).one())


def _free(table: Table, now: float) -> Any:
    over = is_over(table.c.lease_until, now, LEASE_S)
    return or_(table.c.status == WorkStatus.PENDING, (table.c.status == WorkStatus.RUNNING) & over)


def claim(store: ProjectStore, job_id: int, owner: str) -> JobRow | None:
    """Take the project's job if it is free and no other of its kind runs; None otherwise.

    Workers of several projects may share a Redis, so that a message of another project may reach them.  The claim has a new,
    larger attempt number.
    """
    with store.write() as connection:
        mine = (jobs.c.project_id == store.project_id) & (jobs.c.id == job_id)
        now = now_of(connection)
        row = connection.execute(select(jobs).where(mine, _free(jobs, now)).with_for_update()).one_or_none()
        if row is None or _other_runs(connection, row, now) or _worn_out(connection, jobs, row):
            return None
        values = {
            "status": WorkStatus.RUNNING,
            "owner": owner,
            "attempt": next_number(connection, row.project_id, "attempt"),
            "tries": row.tries + 1,
            "lease_until": now + LEASE_S,
            "started_at": row.started_at or time.time(),
        }
        if row.status == WorkStatus.PENDING:  # the last try, if there was one, failed or was given back: its worker lived
            values["arguments"] = {name: value for name, value in row.arguments.items() if name != TRAINING_BATCH}
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))
        return _job(connection.execute(select(jobs).where(jobs.c.id == job_id)).one())


def _other_runs(connection: Connection, row: Row[Any], now: float) -> bool:
    query = select(func.count()).where(
        jobs.c.project_id == row.project_id,
        jobs.c.kind == row.kind,
        jobs.c.id != row.id,
        jobs.c.status == WorkStatus.RUNNING,
        not_(is_over(jobs.c.lease_until, now, LEASE_S)),
    )
    return bool(connection.execute(query).scalar_one())


def _worn_out(connection: Connection, table: Table, row: Row[Any]) -> bool:
    if row.tries < MAX_TRIES:
        return False
    why = _killed_training(row) or row.error or f"its worker died {row.tries} times"
    values: dict[str, Any] = {"status": WorkStatus.FAILED, "error": f"put aside after {row.tries} tries: {why}"}
    connection.execute(update(table).where(table.c.id == row.id).values(**values))
    return True


def _killed_training(row: Row[Any]) -> str | None:
    batch = row._mapping.get("arguments", {}).get(TRAINING_BATCH)
    if batch is None:
        return None
    return (
        f"its worker died over the training without a word, at last with a batch of {batch}, most likely because memory ran out; "
        "set a smaller train.batch (or train.input_px), or give the worker more memory"
    )


def heartbeat(store: Store, job: JobRow, progress: dict[str, Any] | None = None) -> bool:
    """Refresh the lease; False when it was lost to another worker, which must stop this one."""
    values: dict[str, Any] = {} if progress is None else {"progress": progress}
    with store.write() as connection:
        values["lease_until"] = now_of(connection) + LEASE_S
        where = (jobs.c.id == job.id) & (jobs.c.attempt == job.attempt) & (jobs.c.status == WorkStatus.RUNNING)
        return connection.execute(update(jobs).where(where).values(**values)).rowcount == 1


def remember(store: Store, job: JobRow, **arguments: Any) -> JobRow:
    """Add arguments that a later try of the same job must start from; raises LostLeaseError when another worker has it."""
    with store.write() as connection:
        return note(connection, job, **arguments)


def note(connection: Connection, job: JobRow, **arguments: Any) -> JobRow:
    """:func:`remember` as a part of a larger change."""
    merged = {**job.arguments, **arguments}
    where = (jobs.c.id == job.id) & (jobs.c.attempt == job.attempt) & (jobs.c.status == WorkStatus.RUNNING)
    if connection.execute(update(jobs).where(where).values(arguments=merged)).rowcount != 1:
        raise LostLeaseError(f"job {job.id} ({job.kind}) was taken over by another worker")
    return replace(job, arguments=merged)


def finish(store: Store, job: JobRow) -> bool:
    """The job is done; False when its lease had been lost."""
    return _close(store, job, {"status": WorkStatus.DONE, "error": None, "finished_at": time.time()})


def fail(store: Store, job: JobRow, error: str, *, again: bool = True) -> bool:
    """The job failed: pending again until its tries are used up, or at once for good when ``again`` is False."""
    final = not again or job.tries >= MAX_TRIES
    status = (
        {"status": WorkStatus.FAILED, "finished_at": time.time()}
        if final
        else {"status": WorkStatus.PENDING, "lease_until": None}
    )
    return _close(store, job, {**status, "error": error})


def release(store: Store, job: JobRow) -> bool:
    """Give an unfinished job back because its worker ends; this was no failure, so the try does not count."""
    return _close(store, job, {"status": WorkStatus.PENDING, "lease_until": None, "tries": job.tries - 1})


def _close(store: Store, job: JobRow, values: dict[str, Any]) -> bool:
    with store.write() as connection:
        where = (jobs.c.id == job.id) & (jobs.c.attempt == job.attempt) & (jobs.c.status == WorkStatus.RUNNING)
        return connection.execute(update(jobs).where(where).values(**values)).rowcount == 1


def open_jobs(store: ProjectStore) -> list[JobRow]:
    """Jobs that want a worker now: pending, or running under a lease that ran out."""
    with store.read() as connection:
        query = select(jobs).where(jobs.c.project_id == store.project_id, _free(jobs, now_of(connection))).order_by(jobs.c.id)
        return [_job(row) for row in connection.execute(query)]


def abandoned(store: ProjectStore) -> frozenset[int]:
    """The running jobs whose lease ran out, so that the next worker takes them."""
    return frozenset(job.id for job in open_jobs(store) if job.status is WorkStatus.RUNNING)


def list_jobs(store: ProjectStore, limit: int = 50) -> list[JobRow]:
    """The newest jobs, newest first."""
    query = select(jobs).where(jobs.c.project_id == store.project_id).order_by(jobs.c.id.desc()).limit(limit)
    with store.read() as connection:
        return [_job(row) for row in connection.execute(query)]


def count_jobs(store: ProjectStore) -> dict[tuple[str, str], int]:
    """(kind, status) → how many jobs."""
    query = select(jobs.c.kind, jobs.c.status, func.count()).where(jobs.c.project_id == store.project_id)
    with store.read() as connection:
        rows = connection.execute(query.group_by(jobs.c.kind, jobs.c.status).order_by(jobs.c.kind, jobs.c.status))
        return {(kind, status): int(number) for kind, status, number in rows}


def add_shards(store: ProjectStore, version_id: int, round_: int, runs: Sequence[dict[str, Any]]) -> None:
    """Lay out the shards of one rescan unless they exist; each run holds sequence, frame_ids and halo_ids."""
    with store.write() as connection:
        mine = (shards.c.project_id == store.project_id) & (shards.c.version_id == version_id) & (shards.c.round == round_)
        if connection.execute(select(func.count()).where(mine)).scalar_one():
            return
        for run in runs:
            values = {"version_id": version_id, "round": round_, "status": WorkStatus.PENDING, **run}
            connection.execute(shards.insert().values(project_id=store.project_id, **values))


def drop_shards(store: Store, version_id: int, round_: int) -> None:
    """Delete the shards of one rescan, so that the next one scores every frame anew."""
    with store.write() as connection:
        connection.execute(delete(shards).where(shards.c.version_id == version_id, shards.c.round == round_))


def claim_shard(store: Store, version_id: int, round_: int, owner: str) -> ShardRow | None:
    """Take the next free shard of this rescan, None when there is none to take."""
    with store.write() as connection:
        now, mine = now_of(connection), (shards.c.version_id == version_id) & (shards.c.round == round_)
        query = select(shards).where(mine, _free(shards, now)).order_by(shards.c.id)
        for row in connection.execute(query.with_for_update(skip_locked=True)).all():
            if _worn_out(connection, shards, row):
                continue
            values = {"status": WorkStatus.RUNNING, "owner": owner, "tries": row.tries + 1, "lease_until": now + LEASE_S}
            connection.execute(update(shards).where(shards.c.id == row.id).values(**values))
            return _shard(connection.execute(select(shards).where(shards.c.id == row.id)).one())
    return None


def refresh_shard(store: Store, shard: ShardRow) -> bool:
    """Refresh the lease of a shard; False when it was lost."""
    with store.write() as connection:
        where = (shards.c.id == shard.id) & (shards.c.owner == shard.owner) & (shards.c.status == WorkStatus.RUNNING)
        until = now_of(connection) + LEASE_S
        return connection.execute(update(shards).where(where).values(lease_until=until)).rowcount == 1


def close_shard(store: Store, shard: ShardRow, *, path: str | None = None, error: str | None = None) -> None:
    """The shard is done (``path`` of its arrays), or failed and will be tried again."""
    values: dict[str, Any] = (
        {"status": WorkStatus.DONE, "path": path, "error": None}
        if error is None
        else {"status": WorkStatus.PENDING, "error": error}
    )
    with store.write() as connection:
        where = (shards.c.id == shard.id) & (shards.c.owner == shard.owner)
        connection.execute(update(shards).where(where).values(lease_until=None, **values))


def list_shards(store: Store, version_id: int, round_: int) -> list[ShardRow]:
    """The shards of one rescan in order."""
    query = select(shards).where(shards.c.version_id == version_id, shards.c.round == round_).order_by(shards.c.id)
    with store.read() as connection:
        return [_shard(row) for row in connection.execute(query)]
