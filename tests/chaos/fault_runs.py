"""Hundreds of small loops, each with faults drawn from its seed: what was lost, doubled or damaged, and how long recovery took.

    python -m tests.chaos.fault_runs [--runs 1000] [--at-once 8] [--folder .chaos] [--minutes 60] [--seeds 7,12]
    python -m tests.chaos.fault_report [--figure docs/img/chaos-recovery.png]

Sync, workers and backend are real processes with a store (SQLite; every eighth PostgreSQL) and a Redis of their own; Label Studio
is ``stand_in_platform``.  Nine of ten trainings are six steps long.  Runs that are done stand in ``runs.jsonl`` and are not
repeated.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import make_url

from ml_backend.store.database import open_store
from tests.chaos.harness import Loop, Loss
from tests.chaos.invariants import violations
from tests.chaos.small_loop import LABELS, REAL_STEPS, STUB_STEPS, SmallLoop, small_loop, small_studio

RECOVERY_S = 60.0
#: Place → how often it is reached in a short run.
PLACES = {
    "worker": {
        "taken": 6,
        "retrain claimed": 2,
        "snapshot taken": 2,
        "training": 3,
        "write checkpoint.safetensors": 3,
        "write weights.safetensors": 2,
        "write manifest.json": 2,
        "write snapshots": 2,
        "trained": 2,
        "version noted": 2,
        "published": 1,
        "retrain done": 2,
        "rescore claimed": 1,
        "shard scored": 1,
        "rescore done": 1,
        "select claimed": 2,
        "order noted": 2,
        "select done": 2,
        "versions retired": 3,
    },
    "sync": {
        "pulled": 6,
        "tasks": 2,
        "tasks imported": 4,
        "chunk": 6,
        "imported": 2,
        "switched": 2,
        "served": 2,
        "marked": 6,
        "cleaning": 4,
    },
    "serve": {"asked webhook": 6, "answering webhook": 6},
}


@dataclass(frozen=True)
class Plan:
    """What one seed does.

    faults    process → ``name:count[:STOP]``
    killed_at process → seconds after the beginning at which it is killed wherever it is
    redis_at  seconds after the beginning at which Redis is shut down, its content gone, for ten seconds; None = never
    refused   share of sync's calls that Label Studio answers with 500
    cut       share of sync's writes after which the connection is cut, their work done
    """

    seed: int
    real: bool
    postgres: bool
    faults: dict[str, str] = field(default_factory=dict)
    killed_at: dict[str, float] = field(default_factory=dict)
    redis_at: float | None = None
    refused: float = 0.0
    cut: float = 0.0


def plan_of(seed: int) -> Plan:
    """One to three faults."""
    draw = random.Random(f"fault run {seed}")
    faults: dict[str, str] = {}
    killed_at: dict[str, float] = {}
    more: dict[str, Any] = {}
    for _ in range(draw.choice([1, 1, 2, 3])):
        match draw.choice(["place"] * 6 + ["stop"] * 2 + ["moment"] * 2 + ["redis", "refused", "cut"]):
            case "place":
                name = draw.choice(["worker", "worker", "worker", "sync", "sync", "sync", "serve"])
                place = draw.choice(list(PLACES[name]))
                faults[name] = f"{place}:{draw.randint(1, PLACES[name][place])}"
            case "stop":
                name = draw.choice(["worker", "sync"])
                place = draw.choice(list(PLACES[name]))
                faults[name] = f"{place}:{draw.randint(1, PLACES[name][place])}:STOP"
            case "moment":
                killed_at[draw.choice(["worker", "sync", "serve"])] = round(draw.uniform(0.5, 25), 1)
            case "redis":
                more["redis_at"] = round(draw.uniform(0.5, 25), 1)
            case "refused":
                more["refused"] = draw.choice([0.1, 0.3])
            case "cut":
                more["cut"] = draw.choice([0.1, 0.3])
    return Plan(seed, seed % 10 == 0, seed % 8 == 0, faults, killed_at, **more)


class FaultRun:
    """One seed on one loop."""

    def __init__(self, plan: Plan, loop: SmallLoop) -> None:
        self.plan, self.loop = plan, loop
        self.draw = random.Random(plan.seed)
        self.began = time.monotonic()
        self.moments = dict(plan.killed_at)
        self.redis_back: float | None = None
        self.redis_due = plan.redis_at
        self.stopped: dict[str, Loss | None] = {}  #: name → what it held; None once others have taken that up
        self.recoveries: list[tuple[str, float, float]] = []  #: who, seconds, longest time that this process got no turn in them
        self.counted = 0
        self.looked: list[float] = [self.began]

    def fault(self, method: str, path: str) -> str | None:
        """What befalls one of sync's calls."""
        if self.draw.random() < self.plan.refused:
            return "500"
        if method != "GET" and self.draw.random() < self.plan.cut:
            return "silent"
        return None

    def act(self) -> None:
        """Everything that is due now."""
        loop, since = self.loop, time.monotonic() - self.began
        self.looked.append(time.monotonic())
        for name, seconds in loop.recoveries[self.counted :]:
            self.recovered(name, seconds)
        self.counted = len(loop.recoveries)
        for name, at in list(self.moments.items()):
            popen = loop.processes[name].popen
            if since >= at and popen is not None:
                del self.moments[name]
                popen.send_signal(9)
        if self.redis_due is not None and since >= self.redis_due:
            self.redis_due, self.redis_back = None, since + 10
            loop.redis.shut_down()
        if self.redis_back is not None and since >= self.redis_back:
            self.redis_back = None
            loop.redis.start()
        for name, spare in (("worker", "spare"), ("sync", "standby")):
            if name not in self.stopped and ":STOP" in self.plan.faults.get(name, "") and loop.is_paused(name):
                self.stopped[name] = loop.loss(name, loop.owner(name))
                loop.start(spare)
            elif (loss := self.stopped.get(name)) is not None and loop.is_made_good(loss):
                self.recovered(f"{name} stopped", time.monotonic() - loss.since)
                self.stopped[name] = None

    def recovered(self, name: str, seconds: float) -> None:
        """Note how long it took, and how busy the machine was with other things."""
        times = [at for at in self.looked if at >= self.looked[-1] - seconds - 5]
        gaps = [b - a for a, b in itertools.pairwise(times)]
        self.recoveries.append((name, seconds, max(gaps, default=0.0)))

    def until(self, what: str, condition: Any) -> None:
        """Wait, with whatever befalls the loop meanwhile."""

        def look() -> Any:
            self.act()
            return condition()

        self.loop.until(what, look, 420.0)

    def run(self) -> dict[str, list[str]]:
        """Two rounds of labelling; what does not hold at the end."""
        loop = self.loop
        loop.platform.fault = self.fault
        for name in ("serve", "worker", "sync"):
            loop.start(name, self.plan.faults.get(name))
        self.until("an order is served", lambda: loop.served().startswith("px-0."))
        loop.label(LABELS)
        self.until("the order of the first model is served", lambda: loop.serves_model(1))
        loop.label(LABELS)
        self.until("all labels are in a training set, and nothing is left to do", loop.has_converged)
        self.until("every fault is over", lambda: not self.moments and self.redis_due is None and self.redis_back is None)
        for name in self.stopped:
            loop.wake(name)
        if self.stopped:
            woken = time.monotonic()
            self.until("those that slept have looked around", lambda: time.monotonic() - woken > 12)
        loop.platform.fault = lambda method, path: None
        self.until("all is quiet", loop.has_converged)
        self.until("everything has recovered", lambda: not loop.losses)
        self.act()
        return violations(loop)


