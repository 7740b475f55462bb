"""Secrets never reach a log, whatever library writes the line and at whatever level."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

#: Shorter values would blot out ordinary words.
SHORTEST = 6


def hide_in_logs(secrets: Iterable[str]) -> None:
    """From here on every record of this process, its traceback too, shows *** in place of these values."""
    factory = logging.getLogRecordFactory()
    if not isinstance(factory, _Redacting):
        factory = _Redacting(factory)
        logging.setLogRecordFactory(factory)
    factory.hidden |= {secret for secret in secrets if len(secret) >= SHORTEST}


class _Redacting:
    """Makes log records without the hidden values."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self.make = make
        self.hidden: set[str] = set()

    def __call__(self, *args: object, **kwargs: object) -> logging.LogRecord:
        record = self.make(*args, **kwargs)
        record.msg, record.args = self.without(_message(record)), None
        if record.exc_info and record.exc_info[1] is not None:
            record.exc_text = self.without(logging.Formatter().formatException(record.exc_info))
        return record

    def without(self, text: str) -> str:
        """The text with *** for each hidden value, longer ones first: one may be part of another."""
        for secret in sorted(self.hidden, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # a library whose arguments do not fit its own message
        return f"{record.msg} {record.args}"
