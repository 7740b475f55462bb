"""A hook for tests that kill processes: the places where a crash could hurt carry a name.

``PARALLAX_KILL_AT=published`` kills this very process when it reaches that place, ``published:3`` the third time, and
``published:3:STOP`` pauses it there instead.  Without the variable a call costs one comparison.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "PARALLAX_KILL_AT"


class Fault:
    """One wanted fault: ``name[:count[:KILL|STOP]]``.  Raises ValueError when it cannot be understood."""

    def __init__(self, wanted: str) -> None:
        name, _, rest = wanted.partition(":")
        count, _, how = rest.partition(":")
        self.name, self.left = name, int(count or 1)
        self.signal = signal.Signals[f"SIG{how or 'KILL'}"]

    def reach(self, name: str) -> None:
        """This place was reached once more."""
        if name == self.name:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), self.signal)


_fault = Fault(os.environ[VARIABLE]) if VARIABLE in os.environ else None


def reach(name: str) -> None:
    """The process is at the place called ``name``."""
    if _fault is not None:
        _fault.reach(name)