class Campaign:
    """Runs seeds, a few at a time, and keeps what came of them."""

    def __init__(self, folder: Path, scratch: Path, postgres: str | None) -> None:
        self.folder, self.scratch, self.postgres = folder, scratch, postgres
        self.file = folder / "runs.jsonl"
        self.recording = scratch / "studio"
        self.studio = small_studio(self.recording)
        self.lock = threading.Lock()

    def done(self) -> set[int]:
        """Seeds that stand in the file."""
        return {row["seed"] for row in read_runs(self.file)}

    @contextmanager
    def _store(self, plan: Plan) -> Iterator[str]:
        if not plan.postgres or self.postgres is None:
            yield ""
            return
        bare, name = open_store(self.postgres, migrate=False), f"run_{plan.seed}_{int(time.time())}"
        try:
            with bare.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql(f"CREATE DATABASE {name}")
            yield make_url(self.postgres).set(database=name).render_as_string(hide_password=False)
            with bare.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        finally:
            bare.close()

    def run(self, seed: int) -> dict[str, Any]:
        """One seed; what came of it, also when it did not end well."""
        plan, began = plan_of(seed), time.time()
        row: dict[str, Any] = {**asdict(plan), "violations": {}, "recoveries": [], "error": None}
        folder = self.scratch / f"{seed}"
        with ExitStack() as stack:
            try:
                store = stack.enter_context(self._store(plan))
                steps = REAL_STEPS if plan.real else STUB_STEPS
                made = small_loop(folder, self.studio, self.recording, seed=seed, store=store, steps=steps)
                loop = stack.enter_context(made)
                fault_run = FaultRun(plan, loop)
                row["violations"] = {kind: found for kind, found in fault_run.run().items() if found}
                row["recoveries"] = [[name, round(seconds, 1), round(gap, 1)] for name, seconds, gap in fault_run.recoveries]
                row["not_reached"] = self._not_reached(plan, loop, fault_run)
            except Exception as error:
                row["error"] = f"{type(error).__name__}: {error}"[-12000:]
                if not isinstance(error, AssertionError):
                    row["error"] += traceback.format_exc()[-3000:]
        row["wall_s"] = round(time.time() - began, 1)
        if not row["error"] and not row["violations"]:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(self.scratch / f"{seed}-documents", ignore_errors=True)
        return row

    @staticmethod
    def _not_reached(plan: Plan, loop: Loop, run: FaultRun) -> list[str]:
        reached = {name for name, process in loop.processes.items() if process.deaths} | set(run.stopped)
        return [f"{name} {place}" for name, place in plan.faults.items() if name not in reached]

    def note(self, row: dict[str, Any]) -> None:
        """Append a line to the file."""
        with self.lock, self.file.open("a") as file:
            file.write(json.dumps(row) + "\n")


