"""Addresses of pictures on Label Studio without the address of the server, which may move."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_PROJECTS = sa.table("projects", sa.column("id"), sa.column("ls_url"), sa.column("public_url"))
_FRAMES = sa.table("frames", sa.column("id"), sa.column("project_id"), sa.column("images", sa.JSON), sa.column("marks", sa.JSON))


def upgrade() -> None:
    """Apply.  Marks stay with their pictures."""
    connection = op.get_bind()
    for project in connection.execute(sa.select(_PROJECTS)).all():
        servers = [f"{url.rstrip('/')}/" for url in (project.public_url, project.ls_url) if url]
        rows = connection.execute(sa.select(_FRAMES).where(_FRAMES.c.project_id == project.id)).all()
        for row in rows:
            images = {view: {**ref, "source": _path(ref["source"], servers)} for view, ref in row.images.items()}
            if images != row.images:
                marks = {view: _mark(mark, servers) for view, mark in (row.marks or {}).items()}
                values = {"images": images, **({"marks": marks} if marks else {})}
                connection.execute(sa.update(_FRAMES).where(_FRAMES.c.id == row.id).values(**values))


def _path(source: str, servers: list[str]) -> str:
    return next((f"label-studio:///{source.removeprefix(url)}" for url in servers if source.startswith(url)), source)


def _mark(mark: dict[str, Any], servers: list[str]) -> dict[str, Any]:
    return {**mark, "picture": [_path(mark["picture"][0], servers), *mark["picture"][1:]]}
