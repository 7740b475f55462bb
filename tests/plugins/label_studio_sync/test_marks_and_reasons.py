"""The pseudo mark and the reason text in task data: right, few patches, and not taken for news."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ml_backend.store import ledger
from plugins.label_studio_sync.pull import pull
from plugins.label_studio_sync.tabs import create_tabs
from plugins.label_studio_sync.task_marks import update_marks

from .conftest import FaultyClient

pytestmark = pytest.mark.ls


def data(lab: Any) -> dict[int, dict[str, Any]]:
    """Frame index → task data."""
    return {lab.index_of(task["id"]): task["data"] for task in lab.client.tasks(lab.project, fields="id,data")}


def reasons(lab: Any) -> dict[int, str]:
    return {index: item["parallax_reason"] for index, item in data(lab).items() if item.get("parallax_reason")}


def pseudo(lab: Any) -> set[int]:
    return {index for index, item in data(lab).items() if item.get("parallax_source") == "pseudo"}


@pytest.fixture
def lab(make_lab: Callable[..., Any]) -> Any:
    return make_lab(12, FaultyClient, sync={"push_every_minutes": 0, "reason_tasks": 3})


def test_only_the_head_of_the_order_carries_its_reason(lab: Any) -> None:
    lab.serve(list(range(12)))
    assert update_marks(lab.workspace, lab.client) == 0, "tasks are born with what they should say"
    assert reasons(lab) == {0: "reason 0", 1: "reason 1", 2: "reason 2"}


def test_a_new_order_patches_only_what_differs_and_reads_them_in_one_call(lab: Any) -> None:
    lab.serve(list(range(12)))
    lab.serve([0, 5, 1, 3, 2])
    lab.client.calls.clear()
    # 0 keeps "reason 0"; 5 and 1 get new texts; 2 leaves the head.
    assert update_marks(lab.workspace, lab.client) == 3
    assert [method for method, _ in lab.client.calls] == ["GET", "PATCH", "PATCH", "PATCH"]
    assert reasons(lab) == {0: "reason 0", 5: "reason 1", 1: "reason 2"}
    assert update_marks(lab.workspace, lab.client) == 0


def test_the_head_moves_on_as_tasks_are_labelled(lab: Any) -> None:
    lab.serve(list(range(12)))
    someone = lab.person()
    lab.submit(someone, someone.next_task(lab.project))
    assert lab.tick().patched == 1
    assert reasons(lab) == {i: f"reason {i}" for i in range(4)}, "why the labelled one was shown stays true"


def test_pseudo_marks_come_and_are_withdrawn(lab: Any) -> None:
    lab.serve([0, 1, 2, 3, 4, 5], pseudo={4, 5})
    assert pseudo(lab) == {4, 5}
    lab.serve([0, 1, 2, 3, 5, 4], pseudo={3, 4})
    update_marks(lab.workspace, lab.client)
    assert pseudo(lab) == {3, 4}


def test_a_pseudo_labelled_task_that_a_person_labels_loses_the_mark(lab: Any) -> None:
    lab.serve([0, 1], pseudo={0, 1})
    someone = lab.person()
    lab.submit(someone, someone.next_task(lab.project))
    lab.tick()
    assert pseudo(lab) == {1}


def test_our_own_patches_are_no_news(lab: Any) -> None:
    lab.serve(list(range(12)))
    someone = lab.person()
    lab.submit(someone, someone.next_task(lab.project))
    lab.tick()
    lab.serve([9, 8, 7], pseudo={7})
    update_marks(lab.workspace, lab.client)
    report = pull(lab.workspace, lab.client)
    assert (report.changed, report.deleted, report.problems) == (0, 0, [])
    lab.client.calls.clear()
    assert lab.tick(full=True).patched == 0
    assert not [method for method, _ in lab.client.calls if method != "GET"]


def test_other_data_of_a_task_is_kept_and_noted_for_leaving(make_lab: Callable[..., Any]) -> None:
    lab = make_lab(2, frames={"sequence": "trial", "index": "number"})
    foreign = {"front": "/data/a.jpg", "side": "/data/b.jpg", "trial": "walk", "number": 1, "parallax_reason": "theirs"}
    (number,) = lab.client.import_tasks(lab.project, [foreign])
    pull(lab.workspace, lab.client)
    lab.serve([1], pseudo={1})
    assert update_marks(lab.workspace, lab.client) == 1
    (task,) = lab.client.tasks(lab.project, fields="id,data")
    assert task["data"] == {**foreign, "parallax_reason": "reason 0", "parallax_source": "pseudo"}
    (entry,) = ledger.entries(lab.workspace.store, "task_data")
    assert (entry.ls_id, entry.old) == (
        str(number),
        {"parallax_reason": "theirs", "parallax_source": None, "parallax_check": None},
    )


def test_a_task_that_is_gone_is_passed_over(lab: Any) -> None:
    lab.serve([0, 1, 2, 3])
    lab.serve([3, 2, 1, 0])
    lab.client.delete_task(lab.task(3).ls_task_id)
    assert update_marks(lab.workspace, lab.client) == 3


def test_a_task_whose_labels_are_contradicted_is_in_its_tab_until_it_is_corrected(lab: Any) -> None:
    create_tabs(lab.workspace, lab.client)
    (tab,) = [view["id"] for view in lab.client.views(lab.project) if view["data"]["title"] == "Parallax: check labels"]

    def in_the_tab() -> dict[int, str]:
        listed = lab.client.call("GET", "api/tasks", params={"view": tab, "project": lab.project})["tasks"]
        return {lab.index_of(task["id"]): task["data"]["parallax_check"] for task in listed}

    lab.serve(list(range(12)))
    someone = lab.person()
    for index in (2, 3):
        lab.submit(someone, {"id": lab.task(index).ls_task_id, "project": lab.project}, lab.hand_made(index))
    lab.client.annotate(lab.task(2).ls_task_id, lab.hand_made(2))
    other = lab.client.annotate(lab.task(3).ls_task_id, lab.hand_made(3, shift_px=25.0))
    lab.tick()
    assert in_the_tab() == {3: "head in front: 25 px off; two people placed it so far apart (and 5 more)"}
    lab.client.calls.clear()
    assert lab.tick().patched == 0, "nothing new was labelled"
    lab.client.call("PATCH", f"api/annotations/{other}/", body={"result": lab.hand_made(3)})
    lab.tick()
    assert in_the_tab() == {}
