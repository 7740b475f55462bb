"""Leases while clocks are wrong: set back or forward by an hour, or different on two hosts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ml_backend.store import lease_clock, presence, projects, work
from ml_backend.store.database import ProjectStore, Store

HOUR_S = 3600.0


@contextmanager
def clock_off_by(seconds: float, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """This host's clock."""
    real = time.time
    with patch.context() as inner:
        inner.setattr(time, "time", lambda: real() + seconds)
        yield


@pytest.fixture
def project(store: Store) -> ProjectStore:
    return store.of_project(projects.register(store, "http://here", 7, "2026-01-01T00:00:00Z").id)


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_leases_given_before_the_clock_was_set_back_hold_nobody_up(
    project: ProjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = work.request(project, "retrain")
    with clock_off_by(HOUR_S, monkeypatch):
        assert presence.acquire_lease(project, "leader", "dead", 45)
        assert work.claim(project, job.id, "dead") is not None
    assert presence.acquire_lease(project, "leader", "alive", 45)
    assert [row.id for row in work.open_jobs(project)] == [job.id]
    assert work.claim(project, job.id, "alive") is not None


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_holder_that_lives_keeps_its_lease_when_the_clock_is_set_back(
    project: ProjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = work.request(project, "retrain")
    with clock_off_by(HOUR_S, monkeypatch):
        assert presence.acquire_lease(project, "leader", "alive", 45)
        mine = work.claim(project, job.id, "alive")
        assert mine is not None
    assert presence.acquire_lease(project, "leader", "alive", 45)
    assert work.heartbeat(project, mine)
    assert not presence.acquire_lease(project, "leader", "other", 45)
    assert work.claim(project, job.id, "other") is None


@pytest.mark.postgres
@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
@pytest.mark.parametrize("off_s", [-HOUR_S, HOUR_S])
def test_a_host_with_another_time_takes_nothing_from_those_that_live(
    project: ProjectStore, monkeypatch: pytest.MonkeyPatch, off_s: float
) -> None:
    job = work.request(project, "retrain")
    assert presence.acquire_lease(project, "leader", "here", 45)
    assert work.claim(project, job.id, "here") is not None
    with clock_off_by(off_s, monkeypatch):
        assert not presence.acquire_lease(project, "leader", "there", 45)
        assert work.claim(project, job.id, "there") is None
        assert work.open_jobs(project) == []
        assert presence.holder(project, "leader") == "here"


def test_the_clock_of_the_store_is_now(store: Store) -> None:
    with store.read() as connection:
        assert abs(lease_clock.now_of(connection) - time.time()) < 60
