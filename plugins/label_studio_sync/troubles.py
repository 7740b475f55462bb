"""Troubles of single tasks, said once for all tasks that share them."""

from __future__ import annotations

from label_config.values.refusal import Refusal

#: Tasks and findings that are written out; the rest is counted.
SHOWN = 5


class Troubles:
    """Collects what cannot be used and where; one line for each kind of trouble."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], dict[int, dict[str, None]]] = {}

    def add(self, task: int, refusal: Refusal) -> None:
        """One task and its trouble; a task may have one of a kind with several things that were found."""
        found = self._kinds.setdefault((refusal.expected, refusal.fix), {}).setdefault(task, {})
        if refusal.got:
            found[refusal.got] = None

    def lines(self) -> dict[str, str]:
        """Kind of trouble → the line about it: tasks, what was expected, what was found, the fix."""
        return {expected: self._line(expected, fix, found) for (expected, fix), found in self._kinds.items()}

    def _line(self, expected: str, fix: str, found: dict[int, dict[str, None]]) -> str:
        of_text: dict[str, list[int]] = {}
        for task, texts in found.items():
            for text in texts:
                of_text.setdefault(text, []).append(task)
        same = len(found) == 1 or (len(of_text) == 1 and len(next(iter(of_text.values()))) == len(found))
        got = [text if same else f"{text} ({listed(tasks)})" for text, tasks in of_text.items()]
        seen = ", got " + ", ".join(got[:SHOWN]) + (f" and {len(got) - SHOWN} more" if len(got) > SHOWN else "") if got else ""
        return f"{listed(list(found))}: {expected}{seen}" + (f"; {fix}" if fix else "")


def listed(numbers: list[int]) -> str:
    """``task 3``, or ``tasks 3, 5 and 7 more`` with the first ones."""
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    return f"task{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:SHOWN]))}{more}"