def read_runs(path: Path) -> list[dict[str, Any]]:
    """What stands in the file; a line that was cut is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        with suppress(ValueError):
            rows.append(json.loads(line))
    return rows


def run_campaign(folder: Path, seeds: list[int], at_once: int, minutes: float, postgres: str | None) -> None:
    """Run what is not done yet until the time is up."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="parallax-chaos-") as scratch:
        campaign = Campaign(folder, Path(scratch), postgres)
        done, ends = campaign.done(), time.monotonic() + 60 * minutes

        def one(seed: int) -> None:
            if time.monotonic() > ends:
                return
            row = campaign.run(seed)
            campaign.note(row)
            bad = row["error"] or row["violations"]
            print(
                f"seed {seed}: {row['wall_s']:.0f} s {row['recoveries']} {'BAD ' + str(bad)[:200] if bad else 'ok'}", flush=True
            )

        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(one, [seed for seed in seeds if seed not in done]))
        print(f"{cpu_s():.0f} s of CPU, this process {time.process_time():.0f} s")


def cpu_s() -> float:
    """CPU of this process, and of all that it started and that have ended."""
    known = [psutil.Process(), *psutil.Process().children()]
    times = [process.cpu_times() for process in known if process.status() != psutil.STATUS_ZOMBIE]
    return float(sum(t.user + t.system + t.children_user + t.children_system for t in times))


def end_with_everything(number: int, frame: object) -> None:
    """SIGTERM: nothing that was started here goes on."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    os._exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seeds", help="only these, separated by commas")
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=24 * 60)
    parser.add_argument("--folder", type=Path, default=Path(".chaos"))
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")] if options.seeds else list(range(options.runs))
    signal.signal(signal.SIGTERM, end_with_everything)
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    from tests.conftest import temporary_postgres

    with ExitStack() as stack:
        run_campaign(options.folder, seeds, options.at_once, options.minutes, stack.enter_context(temporary_postgres()))


if __name__ == "__main__":
    main()
