"""Whole services are away, slow, full or confused while a small loop works; afterwards nothing is lost or doubled.

The loop's processes are real, Label Studio is the stand-in.  Minutes are compressed: what matters is longer than every pause
and lease involved (30 s, 45 s), not how much longer.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
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
from tests.chaos.harness import RECOVERY_S, check_invariants, wait_until
from tests.chaos.postgres import KillablePostgres
from tests.chaos.small_loop import LABELS, SmallLoop, small_loop, small_studio
from tests.conftest import postgres_programs

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


def test_label_studio_refuses_a_third_of_all_calls(make: MakeLoop) -> None:
    """500 on 30 %, one 401 while a token is exchanged, one 429 that asks for some time."""
    draw, first = random.Random(4), iter(["401", "429"])

    def refuse(method: str, path: str) -> str | None:
        return "500" if draw.random() < 0.3 else None

    with make() as loop:
        start(loop)
        loop.until("an order is served", lambda: loop.served().startswith("px-0."))
        loop.platform.fault = lambda method, path: next(first, None)
        loop.until("both were answered", lambda: next(iter([*first]), None) is None)
        loop.platform.fault = refuse
        loop.label(LABELS)
        loop.until("the order of the first model is served", lambda: loop.serves_model(1), 600)
        loop.platform.fault = lambda method, path: None
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


def shifted(file: str) -> None:
    """In a process of the loop: the clock is off by what stands in the file."""
    real = time.time

    def now() -> float:
        with suppress(OSError, ValueError):
            return real() + float(Path(file).read_text())
        return real()

    time.time = now


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_clock_jumps_by_an_hour_while_a_leader_dies(make: MakeLoop, tmp_path: Path, hours: int) -> None:
    """In the middle of a push; what the dead one held under the old time holds nobody up."""
    clock = tmp_path / "clock"
    with make() as loop:
        for process in loop.processes.values():
            process.patch = partial(shifted, str(clock))  # type: ignore[attr-defined]
        start(loop, sync="chunk:5", worker="training:2:STOP")
        loop.until("an order is served", lambda: loop.served().startswith("px-0."))
        loop.label(LABELS)
        loop.until("training stands half-way", lambda: loop.is_paused("worker"))
        clock.write_text(str(3600 * hours))
        loop.wake("worker")
        loop.until("sync has died in a push, and another leads", lambda: loop.has_died("sync") and not loop.waiting)
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


@pytest.mark.parametrize("when", ["before the first order", "while a model trains", "while an order is pushed"])
def test_the_disk_is_full(tmp_path: Path, recorded: tuple[CaptureStudio, Path], when: str) -> None:
    """Nothing at all can be written; what annotators are served stays, and with room again all goes on."""
    with small_disk(tmp_path / "disk", 64) as disk, small_loop(disk / "loop", *recorded) as loop:
        loop.may_fail = True
        if when == "before the first order":
            fill(disk)
            start(loop)
        else:
            start(loop, **{"worker": "training:2:STOP"} if when == "while a model trains" else {"sync": "chunk:5:STOP"})
            loop.until("an order is served", lambda: loop.served().startswith("px-0."))
            loop.label(LABELS)
            name = "worker" if when == "while a model trains" else "sync"
            loop.until("it stands half-way", lambda: loop.is_paused(name))
            fill(disk)
            loop.wake(name)
        full = time.monotonic()
        served = loop.served()
        loop.until("it was full for long", lambda: time.monotonic() - full > 50)
        assert loop.served() == served
        (disk / "filling").unlink()
        loop.until("an order is served", lambda: loop.served().startswith("px-"))
        finish(loop)


def fill(disk: Path) -> None:
    """Leave not one byte."""
    with (disk / "filling").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)


# --- the database --------------------------------------------------------------------------------------------------------


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillablePostgres]:
    """A server of this test's own."""
    if postgres_programs() is None:
        pytest.skip("PostgreSQL's server programs are not installed (Debian: apt-get install postgresql)")
    folder = Path("/tmp") / f"parallax-killable-{os.getpid()}"
    folder.mkdir()
    server = KillablePostgres(folder)
    server.start()
    yield server
    server.kill()
    shutil.rmtree(folder)


