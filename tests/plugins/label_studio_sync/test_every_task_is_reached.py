"""Nobody is told that there is no more while tasks are open, on a live Label Studio."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from sqlalchemy import update

from label_config.values import FrameKey
from ml_backend.jobs.job_context import JobContext
from ml_backend.jobs.run_job import run_here
from ml_backend.jobs.select_job import select_window
from ml_backend.store import frames, generations, submissions, work
from ml_backend.store import projects as projects_
from ml_backend.store.picture_marks import mark
from ml_backend.store.schema import frames as frame_table
from ml_backend.store.schema import projects
from ml_backend.store.workspace import Workspace
from plugins.cli.overview import overview
from plugins.label_studio_sync.overlap import what_happens
from plugins.label_studio_sync.tick import tick

from .conftest import SIZE

pytestmark = pytest.mark.ls


class SelectsAtOnce:
    """A queue whose worker is there at once, for orders; nothing is trained."""

    def enqueue_open_jobs(self, workspace: Workspace) -> int:
        jobs = [job for job in work.open_jobs(workspace.store) if job.kind == "select"]
        for job in jobs:
            claimed = work.claim(workspace.store, job.id, "test")
            assert claimed is not None
            select_window(JobContext(workspace, claimed, lambda report: None, lambda: False))
            work.finish(workspace.store, claimed)
        return len(jobs)


class WorksAtOnce:
    """A queue whose worker trains, predicts and selects at once."""

    def enqueue_open_jobs(self, workspace: Workspace) -> int:
        done = 0
        while jobs := work.open_jobs(workspace.store):
            run_here(workspace, jobs[0], lambda progress: None)
            done += 1
        return done


def beat(lab: Any, queue: Any = SelectsAtOnce) -> None:
    """One tick; an order that it asks for is pushed by the next."""
    tick(lab.workspace, lab.client, queue(), "test", full=True)


def give_splits(lab: Any, of: dict[str, list[int]]) -> None:
    with lab.workspace.store.write() as connection:
        for split, indices in of.items():
            ids = [lab.ids[i] for i in indices]
            connection.execute(update(frame_table).where(frame_table.c.id.in_(ids)).values(split=split))


def without_model(lab: Any) -> None:
    """As before the first training: the first order needs no model."""
    with lab.workspace.store.write() as connection:
        connection.execute(update(projects).values(live_version_id=None))


def label_to_the_last(lab: Any, person: Any, points: Callable[[int], Any], meanwhile: Callable[[int], None]) -> list[Any]:
    """The tasks that somebody labels until none comes, by task number → ``points``.

    ``meanwhile`` runs after each, with how many are labelled.
    """
    reached: list[Any] = []
    while (task := person.next_task(lab.project)) is not None:
        lab.submit(person, task, points(task["id"]))
        reached.append(task)
        meanwhile(len(reached))
    return reached


def test_two_people_one_of_them_holding_a_task_label_a_project_to_its_last_task(make_lab: Any) -> None:
    """Validation and guard frames, an unreadable picture, a skipped task and tasks that nobody understands among them."""
    lab = make_lab(60, train={"auto": False}, selection={"window": 30})
    numbers = lab.make_tasks(list(range(60)))
    give_splits(lab, {"val": list(range(20, 32)), "guard": [18, 19, 32, 33]})
    (row,) = frames.list_frames(lab.workspace.store, [lab.ids[40]])
    broken = {view: mark(ref, "does not decode", damaged=True) for view, ref in row.images.items()}
    frames.save_marks(lab.workspace.store, {row.id: broken})
    strange = lab.client.import_tasks(lab.project, [{"front": "/data/a.jpg", "side": "/data/b.jpg"}] * 2)
    without_model(lab)
    beat(lab)
    beat(lab)
    holder, other = lab.person(), lab.person()
    held = holder.next_task(lab.project)
    skipped = other.next_task(lab.project)
    assert other.skip(skipped).status_code == 201

    def meanwhile(labelled: int) -> None:
        if labelled % 8 == 0:
            beat(lab)

    reached = label_to_the_last(lab, other, lambda task: lab.hand_made(1), meanwhile)
    assert sorted(task["id"] for task in reached) == sorted({*numbers, *strange} - {held["id"], skipped["id"]})
    lab.submit(holder, held, lab.hand_made(1))
    assert holder.next_task(lab.project)["id"] == skipped["id"], "what one person skipped is the other's last task"


def write_pictures(lab: Any) -> None:
    """Noise, where the frames of the lab say that their pictures are."""
    for row in frames.list_frames(lab.workspace.store):
        for ref in row.images.values():
            Path(ref.source).parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(row.id).integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
            cv2.imwrite(ref.source, noise)


def test_the_orders_of_models_reach_every_task_too_while_one_person_holds_one(make_lab: Any) -> None:
    """Trained for a few steps on pictures that are there; each model's order is what is labelled next."""
    small = {"input_px": 32, "steps_first": 8, "steps_round": 4, "batch": 4, "min_new_frames": 10}
    lab = make_lab(36, train=small, selection={"window": 12}, pseudo_labels={"enabled": False})
    write_pictures(lab)
    numbers = lab.make_tasks(list(range(36)))
    give_splits(lab, {"val": [10, 11, 12, 13], "guard": [8, 9, 14, 15]})
    without_model(lab)
    beat(lab, WorksAtOnce)
    beat(lab, WorksAtOnce)
    holder, other = lab.person(), lab.person()
    held = []

    def meanwhile(labelled: int) -> None:
        if labelled % 6 == 0 or labelled == 11:
            beat(lab, WorksAtOnce)
            beat(lab, WorksAtOnce)
        if labelled == 18:
            held.append(holder.next_task(lab.project))

    reached = label_to_the_last(lab, other, lambda task: lab.hand_made(lab.index_of(task)), meanwhile)
    models = {prediction["model_version"].split(".")[0] for task in reached for prediction in task["predictions"]}
    (holds,) = held
    assert {"px-2", "px-3"} <= models, f"served by {models}; version 1 stands in the store without a model"
    assert holds["predictions"][0]["model_version"].startswith("px-2."), "it comes from a model's order"
    assert sorted(task["id"] for task in reached) == sorted({*numbers} - {holds["id"]})
    lab.submit(holder, holds, lab.hand_made(1))
    assert holder.next_task(lab.project) is None


