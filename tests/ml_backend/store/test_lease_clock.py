"""Leases while clocks are wrong: set back or forward by an hour, or different on two hosts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ml_backend.store import lease_clock, presence, projects, retention, versions, work
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
    """A project with a training that waits."""
    made = store.of_project(projects.register(store, "http://here", 7, "2026-01-01T00:00:00Z").id)
    work.request(made, "retrain")
    return made


def take(project: ProjectStore, owner: str) -> tuple[bool, work.JobRow | None]:
    """The leader's lease and the training, as far as they are to be had."""
    (job,) = work.list_jobs(project)
    return presence.acquire_lease(project, "leader", owner, 45), work.claim(project, job.id, owner)


def take_both(project: ProjectStore, owner: str) -> work.JobRow:
    """Leader's lease and training, which must be to be had."""
    led, job = take(project, owner)
    assert led
    assert job is not None
    return job


only_sqlite = pytest.mark.parametrize("store", ["sqlite"], indirect=True)


@only_sqlite
def test_leases_given_before_the_clock_was_set_back_hold_nobody_up(
    project: ProjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with clock_off_by(HOUR_S, monkeypatch):
        held = take_both(project, "dead")
        assert work.abandoned(project) == frozenset()
    assert work.abandoned(project) == {held.id}
    take_both(project, "alive")
    assert work.abandoned(project) == frozenset()


@only_sqlite
def test_a_holder_that_lives_keeps_its_lease_when_the_clock_is_set_back(
    project: ProjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with clock_off_by(HOUR_S, monkeypatch):
        mine = take_both(project, "alive")
    assert presence.acquire_lease(project, "leader", "alive", 45)
    assert work.heartbeat(project, mine)
    assert take(project, "other") == (False, None)


@only_sqlite
def test_shards_of_the_dead_keep_no_version_after_the_clock_was_set_back(
    project: ProjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 6):
        row = versions.add(project, attempt=number, snapshot_id=None, path=f"m-{number}", sha256="0" * 64, metrics={})
        assert versions.publish(project, row.id, number)
    oldest = versions.list_versions(project)[0]
    work.add_shards(project, oldest.id, 1, [{"sequence": "s", "frame_ids": [1], "halo_ids": []}])
    with clock_off_by(HOUR_S, monkeypatch):
        assert work.claim_shard(project, oldest.id, 1, "dead") is not None
        assert oldest.id not in {row.id for row in retention.retire(project)}
    assert oldest.id in {row.id for row in retention.retire(project)}


@pytest.mark.postgres
@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
@pytest.mark.parametrize("off_s", [-HOUR_S, HOUR_S])
def test_a_host_with_another_time_takes_nothing_from_those_that_live(
    project: ProjectStore, monkeypatch: pytest.MonkeyPatch, off_s: float
) -> None:
    take_both(project, "here")
    with clock_off_by(off_s, monkeypatch):
        assert take(project, "there") == (False, None)
        assert work.abandoned(project) == frozenset()
        assert presence.holder(project, "leader") == "here"


def test_the_clock_of_the_store_is_now(store: Store) -> None:
    with store.read() as connection:
        assert abs(lease_clock.now_of(connection) - time.time()) < 60
