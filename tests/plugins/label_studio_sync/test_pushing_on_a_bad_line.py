"""Pushes that are cut, refused, answered too late or killed: never served half, never doubled, always finished later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ml_backend.recordings import extract_frames
from ml_backend.store import generations, ledger, presence, tasks
from ml_backend.store.statuses import GenerationStatus
from plugins.label_studio_sync import new_tasks
from plugins.label_studio_sync.client import LabelStudioError
from plugins.label_studio_sync.prediction_payload import predictions_of
from plugins.label_studio_sync.push_order import push

from .conftest import FaultyClient, fail_on

pytestmark = pytest.mark.ls


class KilledError(BaseException):
    """Stands for kill -9: nothing may catch it."""


@pytest.fixture
def lab(make_lab: Callable[..., Any]) -> Any:
    return make_lab(12, FaultyClient)


def assert_sound(lab: Any, order: list[int]) -> None:
    """One task per frame, one current prediction per task of the window and on no other, and it is served."""
    current = lab.current()
    listed = list(lab.client.tasks(lab.project, fields="id,data"))
    keys = [task["data"]["parallax_key"] for task in listed]
    assert len(keys) == len(set(keys)), "one task per frame"
    window = {lab.task(i).ls_task_id for i in order}
    carried = {task: held.count(current.name) for task, held in lab.predictions().items()}
    assert {task: n for task, n in carried.items() if n} == dict.fromkeys(window, 1)
    settings = lab.client.project(lab.project)
    assert (settings["model_version"], settings["sampling"]) == (current.name, "Uncertainty sampling")
    statuses = [row.status for row in generations.list_generations(lab.workspace.store)]
    assert statuses.count(GenerationStatus.CURRENT) == 1
    assert not {"selected", "pushing"} & set(statuses)
    assert all(row.ours for row in tasks.list_tasks(lab.workspace.store))
    assert ledger.entries(lab.workspace.store, "import") == []


def statuses(lab: Any) -> list[str]:
    return [row.status for row in generations.list_generations(lab.workspace.store)]


@pytest.mark.parametrize("how", ["silent", "500", "lost"])
def test_an_ambiguous_import_abandons_the_generation_under_a_new_number(lab: Any, how: str) -> None:
    first = lab.select(list(range(12)))
    lab.client.fail = fail_on("import/predictions", how)
    report = push(lab.workspace, lab.client)
    assert report is not None
    assert report.generation != first.name
    assert statuses(lab) == ["abandoned", "current"]
    assert_sound(lab, list(range(12)))
    leftovers = {name for held in lab.predictions().values() for name in held} - {lab.current().name}
    assert leftovers == ({first.name} if how == "silent" else set())
    lab.tick()
    assert statuses(lab) == ["cleaned", "current"], "what was never served goes at once"
    assert_sound(lab, list(range(12)))


def test_a_line_that_stays_bad_leaves_the_previous_order_in_force(lab: Any) -> None:
    before = lab.serve([3, 2, 1])
    lab.select([0, 1, 2])
    lab.client.fail = fail_on("import/predictions", "500", times=100)
    assert push(lab.workspace, lab.client) is None
    assert lab.client.project(lab.project)["model_version"] == before.name
    assert any("3 attempts" in e.text for e in presence.list_events(lab.workspace.store))
    lab.client.fail = lambda method, path: None
    lab.tick()
    assert_sound(lab, [0, 1, 2])
    assert not any("3 attempts" in e.text for e in presence.list_events(lab.workspace.store))


def test_items_that_label_studio_drops_are_served_without_points(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from plugins.label_studio_sync import push_order as push_module

    real = predictions_of

    def one_bad(*arguments: Any) -> Any:
        predictions = real(*arguments)
        predictions[1]["result"][0]["value"]["keypointlabels"] = ["no such label"]
        return predictions

    monkeypatch.setattr(push_module, "predictions_of", one_bad)
    lab.serve([5, 6, 7])
    assert_sound(lab, [5, 6, 7])
    someone = lab.person()
    points = []
    for _ in range(3):
        task = someone.next_task(lab.project)
        points.append((lab.index_of(task["id"]), len(task["predictions"][0]["result"])))
        lab.submit(someone, task, lab.hand_made(0))
    assert points == [(5, 6), (6, 0), (7, 6)], "it keeps its place in the order"


def test_a_switch_whose_answer_was_lost_is_recognised(lab: Any) -> None:
    lab.serve([0, 1, 2])
    second = lab.select([2, 1, 0])
    lab.client.fail = fail_on(f"projects/{lab.project}", "silent", method="PATCH")
    with pytest.raises(LabelStudioError):
        push(lab.workspace, lab.client)
    lab.tick()
    assert lab.current().name == second.name, "it was served already, and is not pushed twice"
    assert_sound(lab, [2, 1, 0])


def test_a_generation_that_may_have_been_served_is_not_cleaned_up_under_an_annotator(lab: Any) -> None:
    lab.serve([0, 1, 2])
    second = lab.select([2, 1, 0])
    lab.client.fail = fail_on(f"projects/{lab.project}", "silent", method="PATCH")
    with pytest.raises(LabelStudioError):
        push(lab.workspace, lab.client)
    someone = lab.person()
    task = someone.next_task(lab.project)
    assert task["predictions"][0]["model_version"] == second.name
    lab.client.fail = lambda method, path: None
    # The switch is not seen, as if it took effect only later.
    generations.renumber(lab.workspace.store, second.number)
    for _ in range(3):
        lab.tick()
    assert lab.current().number > second.number
    lab.submit(someone, task)


@pytest.mark.parametrize("stage", ["pulled", "tasks", "chunk", "imported", "switched", "marked"])
def test_killed_at_any_stage_the_next_tick_finishes(lab: Any, stage: str) -> None:
    lab.serve([11, 10])
    lab.select([0, 1, 2, 3, 4, 5, 6])

    def die(reached: str) -> None:
        if reached == stage:
            raise KilledError

    with pytest.raises(KilledError):
        lab.tick(step=die)
    lab.tick()
    assert_sound(lab, [0, 1, 2, 3, 4, 5, 6])


def test_killed_in_the_middle_of_the_second_chunk(lab: Any) -> None:
    lab.select(list(range(12)))
    chunks = []

    def die(reached: str) -> None:
        chunks.append(reached)
        if chunks.count("chunk") == 2:
            raise KilledError

    with pytest.raises(KilledError):
        lab.tick(step=die)
    assert "px-" not in (lab.client.project(lab.project)["model_version"] or ""), "half an order is never served"
    lab.tick()
    assert_sound(lab, list(range(12)))


def interrupted_import_of_tasks(lab: Any, how: str) -> None:
    lab.select(list(range(12)))
    lab.client.fail = fail_on("import", how)
    with pytest.raises(LabelStudioError):
        push(lab.workspace, lab.client)


def test_an_import_of_tasks_that_arrived_unanswered_makes_no_frame_twice(lab: Any) -> None:
    interrupted_import_of_tasks(lab, "silent")
    assert push(lab.workspace, lab.client) is not None
    assert_sound(lab, list(range(12)))


def test_a_refused_import_of_tasks_may_still_land_and_makes_no_frame_twice(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted_import_of_tasks(lab, "500")
    assert push(lab.workspace, lab.client) is None, "it may still land; wait"
    monkeypatch.setattr(new_tasks, "LANDING_S", 0.0)
    assert push(lab.workspace, lab.client) is not None
    assert_sound(lab, list(range(12)))


def test_tasks_that_a_pull_sees_before_the_import_is_settled_are_still_ours(lab: Any) -> None:
    lab.select([0, 1, 2], pseudo={1})
    lab.client.fail = fail_on("import", "silent")
    with pytest.raises(LabelStudioError):
        lab.tick()
    lab.tick(full=True)
    assert_sound(lab, [0, 1, 2])
    assert lab.task(1).pseudo


def test_a_task_that_was_deleted_meanwhile_costs_one_tick(lab: Any) -> None:
    lab.make_tasks([0, 1, 2, 3])
    lab.tick()
    lab.client.delete_task(lab.task(1).ls_task_id)
    lab.select([0, 1, 2, 3])
    with pytest.raises(LabelStudioError):
        push(lab.workspace, lab.client)  # no pull before it: the task went between pull and push
    report = lab.tick()
    assert report.pushed is not None
    assert lab.predictions().keys() == {lab.task(i).ls_task_id for i in (0, 2, 3)} | {report_task(lab, 1)}


def report_task(lab: Any, index: int) -> int:
    """The task that a frame has now: a new one after its first was deleted."""
    rows = tasks.list_tasks(lab.workspace.store)
    (number,) = [row.ls_task_id for row in rows if row.frame_id == lab.ids[index]]
    return number


def test_an_order_of_nothing_open_is_put_aside_with_a_message(lab: Any) -> None:
    lab.select([])
    assert push(lab.workspace, lab.client) is None
    assert push(lab.workspace, lab.client) is None
    assert statuses(lab) == ["empty"]


def test_pictures_that_cannot_be_read_are_left_out_and_named(lab: Any) -> None:
    from label_config.values import ImageRef
    from ml_backend.store import frames

    broken = {"front": ImageRef("/nowhere/walk.mp4", frame_index=1), "side": ImageRef("/nowhere/side.mp4", frame_index=1)}
    frames.replace_images(lab.workspace.store, lab.ids[1], broken)
    lab.serve([0, 1, 2])
    assert_sound(lab, [0, 2])
    events = presence.list_events(lab.workspace.store)
    assert any("walk/000001" in event.text and "/nowhere/walk.mp4" in event.text for event in events)


def test_only_one_process_leads(lab: Any) -> None:
    presence.acquire_lease(lab.workspace.store, f"sync {lab.workspace.store.project_id}", "somebody else", 60.0)
    lab.client.calls.clear()
    assert not lab.tick().led
    assert lab.client.calls == []


def test_a_leader_that_lost_its_lease_stops(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from plugins.label_studio_sync import leadership

    monkeypatch.setattr(leadership, "REFRESH_S", 0.01)
    refused = threading.Event()
    real = presence.acquire_lease

    def lease(*arguments: Any) -> bool:
        if threading.current_thread() is threading.main_thread():
            return real(*arguments)
        refused.set()
        return False

    monkeypatch.setattr(presence, "acquire_lease", lease)
    lab.select([0])

    def wait(stage: str) -> None:
        refused.wait(10)
        for thread in threading.enumerate():
            if thread.name.startswith("lease"):
                thread.join(10)

    with pytest.raises(leadership.LostLeadershipError):
        lab.tick(step=wait)
    assert lab.workspace.project.generation is None


def test_the_pictures_of_all_new_tasks_are_written_in_one_pass(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of tasks must not decode a long video once each."""
    passes = []

    def extract(wanted: Any, **more: Any) -> Any:
        passes.append(len(wanted))
        return extract_frames(wanted, **more)

    monkeypatch.setattr(new_tasks, "extract_frames", extract)
    assert len(lab.make_tasks(list(range(12)))) == 12 > 2 * lab.workspace.spec.sync.chunk
    assert len(passes) == 1
