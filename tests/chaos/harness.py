"""A small loop of real processes that may be killed: Label Studio, Redis, workers, sync and backend, and a person who labels."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import numpy as np
import psutil
import redis
import yaml

from label_config.labelling import regions
from label_config.settings.skeleton_files import skeleton_to_mapping
from label_config.settings.spec import load_spec
from label_config.values import FrameKey, PointState, Pose2D, Provenance
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.store import fault_points, generations, presence, versions, work
from ml_backend.store.workspace import Workspace
from plugins.cli.commands.up import own_command, own_environment
from plugins.cli.processes.ports import free_port
from plugins.cli.processes.redis_server import redis_program
from plugins.demo.annotator_session import Annotator
from plugins.demo.platform import Platform
from plugins.label_studio_sync import adoption_plan, set_up
from plugins.label_studio_sync.client import Client
from tests.chaos.stand_in_platform import StandIn

SECRET = "a-secret-for-the-chaos-tests"
SIZE = (96, 96)
BATCH, WINDOW, CHUNK = 8, 20, 6
STEPS = 120
POLL_S = 0.2
#: What a restarted process may need until it does again what a kill had stopped.
RECOVERY_S = 60.0
QUEUES = ("train", "infer")
WORKER = ["worker", "--queues", ",".join(QUEUES)]
COMMANDS = {"serve": ["serve"], "worker": WORKER, "spare": WORKER, "sync": ["sync"], "standby": ["sync"]}


@dataclass
class Process:
    """One process of the loop; ``deaths`` are the moments at which it was found dead, ``starts`` those of its starts."""

    command: list[str]
    environment: dict[str, str]
    log: Path
    popen: subprocess.Popen[bytes] | None = None
    starts: list[float] = field(default_factory=list)
    deaths: list[tuple[float, int]] = field(default_factory=list)

    def start(self, **more: str) -> None:
        """Start it, with more environment variables this once."""
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                self.command,
                env={**os.environ, **self.environment, **more},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.starts.append(time.time())

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.popen is not None and self.popen.poll() is None:
            os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()

    def look(self) -> bool:
        """True when it has died since the last look."""
        if self.popen is None or self.popen.poll() is None:
            return False
        self.deaths.append((time.time(), self.popen.returncode))
        self.popen = None
        return True


@dataclass(frozen=True)
class Loss:
    """What was lost with a process that died or was stopped.

    owner      the process as leases name it
    since      seconds of the monotonic clock at which that was seen
    jobs       (number, attempt) of the jobs in its hands
    shards     numbers of the shards in its hands
    pulled_at  when labels had been pulled last
    """

    name: str
    owner: str
    since: float
    jobs: frozenset[tuple[int, int]]
    shards: frozenset[int]
    pulled_at: float | None


class RedisServer:
    """A Redis that can be shut down and started again, empty, at the same address."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self.port = free_port()
        self.url = f"redis://{host}:{self.port}/0"
        options = ["--port", str(self.port), "--bind", *{"127.0.0.1", host}, "--save", "", "--dir", str(folder)]
        options += ["--protected-mode", "no"]
        self.process = Process([str(redis_program()), *options], {}, folder / "redis.log")

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.process.start()
        wait_until("Redis answers", self._answers, 20)

    def _answers(self) -> bool:
        with redis.Redis(port=self.port) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

    def shut_down(self) -> None:
        """``SHUTDOWN NOSAVE``: everything in it is gone."""
        with redis.Redis(port=self.port) as client:
            client.shutdown(nosave=True)
        assert self.process.popen is not None
        self.process.popen.wait(timeout=20)


