"""Versions whose weights and shards were removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Apply."""
    op.add_column("versions", sa.Column("removed_at", sa.Float(), nullable=True))
