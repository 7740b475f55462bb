"""Whole services are away, slow, full or confused while a small loop works; afterwards nothing is lost or doubled.

The loop's processes are real, Label Studio is the stand-in.  Minutes are compressed: what matters is longer than every pause
and lease involved (30 s, 45 s), not how much longer.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import redis

from ml_backend.simulation.studio import CaptureStudio
from ml_backend.store import versions
from tests.chaos.harness import RECOVERY_S
from tests.chaos.invariants import check_invariants
from tests.chaos.small_loop import LABELS, SmallLoop, small_loop, small_studio

pytestmark = [pytest.mark.chaos, pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(1800)]

MakeLoop = Callable[..., AbstractContextManager[SmallLoop]]
ALL = ("serve", "worker", "sync")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[CaptureStudio, Path]:
    """The small recording, once for all loops."""
    folder = tmp_path_factory.mktemp("recording") / "studio"
    return small_studio(folder), folder


@pytest.fixture
def make(tmp_path: Path, recorded: tuple[CaptureStudio, Path]) -> MakeLoop:
    """Makes the loop of a test."""
    return partial(small_loop, tmp_path / "loop", *recorded)


def start(loop: SmallLoop, **faults: str) -> None:
    """Start all processes, some with a fault."""
    for name in ALL:
        loop.start(name, faults.get(name))


def finish(loop: SmallLoop) -> None:
    """Label once more, and see that everything ends well."""
    loop.label(LABELS)
    loop.until("all labels are learnt from and the order is served", loop.has_converged, 400)
    check_invariants(loop)


# --- Label Studio --------------------------------------------------------------------------------------------------------


def test_label_studio_is_away_in_the_middle_of_a_push(make: MakeLoop) -> None:
    """For longer than the longest pause; meanwhile it is asked seldom, and afterwards nothing is missing."""
    with make() as loop:
        start(loop)
        loop.until("an order is served", lambda: loop.served().startswith("px-0."))
        chunks = []

        def cut_from_the_second_chunk_on(method: str, path: str) -> str | None:
            chunks.extend([path] * path.endswith("import/predictions"))
            return "lost" if len(chunks) >= 2 else None

        loop.platform.fault = cut_from_the_second_chunk_on
        loop.label(LABELS)
        loop.until("the push is cut off", lambda: len(chunks) >= 2)
        gone = time.monotonic()
        loop.until("it was away for long", lambda: time.monotonic() - gone > 75)
        asked = [at for at in loop.platform.called_by_sync if at > gone + 2]
        assert 3 <= len(asked) <= 12, f"{len(asked)} calls in 73 s"
        loop.platform.fault = lambda method, path: None
        back = time.monotonic()
        loop.until("the order of the first model is served", lambda: loop.serves_model(1))
        assert time.monotonic() - back <= RECOVERY_S
        finish(loop)


def test_a_key_is_renamed_in_the_labelling_config_on_the_way(make: MakeLoop) -> None:
    """Nothing is trained or pushed meanwhile, and it is said why; renamed back, all goes on."""
    with make() as loop:
        start(loop)
        loop.until("an order is served", lambda: loop.served().startswith("px-0."))
        config, name = loop.client.project(loop.number)["label_config"], loop.studio.skeleton.keypoints[-1]
        loop.client.change_project(loop.number, label_config=config.replace(f'value="{name}"', 'value="renamed"'))
        loop.label(LABELS)
        loop.until("it is said", lambda: any("no longer fits" in text and name in text for text in loop.events()))
        assert loop.jobs("retrain") == []
        loop.client.change_project(loop.number, label_config=config)
        loop.until("the order of the first model is served", lambda: loop.serves_model(1))
        finish(loop)


# --- Redis ---------------------------------------------------------------------------------------------------------------


def test_redis_is_paused(make: MakeLoop) -> None:
    """Longer than every lease: labels are pulled, annotators are answered from the store, no job runs twice."""
    with make() as loop:
        start(loop, worker="training:2:STOP")
        loop.until("an order is served", lambda: loop.served().startswith("px-0."))
        loop.label(LABELS)
        loop.until("training stands half-way", lambda: loop.is_paused("worker"))
        with redis.Redis(port=loop.redis.port) as client:
            client.execute_command("CLIENT", "PAUSE", 60_000, "ALL")
        paused = time.monotonic()
        loop.wake("worker")
        loop.until("the model is live although Redis sleeps", lambda: loop.workspace.project.live_version_id is not None)
        shown = loop.annotator.next_task(loop.number)
        assert shown is not None
        body = {"tasks": [{"id": shown["id"]}], "project": str(loop.number)}
        asked = time.monotonic()
        assert loop.rings(body, "predict").status_code == 200
        assert time.monotonic() - asked < 20
        assert time.monotonic() - paused < 60, "Redis sleeps no longer"
        loop.until("Redis is awake", lambda: time.monotonic() - paused > 60)
        loop.until("the order of the first model is served", lambda: loop.serves_model(1))
        assert [job.tries for job in loop.jobs("retrain")] == [1]
        finish(loop)


# --- clocks --------------------------------------------------------------------------------------------------------------


def shifted(file: Path, patch: Callable[[object, str, object], None] = setattr) -> None:
    """From now on the clock of this process is off by the seconds that stand in the file."""
    real = time.time

    def now() -> float:
        with suppress(OSError, ValueError):
            return real() + float(file.read_text())
        return real()

    patch(time, "time", now)


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_clock_jumps_by_an_hour_while_a_leader_dies(
    make: MakeLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """In the middle of a push; what the dead one held under the old time holds nobody up."""
    clock = tmp_path / "clock"
    shifted(clock, monkeypatch.setattr)  # one host has one clock: whoever watches the loop reads it too
    with make() as loop:
        for process in loop.processes.values():
            process.patch = partial(shifted, clock)  # type: ignore[attr-defined]
        start(loop, sync="chunk:5", worker="training:2:STOP")
        loop.until("an order is served", lambda: loop.served().startswith("px-0."))
        loop.label(LABELS)
        loop.until("training stands half-way", lambda: loop.is_paused("worker"))
        clock.write_text(str(3600 * hours))
        loop.wake("worker")
        loop.until("sync has died in a push, and another leads", lambda: loop.has_died("sync") and not loop.losses)
        assert max(seconds for _, seconds in loop.recoveries) <= RECOVERY_S
        loop.until("the order of the first model is served", lambda: loop.serves_model(1))
        assert len(versions.list_versions(loop.workspace.store)) == 1
        finish(loop)


# --- disks ---------------------------------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """A file system of this size."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "none", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip(f"only root may mount a small disk: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_the_disk_is_full_from_the_beginning(tmp_path: Path, recorded: tuple[CaptureStudio, Path]) -> None:
    """Nothing at all can be written; with room again all goes on."""
    with small_disk(tmp_path / "disk", 64) as disk, small_loop(disk / "loop", *recorded) as loop:
        loop.may_fail = True
        fill(disk)
        start(loop)
        stay_full(loop, disk)
        loop.until("an order is served", lambda: loop.served().startswith("px-0."))
        finish(loop)


def test_the_disk_is_full_while_a_model_trains(tmp_path: Path, recorded: tuple[CaptureStudio, Path]) -> None:
    """What annotators are served stays; with room again all goes on."""
    with small_disk(tmp_path / "disk", 64) as disk, small_loop(disk / "loop", *recorded) as loop:
        loop.may_fail = True
        start(loop, worker="training:2:STOP")
        loop.until("an order is served", lambda: loop.served().startswith("px-0."))
        loop.label(LABELS)
        loop.until("it stands half-way", lambda: loop.is_paused("worker"))
        fill(disk)
        loop.wake("worker")
        stay_full(loop, disk)
        finish(loop)


def stay_full(loop: SmallLoop, disk: Path) -> None:
    """For longer than a lease; then there is room."""
    full, served = time.monotonic(), loop.served()
    loop.until("it was full for long", lambda: time.monotonic() - full > 50)
    assert loop.served() == served
    (disk / "filling").unlink()


def fill(disk: Path) -> None:
    """Leave not one byte."""
    with (disk / "filling").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
