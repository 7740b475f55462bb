"""What contradicts the labels of a task, and which labels were checked last."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Apply."""
    op.add_column("tasks", sa.Column("check", sa.Text(), nullable=True))
    op.add_column("projects", sa.Column("labels_checked", sa.String(120), nullable=True))
