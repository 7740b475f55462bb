"""Was the served order the one that the store wanted?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ml_backend.store import generations, tasks
from ml_backend.store.workspace import Workspace


@dataclass
class QueueCheck:
    """Compares every served task with the first of the order that was still open at that moment."""

    workspace: Workspace
    expected: int = 0
    exceptions: list[str] = field(default_factory=list)
    gone: set[int] = field(default_factory=set)

    def note(self, version: str, served: dict[str, Any]) -> None:
        """One served task; ``version`` is the order in force when it was asked for."""
        number = int(version.split(".")[1])
        picks = generations.list_picks(self.workspace.store, number)
        task_of = {row.frame_id: row.ls_task_id for row in tasks.list_tasks(self.workspace.store)}
        wanted = next((task_of[pick.frame_id] for pick in picks if task_of.get(pick.frame_id) not in self.gone), None)
        self.gone.add(served["task"])
        if wanted == served["task"]:
            self.expected += 1
        else:
            place = next((pick.rank for pick in picks if task_of.get(pick.frame_id) == served["task"]), None)
            self.exceptions.append(f"{served['key']}: rank {place} of {version} instead of the first open one")
