"""Labelling configs with several controls for the points of one picture: words by the control that offers them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Apply."""
    projects = sa.table("projects", sa.column("id", sa.Integer), sa.column("binding", sa.JSON))
    connection = op.get_bind()
    for number, binding in connection.execute(sa.select(projects.c.id, projects.c.binding)).all():
        if binding is not None:
            views = [_by_control(view) for view in binding["views"]]
            changed = projects.update().where(projects.c.id == number).values(binding={**binding, "views": views})
            connection.execute(changed)


def _by_control(view: dict[str, Any]) -> dict[str, Any]:
    kept = {name: view[name] for name in ("view", "image", "data_key", "box", "box_labels")}
    visibility = {view["visibility"]: view["states"]} if view["visibility"] else {}
    return {**kept, "points": {view["keypoints"]: view["labels"]}, "visibility": visibility, "marks": {}}
