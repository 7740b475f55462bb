"""Who is here: leader leases, heartbeats of processes, and events that a person should read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError

from ml_backend.store.database import ProjectStore, Store
from ml_backend.store.lease_clock import is_over, now_of
from ml_backend.store.schema import events, heartbeats, leases
from ml_backend.store.statuses import EventLevel

#: Lines of a project's event log that are kept, beside those that stand until what they complain of is over.
KEPT_EVENTS = 10_000
#: Processes that were not heard of for so long are forgotten, but for the newest of their kind.
FORGOTTEN_S = 86_400.0


@dataclass(frozen=True)
class Event:
    """One line of the project's event log."""

    at: float
    level: EventLevel
    text: str


def acquire_lease(store: Store, name: str, owner: str, ttl_s: float) -> bool:
    """Become (or stay) the only holder of ``name`` for ``ttl_s`` seconds."""
    try:
        with store.write() as connection:
            now = now_of(connection)
            where = (leases.c.name == name) & ((leases.c.owner == owner) | is_over(leases.c.until, now, ttl_s))
            if connection.execute(update(leases).where(where).values(owner=owner, until=now + ttl_s)).rowcount == 1:
                return True
            if connection.execute(select(leases.c.name).where(leases.c.name == name)).first() is not None:
                return False
            connection.execute(leases.insert().values(name=name, owner=owner, until=now + ttl_s))
            return True
    except IntegrityError:  # another process inserted the row at the same moment
        return False


def release_lease(store: Store, name: str, owner: str) -> None:
    """Give the lease back if it is ours."""
    with store.write() as connection:
        connection.execute(delete(leases).where(leases.c.name == name, leases.c.owner == owner))


def holder(store: Store, name: str) -> str | None:
    """Who holds the lease now, None when it is free."""
    with store.read() as connection:
        query = select(leases.c.owner).where(leases.c.name == name, leases.c.until >= now_of(connection))
        row = connection.execute(query).one_or_none()
    return None if row is None else str(row.owner)


def beat(store: Store, process: str, detail: dict[str, Any] | None = None) -> None:
    """This process is alive."""
    with store.write() as connection:
        values = {"at": time.time(), "detail": detail}
        if connection.execute(update(heartbeats).where(heartbeats.c.process == process).values(**values)).rowcount == 0:
            connection.execute(heartbeats.insert().values(process=process, **values))


def alive(store: Store, within_s: float = 60.0) -> dict[str, float]:
    """Process → seconds since its last heartbeat, for those heard of within ``within_s``.

    One from the future is from before the clock was set back: as old as it is far away.
    """
    now = time.time()
    near = heartbeats.c.at.between(now - within_s, now + within_s)
    with store.read() as connection:
        rows = connection.execute(select(heartbeats.c.process, heartbeats.c.at).where(near))
        return {row.process: abs(now - row.at) for row in rows}


def tell(store: ProjectStore, text: str, *, level: EventLevel = EventLevel.INFO, key: str | None = None) -> None:
    """Write an event.  Events that share a ``key`` are one event: its newest text counts."""
    values = {"at": time.time(), "level": level, "text": text}
    with store.write() as connection:
        if key is not None:
            where = (events.c.project_id == store.project_id) & (events.c.key == key)
            if connection.execute(update(events).where(where).values(**values)).rowcount == 1:
                return
        connection.execute(events.insert().values(project_id=store.project_id, key=key, **values))


def settle(store: ProjectStore, key: str) -> None:
    """What the event with this key complained of is over."""
    with store.write() as connection:
        connection.execute(delete(events).where(events.c.project_id == store.project_id, events.c.key == key))


def list_events(store: ProjectStore, limit: int = 100) -> list[Event]:
    """The newest events, newest first; an event that was repeated is as new as its last repetition."""
    newest = (events.c.at.desc(), events.c.id.desc())
    query = select(events).where(events.c.project_id == store.project_id).order_by(*newest).limit(limit)
    with store.read() as connection:
        return [Event(row.at, EventLevel(row.level), row.text) for row in connection.execute(query)]


def forget_old(store: ProjectStore) -> None:
    """Keep the event log and the list of processes, which has two names for every worker that ever ran, from growing for ever."""
    lines = (events.c.project_id == store.project_id) & events.c.key.is_(None)
    kind = func.substr(heartbeats.c.process, 1, 5)  # sync, infer, train, serve(r)
    newest = select(func.max(heartbeats.c.at)).group_by(kind)
    with store.write() as connection:
        surplus = select(events.c.id).where(lines).order_by(events.c.id.desc()).offset(KEPT_EVENTS).limit(1)
        last = connection.execute(surplus).scalar_one_or_none()
        if last is not None:
            connection.execute(delete(events).where(lines, events.c.id <= last))
        old = (heartbeats.c.at < time.time() - FORGOTTEN_S) & heartbeats.c.at.not_in(newest)
        connection.execute(delete(heartbeats).where(old))
