"""The clock by which leases run out: that of the database server, as those of several hosts differ.  SQLite has one host."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, or_, select


def now_of(connection: Connection) -> float:
    """Seconds since the epoch."""
    if connection.dialect.name == "postgresql":
        return float(connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())
    return time.time()


def is_over(until: Any, now: float, ttl_s: float) -> ColumnElement[bool]:
    """Whether a lease that is given for ``ttl_s`` has run out.

    One that ends much later was given before the clock was set back; its holder, if it lives, renews it in a moment.
    """
    return or_(until < now, until > now + 2 * ttl_s)
