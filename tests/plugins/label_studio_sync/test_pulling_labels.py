"""What people do in Label Studio arrives in the store: once, completely, with clear words about what cannot be used."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from PIL import Image

from label_config.values import Pose2D, Provenance
from ml_backend.project.label_snapshot import collect
from ml_backend.recordings import write_picture
from ml_backend.store import frames, presence, projects, submissions, tasks
from plugins.label_studio_sync.local_storage import serve_our_pictures
from plugins.label_studio_sync.pull import pull
from plugins.label_studio_sync.times import before

from .conftest import SIZE, FaultyClient, pose

pytestmark = pytest.mark.ls


def labels(lab: Any) -> list[Any]:
    return submissions.list_annotations(lab.workspace.store)


def events(lab: Any) -> str:
    return "\n".join(event.text for event in presence.list_events(lab.workspace.store))


def open_task(lab: Any, someone: Any, index: int) -> dict[str, Any]:
    """The task of a frame with its predictions, as the data manager opens it."""
    task: dict[str, Any] = someone._call(
        "GET", f"/api/tasks/{lab.task(index).ls_task_id}/", params={"project": lab.project}
    ).json()
    return task


def test_a_submitted_annotation_is_pulled_with_its_points(lab: Any) -> None:
    lab.serve([3, 4])
    someone = lab.person()
    number = lab.submit(someone, someone.next_task(lab.project), lab.hand_made(3, shift_px=2.0))
    report = pull(lab.workspace, lab.client)
    assert report.changed == 1
    (row,) = labels(lab)
    assert (row.ls_annotation_id, row.frame_id, row.cancelled) == (number, lab.ids[3], False)
    # Regions carry percents of full precision; the store rounds to a thousandth of a pixel.
    np.testing.assert_allclose(Pose2D.from_json(row.poses["0"]).xy_px, pose(3, 2.0).xy_px, atol=0.001)
    assert lab.task(3).is_labeled
    assert not lab.task(4).is_labeled


def test_labels_on_reduced_pictures_are_in_pixels_of_the_full_ones(make_lab: Callable[..., Any]) -> None:
    lab = make_lab(1, screen={"picture_px": SIZE[0] // 2})
    for ref in frames.list_frames(lab.workspace.store)[0].images.values():
        write_picture(np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8), ref.source)
    serve_our_pictures(lab.workspace, lab.client)
    lab.serve([0])
    someone = lab.person()
    task = someone.next_task(lab.project)
    picture = Image.open(io.BytesIO(someone.http.get(task["data"]["front"]).content))
    assert picture.size == (SIZE[0] // 2, SIZE[1] // 2)
    made_on = {"original_width": picture.width, "original_height": picture.height}
    lab.submit(someone, task, [{**region, **made_on} for region in lab.hand_made(0)])
    pull(lab.workspace, lab.client)
    (row,) = labels(lab)
    np.testing.assert_allclose(Pose2D.from_json(row.poses["0"]).xy_px, pose(0).xy_px, atol=0.001)
    assert "another size" not in events(lab)


def test_a_second_pull_changes_nothing_and_costs_two_calls(make_lab: Callable[..., Any]) -> None:
    lab = make_lab(12, FaultyClient)
    lab.serve(list(range(12)))
    someone = lab.person()
    lab.submit(someone, someone.next_task(lab.project))
    pull(lab.workspace, lab.client)
    before, events_before = labels(lab), events(lab)
    lab.client.calls.clear()
    assert pull(lab.workspace, lab.client).changed == 0
    assert len(lab.client.calls) == 2, "the project and the tasks changed since the cursor"
    assert (labels(lab), events(lab)) == (before, events_before)


def test_an_unchanged_project_costs_few_calls_per_tick(make_lab: Callable[..., Any]) -> None:
    lab = make_lab(12, FaultyClient)
    lab.serve(list(range(12)))
    lab.serve(list(range(6)))
    lab.tick()
    lab.client.calls.clear()
    lab.tick()
    assert len(lab.client.calls) == 2
    lab.client.calls.clear()
    lab.tick(full=True)
    assert len(lab.client.calls) <= 3, "a sweep lists everything once and reads nothing again"


def test_an_edited_annotation_takes_the_place_of_the_first(lab: Any) -> None:
    lab.serve([0])
    someone = lab.person()
    number = lab.submit(someone, someone.next_task(lab.project), lab.hand_made(0))
    pull(lab.workspace, lab.client)
    (first,) = labels(lab)
    body = {"result": lab.hand_made(0, shift_px=7.0)}
    assert someone._call("PATCH", f"/api/annotations/{number}/", json=body).status_code == 200
    assert pull(lab.workspace, lab.client).changed == 1
    (row,) = labels(lab)
    np.testing.assert_allclose(Pose2D.from_json(row.poses["0"]).xy_px, pose(0, 7.0).xy_px, atol=0.001)
    assert (row.round, row.seen_at) == (first.round, first.seen_at), "it was first submitted when it was"


def test_a_skipped_task_is_no_label(lab: Any) -> None:
    lab.serve([0, 1])
    someone = lab.person()
    someone.skip(someone.next_task(lab.project))
    pull(lab.workspace, lab.client)
    assert labels(lab) == []
    assert lab.task(0).skipped
    assert not lab.task(0).is_labeled


def test_a_deleted_annotation_is_gone_and_its_task_open_again(lab: Any) -> None:
    lab.serve([0, 1])
    someone = lab.person()
    number = lab.submit(someone, someone.next_task(lab.project))
    pull(lab.workspace, lab.client)
    assert someone.delete(number).status_code == 204
    report = pull(lab.workspace, lab.client)
    assert (report.deleted, labels(lab), lab.task(0).is_labeled) == (1, [], False)


def test_a_deleted_task_is_found_at_the_next_pull(lab: Any) -> None:
    lab.serve([0, 1, 2])
    someone = lab.person()
    lab.submit(someone, someone.next_task(lab.project))
    pull(lab.workspace, lab.client)
    lab.client.delete_task(lab.task(0).ls_task_id)
    report = pull(lab.workspace, lab.client)
    assert report.swept, "Label Studio counts fewer tasks than the store"
    assert (report.deleted, labels(lab), lab.task(0).deleted) == (1, [], True)


def test_several_annotators_of_one_task_are_kept_apart_and_merged(lab: Any) -> None:
    lab.client.change_project(lab.project, maximum_annotations=3)
    lab.serve([0])
    people = [lab.person() for _ in range(3)]
    for someone, shift in zip(people, (0.0, 3.0, 20.0), strict=True):
        lab.submit(someone, open_task(lab, someone, 0), lab.hand_made(0, shift_px=shift))
    pull(lab.workspace, lab.client)
    assert len({row.person for row in labels(lab)}) == 3
    snapshot = collect(lab.workspace)
    np.testing.assert_allclose(snapshot.xy_px[0], pose(0, 3.0).xy_px, atol=0.01)  # the median of the three


def test_two_points_for_one_keypoint_are_said_with_the_task(lab: Any) -> None:
    lab.serve([0])
    someone = lab.person()
    twice = lab.hand_made(0)
    twice.append({**twice[0], "id": "again", "value": {**twice[0]["value"], "x": 50.0}})
    task = someone.next_task(lab.project)
    lab.submit(someone, task, twice)
    report = pull(lab.workspace, lab.client)
    (problem,) = report.problems
    assert problem.startswith(f"task {task['id']}: annotations: front, head: more than one point")
    (row,) = labels(lab)
    assert row.poses["0"]["xy_px"][0][0][0] == pytest.approx(50.0 * SIZE[0] / 100 - 0.5), "the last one counts"


def test_an_empty_annotation_is_a_submission_without_a_label(lab: Any) -> None:
    lab.serve([0, 1], blind={0, 1})
    someone = lab.person()
    lab.submit(someone, someone.next_task(lab.project), [])
    report = pull(lab.workspace, lab.client)
    assert report.problems == []
    (row,) = labels(lab)
    assert row.poses == {}
    assert len(collect(lab.workspace).keys) == 0, "it trains nothing"
    assert lab.task(0).is_labeled


def test_edit_distance_is_measured_against_what_was_shown(lab: Any) -> None:
    lab.serve([0])
    someone = lab.person()
    task = someone.next_task(lab.project)
    result = [{**region, "origin": "prediction"} for region in task["predictions"][0]["result"]]
    moved = result[0]
    moved |= {"origin": "prediction-changed", "value": {**moved["value"], "x": moved["value"]["x"] + 5.0}}
    del result[-1]
    lab.submit(someone, task, result)
    pull(lab.workspace, lab.client)
    (row,) = labels(lab)
    edit = row.edit["0"]
    assert row.shown_generation == lab.current().number
    assert (edit["untouched"], edit["moved"], edit["removed"], edit["added"]) == (4, 1, 1, 0)
    assert edit["moved_median_px"] == pytest.approx(5.0 * SIZE[0] / 100)
    assert Pose2D.from_json(row.poses["0"]).provenance[0].tolist() == [
        Provenance.PLACED,
        Provenance.ACCEPTED,
        Provenance.ACCEPTED,
    ]


def test_edit_distance_of_a_task_that_was_opened_two_generations_ago(lab: Any) -> None:
    first = lab.serve([0, 1])
    someone = lab.person()
    task = someone.next_task(lab.project)
    lab.serve([0, 1], shift_px=4.0)
    lab.serve([0, 1], shift_px=9.0)
    lab.submit(someone, task)
    pull(lab.workspace, lab.client)
    (row,) = labels(lab)
    assert row.shown_generation == first.number
    assert row.edit["0"]["untouched"] == 6
    assert row.edit["0"]["median_px"] == 0.0


def test_a_person_who_deleted_every_shown_point_counts_too(lab: Any) -> None:
    lab.serve([0])
    someone = lab.person()
    lab.submit(someone, someone.next_task(lab.project), [])
    pull(lab.workspace, lab.client)
    (row,) = labels(lab)
    assert row.edit["0"]["removed"] == 6


def test_blind_picks_have_no_edit_distance(lab: Any) -> None:
    lab.serve([0, 1], blind={0})
    someone = lab.person()
    lab.submit(someone, someone.next_task(lab.project), lab.hand_made(0))
    pull(lab.workspace, lab.client)
    (row,) = labels(lab)
    assert (row.edit, row.shown_generation) == (None, None)


def test_losing_more_than_a_tenth_of_the_labels_stops_training_and_asks(lab: Any) -> None:
    lab.serve(list(range(12)))
    someone = lab.person()
    numbers = [lab.submit(someone, someone.next_task(lab.project)) for _ in range(10)]
    lab.tick()
    someone.delete(numbers[0])
    lab.tick()
    assert lab.workspace.project.halted is None, "one of ten is not more than a tenth"
    for number in numbers[1:3]:
        someone.delete(number)
    projects.change(lab.workspace.store, train_requested=True)
    report = lab.tick()
    assert "2 of 9 annotations disappeared" in (lab.workspace.project.halted or "")
    assert not report.decision.train
    assert "parallax resume" in events(lab)


def test_foreign_tasks_become_frames_by_the_rules(make_lab: Callable[..., Any]) -> None:
    rules = {"sequence": "trial", "index": {"key": "front", "pattern": r"_(\d+)\.jpg$"}}
    lab = make_lab(2, frames=rules)
    data = [{"front": f"/data/upload/1/f_{i:03d}.jpg", "side": f"/data/upload/1/s_{i:03d}.jpg", "trial": "jump"} for i in (8, 9)]
    numbers = lab.client.import_tasks(lab.project, data)
    pull(lab.workspace, lab.client)
    rows = {row.ls_task_id: row for row in tasks.list_tasks(lab.workspace.store)}
    keys = {row.id: row for row in frames.list_frames(lab.workspace.store)}
    assert [str(keys[rows[n].frame_id].key) for n in numbers] == ["jump/000008", "jump/000009"]
    images = keys[rows[numbers[0]].frame_id].images
    assert images["side"].source == "label-studio:///data/upload/1/s_008.jpg"
    assert not rows[numbers[0]].ours


def test_tasks_that_the_rules_cannot_place_are_named_with_the_fix_and_the_rest_goes_on(make_lab: Callable[..., Any]) -> None:
    lab = make_lab(2, frames={"index": "number"})
    bad = {"front": "/data/a.jpg", "side": "/data/b.jpg"}
    good = {**bad, "number": 5}
    local = {"front": "file:///etc/passwd", "side": "", "number": 6}
    numbers = lab.client.import_tasks(lab.project, [bad, good, local])
    report = pull(lab.workspace, lab.client)
    assert len(report.problems) == 2
    no_frame, no_picture = sorted(report.problems)
    assert no_frame.startswith(f"task {numbers[0]}: ")
    assert "frames.index" in no_frame
    assert no_picture.startswith(f"task {numbers[2]}: ")
    assert "front: data['front']: this address cannot be used: expected http or https" in no_picture
    assert [row.ls_task_id for row in tasks.list_tasks(lab.workspace.store)] == [numbers[1]]


def test_pages_are_cut_so_that_no_task_is_passed_over(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = lab.make_tasks(list(range(12)))
    monkeypatch.setattr("plugins.label_studio_sync.client.PAGE", 5)
    listing = lab.client.tasks(lab.project, fields="id")
    listed = [next(listing)["id"] for _ in range(3)]
    lab.client.delete_task(numbers[0])  # a page counted from the start would now begin one task later
    assert [*listed, *(task["id"] for task in listing)] == numbers


def test_the_cursor_is_label_studios_time_and_looks_back(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.serve([0, 1])
    someone = lab.person()
    pull(lab.workspace, lab.client)
    lab.submit(someone, someone.next_task(lab.project))
    # A server whose clock was ahead left a cursor that lies a minute behind the newest change.
    cursor = lab.workspace.project.cursor
    ahead = before(cursor, -timedelta(minutes=1))
    projects.change(lab.workspace.store, cursor=ahead)
    assert pull(lab.workspace, lab.client).changed == 1
    assert lab.workspace.project.cursor == ahead, "it never moves back"


def test_a_wiped_label_studio_is_not_taken_for_lost_labels(lab: Any) -> None:
    from sqlalchemy import update

    from label_config.values import ParallaxError
    from ml_backend.store.schema import projects as table

    lab.serve([0])
    with lab.workspace.store.write() as connection:
        connection.execute(update(table).values(ls_created_at="2020-01-01T00:00:00.000000Z"))
    with pytest.raises(ParallaxError, match="another project under the same number"):
        pull(lab.workspace, lab.client)


def test_pictures_of_another_size_are_one_line_for_each_camera_in_whole_pixels(lab: Any) -> None:
    lab.serve([0, 1, 2])
    someone, numbers = lab.person(), []
    for n in range(3):
        task = someone.next_task(lab.project)
        made_on = {"original_width": SIZE[0] + 8 * (n == 2), "original_height": SIZE[1] + 8}
        lab.submit(someone, task, [{**region, **made_on} for region in lab.hand_made(n)])
        numbers.append(task["id"])
    pull(lab.workspace, lab.client)
    lines = [event.text for event in presence.list_events(lab.workspace.store) if "another size" in event.text]
    front, side = sorted(lines)
    assert front.startswith(f"tasks {', '.join(map(str, numbers))}: annotations: front: labelled on a picture of another size")
    assert "200×108 where it is 200×100 now (tasks" in front
    assert f"208×108 where it is 200×100 now (task {numbers[2]})" in front
    assert "annotations: side:" in side
