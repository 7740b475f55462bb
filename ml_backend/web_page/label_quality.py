"""Labels that something contradicts, and pseudo-labels under audit."""

from __future__ import annotations

from ml_backend.store import page_rows, tasks
from ml_backend.store.frames import list_frames
from ml_backend.store.workspace import Workspace
from ml_backend.web_page.tables import Link, Table
from ml_backend.web_page.task_links import task_address

#: Rows of either table.
ROWS = 200


def tasks_to_check(workspace: Workspace) -> Table:
    """The tasks of the tab "Parallax: check labels"."""
    project, found = workspace.project, tasks.to_check(workspace.store)
    keys = {row.id: str(row.key) for row in list_frames(workspace.store, [task.frame_id for task in found[:ROWS]])}
    rows = [
        (
            Link(str(task.ls_task_id), task_address(project, task.ls_task_id)),
            Link(keys[task.frame_id], f"/page/frame/{task.frame_id}"),
            task.check or "",
        )
        for task in found[:ROWS]
    ]
    caption = f"Tasks with a label that something contradicts: {len(found)}"
    return Table(
        caption, ("task in Label Studio", "frame", "what was found"), rows, "Nothing contradicts a label.", frozenset({0})
    )


def pseudo_rounds(workspace: Workspace) -> Table:
    """How many pseudo-labels each round proposed, and how many are in force."""
    rows = [
        (str(round_), str(count), str(whole), str(count - withdrawn), str(withdrawn))
        for round_, count, whole, withdrawn in page_rows.pseudo_counts(workspace.store)
    ]
    heads = ("round", "frames", "with every keypoint", "in force", "withdrawn")
    return Table("Pseudo-labels by round", heads, rows, "No frame was pseudo-labelled yet.", frozenset(range(5)))


def newest_pseudo_labels(workspace: Workspace) -> Table:
    """The newest ones, each with the frame to compare it with."""
    found = page_rows.newest_pseudo(workspace.store, ROWS // 2)
    keys = {row.id: str(row.key) for row in list_frames(workspace.store, [row.frame_id for row in found])}
    rows = [
        (
            Link(keys[row.frame_id], f"/page/frame/{row.frame_id}"),
            str(row.round),
            f"{sum(point is not None and None not in point for point in row.xyz_world)} of {len(row.xyz_world)}",
            f"{row.weight:.2f}",
            "withdrawn" if row.withdrawn else "in force",
        )
        for row in found
    ]
    heads = ("frame", "round", "keypoints accepted", "weight in training", "state")
    return Table("The newest pseudo-labels", heads, rows, "No frame was pseudo-labelled yet.", frozenset({1, 2, 3}))
