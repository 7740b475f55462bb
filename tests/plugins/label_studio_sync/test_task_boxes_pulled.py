"""Boxes in the data of tasks, and boxes that people drew, reach the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from label_config.labelling.binding import bind
from label_config.labelling.build_xml import build_label_config
from label_config.values import FrameKey
from ml_backend.store import frames, presence, projects, submissions
from ml_backend.store.frames import BoxNumbers, FrameRow
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.inventory import describe_tasks
from plugins.label_studio_sync.known_frames import FrameFinder
from plugins.label_studio_sync.task_reader import TaskReader
from tests.small_project import SIZE, VIEWS, make_project

TIMES = {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}


def task(number: int, data: dict[str, Any], annotations: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """As Label Studio lists it, a task of Parallax unless ``data`` says otherwise."""
    pictures = {"parallax_key": f"s/{number % 100:06d}", "left": "/data/a.jpg", "right": "/data/b.jpg"}
    data = {**pictures, **data}
    counts = {"is_labeled": bool(annotations), "cancelled_annotations": 0, "total_annotations": len(annotations or [])}
    return {"id": number, "data": data, "annotations": annotations or [], **TIMES, **counts}


def read(workspace: Workspace, *items: dict[str, Any]) -> TaskReader:
    reader = TaskReader(workspace, cast(Client, None))
    reader.read(items)
    return reader


def frame(workspace: Workspace, index: int = 0) -> FrameRow:
    return next(row for row in frames.list_frames(workspace.store) if row.key == FrameKey("s", index))


def test_boxes_of_the_data_are_kept_changed_and_withdrawn(workspace: Workspace) -> None:
    read(workspace, task(100, {"box": {"left": [1, 2, 30, 40], "right": [5, 6, 7, 8]}}))
    assert frame(workspace).boxes == {0: {"left": (1.0, 2.0, 30.0, 40.0), "right": (5.0, 6.0, 7.0, 8.0)}}
    assert frame(workspace, 1).boxes == {}
    read(workspace, task(100, {"box": {"left": [1, 2, 3, 4], "right": None}}))
    assert frame(workspace).boxes == {0: {"left": (1.0, 2.0, 3.0, 4.0)}}
    read(workspace, task(100, {}))  # says nothing
    assert frame(workspace).box("left") == (1.0, 2.0, 3.0, 4.0)
    read(workspace, task(100, {"box": None}))
    assert frame(workspace).box("left") is None


def test_a_new_task_brings_its_boxes(workspace: Workspace) -> None:
    read(
        workspace,
        task(900, {"parallax_key": "s/000003", "left": "/data/a.jpg", "right": "/data/b.jpg", "box": {"right": [0, 0, 9, 9]}}),
    )
    assert frame(workspace, 3).box("right") == (0.0, 0.0, 9.0, 9.0)


def test_each_camera_of_a_frame_brings_its_own(tmp_path: Path) -> None:
    workspace = make_project(tmp_path, one_camera_per_task=True)
    read(workspace, task(100, {"parallax_view": "left", "box": [1, 2, 3, 4]}))
    read(workspace, task(200, {"parallax_view": "right", "box": [5, 6, 7, 8]}))
    assert frame(workspace).boxes == {0: {"left": (1.0, 2.0, 3.0, 4.0), "right": (5.0, 6.0, 7.0, 8.0)}}
    workspace.store.close()


def test_what_is_no_box_is_told_and_the_task_goes_on(workspace: Workspace) -> None:
    good = {"box": {"left": [1, 2, 3, 4]}}
    read(workspace, task(100, {"box": {"left": [1, 2, 3]}}), task(101, good), task(102, {"box": "A3"}))
    assert frame(workspace).boxes == {}
    assert frame(workspace, 1).box("left") == (1.0, 2.0, 3.0, 4.0)
    (event,) = [event for event in presence.list_events(workspace.store) if "100, 102" in event.text]
    assert "expected [x, y, width, height]" in event.text


def test_a_drawn_box_is_kept_with_its_annotation(workspace: Workspace) -> None:
    skeleton = workspace.binding.skeleton
    binding = bind(build_label_config(skeleton, VIEWS, boxes=True), skeleton)
    projects.change(workspace.store, binding=binding.to_json())
    view = binding.views[1]
    box = {"x": 10.0, "y": 25.0, "width": 50.0, "height": 50.0, "rotation": 0, "rectanglelabels": list(view.box_labels)}
    size = {"original_width": SIZE[0], "original_height": SIZE[1], "image_rotation": 0}
    region = {"id": "b", "type": "rectanglelabels", "from_name": view.box, "to_name": view.image, "value": box, **size}
    labelled = {"id": 7, "updated_at": "2026-01-01T00:00:00Z", "was_cancelled": False, "result": [region]}
    read(workspace, task(100, {}, [labelled]))
    (row,) = submissions.list_annotations(workspace.store)
    assert row.boxes == {"0": [None, [64.0, 120.0, 320.0, 240.0]]}
    assert frame(workspace).boxes == {}


def test_boxes_of_several_subjects_are_refused_in_words(workspace: Workspace) -> None:
    read(workspace, task(100, {"box": {"left": [[1, 2, 30, 40], [50, 2, 30, 40]]}}))
    assert frame(workspace).boxes == {}
    (event,) = [event for event in presence.list_events(workspace.store) if "task 100" in event.text]
    assert "got 2 boxes; give the same subject's box in every camera" in event.text


def test_boxes_of_several_subjects_are_kept_by_number(tmp_path: Path) -> None:
    workspace = several(make_project(tmp_path))
    a, b = [1, 2, 30, 40], [50, 2, 30, 40]
    read(workspace, task(100, {"box": {"left": [a, b], "right": [None, b]}}))
    assert frame(workspace).boxes == {0: {"left": tuple(a)}, 1: {"left": tuple(b), "right": tuple(b)}}
    read(workspace, task(100, {"box": {"left": [b], "right": [None, b]}}))
    assert frame(workspace).boxes == {0: {"left": tuple(b)}, 1: {"right": tuple(b)}}
    read(workspace, task(100, {"box": None}))
    assert frame(workspace).boxes == {}
    workspace.store.close()


def test_boxes_without_a_number_are_of_nobody_until_geometry_numbers_them(tmp_path: Path) -> None:
    workspace = several(make_project(tmp_path))
    a, b = (1.0, 2.0, 30.0, 40.0), (50.0, 2.0, 30.0, 40.0)
    lists = {"left": [{"box": list(a)}, {"box": list(b)}], "right": [{"box": list(b)}, {"box": list(a)}]}
    read(workspace, task(100, {"box": lists}))
    found = frame(workspace)
    assert (found.boxes, found.unnumbered) == ({}, {0: {"left": a, "right": b}, 1: {"left": b, "right": a}})
    numbered = {0: {"left": a, "right": a}, 1: {"left": b, "right": b}}
    frames.save_boxes(workspace.store, {found.id: numbered}, BoxNumbers.MATCHED)
    read(workspace, task(100, {"box": {view: of[::-1] for view, of in lists.items()}, "note": "listed in another order"}))
    assert (frame(workspace).boxes, frame(workspace).matched) == (numbered, True)
    read(workspace, task(100, {"box": {**lists, "left": [{"box": list(a)}]}}))
    assert frame(workspace).unnumbered == {0: {"left": a, "right": b}, 1: {"right": a}}
    read(workspace, task(100, {"box": {"left": [list(a)], "right": [list(a)]}}))
    assert (frame(workspace).boxes, frame(workspace).matched) == ({0: {"left": a, "right": a}}, False)
    workspace.store.close()


def several(workspace: Workspace) -> Workspace:
    """As a person sets it in parallax.yaml."""
    settings = workspace.spec.subjects.model_copy(update={"max": 2})
    return replace(workspace, spec=workspace.spec.model_copy(update={"subjects": settings}))


def test_points_of_several_subjects_are_said_with_their_tasks(workspace: Workspace) -> None:
    skeleton = workspace.binding.skeleton
    binding = bind(build_label_config(skeleton, VIEWS, boxes=True), skeleton)
    projects.change(workspace.store, binding=binding.to_json())
    view = binding.views[0]
    size = {"original_width": SIZE[0], "original_height": SIZE[1], "image_rotation": 0}

    def mouse(name: str, left: float) -> list[dict[str, Any]]:
        box = {"x": left, "y": 25.0, "width": 20.0, "height": 50.0, "rotation": 0, "rectanglelabels": list(view.box_labels)}
        nose = {"x": left + 5, "y": 30.0, "width": 0.5, "keypointlabels": ["nose"]}
        control = next(iter(view.points))
        point = {"id": f"p{name}", "type": "keypointlabels", "from_name": control, "parentID": name, "value": nose}
        around = {"id": name, "type": "rectanglelabels", "from_name": view.box, "value": box}
        return [{**region, "to_name": view.image, **size} for region in (around, point)]

    labelled = {"id": 7, "updated_at": TIMES["updated_at"], "was_cancelled": False}
    read(workspace, task(100, {}, [{**labelled, "result": mouse("a", 10.0)}]))
    assert not [event for event in presence.list_events(workspace.store) if "one subject" in event.text]
    read(workspace, task(101, {}, [{**labelled, "id": 8, "result": mouse("a", 10.0) + mouse("b", 60.0)}]))
    (event,) = [event for event in presence.list_events(workspace.store) if "one subject" in event.text]
    assert event.text.startswith("task 101: annotations: expected points of one subject in a frame, got 2 subjects")
    assert "not trained on" in event.text


def test_the_dry_run_says_that_boxes_were_understood(workspace: Workspace) -> None:
    names = FrameFinder(workspace).names
    pictures = {"left": "/data/a.jpg", "right": "/data/b.jpg"}
    data = [
        {"parallax_key": "s/000000", **pictures, "box": {"left": [1, 2, 3, 4]}},
        {"parallax_key": "s/000001", **pictures, "box": {"left": None}},
        {"parallax_key": "s/000002", **pictures, "box": "A3"},
        {"parallax_key": "s/000003", **pictures, "box": "A4"},
        {"parallax_key": "s/000004", **pictures},
    ]

    class Listing(Client):
        def __init__(self) -> None: ...

        def tasks(self, project: int, **_: Any) -> Iterator[dict[str, Any]]:
            yield from ({"id": 1 + i, "data": item, "total_annotations": 0} for i, item in enumerate(data))

    lines = describe_tasks(Listing(), 7, names)
    assert "1 tasks say in data['box'] where the subject is; crops follow these boxes" in lines
    (warning,) = [line for line in lines if line.startswith("warning")]
    assert "tasks 3, 4: " in warning
    assert "got 'A3'" in warning
