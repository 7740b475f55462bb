"""One claimed job, and what all its steps share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

from label_config.values.errors import InterruptedWorkError
from ml_backend.store import presence, work
from ml_backend.store.statuses import EventLevel
from ml_backend.store.work import JobRow
from ml_backend.store.workspace import Workspace

#: Says how far a job is, as ``parallax status`` shows it; "stage" names the step.
Report = Callable[[dict[str, Any]], None]


class StoppedError(InterruptedWorkError):
    """The worker was asked to stop; what was finished is on disk and the job is taken up again."""


@dataclass(frozen=True)
class JobContext:
    """A job in the hands of this process.

    job          as this process knows it; its ``attempt`` is the fencing token of everything that it writes
    report       says how far it is; raises LostLeaseError at a new stage when another worker has the job
    should_stop  the worker was asked to end, or another one has the job
    """

    workspace: Workspace
    job: JobRow
    report: Report
    should_stop: Callable[[], bool]

    def remember(self, **arguments: Any) -> Self:
        """Add arguments that a later try of the job must start from; raises LostLeaseError when another worker has it."""
        return self.with_job(work.remember(self.workspace.store, self.job, **arguments))

    def with_job(self, job: JobRow) -> Self:
        """The same job after its arguments changed."""
        return replace(self, job=job)

    def log_event(self, text: str, level: EventLevel = EventLevel.INFO) -> None:
        """Write into the project's event log."""
        presence.tell(self.workspace.store, text, level=level)