def wait_until(
    what: str, condition: Callable[[], Any], timeout_s: float, say: Callable[[], str] = lambda: "", poll_s: float = POLL_S
) -> Any:
    """The first true value of ``condition``; fails with what was awaited and how things stand."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:.0f} s: {what}\n{say()}")
        time.sleep(poll_s)


class Loop:
    """One project with its processes.  Use as a context manager: at its end everything started here has ended."""

    poll_s = POLL_S

    def __init__(
        self,
        folder: Path,
        platform: Platform | StandIn,
        studio: CaptureStudio,
        recording: Path,
        *,
        store: str = "",
        host: str = "127.0.0.1",
        **settings: Any,
    ) -> None:
        self.folder, self.platform, self.studio = folder, platform, studio
        folder.mkdir(parents=True)
        self.redis = RedisServer(folder, host)
        self.port = free_port()
        self.config = self._settings(recording, settings) | ({"store": store} if store else {})
        self.file = folder / "parallax.yaml"
        self._write()
        spec = load_spec(self.file)
        self.client = Client(platform.url, platform.token)
        first = set_up.carry_out(adoption_plan.understand(spec, self.client), SECRET)
        self.number = first.project.ls_project_id
        self.config["label_studio"]["project"] = self.number
        self._write()
        self.workspace = Workspace(load_spec(self.file), first.store, first.arrays)
        self.processes = {name: self._process(name) for name in COMMANDS}
        self.submitted: list[int] = []
        self.recoveries: list[tuple[str, float]] = []
        self.may_fail = False  #: a job may be given up
        self.losses: list[Loss] = []  #: that have not been made good yet
        self.annotator = Annotator(platform.url, f"chaos{self.number}@parallax.test", "chaos-password-1")

    def _settings(self, recording: Path, settings: dict[str, Any]) -> dict[str, Any]:
        sections: dict[str, Any] = {
            "train": {
                "weights": "none",
                "input_px": 64,
                "steps_first": STEPS,
                "steps_round": STEPS // 2,
                "min_new_frames": BATCH,
                "checkpoint_seconds": 0.5,
            },
            "selection": {"window": WINDOW},
            "validation": {"block_frames": 6, "guard_frames": 1, "fraction": 0.15},
            # Locks of two seconds, so that clean-up has something to do.
            "sync": {"tick_seconds": 2, "chunk": CHUNK, "push_every_minutes": 0, "lock_hours": 0.0005, "reason_tasks": 3},
        }
        for name, values in settings.items():
            sections[name] |= values
        views = {name: str(recording / name) for name in self.studio.rig.names}
        entry = {"sequence": self.studio.sequence, "views": views, "calibration": str(recording / "calibration.toml")}
        return {
            "schema_version": 1,
            "label_studio": {"url": self.platform.url, "title": f"chaos {self.folder.name}"[:50], "token": self.platform.token},
            "backend": {"url": f"http://127.0.0.1:{self.port}", "port": self.port, "secret": SECRET},
            "redis": self.redis.url,
            "documents_root": str(self.platform.documents),
            "skeleton": skeleton_to_mapping(self.studio.skeleton),
            "recordings": [entry],
            **sections,
        }

    def _write(self) -> None:
        self.file.write_text(yaml.safe_dump(self.config, sort_keys=False))

    def _process(self, name: str) -> Process:
        # One thread each: several loops share the machine.
        environment = {**own_environment(), "PARALLAX_CONFIG": str(self.file), "OMP_NUM_THREADS": "1"}
        return Process(own_command(*COMMANDS[name]), environment, self.folder / f"{name}.log")

    # --- processes ---------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.annotator.sign_up(str(self.client.call("GET", "api/invite")["token"]))
        self.redis.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self.processes.values(), self.redis.process):
            process.kill()
        self.annotator.close()
        self.client.close()
        self.workspace.store.close()

    def start(self, name: str, kill_at: str | None = None) -> None:
        """Start a process, which dies once at ``kill_at`` (see ``store.faults``)."""
        more = {} if kill_at is None else {fault_points.VARIABLE: kill_at}
        self.processes[name].start(**more)

    def end(self, name: str) -> None:
        """SIGTERM, and wait."""
        popen = self.processes[name].popen
        assert popen is not None
        popen.terminate()
        popen.wait(timeout=60)
        self.processes[name].popen = None

    def change(self, **sections: dict[str, Any]) -> None:
        """Other settings for processes that are started from now on."""
        for name, values in sections.items():
            self.config[name] |= values
        self._write()

    def pause(self, name: str) -> None:
        """SIGSTOP."""
        popen = self.processes[name].popen
        assert popen is not None
        popen.send_signal(signal.SIGSTOP)

    def wake(self, name: str) -> None:
        """SIGCONT."""
        popen = self.processes[name].popen
        assert popen is not None
        popen.send_signal(signal.SIGCONT)

    def is_paused(self, name: str) -> bool:
        """The process is stopped by a signal."""
        popen = self.processes[name].popen
        return popen is not None and psutil.Process(popen.pid).status() == psutil.STATUS_STOPPED

    def owner(self, name: str) -> str:
        """The process as leases name it."""
        popen = self.processes[name].popen
        return "" if popen is None else f"{socket.gethostname()}:{popen.pid}"

    def leader(self) -> str | None:
        """The sync process that leads, as leases name it."""
        return presence.holder(self.workspace.store, f"sync {self.workspace.store.project_id}")

    def revive(self) -> None:
        """What ``parallax up`` does: start again what has died, without its fault."""
        for name, process in self.processes.items():
            owner = self.owner(name)
            if process.look():
                self.losses.append(self.loss(name, owner))
                process.start()
        for loss in list(self.losses):
            if self.is_made_good(loss):
                self.recoveries.append((loss.name, time.monotonic() - loss.since))
                self.losses.remove(loss)

    def loss(self, name: str, owner: str) -> Loss:
        """What this process takes with it when it goes now."""
        held = frozenset((job.id, job.attempt) for job in self.jobs() if job.status == "running" and job.owner == owner)
        shards = frozenset(shard.id for shard in self._shards() if shard.status == "running" and shard.owner == owner)
        return Loss(name, owner, time.monotonic(), held, shards, self.workspace.project.pulled_at)

    def is_made_good(self, loss: Loss) -> bool:
        """What a user waits for after a death.

        The backend answers; another sync process leads and has pulled labels; a worker is there that can take work, and all that
        the dead one had in its hands is done or in those of others.
        """
        if loss.name == "serve":
            return self.backend_answers()
        if loss.name in ("sync", "standby"):
            leads = self.leader() in self._others(loss, "sync", "standby")
            return leads and self.workspace.project.pulled_at != loss.pulled_at
        if any(job.status == "running" and (job.id, job.attempt) in loss.jobs for job in self.jobs()):
            return False
        there = self._others(loss, "worker", "spare")
        if any(s.id in loss.shards and s.status == "running" and s.owner not in there for s in self._shards()):
            return False
        return bool({f"{queue}@{owner}" for queue in QUEUES for owner in there} & presence.alive(self.workspace.store).keys())

    def _others(self, loss: Loss, *names: str) -> set[str]:
        """The processes that run under these names, without the lost one."""
        return {self.owner(name) for name in names} - {"", loss.owner}

    def _shards(self) -> list[work.ShardRow]:
        """Those of the live version in the current round."""
        store, live = self.workspace.store, versions.live(self.workspace.store)
        return [] if live is None else work.list_shards(store, live.id, versions.current_round(store))

    def until(self, what: str, condition: Callable[[], Any], timeout_s: float = 240.0) -> Any:
        """Wait, reviving meanwhile what dies."""

        def look() -> Any:
            self.revive()
            failed = [] if self.may_fail else [job for job in self.jobs() if job.status == "failed"]
            assert not failed, f"a job was given up while waiting: {what}\n{self.describe()}"
            return condition()

        return wait_until(what, look, timeout_s, self.describe, self.poll_s)

    def has_died(self, name: str) -> bool:
        """The process has died at least once."""
        return bool(self.processes[name].deaths)

    def describe(self) -> str:
        """Jobs, orders, events and the ends of the logs."""
        store, project = self.workspace.store, self.workspace.store.project_id
        lines = [f"job {j.id} {j.kind} {j.status} tries {j.tries} {j.owner} {j.error}" for j in self.jobs()]
        lines += [f"{g.name} {g.status}" for g in generations.list_generations(store.of_project(project))]
        lines += [f"{event.level}: {event.text}" for event in presence.list_events(store.of_project(project), 20)]
        for name, process in self.processes.items():
            if process.log.exists():
                lines += [f"--- {name}, deaths {[code for _, code in process.deaths]}", process.log.read_text()[-1500:]]
        return "\n".join(lines)

    # --- the person ----------------------------------------------------------------------------------------------

    def label(self, count: int) -> None:
        """Take the next tasks and submit the truth."""
        for _ in range(count):
            task = self.annotator.next_task(self.number)
            assert task is not None, "the label stream is empty"
            self.submit(task)

    def submit(self, task: dict[str, Any]) -> None:
        """Submit the truth for a task that was taken before."""
        answer = self.annotator.submit(task, self.truth(FrameKey.parse(task["data"]["parallax_key"]).index), 5.0)
        assert answer.status_code == 201, f"submit answered {answer.status_code}: {answer.text[:300]}"
        self.submitted.append(int(answer.json()["id"]))

    def truth(self, frame: int) -> list[dict[str, Any]]:
        """The regions that a perfect person draws."""
        xy = self.studio.truth_xy[frame]
        inside = ((xy >= 0) & (xy < np.array(SIZE) - 1)).all(axis=-1)
        state = np.where(inside, PointState.VISIBLE, PointState.UNLABELLED).astype(np.int64)
        provenance = np.where(inside, Provenance.PLACED, Provenance.NONE).astype(np.int64)
        pose = Pose2D(np.where(inside[..., None], xy, np.nan), np.where(inside, 1.0, np.nan), state, provenance)
        drawn = regions.encode({0: pose}, self.workspace.binding, dict.fromkeys(self.workspace.views, SIZE), 0)
        return [{**region, "id": "h" + region["id"].replace(":", "_"), "origin": "manual"} for region in drawn]

    def two_rounds(self) -> None:
        """Two batches of labels, two trainings."""
        self.until("the first order is served", lambda: self.serves_model(0))
        self.label(BATCH)
        self.until("the order of the first model is served", lambda: self.serves_model(1))
        self.label(BATCH)
        self.until("the order of the second model is served", lambda: self.serves_model(2))

    # --- what stands ---------------------------------------------------------------------------------------------

    def served(self) -> str:
        """The version that annotators are served."""
        return str(self.client.project(self.number).get("model_version") or "")

    def serves_model(self, number: int) -> bool:
        """Store and Label Studio agree that the order of this model is served."""
        name = self.served()
        rows = generations.list_generations(self.workspace.store)
        return name.startswith(f"px-{number}.") and any(row.name == name and row.status == "current" for row in rows)

    def jobs(self, kind: str | None = None) -> list[work.JobRow]:
        """All jobs, or those of one kind, oldest first."""
        listed = work.list_jobs(self.workspace.store, 1000)
        return [job for job in listed if kind is None or job.kind == kind][::-1]

    def events(self) -> list[str]:
        """What stands in the event log."""
        return [event.text for event in presence.list_events(self.workspace.store, 1000)]

    def is_quiet(self) -> bool:
        """No job wants a worker, no order waits."""
        rows = generations.list_generations(self.workspace.store)
        busy = any(job.status in ("pending", "running") for job in self.jobs())
        return not busy and not any(row.status in ("selected", "pushing") for row in rows)

    def rings(self, body: dict[str, Any], endpoint: str = "webhook") -> httpx.Response:
        """Call the backend as Label Studio does."""
        url = f"http://127.0.0.1:{self.port}/{endpoint}"
        return httpx.post(url, json=body, headers={"X-Parallax-Secret": SECRET}, timeout=60)

    def backend_answers(self) -> bool:
        """The backend is up."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False
