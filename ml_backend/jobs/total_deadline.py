"""A limit on the whole of a conversation: a socket's own limit begins anew with every byte that drips in."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, talk: Callable[[], T], cut: Callable[[], None]) -> T:
    """Return what ``talk`` does.  Raises what it raises, and TimeoutError after ``seconds``; then ``cut`` ends its connection."""
    returned: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            returned.append(talk())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="conversation", daemon=True)
    thread.start()
    thread.join(seconds)
    if returned:
        return returned[0]
    if raised:
        raise raised[0]
    cut()
    raise TimeoutError(f"no whole answer within {seconds:g} s")
