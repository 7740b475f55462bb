"""All predictions of ours in a project, and how they go when we leave.

A task that carries ours alone is emptied by Label Studio's own action, many at a time; where others' predictions are too, ours
go one by one.  Neither leaves the task's counter right (the action counts one too few, whatever it deletes), so Label Studio is
made to count again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from plugins.label_studio_sync.client import Client

OURS = "px-"
#: Tasks in one request: short enough that an annotator's submit does not wait for long.
BATCH = 50


@dataclass(frozen=True)
class OurPredictions:
    """Tasks with our predictions alone (``whole``: task → number of them), and ours beside others' (``mixed``)."""

    whole: dict[int, int]
    mixed: dict[int, list[int]]

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.whole.values()) + sum(map(len, self.mixed.values()))

    def delete(self, client: Client, project: int, tell: Callable[[str], None]) -> None:
        """Delete them; ``tell`` is given the progress after each request of some size."""
        deleted = 0
        tasks = list(self.whole)
        for start in range(0, len(tasks), BATCH):
            part = tasks[start : start + BATCH]
            client.delete_predictions_of(project, part)
            deleted += sum(self.whole[task] for task in part)
            tell(f"{deleted} of {self.count} predictions deleted")
        mixed = list(self.mixed.items())
        for start in range(0, len(mixed), BATCH):
            part_of = mixed[start : start + BATCH]
            for _, numbers in part_of:
                for number in numbers:
                    client.delete_prediction(number)
                deleted += len(numbers)
            tell(f"{deleted} of {self.count} predictions deleted")
        client.recount_predictions(project)  # also when it was stopped after the last deletion


def our_predictions(client: Client, project: int) -> OurPredictions:
    """Those that the project has now."""
    whole: dict[int, int] = {}
    mixed: dict[int, list[int]] = {}
    for task, held in client.predictions(project, containing=[OURS]):
        ours = [number for number, version in held.items() if version.startswith(OURS)]
        if len(ours) == len(held):
            whole[task] = len(ours)
        elif ours:
            mixed[task] = ours
    return OurPredictions(whole, mixed)
