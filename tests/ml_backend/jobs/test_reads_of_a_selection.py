"""A selection reads what the project holds once, however many steps need it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from ml_backend.jobs.job_context import JobContext
from ml_backend.jobs.select_job import select_window
from ml_backend.store import work
from ml_backend.store.database import Store
from ml_backend.store.workspace import Workspace

Make = Callable[..., Workspace]
Label = Callable[..., None]
WorkOff = Callable[[Workspace], list[str]]
#: Tables that hold the state of a round.
STATE = ("projects", "sequences", "frames", "tasks", "annotations", "snapshots", "versions", "pseudo_labels")


@contextmanager
def counted_reads(store: Store) -> Iterator[Counter[str]]:
    """How often each table is read, by the first name after FROM."""
    reads: Counter[str] = Counter()

    def count(_c: Any, _u: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SELECT"):
            reads.update(re.findall(r"\bFROM (\w+)", statement)[:1])

    event.listen(store.engine, "before_cursor_execute", count)
    try:
        yield reads
    finally:
        event.remove(store.engine, "before_cursor_execute", count)


def reads_of_a_selection(workspace: Workspace) -> dict[str, int]:
    claimed = work.claim(workspace.store, work.request(workspace.store, "select").id, "here")
    assert claimed is not None
    with counted_reads(workspace.store) as reads:
        select_window(JobContext(workspace, claimed, lambda report: None, lambda: False))
    return {table: reads[table] for table in STATE}


def test_a_selection_reads_each_table_once(make_workspace: Make, label: Label, work_off: WorkOff) -> None:
    workspace = make_workspace()
    label(workspace, [0, 8, 16, 24, 34])
    work.request(workspace.store, "retrain")
    assert work_off(workspace) == ["retrain", "rescore", "select"]
    numbered = {"versions": 2}  # the name of the generation has the version's number
    assert reads_of_a_selection(workspace) == {**dict.fromkeys(STATE, 1), **numbered}


def test_the_first_selection_reads_again_when_the_pictures_are_compared(make_workspace: Make, label: Label) -> None:
    workspace = make_workspace()
    label(workspace, [0, 8])
    reads = reads_of_a_selection(workspace)
    assert {table: reads[table] for table in ("frames", "tasks", "annotations")} == {"frames": 2, "tasks": 2, "annotations": 2}
