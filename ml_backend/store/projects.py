"""Projects: identity, cursors, flags, and which model is live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, select, update
from sqlalchemy.engine import Row

from ml_backend.store.database import ProjectStore, Store
from ml_backend.store.schema import counters, projects

Flag = Literal["train_requested", "pull_requested", "select_requested"]


@dataclass(frozen=True)
class Project:
    """One Label Studio project as the store knows it."""

    id: int
    ls_url: str
    ls_project_id: int
    ls_created_at: str
    title: str
    binding: dict[str, Any] | None
    binding_problem: str | None
    cursor: str | None
    swept_at: float | None
    pulled_at: float | None
    pushed_at: float | None
    live_version_id: int | None
    live_attempt: int
    pinned: bool
    generation: int | None
    train_requested: bool
    pull_requested: bool
    select_requested: bool
    public_url: str | None
    halted: str | None
    seed: int
    labels_checked: str | None


def _project(row: Row[Any]) -> Project:
    return Project(**row._mapping)


def register(store: Store, ls_url: str, ls_project_id: int, ls_created_at: str, *, title: str = "", seed: int = 0) -> Project:
    """The project with this identity, created when it is new.

    The creation time is part of the identity: a Label Studio that was wiped gives the same numbers again.
    """
    identity = {"ls_url": ls_url.rstrip("/"), "ls_project_id": ls_project_id, "ls_created_at": ls_created_at}
    with store.write() as connection:
        row = connection.execute(select(projects).filter_by(**identity)).one_or_none()
        if row is None:
            connection.execute(projects.insert().values(**identity, title=title, seed=seed))
            row = connection.execute(select(projects).filter_by(**identity)).one()
        return _project(row)


def get(store: ProjectStore) -> Project:
    """The project.  Raises NoResultFound when there is none."""
    with store.read() as connection:
        return _project(connection.execute(select(projects).where(projects.c.id == store.project_id)).one())


def find(store: Store, ls_url: str, ls_project_id: int) -> Project | None:
    """The newest project at this address and number, None when it was never registered."""
    query = select(projects).filter_by(ls_url=ls_url.rstrip("/"), ls_project_id=ls_project_id).order_by(projects.c.id.desc())
    with store.read() as connection:
        row = connection.execute(query).first()
    return None if row is None else _project(row)


def list_all(store: Store) -> list[Project]:
    """Every project, oldest first."""
    with store.read() as connection:
        return [_project(row) for row in connection.execute(select(projects).order_by(projects.c.id))]


def change(store: ProjectStore, **fields: Any) -> None:
    """Set columns of the project.  The live model is not moved here but by ``store.versions``."""
    forbidden = {"live_version_id", "live_attempt"} & fields.keys()
    if forbidden:
        raise ValueError(f"{', '.join(sorted(forbidden))}: only store.versions moves the live model")
    with store.write() as connection:
        connection.execute(update(projects).where(projects.c.id == store.project_id).values(**fields))


def take_flag(store: ProjectStore, flag: Flag) -> bool:
    """Clear the flag; True when it was set."""
    column = projects.c[flag]
    statement = update(projects).where(projects.c.id == store.project_id, column).values({flag: False})
    with store.write() as connection:
        return connection.execute(statement).rowcount == 1


def next_number(connection: Connection, project_id: int, name: str) -> int:
    """The next number, from 1, of a sequence that never repeats (attempts, versions, generations)."""
    where = (counters.c.project_id == project_id) & (counters.c.name == name)
    changed = connection.execute(update(counters).where(where).values(value=counters.c.value + 1)).rowcount
    if changed == 0:
        connection.execute(counters.insert().values(project_id=project_id, name=name, value=1))
    return int(connection.execute(select(counters.c.value).where(where)).scalar_one())
