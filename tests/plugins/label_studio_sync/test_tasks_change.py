"""A label belongs to the picture that it was made on: numbers come back, data changes, two tasks claim one frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from label_config.values import FrameKey, Pose2D
from ml_backend.project.label_snapshot import collect
from ml_backend.recordings import PictureCache
from ml_backend.store import frames, presence, submissions, tasks
from ml_backend.store.picture_marks import mark
from plugins.label_studio_sync.pull import pull
from plugins.label_studio_sync.take_back import leave

from .conftest import SIZE, pose

pytestmark = pytest.mark.ls

RULES = {"sequence": "trial", "index": {"key": "front", "pattern": r"_(\d+)\.jpg$"}}


def data_of(index: int, trial: str = "jump", **more: Any) -> dict[str, Any]:
    return {"front": f"/data/upload/1/f_{index:03d}.jpg", "side": f"/data/upload/1/s_{index:03d}.jpg", "trial": trial, **more}


def frame_of(lab: Any, number: int) -> Any:
    row = tasks.by_ls_id(lab.workspace.store, number)
    assert row is not None
    (frame,) = frames.list_frames(lab.workspace.store, [row.frame_id])
    return frame


def labels(lab: Any) -> list[Any]:
    return submissions.list_annotations(lab.workspace.store)


def events(lab: Any) -> str:
    return "\n".join(event.text for event in presence.list_events(lab.workspace.store))


def annotate(lab: Any, number: int, result: list[dict[str, Any]]) -> None:
    lab.client.annotate(number, result)


@pytest.fixture
def foreign(make_lab: Callable[..., Any]) -> Any:
    """A project of somebody else's tasks, read by rules."""
    return make_lab(0, frames=RULES, stop_labels_loss=1.0)


def test_a_number_that_comes_back_is_another_task(foreign: Any) -> None:
    lab = foreign
    numbers = lab.client.import_tasks(lab.project, [data_of(i) for i in (1, 2)])
    annotate(lab, numbers[1], lab.hand_made(1))
    pull(lab.workspace, lab.client)
    (old,) = labels(lab)
    for number in numbers:
        lab.client.delete_task(number)
    again = lab.client.import_tasks(lab.project, [data_of(i) for i in (11, 12)])
    assert again == numbers, "Label Studio on SQLite gives the numbers again; else this test proves nothing"
    annotate(lab, again[1], lab.hand_made(12))
    pull(lab.workspace, lab.client)
    assert frame_of(lab, again[1]).key == FrameKey("jump", 12)
    (new,) = labels(lab)
    assert (new.frame_id, new.frame_id == old.frame_id) == (frame_of(lab, again[1]).id, False)
    kept = submissions.list_annotations(lab.workspace.store, every=True)
    assert old.frame_id in {row.frame_id for row in kept}, "what the former task's label said is still in the store"
    assert "gave the number of a deleted task to another one" in events(lab)


def test_leaving_deletes_no_task_that_has_a_number_of_ours(lab: Any) -> None:
    ours = lab.make_tasks([0, 1])
    pull(lab.workspace, lab.client)
    for number in ours:
        lab.client.delete_task(number)
    theirs = lab.client.import_tasks(lab.project, [{"front": "/data/upload/1/a.jpg", "side": "/data/upload/1/b.jpg"}] * 2)
    assert theirs == ours
    report = leave(lab.workspace, lab.client, remove_tasks=True)
    left = [item["id"] for item in lab.client.tasks(lab.project, fields="id")]
    assert left == theirs, report


def test_a_corrected_address_replaces_the_picture(foreign: Any) -> None:
    lab = foreign
    (number,) = lab.client.import_tasks(lab.project, [data_of(1)])
    annotate(lab, number, lab.hand_made(1))
    pull(lab.workspace, lab.client)
    before = frame_of(lab, number)
    sized = {view: type(ref)(**{**vars(ref), "size_px": (50, 25)}) for view, ref in before.images.items()}
    frames.replace_images(lab.workspace.store, before.id, sized)
    damaged = {view: mark(ref, "cut off", damaged=True) for view, ref in sized.items()}
    frames.save_marks(lab.workspace.store, {before.id: damaged})
    lab.client.change_task_data(number, data_of(1, front="/data/upload/2/f_001.jpg"))
    pull(lab.workspace, lab.client)
    after = frame_of(lab, number)
    assert after.id == before.id
    assert after.images["front"].source.endswith("/data/upload/2/f_001.jpg")
    assert (after.images["front"].size_px, after.images["side"].size_px) == (None, (50, 25))
    assert list(after.marks) == ["side"], "the mark was about the former picture"
    assert f"task {number}: another picture" in events(lab)
    (label,) = labels(lab)
    np.testing.assert_allclose(Pose2D.from_json(label.poses["0"]).xy_px[0], pose(1).xy_px[0], atol=0.001)
    np.testing.assert_allclose(Pose2D.from_json(label.poses["0"]).xy_px[1] + 0.5, (pose(1).xy_px[1] + 0.5) / 4, atol=0.001)


def test_a_corrected_task_is_looked_at_again_also_under_the_same_address(make_lab: Callable[..., Any], tmp_path: Path) -> None:
    """Whoever mends a file on the server can let Parallax know by any change of the task's data."""
    lab = make_lab(0, frames=RULES, cache={"folder": str(tmp_path / "cache")})
    number, _ = lab.client.import_tasks(lab.project, [data_of(1), data_of(2)])
    pull(lab.workspace, lab.client)
    kept = PictureCache(tmp_path / "cache" / "fetched", 10**6)
    addresses = {n: f"{lab.platform.url}/data/upload/1/f_00{n}.jpg" for n in (1, 2)}
    for address in addresses.values():
        kept.put(address, b"the former picture")
    frame = frame_of(lab, number)
    damaged = {view: mark(ref, "cut off", damaged=True) for view, ref in frame.images.items()}
    frames.save_marks(lab.workspace.store, {frame.id: damaged})
    lab.client.change_task_data(number, data_of(1, note="picture replaced"))
    pull(lab.workspace, lab.client)
    assert (kept.get(addresses[1]), kept.get(addresses[2])) == (None, b"the former picture")
    assert frame_of(lab, number).marks == {}


