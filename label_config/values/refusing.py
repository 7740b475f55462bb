"""Files of others can be wrong in every way: whatever their reader raises becomes one sentence of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from label_config.values.errors import BadInputError, ParallaxError

#: Errors of libraries may quote half of the file.
_LONGEST = 300


@contextmanager
def refusing(kind: type[BadInputError], said: str) -> Iterator[None]:
    """Raise ``kind`` with ``said`` and the cause for whatever is raised inside; sentences of ours pass as they are.

    A list of the exceptions that a reader may raise is always too short.  The cause stays in the chain, for `--verbose`.
    """
    try:
        yield
    except ParallaxError:
        raise
    except Exception as error:
        raise kind(f"{said}: {cause_of(error)}") from error


def cause_of(error: Exception) -> str:
    """What went wrong, in the words of the library; with the type of a plain Python error, whose words alone say little."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, MemoryError):
        return "too large for the memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    words = str(error).strip()
    short = words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"
    name = type(error).__name__
    return f"{name}: {short}" if type(error).__module__ == "builtins" or not short else short
