"""Labelled pictures that a training could not use are named where people look: in the event log and in ``parallax status``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from label_config.values import TrainingTarget
from ml_backend.pose.dataset import Skipped
from ml_backend.store import frames, presence, tasks
from ml_backend.store.statuses import EventLevel
from ml_backend.store.workspace import Workspace

#: Pictures of one trouble that are named; the rest is counted.
NAMED = 3
_KEY = "left out of training"


def say_left_out(workspace: Workspace, targets: Iterable[TrainingTarget], skipped: Sequence[Skipped]) -> None:
    """One event for all of them: how many, why, and the tasks of the first; an earlier one is settled when all could be used."""
    if not skipped:
        presence.settle(workspace.store, _KEY)
        return
    of_image = {target.image: target for target in targets}
    names = _names(workspace)
    where: dict[str, list[str]] = defaultdict(list)
    for picture in skipped:
        target = of_image[picture.image]
        place = f"{target.key}, view {target.view}"
        where[picture.reason].append(names.get((str(target.key), target.view), place))
    kinds = sorted(where.items(), key=lambda kind: -len(kind[1]))
    text = "; ".join(f"{_listed(places)}: {reason}" for reason, places in kinds[:NAMED])
    more = f"; and {len(kinds) - NAMED} other reasons" if len(kinds) > NAMED else ""
    count = f"{len(skipped)} labelled picture{'s were' if len(skipped) > 1 else ' was'} left out of the training"
    presence.tell(workspace.store, f"{count}: {text}{more}", level=EventLevel.WARNING, key=_KEY)


def _names(workspace: Workspace) -> dict[tuple[str, str | None], str]:
    """(frame, view) → the task that shows it, with both."""
    views, keys = workspace.views, {row.id: row.key for row in frames.list_frames(workspace.store)}
    found: dict[tuple[str, str | None], str] = {}
    for task in tasks.list_tasks(workspace.store):
        for view in task.views or views:
            key = str(keys[task.frame_id])
            found.setdefault((key, view), f"task {task.ls_task_id} ({key}, view {view})")
    return found


def _listed(places: Sequence[str]) -> str:
    more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
    return ", ".join(places[:NAMED]) + more