def test_a_corrected_frame_number_moves_the_labels_along(foreign: Any) -> None:
    lab = foreign
    (number,) = lab.client.import_tasks(lab.project, [data_of(1)])
    annotate(lab, number, lab.hand_made(1))
    pull(lab.workspace, lab.client)
    lab.client.change_task_data(number, data_of(7))
    pull(lab.workspace, lab.client)
    assert frame_of(lab, number).key == FrameKey("jump", 7)
    assert [str(key) for key in collect(lab.workspace).keys] == ["jump/000007"]


def test_a_camera_that_comes_later_is_added_and_a_box_that_changes_is_taken_over(foreign: Any) -> None:
    lab = foreign
    (number,) = lab.client.import_tasks(lab.project, [data_of(1, side="", box={"front": [1, 2, 30, 40]})])
    pull(lab.workspace, lab.client)
    assert list(frame_of(lab, number).images) == ["front"]
    lab.client.change_task_data(number, data_of(1, box={"front": [5, 6, 30, 40]}))
    report = pull(lab.workspace, lab.client, full=True)
    assert report.swept, "a sweep sees the changed data too, not only the change time"
    assert (list(frame_of(lab, number).images), frame_of(lab, number).box("front")) == (["front", "side"], (5, 6, 30, 40))
    lab.client.change_task_data(number, data_of(1, side=""))
    pull(lab.workspace, lab.client)
    assert list(frame_of(lab, number).images) == ["front"]


def test_two_pictures_of_one_frame_are_named_and_never_merged(foreign: Any) -> None:
    lab = foreign
    first, second, twin = lab.client.import_tasks(
        lab.project, [data_of(1), data_of(1, front="/data/upload/9/other_001.jpg"), data_of(1)]
    )
    annotate(lab, first, lab.hand_made(1))
    annotate(lab, second, lab.hand_made(30))
    report = pull(lab.workspace, lab.client)
    (problem,) = report.problems
    assert problem.startswith(f"task {second}: another task shows a different picture")
    assert f"jump/000001, view front, of task {first}" in problem
    assert frame_of(lab, twin).id == frame_of(lab, first).id, "the same picture twice is one frame"
    (label,) = labels(lab)
    np.testing.assert_allclose(Pose2D.from_json(label.poses["0"]).xy_px, pose(1).xy_px, atol=0.001)


def test_a_task_whose_data_tells_no_frame_any_more_is_left_out_until_it_does(foreign: Any) -> None:
    lab = foreign
    (number,) = lab.client.import_tasks(lab.project, [data_of(1)])
    annotate(lab, number, lab.hand_made(1))
    pull(lab.workspace, lab.client)
    lab.client.change_task_data(number, {**data_of(1), "trial": None})
    report = pull(lab.workspace, lab.client)
    assert labels(lab) == []
    assert f"task {number}: frames.sequence: expected 'trial'" in "\n".join(report.problems)
    lab.client.change_task_data(number, data_of(1))
    pull(lab.workspace, lab.client)
    assert [row.ls_annotation_id for row in labels(lab)] != []


def test_one_unusable_camera_is_named_and_the_others_are_used(foreign: Any) -> None:
    lab = foreign
    wrong: list[tuple[Any, str]] = [
        ("s3://nobodys/s_001.jpg", "got 's3'"),
        ("/data/upload\\1\\s_001.jpg", "backslashes"),
        ("https://me:secret@cam/s_001.jpg", "user name or password"),
        ("side_001.jpg", "expected an address"),
        (["/data/upload/1/s_001.jpg"], "expected one address of a picture, got a list"),
    ]
    numbers = lab.client.import_tasks(lab.project, [data_of(i, side=value) for i, (value, _) in enumerate(wrong)])
    report = pull(lab.workspace, lab.client)
    text = "\n".join(report.problems)
    assert "secret" not in text
    for number, (_, words) in zip(numbers, wrong, strict=True):
        assert any(line.startswith(f"task {number}: side") and words in line for line in report.problems), (words, text)
        assert list(frame_of(lab, number).images) == ["front"]


def test_labels_without_the_size_of_their_picture_wait_for_it(make_lab: Callable[..., Any]) -> None:
    import cv2

    lab = make_lab(1)
    for view in ("front", "side"):
        path = lab.platform.documents.resolve() / str(lab.project) / view / "0000.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8))
    (frame,) = frames.list_frames(lab.workspace.store)
    (number,) = lab.make_tasks([0])
    unknown = {view: type(ref)(ref.source) for view, ref in frame.images.items()}
    frames.replace_images(lab.workspace.store, frame.id, unknown)
    bare = [{k: v for k, v in region.items() if not k.startswith("original_")} for region in lab.hand_made(0)]
    annotate(lab, number, bare)
    pull(lab.workspace, lab.client)
    (label,) = labels(lab)
    assert not label.unsized, events(lab)
    np.testing.assert_allclose(Pose2D.from_json(label.poses["0"]).xy_px, pose(0).xy_px, atol=0.001)
    assert frames.list_frames(lab.workspace.store)[0].images["front"].size_px == SIZE
