"""A worker that the system kills because memory ran out says nothing; the next try trains with half the batch."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import multiprocessing

from label_config.settings.spec import Spec
from label_config.values import ByteArray
from ml_backend.jobs import harvest_job as harvest_module
from ml_backend.jobs import retrain_job as retrain_module
from ml_backend.jobs import run_job
from ml_backend.jobs.job_context import JobContext
from ml_backend.jobs.training_run import begin_training, train_progress
from ml_backend.pose import engine
from ml_backend.pose.checkpoint import CHECKPOINT_NAME
from ml_backend.pose.config import TrainConfig
from ml_backend.pose.device import to_network
from ml_backend.pose.presets import preset
from ml_backend.pose.training import Progress, train
from ml_backend.pose.weights import read_manifest
from ml_backend.store import presence, versions, work
from ml_backend.store.arrays import ArrayStore
from ml_backend.store.database import open_store
from ml_backend.store.work import JobRow
from ml_backend.store.workspace import Workspace

Make = Callable[..., Workspace]
Label = Callable[..., None]

BATCH, STEPS, DIES_AT = 4, 8, 3
#: Crops of every training step of this process.
sizes: list[int] = []


class DeathError(BaseException):
    """Leaves a job as a worker does that is gone: nothing catches it, nothing is written down."""


def when_full(patch: pytest.MonkeyPatch, room: int, then: Callable[[], None], steps: int = 0) -> None:
    """From its ``steps`` + 1st step on, a training with more than ``room`` crops at a time is over."""
    real = to_network
    sizes.clear()

    def limited(crops: ByteArray, device: torch.device) -> torch.Tensor:
        sizes.append(len(crops))
        if len(sizes) > steps and len(crops) > room:
            then()
        return real(crops, device)

    patch.setattr(engine, "to_network", limited)


def kill_me() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die() -> None:
    raise DeathError


def broken() -> None:
    raise ValueError("no memory has run out")


def worker(spec: Spec, project_id: int, job_id: int, room: int, steps: int) -> None:
    """A process that does one job, and is killed when it needs more memory than there is."""
    torch.set_num_threads(1)
    workspace = Workspace(spec, open_store(spec.store).of_project(project_id), ArrayStore(Path(spec.arrays)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_job, "open_from_environment", lambda: workspace)
        when_full(patch, room, kill_me, steps)
        run_job.run_job(job_id)


def killed_worker(workspace: Workspace, job: JobRow, room: int, steps: int) -> None:
    """A worker in a process of its own, which is killed; its lease runs out."""
    arguments = (workspace.spec, workspace.store.project_id, job.id, room, steps)
    process = multiprocessing.get_context("spawn").Process(target=worker, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    let_lease_run_out(workspace)


def let_lease_run_out(workspace: Workspace) -> None:
    with workspace.store.write() as connection:
        connection.exec_driver_sql("UPDATE jobs SET lease_until = 1 WHERE status = 'running'")


def now(workspace: Workspace, job: JobRow) -> JobRow:
    return next(row for row in work.list_jobs(workspace.store) if row.id == job.id)


def trained_with(workspace: Workspace) -> float:
    """The batch of the live model's last step."""
    live = versions.live(workspace.store)
    assert live is not None
    return read_manifest(workspace.models / live.path).metrics["batch"]


def warnings_of(workspace: Workspace) -> list[str]:
    events = presence.list_events(workspace.store)
    return [event.text for event in events if event.level == "warning"]


