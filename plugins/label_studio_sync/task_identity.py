"""Whether a number still means the task that it meant: Label Studio on SQLite gives the numbers of deleted tasks to others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_backend.store.tasks import TaskRow
from plugins.label_studio_sync.task_names import KEY
from plugins.label_studio_sync.times import instant

#: What must be listed of a task for it to be recognised.
IDENTITY_FIELDS = "id,created_at,data"


def is_another(row: TaskRow, item: Mapping[str, Any]) -> bool:
    """Whether the task that Label Studio lists under this number is not the one of the store.

    item  with the fields of ``IDENTITY_FIELDS``, its data as it is stored
    """
    if row.created_at is not None:
        return instant(row.created_at) != instant(item["created_at"])
    # It was not listed since it was made; a task of ours is known by its key.
    return row.ours and row.key is not None and row.key != item["data"].get(KEY)
