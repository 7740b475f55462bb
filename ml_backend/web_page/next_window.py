"""The order that annotators are served: which frames come next, and why."""

from __future__ import annotations

from dataclasses import dataclass

from ml_backend.store import generations, page_rows
from ml_backend.store.frames import list_frames
from ml_backend.store.workspace import Workspace
from ml_backend.web_page.task_links import task_address

#: Frames on one page.
FRAMES = 24


@dataclass(frozen=True)
class Place:
    """One frame of the order; ``task``: its address in Label Studio, None without a task."""

    rank: int
    frame_id: int
    name: str
    reason: str
    without_points: bool
    pseudo: bool
    in_window: bool
    task: str | None


@dataclass(frozen=True)
class Window:
    """``name``: the version that annotators are served, None before the first order; ``before``, ``after``: ranks."""

    name: str | None
    size: int
    open: int
    places: list[Place]
    before: int | None
    after: int | None


def window(workspace: Workspace, start: int) -> Window:
    """A page of the order from a rank on."""
    project = workspace.project
    if project.generation is None:
        return Window(None, 0, 0, [], None, None)
    picks = page_rows.pick_page(workspace.store, project.generation, start, FRAMES + 1)
    shown = picks[:FRAMES]
    ids = [pick.frame_id for pick in shown]
    keys = {row.id: row.key for row in list_frames(workspace.store, ids)}
    numbers = page_rows.first_tasks(workspace.store, ids)
    places = [
        Place(
            pick.rank + 1,
            pick.frame_id,
            str(keys[pick.frame_id]),
            pick.reason,
            pick.without_points,
            pick.pseudo,
            pick.in_window,
            task_address(project, numbers[pick.frame_id]) if pick.frame_id in numbers else None,
        )
        for pick in shown
    ]
    size, still_open = page_rows.window_counts(workspace.store, project.generation)
    before = max(0, start - FRAMES) if start > 0 else None
    after = picks[FRAMES].rank if len(picks) > FRAMES else None
    return Window(generations.get(workspace.store, project.generation).name, size, still_open, places, before, after)
