"""Label Studio's own times.  They are cursors: compared as instants, and given back as it expects them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def instant(text: str) -> datetime:
    """A time that Label Studio sent; it leaves the fraction out when it is zero."""
    return datetime.fromisoformat(text).astimezone(UTC)


def as_filter(moment: datetime) -> str:
    """The only form that filters take."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def before(text: str, gap: timedelta) -> str:
    """``gap`` before that time, as a filter value."""
    return as_filter(instant(text) - gap)