@pytest.mark.postgres
def test_postgresql_is_gone_in_mid_write_and_comes_back(make: MakeLoop, postgres: KillablePostgres) -> None:
    """While a model trains and again in the middle of a push: everything waits, and nothing is half written."""
    with make(store=postgres.url) as loop:
        start(loop, worker="training:2:STOP", sync="chunk:5:STOP")
        loop.until("an order is served", lambda: loop.served().startswith("px-0."))
        loop.label(LABELS)
        loop.until("training stands half-way", lambda: loop.is_paused("worker"))
        away(loop, postgres, "worker")
        wait_until("the push stands half-way", lambda: paused_quietly(loop, "sync"), 400, poll_s=0.7)
        away(loop, postgres, "sync")
        loop.until("the order of the first model is served", lambda: loop.serves_model(1), 400)
        finish(loop)


def paused_quietly(loop: SmallLoop, name: str) -> bool:
    loop.revive()
    return loop.is_paused(name)


def away(loop: SmallLoop, postgres: KillablePostgres, name: str) -> None:
    """The database goes; the process wakes and finds it gone; twenty seconds later it is back."""
    postgres.kill()
    loop.wake(name)
    time.sleep(20)
    postgres.start()


# --- the network ---------------------------------------------------------------------------------------------------------


HERE, THERE = "10.213.77.1", "10.213.77.2"


class OtherHost:
    """A network namespace with one cable to this one."""

    def __init__(self) -> None:
        self.name, self.cable = f"parallax-{os.getpid()}", f"px{os.getpid() % 10**8}"

    def set_up(self) -> None:
        """Raises CalledProcessError where this may not be done."""
        for words in (
            f"netns add {self.name}",
            f"link add {self.cable} type veth peer name eth0 netns {self.name}",
            f"addr add {HERE}/30 dev {self.cable}",
            f"link set {self.cable} up",
            f"-n {self.name} addr add {THERE}/30 dev eth0",
            f"-n {self.name} link set eth0 up",
            f"-n {self.name} link set lo up",
        ):
            ip(words)

    def take_down(self) -> None:
        """Remove it with its cable."""
        for words in (f"link del {self.cable}", f"netns del {self.name}"):
            with suppress(subprocess.CalledProcessError):
                ip(words)

    def cut(self) -> None:
        """Pull the cable."""
        ip(f"link set {self.cable} down")

    def mend(self) -> None:
        """Plug it in again."""
        ip(f"link set {self.cable} up")


def ip(words: str) -> None:
    """Run ``ip``."""
    subprocess.run(["ip", *words.split()], check=True, capture_output=True)


def move_to(name: str) -> None:
    """In a process of the loop: from now on it is on the other host."""
    with open(f"/run/netns/{name}") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0):
            raise OSError(ctypes.get_errno(), "setns")


@pytest.fixture
def other_host() -> Iterator[OtherHost]:
    """Another host, as far as the network knows."""
    if shutil.which("ip") is None or os.getuid() != 0:
        pytest.skip("only root may make a network namespace, with the program `ip`")
    made = OtherHost()
    try:
        made.set_up()
    except subprocess.CalledProcessError as error:
        made.take_down()
        pytest.skip(f"no network namespace can be made here: {error.stderr.decode().strip()}")
    yield made
    made.take_down()


@pytest.mark.postgres
def test_two_hosts_are_cut_apart(make: MakeLoop, postgres: KillablePostgres, other_host: OtherHost) -> None:
    """The host of the worker loses store and Redis in mid-training, a worker here takes over; then the first one is back."""
    postgres.kill()
    postgres.host = f"{HERE},127.0.0.1"
    postgres.start()
    postgres.host = HERE
    with make(store=postgres.url, host=HERE) as loop:
        loop.processes["worker"].patch = partial(move_to, other_host.name)  # type: ignore[attr-defined]
        start(loop, worker="training:2:STOP")
        loop.until("an order is served", lambda: loop.served().startswith("px-0."))
        loop.label(LABELS)
        loop.until("training stands half-way on the other host", lambda: loop.is_paused("worker"))
        other_host.cut()
        loop.wake("worker")
        cut = time.monotonic()
        loop.start("spare")
        loop.until("a worker here has taken over", lambda: any(job.tries == 2 for job in loop.jobs("retrain")))
        assert time.monotonic() - cut <= RECOVERY_S
        loop.until("the order of the first model is served", lambda: loop.serves_model(1))
        other_host.mend()
        mended = time.monotonic()
        loop.until("the other host is back for a while", lambda: time.monotonic() - mended > 30)
        assert len(versions.list_versions(loop.workspace.store)) == 1
        finish(loop)
