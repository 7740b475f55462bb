"""The parts that recovery rests on, one at a time: named faults, lost messages, standby, labels pulled during a snapshot."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from label_config.values import BadInputError
from ml_backend.jobs import worker_process as worker_module
from ml_backend.jobs.queue import JobQueue
from ml_backend.store import submissions, tasks, versions, work
from ml_backend.store.arrays import ArrayStore
from ml_backend.store.fault_points import Fault
from ml_backend.store.work import LostLeaseError
from ml_backend.store.workspace import Workspace
from plugins.cli.processes import clock as clock_module
from plugins.cli.processes.clock import TickClock
from plugins.label_studio_sync.tick import TickReport

pytestmark = pytest.mark.chaos


# --- named faults ----------------------------------------------------------------------------------------------------


def killed(wanted: str, *reached: str) -> int:
    """The exit status of a process that reaches these places."""
    code = "import sys; from ml_backend.store.fault_points import reach; [reach(name) for name in sys.argv[1:]]"
    environment = {**os.environ, "PARALLAX_KILL_AT": wanted}
    return subprocess.run([sys.executable, "-c", code, *reached], env=environment, timeout=60).returncode


def test_a_fault_kills_at_the_named_place_and_count_and_nowhere_else() -> None:
    assert killed("b", "a", "b") == -signal.SIGKILL
    assert killed("b:2", "b", "a", "b") == -signal.SIGKILL
    assert killed("b:2", "a", "b", "a") == 0


def test_a_fault_that_nobody_understands_is_refused() -> None:
    with pytest.raises(ValueError, match="many"):
        Fault("place:many")
    with pytest.raises(KeyError, match="SIGHUG"):
        Fault("place:1:HUG")


# --- messages and workers --------------------------------------------------------------------------------------------


@pytest.fixture
def empty_redis(redis_url: str) -> Iterator[redis.Redis]:
    """A client of an empty Redis."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        yield client


@pytest.mark.redis
def test_a_message_that_died_with_its_worker_is_sent_again(
    workspace: Workspace, redis_url: str, empty_redis: redis.Redis
) -> None:
    queue = JobQueue(redis_url)
    work.request(workspace.store, "retrain")
    assert queue.enqueue_open_jobs(workspace) == 1
    assert queue.enqueue_open_jobs(workspace) == 0, "it waits in the queue"
    # A worker took the message and was killed before it could claim the job: RQ still remembers the message.
    assert empty_redis.lpop("rq:queue:train") is not None
    assert empty_redis.keys("rq:job:*")
    assert queue.enqueue_open_jobs(workspace) == 1
    queue.connection.close()