def test_the_window_comes_first_then_measuring_frames_then_the_rest(make_lab: Any) -> None:
    lab = make_lab(12, selection={"window": 6, "random_every": 0}, train={"auto": False})
    lab.make_tasks(list(range(12)))
    give_splits(lab, {"val": [4, 5], "guard": [3, 6]})
    without_model(lab)
    beat(lab)
    beat(lab)
    picks = generations.list_picks(lab.workspace.store, lab.current().number)
    indices = [lab.ids.index(pick.frame_id) for pick in picks]
    assert len(indices) == 12
    assert {0, 1, 2, 7, 8, 9, 10, 11} > set(indices[:6])
    assert set(indices[6:8]) == {4, 5}
    assert set(indices[10:]) == {3, 6}
    assert [pick.in_window for pick in picks] == [True] * 6 + [False] * 6


def test_a_task_that_comes_when_the_window_is_nearly_empty_is_served_at_the_next_tick(make_lab: Any) -> None:
    lab = make_lab(4, sync={"push_every_minutes": 60}, train={"auto": False})
    lab.make_tasks([0, 1, 2])
    lab.workspace = Workspace(
        lab.workspace.spec.model_copy(update={"documents_root": None}),
        lab.workspace.store,
        lab.workspace.arrays,
    )
    without_model(lab)
    beat(lab)
    beat(lab)
    holder, other = lab.person(), lab.person()
    holder.next_task(lab.project)
    for _ in range(2):
        lab.submit(other, other.next_task(lab.project), lab.hand_made(1))
    assert other.next_task(lab.project) is None
    pictures = {"front": "/data/a.jpg", "side": "/data/b.jpg"}
    late = lab.client.import_tasks(lab.project, [{**pictures, "parallax_key": str(FrameKey("walk", 3))}])
    beat(lab)
    beat(lab)
    assert other.next_task(lab.project)["id"] == late[0]
    assert len(submissions.list_annotations(lab.workspace.store)) == 2


def test_two_annotations_per_task_follow_the_order_as_far_as_label_studio_goes(make_lab: Any) -> None:
    """Who is ahead follows our order, who comes after gets what was begun; and sees what the first one saw."""
    lab = make_lab(8, train={"auto": False}, selection={"random_every": 0})
    lab.make_tasks(list(range(8)))
    lab.client.change_project(lab.project, maximum_annotations=2)
    order = [7, 2, 5, 0, 6, 1, 4, 3]
    lab.serve(order, blind={2})
    first, second = lab.person(), lab.person()
    ahead = []
    for _ in range(3):
        task = first.next_task(lab.project)
        ahead.append(lab.index_of(task["id"]))
        lab.submit(first, task, None if task["predictions"][0]["result"] else lab.hand_made(2))
    assert ahead == order[:3]
    lab.tick(full=True)
    without_model(lab)
    projects_.change(lab.workspace.store, select_requested=True)
    beat(lab)
    beat(lab)
    shown = {}
    for _ in range(3):
        task = second.next_task(lab.project)
        assert task["queue"] == "Breadth first queue"
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == lab.current().name
        shown[lab.index_of(task["id"])] = len(prediction["result"])
        lab.submit(second, task, lab.hand_made(lab.index_of(task["id"]), shift_px=3.0))
    assert shown == {7: 6, 2: 0, 5: 6}, "with the points, or without, that the first one saw"
    lab.tick(full=True)
    said = dict(overview(lab.workspace))["agreement"]
    assert said.startswith("3 tasks labelled by more than one of 2 people: half of 18 points lie within 3.0 px"), said
    assert "every task is served to 2 people" in what_happens(lab.client.project(lab.project))
