"""The rule of each sequence's validation split."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Apply."""
    op.add_column("sequences", sa.Column("split", sa.JSON(), nullable=True))
