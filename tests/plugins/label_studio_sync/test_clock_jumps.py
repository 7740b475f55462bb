"""This machine's clock decides when to look, never what has been seen: that is Label Studio's own clock alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from label_config.labelling.build_xml import build_label_config
from ml_backend.store import presence, submissions
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.pull import OVERLAP, pull
from plugins.label_studio_sync.times import instant
from tests.small_project import VIEWS

HOUR_S = 3600.0


class InMemory(Client):
    """Six tasks of one project; ``label`` submits at a time of Label Studio's clock."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.asked: list[str | None] = []
        self.items = {100 + i: self._item(100 + i) for i in range(6)}

    def _item(self, number: int) -> dict[str, Any]:
        when = dict.fromkeys(("created_at", "updated_at"), "2026-01-01T00:00:00.000000Z")
        data = {"parallax_key": f"s/{number - 100:06d}", **dict.fromkeys(VIEWS, "/data/upload/a.jpg")}
        return {"id": number, "data": data, "annotations": [], **when, **self._counts(0)}

    def _counts(self, annotations: int) -> dict[str, Any]:
        return {"is_labeled": annotations > 0, "cancelled_annotations": 0, "total_annotations": annotations}

    def label(self, number: int, minute: int) -> None:
        when = f"2026-01-01T00:{minute:02}:00.000000Z"
        made = {"id": number + 1000, "updated_at": when, "was_cancelled": False, "result": []}
        self.items[number] |= {"updated_at": when, "annotations": [made], **self._counts(1)}

    def project(self, project: int) -> dict[str, Any]:
        skeleton = self.workspace.binding.skeleton
        created = self.workspace.project.ls_created_at
        return {"created_at": created, "label_config": build_label_config(skeleton, VIEWS), "task_number": len(self.items)}

    def tasks(self, project: int, *, since: str | None = None, fields: str = "", raw: bool = True) -> Iterator[dict[str, Any]]:
        self.asked.append(since)
        for item in self.items.values():
            if since is None or instant(item["updated_at"]) > instant(since):
                yield item

    def tasks_by_id(self, project: int, numbers: Sequence[int], **_: Any) -> Iterator[dict[str, Any]]:
        yield from (self.items[number] for number in numbers)


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
def test_no_label_is_missed_or_counted_twice(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, jump_s: float) -> None:
    label_studio, shift_s, real = InMemory(workspace), 0.0, time.time
    monkeypatch.setattr(time, "time", lambda: real() + shift_s)
    pull(workspace, label_studio)
    label_studio.label(100, minute=10)
    assert pull(workspace, label_studio).changed == 1
    shift_s = jump_s
    label_studio.label(101, minute=20)
    # Written by another of its processes, whose clock is behind; the overlap covers that.
    label_studio.label(102, minute=6)
    label_studio.asked.clear()
    assert pull(workspace, label_studio).changed == 2
    assert workspace.project.cursor == "2026-01-01T00:20:00.000000Z"
    shift_s = 0.0  # set right again
    assert pull(workspace, label_studio).changed == 0
    rows = submissions.list_annotations(workspace.store)
    assert [row.ls_annotation_id for row in rows] == [1100, 1101, 1102]
    since = [instant(text) for text in label_studio.asked if text is not None]
    assert all(text <= instant("2026-01-01T00:20:00.000000Z") - OVERLAP for text in since), "asked by its clock, with overlap"


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
def test_no_lease_of_the_dead_outlives_a_jump(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, jump_s: float) -> None:
    real, shift_s = time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: real() + shift_s)
    assert presence.acquire_lease(workspace.store, "sync", "dead", 45.0)
    assert not presence.acquire_lease(workspace.store, "sync", "next", 45.0)
    shift_s = jump_s
    assert presence.acquire_lease(workspace.store, "sync", "next", 45.0)
    assert not presence.acquire_lease(workspace.store, "sync", "last", 45.0)


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
def test_the_dead_do_not_count_as_alive_after_a_jump(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    real, shift_s = time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: real() + shift_s)
    presence.beat(workspace.store, "train@host:1")
    assert set(presence.alive(workspace.store)) == {"train@host:1"}
    shift_s = jump_s
    assert presence.alive(workspace.store) == {}
    presence.beat(workspace.store, "train@host:1")
    assert set(presence.alive(workspace.store)) == {"train@host:1"}
