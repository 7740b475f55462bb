"""The event log and the list of processes stay small, however long a project lasts."""

from __future__ import annotations

import time

import pytest

from ml_backend.store import presence, projects
from ml_backend.store.database import ProjectStore, Store


@pytest.fixture
def project(store: Store) -> ProjectStore:
    return store.of_project(projects.register(store, "http://here", 7, "2026-01-01T00:00:00Z").id)


def test_old_lines_go_and_what_is_not_over_stays(project: ProjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "KEPT_EVENTS", 3)
    presence.tell(project, "the disk is full", key="disk")
    for number in range(5):
        presence.tell(project, f"line {number}")
    presence.forget_old(project)
    assert {event.text for event in presence.list_events(project)} == {"the disk is full", "line 2", "line 3", "line 4"}


def test_lines_of_another_project_stay(store: Store, project: ProjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "KEPT_EVENTS", 1)
    other = store.of_project(projects.register(store, "http://here", 8, "2026-01-01T00:00:00Z").id)
    for number in range(3):
        presence.tell(other, f"line {number}")
    presence.forget_old(project)
    assert len(presence.list_events(other)) == 3


def test_processes_that_ended_long_ago_are_forgotten_but_the_newest_of_a_kind(
    project: ProjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    for days, name in enumerate(["train@host:1", "train@host:2", "infer@host:2", "sync", "train@host:3"]):
        monkeypatch.setattr(time, "time", lambda days=days: real() - 86_400 * (9 - days))
        presence.beat(project, name)
    monkeypatch.setattr(time, "time", real)
    presence.beat(project, "infer@host:9")
    presence.forget_old(project)
    assert set(presence.alive(project, within_s=1e9)) == {"train@host:3", "infer@host:9", "sync"}
