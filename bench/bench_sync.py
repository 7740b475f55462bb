"""The exchange with Label Studio: pushes with annotators at work, reconciling, the webhook, stored predictions.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m bench.bench_sync [--label-studio .venv-ls/bin/label-studio]

Starts a Label Studio of its own on SQLite (the development server that ``label-studio start`` runs) in a temporary folder,
on the same machine as everything else.  Prints Markdown.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from bench.sync_lab import NoQueue, Submitter, SyncLab, make_lab
from label_config.settings.caller_secret import SECRET_HEADER
from label_config.values import FloatArray
from ml_backend.server.app import create_app
from ml_backend.store import projects, tasks
from plugins.demo.platform import Platform
from plugins.label_studio_sync.cleanup import clean_up
from plugins.label_studio_sync.pull import pull
from plugins.label_studio_sync.push_order import push
from plugins.label_studio_sync.task_marks import update_marks
from plugins.label_studio_sync.tick import tick
from plugins.label_studio_sync.times import before

WINDOW, POOL = 500, 5000
REQUESTS = 400


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, result."""
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def row(*cells: object) -> None:
    """One row of a table."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def spread(seconds: FloatArray) -> str:
    """median / p95 / worst in milliseconds."""
    values = [np.median(seconds), np.percentile(seconds, 95), seconds.max()] if len(seconds) else [np.nan] * 3
    return " / ".join(f"{1000 * float(value):.0f}" for value in values) + f" ms (n = {len(seconds)})"


def push_under_load(lab: SyncLab, pushes: int = 3, idle_s: float = 25.0) -> tuple[FloatArray, FloatArray, list[int], float, int]:
    """Submits when nothing else happens and during pushes with clean-up; statuses; median seconds of a push; cleaned."""
    lab.select(0, WINDOW)
    push(lab.workspace, lab.client)
    people = [Submitter(lab.annotator(), lab.project) for _ in range(2)]
    time.sleep(3)
    begin = time.monotonic()
    time.sleep(idle_s)
    middle = time.monotonic()
    seconds, cleaned = [], 0
    for _ in range(pushes):
        lab.select(0, WINDOW)
        pull(lab.workspace, lab.client)
        took, _ = timed(lambda: push(lab.workspace, lab.client))
        seconds.append(took)
        update_marks(lab.workspace, lab.client)
        cleaned += clean_up(lab.workspace, lab.client)
    end = time.monotonic()
    for person in people:
        person.end()
    idle = np.concatenate([person.between(begin, middle) for person in people])
    busy = np.concatenate([person.between(middle, end) for person in people])
    return idle, busy, [status for person in people for *_, status in person.taken], float(np.median(seconds)), cleaned


def bench_push(platform: Platform, folder: Path) -> None:
    """Window push, annotators at work."""
    lab = make_lab(platform, folder / "push", WINDOW, lock_hours=1e-9)
    idle, busy, statuses, seconds, cleaned = push_under_load(lab)
    print(f"\nTwo annotators, 1 submit/s each; window of {WINDOW} tasks, 4 views × 8 keypoints, chunks of 100.\n")
    row("", "median / p95 / worst")
    row("---", "---")
    row("submit, nothing else going on", spread(idle))
    row("submit during push, switch, marks and clean-up", spread(busy))
    row("p95 ratio", f"{np.percentile(busy, 95) / np.percentile(idle, 95):.2f}")
    row("submits that were not accepted", sum(status != 201 for status in statuses))
    row(f"push of {WINDOW} predictions with verification and switch", f"{seconds:.1f} s (median of 3)")
    row("old predictions deleted meanwhile (5 s per tick)", cleaned)


def bench_reconcile(platform: Platform, folder: Path) -> None:
    """A project of 5,000 tasks of which nothing changed."""
    lab = make_lab(platform, folder / "reconcile", POOL, chunk=500)
    lab.select(0, POOL)
    push(lab.workspace, lab.client)
    lab.select(0, WINDOW)
    push(lab.workspace, lab.client)
    someone = lab.annotator()
    for _ in range(20):
        task = someone.next_task(lab.project) or {}
        someone.submit(task, task["predictions"][0]["result"], 1.0)
    someone.close()
    print(f"\nProject of {POOL} tasks.\n")
    row("", "time", "API calls")
    row("---", "---", "---")

    def measure(name: str, act: Callable[[], Any]) -> None:
        lab.client.calls = 0
        took, _ = timed(act)
        row(name, f"{took:.2f} s", lab.client.calls)

    measure("first pull", lambda: pull(lab.workspace, lab.client, full=True))
    # As if the last change were six minutes old, outside the overlap that every pull looks at again.
    cursor = before(lab.workspace.project.cursor or "", -timedelta(minutes=6))
    projects.change(lab.workspace.store, cursor=cursor)
    measure("tick after tasks were labelled (reasons move on)", lambda: tick(lab.workspace, lab.client, NoQueue(), "bench"))  # type: ignore[arg-type]
    measure("tick, nothing changed", lambda: tick(lab.workspace, lab.client, NoQueue(), "bench"))  # type: ignore[arg-type]
    measure("pull alone, nothing changed", lambda: pull(lab.workspace, lab.client))
    measure("full sweep, nothing changed", lambda: pull(lab.workspace, lab.client, full=True))


@contextmanager
def served(app: Flask) -> Iterator[httpx.Client]:
    """The application behind a threaded server, connections kept alive."""

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_request(self, *arguments: Any) -> None:
            """Say nothing."""

    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}", headers={SECRET_HEADER: "s"}) as client:
        yield client
    server.shutdown()
    thread.join()
    server.server_close()


def bench_backend(platform: Platform, folder: Path) -> None:
    """The two requests that Label Studio waits for, beside an empty route."""
    lab = make_lab(platform, folder / "backend", WINDOW)
    lab.select(0, WINDOW)
    push(lab.workspace, lab.client)
    empty = Flask("empty")

    @empty.post("/")
    def nothing() -> tuple[str, int]:
        return "", 202

    event = {
        "action": "ANNOTATION_CREATED",
        "project": {"id": lab.project},
        "annotation": {"id": 1, "result": [{"id": "x"}] * 32},
    }
    known = tasks.list_tasks(lab.workspace.store)
    times: dict[str, list[float]] = {"empty": [], "webhook": [], "predict": []}
    with served(empty) as plain, served(create_app(lab.workspace, "s")) as ours:
        for i in range(-20, REQUESTS):  # the first ones warm up
            ask = {"tasks": [{"id": known[i % WINDOW].ls_task_id, "data": {}}]}
            for name, call in (
                ("empty", lambda: plain.post("/", json=event)),
                ("webhook", lambda: ours.post("/webhook", json=event)),
                ("predict", lambda ask=ask: ours.post("/predict", json=ask)),
            ):
                took, answer = timed(call)
                assert answer.status_code in (200, 202), answer.text
                if i >= 0:
                    times[name].append(took)
    medians = {name: float(np.median(values)) for name, values in times.items()}
    print(f"\n{REQUESTS} requests each, in turn, one at a time, threaded Werkzeug server, keep-alive.\n")
    row("", "median", "p95", "against the empty route")
    row("---", "---", "---", "---")
    for name, title in (
        ("empty", "empty Flask route, same body"),
        ("webhook", "`/webhook`, flag stands already"),
        ("predict", "`/predict`, one task of the window"),
    ):
        p95 = np.percentile(times[name], 95)
        row(title, f"{1000 * medians[name]:.1f} ms", f"{1000 * p95:.1f} ms", f"{medians[name] / medians['empty']:.2f} ×")


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--label-studio", type=Path, default=Path(".venv-ls/bin/label-studio"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        platform = Platform(arguments.label_studio.resolve(), folder / "label-studio", folder / "documents")
        platform.start()
        try:
            for bench in (bench_push, bench_reconcile, bench_backend):
                bench(platform, folder)
        finally:
            platform.stop()


if __name__ == "__main__":
    main()
