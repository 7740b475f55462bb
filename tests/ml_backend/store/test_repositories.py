"""The store on SQLite and on PostgreSQL: identity, fencing, leases, and nothing counted twice."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import update

from label_config.values import BadInputError, FrameKey, ImageRef, Pose2D
from label_config.values.atomic_files import write_atomically
from ml_backend.store import frames, generations, ledger, presence, projects, pseudo_labels, submissions, tasks, versions, work
from ml_backend.store.arrays import ArrayStore
from ml_backend.store.database import Store, open_store, upgrade
from ml_backend.store.generations import PickRow
from ml_backend.store.schema import jobs, metadata, shards
from ml_backend.store.statuses import EventLevel


@pytest.fixture
def project(store: Store) -> int:
    return projects.register(store, "http://ls/", 3, "2026-01-01T00:00:00Z", title="t").id


def add_frame(store: Store, project: int, index: int = 0) -> int:
    key = FrameKey("s", index)
    frames.add_frames(store.of_project(project), [(key, {"a": ImageRef("a.mp4", index)}, "train")])
    return frames.ids_by_key(store.of_project(project))[key]


def add_task(store: Store, project: int, ls_task_id: int = 10, index: int = 0) -> int:
    tasks.save(store.of_project(project), [{"ls_task_id": ls_task_id, "frame_id": add_frame(store, project, index)}])
    row = tasks.by_ls_id(store.of_project(project), ls_task_id)
    assert row is not None
    return row.id


def annotation(task: int, number: int = 1, updated_at: str = "2026-01-01T00:00:01Z", **more: Any) -> dict[str, Any]:
    row = {"ls_annotation_id": number, "task_id": task, "updated_at": updated_at, "cancelled": False, "poses": {}, "problems": []}
    return {**row, "round": 0, "seen_at": 1.0, **more}


def pick(frame: int, rank: int = 0) -> PickRow:
    return PickRow(rank, frame, rank / 10, False, False, "why", None, {"0": Pose2D.empty(1, 2).to_json()}, None)


def test_migrations_give_the_schema_that_the_code_uses(store: Store) -> None:
    upgrade(store)  # a second time does nothing
    with store.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_project_is_known_by_address_number_and_creation_time(store: Store) -> None:
    first = projects.register(store, "http://ls/", 3, "t0")
    assert projects.register(store, "http://ls", 3, "t0").id == first.id
    assert projects.register(store, "http://ls", 3, "t1").id != first.id
    found = projects.find(store, "http://ls", 3)
    assert found is not None
    assert found.ls_created_at == "t1"


def test_only_versions_move_the_live_model(store: Store, project: int) -> None:
    with pytest.raises(ValueError, match=r"only store\.versions moves"):
        projects.change(store.of_project(project), live_version_id=1)


def test_a_job_is_claimed_for_its_own_project_only(store: Store, project: int) -> None:
    other = projects.register(store, "http://ls/", 4, "2026-01-01T00:00:00Z", title="other").id
    job = work.request(store.of_project(project), "retrain")
    assert work.claim(store.of_project(other), job.id, "w") is None
    claimed = work.claim(store.of_project(project), job.id, "w")
    assert claimed is not None
    assert claimed.owner == "w"


def test_a_flag_is_taken_once(store: Store, project: int) -> None:
    projects.change(store.of_project(project), pull_requested=True)
    assert projects.take_flag(store.of_project(project), "pull_requested")
    assert not projects.take_flag(store.of_project(project), "pull_requested")


def test_numbers_never_repeat_across_threads(store: Store, project: int) -> None:
    seen: list[int] = []

    def draw() -> None:
        for _ in range(10):
            with store.write() as connection:
                seen.append(projects.next_number(connection, project, "x"))

    with store.write() as connection:
        projects.next_number(connection, project, "x")
    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(2, 42))


def test_a_known_frame_keeps_its_split(store: Store, project: int) -> None:
    key = FrameKey("s", 4)
    assert frames.add_frames(store.of_project(project), [(key, {"a": ImageRef("a.png")}, "val")]) == 1
    assert frames.add_frames(store.of_project(project), [(key, {"a": ImageRef("b.png")}, "train")]) == 0
    (row,) = frames.list_frames(store.of_project(project))
    assert (row.key, row.split, row.images["a"].source) == (key, "val", "a.png")


def test_an_annotation_counts_once_and_keeps_its_first_round(store: Store, project: int) -> None:
    task = add_task(store, project)
    assert submissions.save(store.of_project(project), [annotation(task)]) == 1
    assert submissions.save(store.of_project(project), [annotation(task)]) == 0, "the same state again is no change"
    later = annotation(task, updated_at="2026-01-02T00:00:00Z", round=5, person=7)
    assert submissions.save(store.of_project(project), [later]) == 1
    (row,) = submissions.list_annotations(store.of_project(project))
    assert (row.round, row.person, row.updated_at) == (0, 7, "2026-01-02T00:00:00Z")


def test_skipped_and_deleted_annotations_do_not_count(store: Store, project: int) -> None:
    task = add_task(store, project)
    submissions.save(store.of_project(project), [annotation(task, 1), annotation(task, 2, cancelled=True), annotation(task, 3)])
    submissions.mark_deleted(
        store,
        [row.id for row in submissions.list_annotations(store.of_project(project), every=True) if row.ls_annotation_id == 3],
    )
    assert [row.ls_annotation_id for row in submissions.list_annotations(store.of_project(project))] == [1]
    assert len(submissions.list_annotations(store.of_project(project), every=True)) == 3
    submissions.save(store.of_project(project), [annotation(task, 3)])
    assert [row.ls_annotation_id for row in submissions.list_annotations(store.of_project(project))] == [1, 3], (
        "seen again: it is back"
    )
    tasks.mark_deleted(store.of_project(project), [10])
    assert submissions.list_annotations(store.of_project(project)) == []


def test_a_late_worker_cannot_publish_over_a_newer_model(store: Store, project: int) -> None:
    old = versions.add(store.of_project(project), attempt=1, snapshot_id=None, path="p1", sha256="a", metrics={})
    new = versions.add(store.of_project(project), attempt=2, snapshot_id=None, path="p2", sha256="b", metrics={})
    assert versions.publish(store.of_project(project), new.id, 2)
    assert not versions.publish(store.of_project(project), old.id, 1)
    live = versions.live(store.of_project(project))
    assert live is not None
    assert live.id == new.id


def test_one_model_folder_is_one_version_whoever_finishes_it(store: Store, project: int) -> None:
    first = versions.add(store.of_project(project), attempt=1, snapshot_id=None, path="p", sha256="a", metrics={})
    assert versions.add(store.of_project(project), attempt=2, snapshot_id=None, path="p", sha256="a", metrics={}).id == first.id


def test_a_pinned_version_stays_until_it_is_unpinned(store: Store, project: int) -> None:
    first = versions.add(store.of_project(project), attempt=1, snapshot_id=None, path="p", sha256="a", metrics={})
    second = versions.add(store.of_project(project), attempt=2, snapshot_id=None, path="q", sha256="a", metrics={})
    versions.pin(store.of_project(project), first.id)
    assert not versions.publish(store.of_project(project), second.id, 2)
    versions.unpin(store.of_project(project))
    assert versions.publish(store.of_project(project), second.id, 2)


def test_a_snapshot_closes_the_round(store: Store, project: int) -> None:
    assert versions.current_round(store.of_project(project)) == 0
    assert versions.save_snapshot(store.of_project(project), sha256="x", path="p", n_frames=3).round == 0
    assert versions.current_round(store.of_project(project)) == 1


def test_generations_switch_and_renumber(store: Store, project: int) -> None:
    frame = add_frame(store, project)
    first = generations.add(store.of_project(project), None, [pick(frame)])
    assert (first.number, first.name, first.status) == (1, "px-0.1", "selected")
    generations.switch(store.of_project(project), 1)
    second = generations.renumber(
        store.of_project(project), generations.add(store.of_project(project), None, [pick(frame)]).number
    )
    assert second.number == 3
    assert [row.status for row in generations.list_generations(store.of_project(project))] == ["current", "abandoned", "selected"]
    generations.switch(store.of_project(project), 3)
    assert projects.get(store.of_project(project)).generation == 3
    assert generations.get(store.of_project(project), 1).status == "past"
    shown = generations.pick_of(store.of_project(project), 1, frame)
    assert shown is not None
    assert shown.reason == "why"


def test_a_new_selection_replaces_one_that_was_never_pushed(store: Store, project: int) -> None:
    frame = add_frame(store, project)
    generations.add(store.of_project(project), None, [pick(frame)])
    generations.add(store.of_project(project), None, [pick(frame)])
    assert [row.status for row in generations.list_generations(store.of_project(project))] == ["cleaned", "selected"]


def test_pseudo_labels_of_a_round_are_replaced_and_withdrawn(store: Store, project: int) -> None:
    frame = add_frame(store, project)
    row = {"frame_id": frame, "generation": 1, "whole": True, "xyz_world": [], "pose": {}, "weight": 0.5}
    pseudo_labels.replace_round(store.of_project(project), 1, [row])
    pseudo_labels.replace_round(store.of_project(project), 1, [row])
    (kept,) = pseudo_labels.list_pseudo(store.of_project(project), round_=1)
    pseudo_labels.withdraw(store, [kept.id])
    assert pseudo_labels.list_pseudo(store.of_project(project)) == []
    assert len(pseudo_labels.list_pseudo(store.of_project(project), withdrawn=True)) == 1


def test_one_running_one_pending(store: Store, project: int) -> None:
    first = work.request(store.of_project(project), "retrain")
    assert work.request(store.of_project(project), "retrain").id == first.id
    running = work.claim(store.of_project(project), first.id, "w1")
    assert running is not None
    second = work.request(store.of_project(project), "retrain", {"why": "new labels"})
    assert second.id != first.id
    assert work.claim(store.of_project(project), second.id, "w2") is None, "one of its kind runs already"
    assert work.finish(store, running)
    assert work.claim(store.of_project(project), second.id, "w2") is not None


def expire(store: Store, table: Any, row_id: int) -> None:
    with store.write() as connection:
        connection.execute(update(table).where(table.c.id == row_id).values(lease_until=1.0))


def test_a_lost_lease_is_taken_over_with_a_larger_attempt_and_the_first_worker_is_told(store: Store, project: int) -> None:
    job = work.request(store.of_project(project), "retrain")
    first = work.claim(store.of_project(project), job.id, "w1")
    assert first is not None
    assert work.claim(store.of_project(project), job.id, "w2") is None
    expire(store, jobs, job.id)
    assert [row.id for row in work.open_jobs(store.of_project(project))] == [job.id]
    second = work.claim(store.of_project(project), job.id, "w2")
    assert second is not None
    assert second.attempt > first.attempt
    assert not work.heartbeat(store, first)
    assert not work.finish(store, first)
    assert work.heartbeat(store, second, {"step": 3})
    assert work.list_jobs(store.of_project(project))[0].progress == {"step": 3}


def test_a_job_that_keeps_dying_is_put_aside_with_its_reason(store: Store, project: int) -> None:
    job = work.request(store.of_project(project), "retrain")
    for _ in range(work.MAX_TRIES):
        assert work.claim(store.of_project(project), job.id, "w") is not None
        expire(store, jobs, job.id)
    assert work.claim(store.of_project(project), job.id, "w") is None
    (row,) = work.list_jobs(store.of_project(project))
    assert row.status == "failed"
    assert "put aside after 3 tries" in (row.error or "")


def test_a_failing_job_is_pending_again_until_its_tries_are_used_up(store: Store, project: int) -> None:
    job = work.request(store.of_project(project), "rescore")
    for left in (True, True, False):
        claimed = work.claim(store.of_project(project), job.id, "w")
        assert claimed is not None
        assert work.fail(store, claimed, "no GPU")
        assert bool(work.open_jobs(store.of_project(project))) is left


def test_every_shard_is_given_out_once(store: Store, project: int) -> None:
    version = versions.add(store.of_project(project), attempt=1, snapshot_id=None, path="p", sha256="a", metrics={}).id
    runs = [{"sequence": "s", "frame_ids": [i], "halo_ids": [[], []]} for i in range(12)]
    work.add_shards(store.of_project(project), version, 1, runs)
    work.add_shards(store.of_project(project), version, 1, runs)
    taken: list[int] = []

    def take(owner: str) -> None:
        while (shard := work.claim_shard(store, version, 1, owner)) is not None:
            taken.append(shard.id)
            work.close_shard(store, shard, path="x")

    threads = [threading.Thread(target=take, args=(f"w{i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 12
    assert {shard.status for shard in work.list_shards(store, version, 1)} == {"done"}


def test_a_poisonous_shard_does_not_block_the_others(store: Store, project: int) -> None:
    version = versions.add(store.of_project(project), attempt=1, snapshot_id=None, path="p", sha256="a", metrics={}).id
    work.add_shards(
        store.of_project(project), version, 1, [{"sequence": "s", "frame_ids": [i], "halo_ids": [[], []]} for i in range(2)]
    )
    for _ in range(work.MAX_TRIES):
        shard = work.claim_shard(store, version, 1, "w")
        assert shard is not None
        expire(store, shards, shard.id)
    other = work.claim_shard(store, version, 1, "w")
    assert other is not None
    assert other.frame_ids == [1]
    assert [row.status for row in work.list_shards(store, version, 1)] == ["failed", "running"]


def test_the_ledger_remembers_what_stood_there_before_us(store: Store, project: int) -> None:
    ledger.record(store.of_project(project), "project_field", "sampling", old="Sequential sampling", new="Uncertainty sampling")
    ledger.record(store.of_project(project), "project_field", "sampling", old="Uncertainty sampling", new="Uncertainty sampling")
    (entry,) = ledger.entries(store.of_project(project), "project_field")
    assert entry.old == "Sequential sampling"
    ledger.undone(store, entry.id)
    assert ledger.entries(store.of_project(project)) == []


def test_only_one_leads(store: Store) -> None:
    won: list[str] = []
    names = [f"p{i}" for i in range(6)]

    def lead(name: str) -> None:
        if presence.acquire_lease(store, "sync", name, 30):
            won.append(name)

    threads = [threading.Thread(target=lead, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert presence.acquire_lease(store, "sync", won[0], 30), "the leader may stay"
    presence.release_lease(store, "sync", won[0])
    assert presence.acquire_lease(store, "sync", "other", 30)


def test_an_event_that_is_told_again_comes_first(store: Store, project: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for at, (text, key) in enumerate([("old trouble", "a"), ("news", None), ("other trouble", "b"), ("old trouble again", "a")]):
        monkeypatch.setattr(time, "time", lambda at=at: float(at))
        presence.tell(store.of_project(project), text, key=key)
    assert [event.text for event in presence.list_events(store.of_project(project))] == [
        "old trouble again",
        "other trouble",
        "news",
    ]
    assert [event.text for event in presence.list_events(store.of_project(project), limit=1)] == ["old trouble again"]


def test_counted_is_what_would_be_listed(store: Store, project: int) -> None:
    kept, gone = add_task(store, project, 10, 0), add_task(store, project, 11, 1)
    rows = [annotation(kept, 1), annotation(kept, 2, cancelled=True), annotation(kept, 3), annotation(gone, 4)]
    submissions.save(store.of_project(project), rows)
    submissions.mark_deleted(
        store,
        [row.id for row in submissions.list_annotations(store.of_project(project), every=True) if row.ls_annotation_id == 3],
    )
    tasks.mark_deleted(store.of_project(project), [11])
    assert submissions.count(store.of_project(project)) == 1
    assert [row.ls_annotation_id for row in submissions.list_annotations(store.of_project(project))] == [1]
    other = projects.register(store, "http://other", 3, "t0").id
    assert submissions.count(store.of_project(other)) == 0


def test_jobs_are_counted_by_kind_and_status(store: Store, project: int) -> None:
    for kind in ("retrain", "retrain", "select"):  # a request while one is pending is that one
        claimed = work.claim(store.of_project(project), work.request(store.of_project(project), kind).id, "w")
        assert claimed is not None
        work.finish(store, claimed)
    work.request(store.of_project(project), "retrain")
    assert work.count_jobs(store.of_project(project)) == {
        ("retrain", "done"): 2,
        ("retrain", "pending"): 1,
        ("select", "done"): 1,
    }


def test_events_with_one_key_are_one_event(store: Store, project: int) -> None:
    presence.tell(store.of_project(project), "first", level=EventLevel.WARNING, key="pull")
    presence.tell(store.of_project(project), "second", level=EventLevel.WARNING, key="pull")
    assert [event.text for event in presence.list_events(store.of_project(project))] == ["second"]
    presence.settle(store.of_project(project), "pull")
    assert presence.list_events(store.of_project(project)) == []


def test_heartbeats_tell_who_is_alive(store: Store) -> None:
    presence.beat(store, "sync", {"pid": 1})
    presence.beat(store, "sync")
    assert set(presence.alive(store)) == {"sync"}
    assert presence.alive(store, within_s=-1) == {}


@pytest.mark.parametrize("url", ["nonsense", "mysql://u@h/d"])
def test_an_address_that_is_no_store_is_refused_with_the_remedy(url: str) -> None:
    with pytest.raises(BadInputError, match=r"(?i)sqlite"):
        open_store(url)


def test_arrays_round_trip_and_never_leave_the_folder(tmp_path: Any) -> None:
    arrays = ArrayStore(tmp_path / "arrays")
    name, digest = arrays.save("shards", {"xy": np.array([[1.0, np.nan]]), "id": np.arange(3)})
    assert arrays.save("shards", {"xy": np.array([[1.0, np.nan]]), "id": np.arange(3)}) == (name, digest)
    back = arrays.load(name)
    np.testing.assert_array_equal(back["xy"], [[1.0, np.nan]])
    with pytest.raises(BadInputError, match="leads out"):
        arrays.load("../../etc/passwd")
    (tmp_path / "arrays" / name).write_bytes(b"half a file")
    with pytest.raises(BadInputError, match="cannot be read"):
        arrays.load(name)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "f"
    write_atomically(target, b"old")

    def full_disk(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("label_config.values.atomic_files.os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
