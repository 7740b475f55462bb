"""One value that no check foresaw must not keep everything else out of the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy.exc import InterfaceError, OperationalError, StatementError

Row = dict[str, Any]

#: What a database, or its driver, raises over a value that it cannot take.
UNUSABLE = (StatementError, ValueError, TypeError, OverflowError)


def save_what_can_be(rows: Sequence[Row], save: Callable[[Sequence[Row]], int], refused: Callable[[Row, Exception], None]) -> int:
    """Save all rows at once; where that fails, one by one, and give those that cannot be saved to ``refused``.

    Returns how many changed.  A database that is away raises, as it says nothing about a row.
    """
    try:
        return save(rows)
    except UNUSABLE as error:
        if is_away(error):
            raise
    changed = 0
    for row in rows:
        try:
            changed += save([row])
        except UNUSABLE as error:
            if is_away(error):
                raise
            refused(row, error)
    return changed


def is_away(error: Exception) -> bool:
    """The database does not answer, or nobody may write now; the values are not at fault."""
    # SQLite's driver calls a value that it cannot bind an interface error, PostgreSQL's a connection that is closed.
    closed = isinstance(error, InterfaceError) and not type(error.orig).__module__.startswith("sqlite3")
    return closed or isinstance(error, OperationalError)
