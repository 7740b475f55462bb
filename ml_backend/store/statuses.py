"""The states that rows of the store may have; the values are what the database holds."""

from __future__ import annotations

from enum import StrEnum


class JobKind(StrEnum):
    """What a worker may be asked to do."""

    RETRAIN = "retrain"
    RESCORE = "rescore"
    SELECT = "select"
    HARVEST = "harvest"


class WorkStatus(StrEnum):
    """Of a job or a shard."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


#: A job that somebody works on, or will.
OPEN_WORK = (WorkStatus.PENDING, WorkStatus.RUNNING)


class VersionStatus(StrEnum):
    """Of a trained model."""

    CANDIDATE = "candidate"
    PUBLISHED = "published"
    REJECTED = "rejected"


class GenerationStatus(StrEnum):
    """Of an order of tasks."""

    SELECTED = "selected"
    PUSHING = "pushing"
    CURRENT = "current"
    PAST = "past"
    ABANDONED = "abandoned"
    EMPTY = "empty"
    CLEANED = "cleaned"


#: Orders that annotators are not served yet.
WAITING_ORDERS = (GenerationStatus.SELECTED, GenerationStatus.PUSHING)


class EventLevel(StrEnum):
    """Of a line of the event log."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
