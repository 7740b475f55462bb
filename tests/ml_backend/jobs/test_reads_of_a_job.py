"""A job reads what the project holds once, however many steps, frames and versions need it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from ml_backend.evaluation.version_metrics import evaluate
from ml_backend.jobs.job_context import JobContext
from ml_backend.jobs.run_job import run_here
from ml_backend.jobs.select_job import select_window
from ml_backend.store import versions, work
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


def reads_of(workspace: Workspace, kind: str) -> Counter[str]:
    """Of a job that is open, or is asked for."""
    job = next((job for job in work.open_jobs(workspace.store) if job.kind == kind), None) or work.request(workspace.store, kind)
    with counted_reads(workspace.store) as reads:
        run_here(workspace, job, lambda report: None)
    return reads


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


def test_a_training_reads_frames_and_recordings_before_and_after_it_reads_pictures(make_workspace: Make, label: Label) -> None:
    """The second version is measured against the first on the same frames, and both were trained on labelled ones."""
    workspace = make_workspace()
    label(workspace, [0, 8, 16, 34])
    reads_of(workspace, "retrain")
    label(workspace, [1, 9, 17, 35])
    few = reads_of(workspace, "retrain")
    assert {table: few[table] for table in ("sequences", "frames", "tasks", "pseudo_labels")} == {
        "sequences": 2,
        "frames": 2,
        "tasks": 1,
        "pseudo_labels": 1,
    }
    label(workspace, [*range(2, 7), *range(10, 15), *range(18, 32), 36, 37])
    assert reads_of(workspace, "retrain") == few, "not once more for any frame"


def test_a_rescan_reads_the_state_once_and_the_frames_of_each_shard(make_workspace: Make, label: Label) -> None:
    workspace = make_workspace()
    label(workspace, [0, 8, 16, 34])
    reads_of(workspace, "retrain")
    reads = reads_of(workspace, "rescore")
    assert {table: reads[table] for table in ("sequences", "frames", "snapshots", "versions", "tasks", "annotations")} == {
        "sequences": 1,
        "frames": 2,
        "snapshots": 1,
        "versions": 1,
        "tasks": 0,
        "annotations": 0,
    }
    assert reads["projects"] == 4, "the state, the pictures, and the prediction and the scores of the only shard"


def test_an_evaluation_reads_each_table_once(make_workspace: Make, label: Label) -> None:
    workspace = make_workspace()
    label(workspace, [0, 8, 34, 36])
    reads_of(workspace, "retrain")
    live = versions.live(workspace.store)
    assert live is not None
    with counted_reads(workspace.store) as reads:
        evaluate(workspace, live)
    assert {table: reads[table] for table in ("sequences", "frames", "tasks", "annotations")} == {
        "sequences": 1,
        "frames": 1,
        "tasks": 1,
        "annotations": 1,
    }
