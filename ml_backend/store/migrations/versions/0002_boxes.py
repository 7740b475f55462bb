"""Boxes around the subject: from task data, and as people drew them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply."""
    op.add_column("frames", sa.Column("boxes", sa.JSON(), nullable=True))
    op.add_column("annotations", sa.Column("boxes", sa.JSON(), nullable=True))
