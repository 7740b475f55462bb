"""A Label Studio that is reached at another address now: its projects are the ones that they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from label_config.settings.spec import Spec
from ml_backend.recordings import wherever_it_is
from ml_backend.store import frames, presence, projects
from ml_backend.store.database import Store, open_store
from ml_backend.store.projects import Project
from plugins.label_studio_sync.times import instant


def former_address(spec: Spec, project: dict[str, Any]) -> str | None:
    """Where the store has this project, when that is not where Label Studio is now; nothing is changed."""
    url = make_url(spec.store)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        return None
    store = open_store(spec.store, migrate=False)
    try:
        held = _former(store, spec.label_studio.url, project)
    except DBAPIError:  # empty, or of an earlier release, or away; who opens it to work with it says so
        return None
    finally:
        store.close()
    return held.ls_url if held else None


def take_over(store: Store, spec: Spec, project: dict[str, Any]) -> None:
    """Let the project, with everything that the store knows of it, be the one at the new address."""
    held, url = _former(store, spec.label_studio.url, project), spec.label_studio.url.rstrip("/")
    if held is None:
        return
    ours = store.of_project(held.id)
    public = spec.label_studio.public_url or held.public_url
    for server in (held.ls_url, url):
        frames.readdress(ours, lambda source, server=server: wherever_it_is(source, server, public))  # type: ignore[misc]
    # Its address for browsers is another one too; it says that when it calls the backend.
    projects.change(ours, ls_url=url, ls_created_at=project["created_at"], public_url=None)
    presence.tell(ours, f"{moved(held.ls_url, url)}; labels, models and everything that `parallax leave` restores stay")


def moved(before: str, now: str) -> str:
    """What happened, in words."""
    return f"Label Studio has moved from {before} to {now}"


def _former(store: Store, url: str, project: dict[str, Any]) -> Project | None:
    """The same project, by number and time of creation, under another address; None when this address is known."""
    created_at = instant(project["created_at"])
    same = [
        row for row in projects.list_all(store) if row.ls_project_id == project["id"] and instant(row.ls_created_at) == created_at
    ]
    if any(row.ls_url == url.rstrip("/") for row in same):
        return None
    return same[-1] if same else None