@pytest.mark.redis
def test_a_worker_finds_jobs_while_sync_is_away(
    workspace: Workspace, redis_url: str, empty_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job whose worker died is sent again by any worker that lives."""
    sent = threading.Event()
    monkeypatch.setattr(worker_module, "open_from_environment", lambda: workspace)
    monkeypatch.setattr(worker_module, "BEAT_S", 0.05)

    class Idle:
        def __init__(self, *_: object, **__: object) -> None: ...

        def work(self, **_: object) -> None:
            work.request(workspace.store, "rescore")
            deadline = time.monotonic() + 20
            while not empty_redis.llen("rq:queue:infer") and time.monotonic() < deadline:
                time.sleep(0.02)
            if empty_redis.llen("rq:queue:infer"):
                sent.set()

    monkeypatch.setattr(worker_module, "InProcessWorker", Idle)
    worker_module.run_worker(["train"], redis_url)
    assert sent.is_set()


# --- snapshots -------------------------------------------------------------------------------------------------------


def label(workspace: Workspace, number: int, round_: int) -> None:
    """A label that a pull read when ``round_`` was the current one."""
    task = tasks.list_tasks(workspace.store)[0].id
    row = {"ls_annotation_id": number, "task_id": task, "updated_at": f"2026-01-01T00:00:{number:02}Z", "person": 1}
    row |= {"cancelled": False, "ground_truth": False, "lead_time_s": 1.0, "poses": {}, "problems": []}
    row |= {"shown_generation": None, "edit": None, "round": round_, "seen_at": float(number)}
    submissions.save(workspace.store, [row])


def rounds(workspace: Workspace) -> dict[int, int]:
    """Label Studio's number → round."""
    return {row.ls_annotation_id: row.round for row in submissions.list_annotations(workspace.store)}


def test_labels_that_a_snapshot_missed_count_as_new(workspace: Workspace) -> None:
    """One was pulled after the labels were collected, one was written after the snapshot by a pull that began before it."""
    label(workspace, 1, round_=0)
    label(workspace, 2, round_=0)
    versions.save_snapshot(workspace.store, sha256="x", path="p", n_frames=1, annotations=[1])
    label(workspace, 3, round_=0)
    assert rounds(workspace) == {1: 0, 2: 1, 3: 1}
    assert versions.current_round(workspace.store) == 1


def test_a_worker_that_lost_its_job_takes_no_snapshot(workspace: Workspace) -> None:
    label(workspace, 1, round_=0)
    job = work.claim(workspace.store, work.request(workspace.store, "retrain").id, "first")
    assert job is not None
    work.fail(workspace.store, job, "paused")
    second = work.claim(workspace.store, job.id, "second")
    assert second is not None
    values: dict[str, Any] = {"sha256": "x", "path": "p", "n_frames": 1, "annotations": [1]}
    with pytest.raises(LostLeaseError):
        versions.save_snapshot(workspace.store, **values, job=job)
    assert versions.list_snapshots(workspace.store) == []
    row = versions.save_snapshot(workspace.store, **values, job=second)
    assert next(iter(work.list_jobs(workspace.store))).arguments == {"snapshot_id": row.id}


def test_a_full_disk_leaves_no_half_written_array(tmp_path: Path) -> None:
    """With room for 20,000 bytes in a file: the small arrays are kept, the large ones are refused, and no trace is left."""
    arrays = ArrayStore(tmp_path)
    kept, _ = arrays.save("snapshots", {"xy": np.arange(100.0)})
    code = (
        "import sys; import numpy as np; from pathlib import Path; from ml_backend.store.arrays import ArrayStore\n"
        "ArrayStore(Path(sys.argv[1])).save('snapshots', {'xy': np.arange(100_000.0)})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert "File too large" in done.stderr
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == [Path(kept).name]
    assert arrays.load(kept)["xy"][-1] == 99
    (tmp_path / kept).write_bytes(b"PK half a file")
    with pytest.raises(BadInputError, match="cannot be read"):
        arrays.load(kept)


# --- standby ---------------------------------------------------------------------------------------------------------


def test_a_sync_process_that_does_not_lead_looks_often_and_says_so_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock_module, "JITTER", 0.0)
    reports = [TickReport(led=False), TickReport(led=False), TickReport(led=True), TickReport(led=False)]
    lines: list[str] = []
    clock = TickClock(workspace, lambda: reports.pop(0), "me", lines.append)
    pauses = [clock._beat() for _ in range(4)]
    period = workspace.spec.sync.tick_seconds
    assert pauses == [clock_module.STANDBY_S, clock_module.STANDBY_S, period, clock_module.STANDBY_S]
    assert lines == ["another sync process leads"] * 2


def test_a_slow_training_that_saves_often_still_tells_how_far_it_is(tmp_path: Path) -> None:
    """Checkpoints come more often than twenty steps, as on a slow machine."""
    from label_config.settings.skeleton_files import load_skeleton
    from label_config.values import FrameKey, ImageRef, TrainingTarget
    from ml_backend.pose.config import TrainConfig
    from ml_backend.pose.training import train

    skeleton = load_skeleton({"name": "dot", "keypoints": ["centre"]})
    target = TrainingTarget(ImageRef("dot", size_px=(32, 32)), np.full((1, 2), 15.0), np.ones(1), key=FrameKey("s", 0), view="a")
    config = TrainConfig(network="unet_small", input_px=(32, 32), steps=6, batch=1, device="cpu", checkpoint_every_s=1e-9)
    steps: list[int] = []
    train(
        config,
        [target],
        skeleton,
        lambda ref: np.zeros((32, 32, 3), dtype=np.uint8),
        tmp_path,
        progress=lambda p: steps.append(p.step),
    )
    assert steps == [1, 2, 3, 4, 5, 6]
