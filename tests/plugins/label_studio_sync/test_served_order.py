"""What annotators are really served, on a live Label Studio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.ls


def served(lab: Any, someone: Any, count: int) -> list[int]:
    """Frame indices that the label stream gives one after the other, each submitted before the next is asked for."""
    order = []
    for _ in range(count):
        task = someone.next_task(lab.project)
        lab.submit(someone, task)
        order.append(lab.index_of(task["id"]))
    return order


def test_the_next_eight_tasks_are_our_first_eight(lab: Any) -> None:
    order = [7, 2, 11, 4, 0, 9, 1, 10, 3]
    lab.serve(order)
    assert served(lab, lab.person(), 8) == order[:8]


def test_after_the_next_generation_the_order_follows_it(lab: Any) -> None:
    lab.serve([0, 1, 2, 3, 4, 5])
    someone = lab.person()
    assert served(lab, someone, 2) == [0, 1]
    lab.tick()
    lab.serve([5, 3, 2, 4])
    assert served(lab, someone, 4) == [5, 3, 2, 4]


def test_a_task_that_is_locked_when_the_order_changes_stays_with_its_annotator(lab: Any) -> None:
    lab.serve([0, 1, 2, 3])
    someone = lab.person()
    assert lab.index_of(someone.next_task(lab.project)["id"]) == 0
    lab.serve([3, 2, 1, 0])
    assert served(lab, someone, 4) == [0, 3, 2, 1]


def test_two_annotators_in_parallel_never_get_the_same_task(lab: Any) -> None:
    lab.serve(list(range(12)))
    people = [lab.person(), lab.person()]
    seen = []
    for _ in range(4):
        open_tasks = [someone.next_task(lab.project) for someone in people]
        seen += [lab.index_of(task["id"]) for task in open_tasks]
        for someone, task in zip(people, open_tasks, strict=True):
            lab.submit(someone, task)
    assert seen == list(range(8))


def test_every_window_task_carries_exactly_one_prediction_of_the_current_generation(lab: Any) -> None:
    lab.serve(list(range(12)))
    second = lab.serve([3, 1, 8])
    carried = lab.predictions()
    window = {lab.task(i).ls_task_id for i in (3, 1, 8)}
    assert {task for task, held in carried.items() if second.name in held} == window
    assert all(held.count(second.name) == 1 for task, held in carried.items() if task in window)


def test_blind_picks_are_served_in_their_turn_and_without_points(lab: Any) -> None:
    lab.serve([4, 5, 6], blind={5})
    someone = lab.person()
    shown = []
    for _ in range(3):
        task = someone.next_task(lab.project)
        shown.append((lab.index_of(task["id"]), len(task["predictions"][0]["result"])))
        lab.submit(someone, task, lab.hand_made(5))
    assert shown == [(4, 6), (5, 0), (6, 6)], "six points: two views of three keypoints"


def test_points_lie_where_the_model_put_them(lab: Any) -> None:
    lab.serve([4])
    (prediction,) = lab.person().next_task(lab.project)["predictions"]
    head = next(r for r in prediction["result"] if r["to_name"] == "front" and r["value"]["keypointlabels"] == ["head"])
    # Pixel centres: the point at x = 24 of 200 pixels lies at (24 + 0.5) / 200 of the width, y = 30 of 100 at 30.5 %.
    assert (head["value"]["x"], head["value"]["y"]) == pytest.approx((12.25, 30.5))
    assert head["id"] == f"px:{lab.current().number}:0:0:0"


def test_a_project_that_somebody_set_to_another_order_is_set_back(lab: Any) -> None:
    generation = lab.serve([2, 1, 0])
    lab.client.change_project(lab.project, sampling="Sequential sampling", model_version="")
    lab.tick()
    settings = lab.client.project(lab.project)
    assert (settings["sampling"], settings["model_version"]) == ("Uncertainty sampling", generation.name)


def test_an_order_whose_predictions_were_deleted_is_selected_anew(lab: Any) -> None:
    lab.serve([2, 1, 0])
    for _, held in list(lab.client.predictions(lab.project)):
        for prediction in held:
            lab.client.delete_prediction(prediction)
    lab.client.change_project(lab.project, model_version="")
    lab.tick()
    assert lab.workspace.project.select_requested


def test_skipped_tasks_do_not_come_back_to_the_one_who_skipped(lab: Any) -> None:
    lab.serve([0, 1, 2])
    someone = lab.person()
    assert someone.skip(someone.next_task(lab.project)).status_code == 201
    assert served(lab, someone, 2) == [1, 2]


def test_a_config_with_one_picture_gets_a_task_per_camera(make_lab: Callable[..., Any]) -> None:
    from label_config.labelling.binding import bind
    from label_config.labelling.build_xml import build_label_config
    from ml_backend.store import projects, tasks

    from .conftest import SKELETON

    lab = make_lab(3, views=["front", "side"])
    xml = build_label_config(SKELETON, ["image"])
    lab.client.change_project(lab.project, label_config=xml)
    projects.change(lab.workspace.store, binding=bind(xml, SKELETON).to_json())
    lab.serve([1, 0])
    lab.tick(full=True)
    rows = tasks.list_tasks(lab.workspace.store)
    assert [(lab.ids.index(row.frame_id), row.views) for row in rows] == [
        (1, ("front",)),
        (1, ("side",)),
        (0, ("front",)),
        (0, ("side",)),
    ]
    task = lab.person().next_task(lab.project)
    (prediction,) = task["predictions"]
    assert len(prediction["result"]) == 3
    assert {region["to_name"] for region in prediction["result"]} == {"image"}
