"""Which task a number meant, what it showed, and annotations that wait for the size of their picture."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply.  Of tasks known before, the next sweep finds out when they were created and what they show."""
    op.add_column("tasks", sa.Column("created_at", sa.String(64), nullable=True))
    op.add_column("tasks", sa.Column("data_digest", sa.String(64), nullable=True))
    op.add_column("annotations", sa.Column("unsized", sa.Boolean(), nullable=False, server_default=sa.text("false")))
