"""Old predictions go, but never under an annotator's hands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ml_backend.store import generations
from plugins.label_studio_sync.cleanup import clean_up
from plugins.label_studio_sync.pull import pull

pytestmark = pytest.mark.ls

AT_ONCE = {"push_every_minutes": 0, "chunk": 5, "lock_hours": 1e-9}


def statuses(lab: Any) -> list[str]:
    return [row.status for row in generations.list_generations(lab.workspace.store)]


def test_unlabelled_tasks_keep_what_may_be_open_until_the_lock_is_over(lab: Any) -> None:
    for _ in range(4):
        lab.serve([0, 1, 2])
    assert clean_up(lab.workspace, lab.client) == 0
    assert all(len(held) == 4 for held in lab.predictions().values())
    assert statuses(lab) == ["past", "past", "past", "current"]


def test_one_behind_is_kept_even_when_the_lock_is_over(make_lab: Callable[..., Any]) -> None:
    lab = make_lab(3, sync=AT_ONCE)
    first, second, third = (lab.serve([0, 1, 2]) for _ in range(3))
    assert clean_up(lab.workspace, lab.client) == 3
    assert all(held == [second.name, third.name] for held in lab.predictions().values()), first.name
    assert statuses(lab) == ["cleaned", "past", "current"]


def test_it_goes_on_where_its_time_ran_out(make_lab: Callable[..., Any]) -> None:
    lab = make_lab(3, sync=AT_ONCE)
    for _ in range(3):
        lab.serve([0, 1, 2])
    assert clean_up(lab.workspace, lab.client, budget_s=0.0) == 0
    assert statuses(lab) == ["past", "past", "current"]
    assert clean_up(lab.workspace, lab.client) == 3
    assert clean_up(lab.workspace, lab.client) == 0


def test_a_submit_from_a_task_opened_two_generations_ago_succeeds(lab: Any) -> None:
    lab.serve([0, 1, 2])
    someone = lab.person()
    task = someone.next_task(lab.project)
    lab.select([2, 1, 0])
    lab.tick()
    lab.select([1, 2, 0])
    lab.tick()
    assert clean_up(lab.workspace, lab.client) == 0
    lab.submit(someone, task)


def test_deleting_under_an_open_task_would_destroy_the_submit(lab: Any) -> None:
    """The behaviour of the platform that all of this is about."""
    lab.serve([0])
    someone = lab.person()
    task = someone.next_task(lab.project)
    lab.client.delete_prediction(task["predictions"][0]["id"])
    assert someone.submit(task, task["predictions"][0]["result"], 1.0).status_code == 400


def test_labelled_tasks_are_cleaned_once_the_annotation_is_quiet(make_lab: Callable[..., Any]) -> None:
    lab = make_lab(3)
    lab.serve([0, 1, 2])
    someone = lab.person()
    lab.submit(someone, someone.next_task(lab.project))
    pull(lab.workspace, lab.client)
    second = lab.serve([2, 1])
    assert clean_up(lab.workspace, lab.client) == 0, "the person may still correct it in the window that is open"

    quick = lab.workspace.spec.sync.model_copy(update={"lock_hours": 1e-9})
    lab.workspace = type(lab.workspace)(
        lab.workspace.spec.model_copy(update={"sync": quick}),
        lab.workspace.store,
        lab.workspace.arrays,
    )
    assert clean_up(lab.workspace, lab.client) == 1, "the labelled one; the two open ones are one generation behind"
    held = lab.predictions()
    assert lab.task(0).ls_task_id not in held
    assert all(second.name in versions and len(versions) == 2 for versions in held.values())


def test_predictions_of_others_are_never_touched(make_lab: Callable[..., Any]) -> None:
    lab = make_lab(3, sync=AT_ONCE)
    first = lab.serve([0, 1, 2])
    foreign = [
        {"task": lab.task(0).ls_task_id, "model_version": name, "score": 0.5, "result": []} for name in ("yolo", f"{first.name}0")
    ]
    lab.client.import_predictions(lab.project, foreign)
    lab.serve([0, 1, 2])
    lab.serve([0, 1, 2])
    clean_up(lab.workspace, lab.client)
    assert {"yolo", f"{first.name}0"} <= set(lab.predictions()[lab.task(0).ls_task_id])