@pytest.fixture
def labelled(make_workspace: Make, label: Label, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """Labels to train on, and a worker in this process."""
    workspace = make_workspace(train={"steps_first": STEPS, "batch": BATCH, "checkpoint_seconds": 1e-9, "device": "cpu"})
    label(workspace, [0, 8, 16])
    monkeypatch.setattr(run_job, "open_from_environment", lambda: workspace)
    sizes.clear()
    yield workspace
    run_job.stopping.clear()


@pytest.fixture
def requested(labelled: Workspace) -> JobRow:
    return work.request(labelled.store, "retrain")


def test_the_second_try_goes_on_with_half_the_batch(
    labelled: Workspace, requested: JobRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_worker(labelled, requested, BATCH - 1, DIES_AT)
    (folder,) = (path.parent for path in labelled.models.glob(f"*/{CHECKPOINT_NAME}"))
    when_full(monkeypatch, BATCH - 1, broken)
    run_job.run_job(requested.id)
    assert sizes == [BATCH // 2] * (STEPS - DIES_AT), "from the checkpoint"
    assert (now(labelled, requested).status, now(labelled, requested).tries) == ("done", 2)
    manifest = read_manifest(folder)
    assert (manifest.metrics["batch"], manifest.metrics["steps"], manifest.config.batch) == (BATCH // 2, STEPS, BATCH)
    assert trained_with(labelled) == BATCH // 2
    assert warnings_of(labelled) == [
        "retrain: its worker died while training with a batch of 4, perhaps because memory ran out; try 2 goes on with 2"
    ]


@pytest.mark.slow
def test_after_three_deaths_the_job_is_put_aside_with_its_reason_and_blocks_nothing(
    labelled: Workspace, requested: JobRow
) -> None:
    for _ in range(work.MAX_TRIES):
        killed_worker(labelled, requested, 0, 0)
    run_job.run_job(requested.id)
    assert sizes == [], "nobody tries a fourth time"
    job = now(labelled, requested)
    assert (job.status, job.tries) == ("failed", work.MAX_TRIES)
    assert "put aside after 3 tries" in str(job.error)
    assert "with a batch of 1, most likely because memory ran out; set a smaller train.batch" in str(job.error)
    assert work.open_jobs(labelled.store) == []
    again = work.request(labelled.store, "retrain")
    run_job.run_job(again.id)
    assert trained_with(labelled) == BATCH


def test_every_death_halves_what_the_last_try_had(
    labelled: Workspace, requested: JobRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    for expected in (BATCH, BATCH // 2, BATCH // 4):
        with monkeypatch.context() as patch:
            when_full(patch, 0, die)
            with pytest.raises(DeathError):
                run_job.run_job(requested.id)
        assert sizes == [expected]
        let_lease_run_out(labelled)
    assert work.claim(labelled.store, requested.id, "w") is None
    assert "batch of 1, most likely because memory ran out" in str(now(labelled, requested).error)


def test_a_try_that_says_what_went_wrong_keeps_the_batch(
    labelled: Workspace, requested: JobRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        when_full(patch, 0, broken, DIES_AT)
        run_job.run_job(requested.id)
    assert now(labelled, requested).error == "ValueError: no memory has run out"
    when_full(monkeypatch, BATCH, broken)
    run_job.run_job(requested.id)
    assert sizes == [BATCH] * (STEPS - DIES_AT)
    assert warnings_of(labelled) == []


def test_a_try_that_was_asked_to_stop_keeps_the_batch(
    labelled: Workspace, requested: JobRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        when_full(patch, 0, run_job.stopping.set, DIES_AT - 1)
        run_job.run_job(requested.id)
    assert sizes == [BATCH] * DIES_AT
    assert (now(labelled, requested).status, now(labelled, requested).tries) == ("pending", 0)
    run_job.stopping.clear()
    when_full(monkeypatch, BATCH, broken)
    run_job.run_job(requested.id)
    assert sizes == [BATCH] * (STEPS - DIES_AT)
    assert warnings_of(labelled) == []


@pytest.mark.parametrize("place", ["training_rows", "publish_if_good"])
def test_a_death_before_or_after_the_training_says_nothing_about_its_batch(
    labelled: Workspace, requested: JobRow, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(retrain_module, place, lambda *_: die())
        with pytest.raises(DeathError):
            run_job.run_job(requested.id)
    let_lease_run_out(labelled)
    assert now(labelled, requested).arguments.get(work.TRAINING_BATCH) is None
    run_job.run_job(requested.id)
    assert trained_with(labelled) == BATCH
    assert warnings_of(labelled) == []


def in_hand(workspace: Workspace, job: JobRow) -> JobContext:
    return JobContext(workspace, job, lambda report: None, lambda: False)


def test_a_batch_that_was_halved_already_is_halved_again(
    labelled: Workspace, requested: JobRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last try had found its own memory full before it was killed, and had said how many crops it went on with."""
    job = work.claim(labelled.store, requested.id, "w")
    assert job is not None
    context, batch = begin_training(in_hand(labelled, job), TrainConfig(batch=64))
    assert batch == 64
    work.heartbeat(labelled.store, context.job, train_progress(Progress(30, 100, 1.0, 0.1, None, batch=16)))
    let_lease_run_out(labelled)
    second = work.claim(labelled.store, requested.id, "w")
    assert second is not None
    assert begin_training(in_hand(labelled, second), TrainConfig(batch=64))[1] == 8
    assert begin_training(in_hand(labelled, second), TrainConfig(batch=6))[1] == 6, "parallax.yaml asks for less by now"


def test_a_harvest_goes_on_with_half_the_batch(
    make_workspace: Make, label: Label, work_off: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace(train={"steps_first": 12})
    label(workspace, [0, 5, 10, 15, 20, 25, 33, 36])
    work.request(workspace.store, "retrain")
    work_off(workspace)
    job = work.request(workspace.store, "harvest", {"stride": 4, "train_frames": 4})
    base: list[TrainConfig] = []

    def noted(name: str, config: TrainConfig, **more: Any) -> TrainConfig:
        base.append(preset(name, config, **more))
        return base[-1]

    monkeypatch.setattr(harvest_module, "preset", noted)
    with monkeypatch.context() as patch:
        patch.setattr("ml_backend.jobs.training_run.train", lambda *_, **__: die())
        with pytest.raises(DeathError):
            work_off(workspace)
    let_lease_run_out(workspace)
    batches: list[int] = []

    def spy(*arguments: Any, batch: int, **more: Any) -> Any:
        batches.append(batch)
        return train(*arguments, batch=batch, **more)

    monkeypatch.setattr("ml_backend.jobs.training_run.train", spy)
    work_off(workspace)
    assert batches == [base[0].batch // 2]
    assert now(workspace, job).status == "done"
