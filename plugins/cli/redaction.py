"""Secrets never reach a log or the screen, whatever writes the line."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any
from urllib.parse import unquote

#: Shorter values would blot out ordinary words.
SHORTEST = 6

_hidden: set[str] = set()


def hide(secrets: Iterable[str]) -> None:
    """From here on this process shows *** in place of these values, and of the passwords in those that are addresses.

    It holds for log records and their tracebacks, for what goes through :class:`HidingOutput`, and for an uncaught exception.
    """
    for secret in secrets:
        password = password_in(secret) if "://" in secret else secret
        _hidden.update(value for value in (secret, password, unquote(password)) if len(value) >= SHORTEST)
    if not isinstance(logging.getLogRecordFactory(), _Redacting):
        logging.setLogRecordFactory(_Redacting(logging.getLogRecordFactory()))
    sys.excepthook = _show_uncaught


def password_in(address: str) -> str:
    """What stands between the user and the host of an address, however the rest is written; empty where nothing does."""
    found = re.search(r"://[^:/?#\s]*:(.*)@", address, flags=re.DOTALL)
    return found[1] if found else ""


def without_secrets(text: str) -> str:
    """The text with *** for each hidden value, longer ones first: one may be part of another."""
    for secret in sorted(_hidden, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


class HidingOutput:
    """Standard output, as it is at the moment of writing, without the hidden values."""

    def write(self, text: str) -> int:
        """Write a text."""
        return sys.stdout.write(without_secrets(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stdout, name)


class _Redacting:
    """Makes log records without the hidden values."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self.make = make

    def __call__(self, *args: object, **kwargs: object) -> logging.LogRecord:
        record = self.make(*args, **kwargs)
        record.msg, record.args = without_secrets(_message(record)), None
        if record.exc_info and record.exc_info[1] is not None:
            record.exc_text = without_secrets(logging.Formatter().formatException(record.exc_info))
        return record


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # a library whose arguments do not fit its own message
        return f"{record.msg} {record.args}"


def _show_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(without_secrets("".join(traceback.format_exception(kind, error, trace))))
