"""A worker whose GPU is lost ends, so that its supervisor starts one that works; nothing else ends it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import torch

from ml_backend.jobs import rescore_job, run_job
from ml_backend.jobs.dead_device import device_is_gone
from ml_backend.store import versions, work
from ml_backend.store.workspace import Workspace

LOST = RuntimeError("CUDA error: an illegal memory access was encountered")


@pytest.fixture
def asked_to_end(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals that this process sends itself."""
    sent: list[int] = []
    monkeypatch.setattr(os, "kill", lambda process, number: sent.append(number) if process == os.getpid() else None)
    return sent


def test_what_counts_as_lost() -> None:
    assert device_is_gone(LOST)
    assert device_is_gone(torch.AcceleratorError("device-side assert triggered"))
    assert not device_is_gone(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert not device_is_gone(RuntimeError("size mismatch"))
    assert not device_is_gone(ValueError("CUDA error"))


@pytest.mark.parametrize(("error", "ends"), [(LOST, True), (RuntimeError("size mismatch"), False)])
def test_the_job_is_tried_again_by_another_process(
    make_workspace: Callable[..., Workspace],
    monkeypatch: pytest.MonkeyPatch,
    asked_to_end: list[int],
    error: Exception,
    ends: bool,
) -> None:
    workspace = make_workspace()
    monkeypatch.setattr(run_job, "open_from_environment", lambda: workspace)

    def fail(*_: Any) -> None:
        raise error

    for name in ("retrain", "predict_misses"):
        monkeypatch.setattr(run_job, name, fail)
    job = work.request(workspace.store, "retrain")
    run_job.run_job(job.id)
    (row,) = work.list_jobs(workspace.store)
    assert (row.status, row.tries, row.error) == ("pending", 1, f"RuntimeError: {error}")
    assert asked_to_end == [signal.SIGTERM] * ends
    with pytest.raises(RuntimeError, match=str(error)):
        run_job.predict_now([1])
    assert asked_to_end == [signal.SIGTERM, signal.SIGTERM] * ends


def test_a_lost_device_puts_no_shards_aside(
    make_workspace: Callable[..., Workspace],
    label: Callable[..., None],
    work_off: Callable[[Workspace], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    asked_to_end: list[int],
) -> None:
    workspace = make_workspace()
    label(workspace, [0, 8, 16])
    monkeypatch.setattr(rescore_job, "SHARD_FRAMES", 4)
    with monkeypatch.context() as patch:
        patch.setattr(run_job, "rescore", lambda *_: None)
        work.request(workspace.store, "retrain")
        work_off(workspace)
    work.request(workspace.store, "rescore")

    def lose(*_: Any, **__: Any) -> None:
        raise LOST

    with monkeypatch.context() as patch:
        patch.setattr(rescore_job, "predict_frames", lose)
        run_job.run_job(work.open_jobs(workspace.store)[0].id)
    assert asked_to_end == [signal.SIGTERM]
    live = versions.live(workspace.store)
    assert live is not None
    tries = [row.tries for row in work.list_shards(workspace.store, live.id, 1)]
    assert sorted(tries)[-2:] == [0, 1], "one shard was tried, once"
    assert work_off(workspace)[0] == "rescore"
    assert {row.status for row in work.list_shards(workspace.store, live.id, 1)} == {"done"}
