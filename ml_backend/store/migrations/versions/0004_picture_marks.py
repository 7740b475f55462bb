"""Marks of pictures, by view.

The marks of whole frames go: they did not tell a damaged picture from one that could not be fetched, such as every picture
that Label Studio served.  What is really damaged is found again at the next look.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply."""
    op.add_column("frames", sa.Column("marks", sa.JSON(), nullable=True))
    op.drop_column("frames", "unreadable")
    op.add_column("projects", sa.Column("public_url", sa.Text(), nullable=True))
    op.execute("DELETE FROM events WHERE key LIKE 'unreadable %'")
