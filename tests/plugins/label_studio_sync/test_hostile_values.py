"""Values that somebody made up in tasks and annotations: the door lets none through, and one that passes it stops no other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ml_backend.store import submissions, tasks
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.task_reader import TaskReader
from tests.conftest import _empty_postgres
from tests.plugins.label_studio_sync.test_task_boxes_pulled import task
from tests.small_project import SIZE, make_project

KEYS: list[Any] = [
    "s/" + "9" * 25, "s/" + "9" * 5000, "s/9223372036854775808", {"a": 1}, ["s/000001"], 7, True, None, "", "s", "s/-1", "s/1.5",
    "x" * 5000 + "/000001", "s\x00/000001", "s\ud800/000001", "s\n/000001", "s/000001\x00", "/000001", "s/٣", "s/" + "0" * 9999,
]  # fmt: skip


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workspace]:
    """The small project on each database."""
    url = "sqlite:///project.sqlite3"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
        _empty_postgres(url).close()
    made = make_project(tmp_path, store=url)
    yield made
    made.store.close()


class Listed(Client):
    """A Label Studio that has these tasks, with nothing to resolve in their data."""

    def __init__(self, items: Sequence[dict[str, Any]]) -> None:
        self.items = items

    def tasks_by_id(self, project: int, numbers: Sequence[int], **more: Any) -> Iterator[dict[str, Any]]:
        return (item for item in self.items if item["id"] in numbers)


def read(workspace: Workspace, *items: dict[str, Any]) -> TaskReader:
    reader = TaskReader(workspace, Listed(items))
    reader.read(items)
    return reader


def region(number: int, name: str = "px:1:0:0:0", keypoint: str = "nose", **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "type": "keypointlabels",
        "from_name": "kp_left",
        "to_name": "left",
        "original_width": SIZE[0],
        "original_height": SIZE[1],
        "value": {"x": 10.0 + number, "y": 20.0, "width": 1.0, "keypointlabels": [keypoint]},
        **more,
    }


def annotation(number: int, *regions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "result": list(regions),
        "updated_at": "2026-01-02T00:00:00Z",
        "was_cancelled": False,
        "completed_by": 1,
        "lead_time": 3.5,
        "parent_prediction": None,
        **more,
    }


@pytest.mark.parametrize("key", KEYS, ids=lambda key: repr(key)[:20])
def test_a_made_up_key_leaves_its_task_out_and_no_other(project: Workspace, key: Any) -> None:
    odd = task(900, {"parallax_key": key})
    reader = read(project, task(101, {}, [annotation(1, region(1))]), odd, task(102, {}, [annotation(2, region(2))]))
    assert tasks.by_ls_id(project.store, 900) is None
    assert any("task 900" in problem for problem in reader.problems)
    assert {row.ls_annotation_id for row in submissions.list_annotations(project.store)} == {1, 2}


IDS = [
    "px:999999999999:0:0:0", "px:99:0:0:0", "px:2147483648:0:0:0", "px:1:1:0:0", "px:1:7:0:0", "px:1:0:99999999:0",
    "px:1:0:0:99999999", "px:0:0:0:0", "x" * 100_000, "\x00", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("name", IDS, ids=lambda name: repr(name)[:30])
def test_a_made_up_region_id_counts_as_not_shown(project: Workspace, name: str) -> None:
    read(project, task(100, {}, [annotation(1, region(1, name))]), task(101, {}, [annotation(2, region(2))]))
    made_up, ours = submissions.list_annotations(project.store)
    assert (made_up.shown_generation, made_up.edit) == (None, None)
    assert ours.shown_generation == 1
    assert list(made_up.poses) == ["0"]


@pytest.mark.parametrize("name", ["px:1:0:7:0", "px:1:0:499:1"])
def test_a_subject_that_was_not_shown_counts_as_not_shown(project: Workspace, name: str) -> None:
    read(project, task(100, {}, [annotation(1, region(1, name))]))
    (row,) = submissions.list_annotations(project.store)
    assert (row.shown_generation, row.edit) == (None, None)


def test_one_made_up_id_beside_a_real_one_changes_nothing(project: Workspace) -> None:
    read(project, task(100, {}, [annotation(1, region(1), region(2, "px:999999999999:0:0:1", "tail"))]))
    (row,) = submissions.list_annotations(project.store)
    assert row.shown_generation == 1


# No door knows these: they stand for whatever was forgotten.
UNFORESEEN: list[dict[str, Any]] = [
    {"lead_time": 10**400},
    {"lead_time": {"s": 1}},
    {"updated_at": {"t": 1}},
    {"completed_by": "ann"},
    {"completed_by": 2**70},
    {"id": 2**70},
]


@pytest.mark.parametrize("fields", UNFORESEEN, ids=repr)
def test_an_annotation_that_cannot_be_stored_is_named_and_the_others_are_stored(
    project: Workspace, fields: dict[str, Any]
) -> None:
    odd = annotation(2, region(2)) | fields
    reader = read(project, task(100, {}, [annotation(1, region(1)), odd]), task(101, {}, [annotation(3, region(3))]))
    assert [row.ls_annotation_id for row in submissions.list_annotations(project.store)] == [1, 3]
    assert any(problem.startswith("task 100: annotations that cannot be read or stored") for problem in reader.problems)


def test_a_task_that_cannot_be_stored_is_named_and_the_others_are_stored(project: Workspace) -> None:
    odd = task(900, {"parallax_key": "s/000003"}) | {"updated_at": "2026-01-01T00:00:00Z", "id": 2**70}
    reader = read(project, odd, task(101, {}, [annotation(1, region(1))]))
    assert len(submissions.list_annotations(project.store)) == 1
    assert any("cannot be stored" in problem for problem in reader.problems)
