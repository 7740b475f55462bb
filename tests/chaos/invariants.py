"""What must hold of a loop once everything that was killed has recovered."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

from label_config.values import ParallaxError
from ml_backend.labels.snapshot import Snapshot
from ml_backend.store import generations, tasks, versions
from tests.chaos.harness import RECOVERY_S, Loop


def last_snapshot(loop: Loop) -> Snapshot:
    """The newest training set."""
    rows = versions.list_snapshots(loop.workspace.store)
    return Snapshot.from_arrays(loop.workspace.arrays.load(rows[-1].path))


def check_recoveries(loop: Loop, deaths: dict[str, int]) -> None:
    """What was to be killed was killed, and each process was back at work soon."""
    assert {name: [code for _, code in p.deaths] for name, p in loop.processes.items() if p.deaths} == {
        name: [-signal.SIGKILL] * count for name, count in deaths.items()
    }
    assert sorted(name for name, _ in loop.recoveries) == sorted(name for name, n in deaths.items() for _ in range(n))
    assert max((seconds for _, seconds in loop.recoveries), default=0.0) <= RECOVERY_S, loop.recoveries


def check_invariants(loop: Loop) -> None:
    """What must hold once everything has recovered, by Label Studio's own word where it has one."""
    found = violations(loop)
    assert not any(found.values()), f"{found}\n{loop.describe()}"


def violations(loop: Loop) -> dict[str, list[str]]:
    """Kind → what does not hold once everything has recovered, by Label Studio's own word where it has one."""
    store = loop.workspace.store
    unwanted = ("pending", "running") if loop.may_fail else ("pending", "running", "failed")
    found: dict[str, list[str]] = {name: [] for name in KINDS}
    found["open jobs"] = [f"job {job.id} {job.kind} {job.status}" for job in loop.jobs() if job.status in unwanted]
    # Every label is in the last snapshot, once.
    in_snapshot, wanted_there = Counter(number for number, _ in last_snapshot(loop).annotations), Counter(loop.submitted)
    found["lost labels"] = [f"annotation {number}" for number in (wanted_there - in_snapshot).elements()]
    found["doubled labels"] = [f"annotation {number}" for number in (in_snapshot - wanted_there).elements()]
    # One task per key.
    listed = loop.client.call("GET", "api/tasks", params={"project": loop.number, "fields": "all", "page_size": 1000})["tasks"]
    keys = Counter(task["data"]["parallax_key"] for task in listed)
    found["doubled tasks"] = [key for key, count in keys.items() if count > 1]
    held = tasks.list_tasks(store)
    unlike = {row.ls_task_id for row in held} ^ {task["id"] for task in listed}
    found["tasks that one side lacks"] = [f"task {number}" for number in sorted(unlike)]
    # Exactly one prediction of the served generation on every task of the window.
    assert loop.workspace.project.generation is not None
    current = generations.get(store, loop.workspace.project.generation)
    served = loop.served()
    found["served"] = [] if served == current.name else [f"{served} instead of {current.name}"]
    window = {pick.frame_id for pick in generations.list_picks(store, current.number)}
    wanted = {row.ls_task_id for row in held if row.frame_id in window and not row.is_labeled}
    carried = Counter(p["task"] for p in predictions(loop) if p["model_version"] == current.name)
    found["doubled predictions"] = [f"task {task}: {count}" for task, count in carried.items() if count > 1]
    found["missing predictions"] = [f"task {task}" for task in sorted(wanted - carried.keys())]
    found["versions that do not verify"] = _unverified(loop, current)
    return found


#: What must be empty after every run.
KINDS = (
    *("lost labels", "doubled labels", "doubled tasks", "tasks that one side lacks", "doubled predictions"),
    *("missing predictions", "versions that do not verify", "served", "open jobs"),
)


def _unverified(loop: Loop, current: generations.Generation) -> list[str]:
    """Every version whose files are kept loads, and is what was noted of it; the live one is what annotators see."""
    from ml_backend.pose.weights import load_model

    store, found = loop.workspace.store, []
    live = versions.live(store)
    if live is None or current.version_id != live.id:
        found.append(f"the order is of version {current.version_id}, live is {live and live.id}")
    for version in versions.list_versions(store):
        if version.removed_at is not None:
            continue
        try:
            _, manifest = load_model(loop.workspace.models / version.path)
            if manifest.files["weights.safetensors"] != version.sha256:
                found.append(f"px-{version.number} is not what was noted")
        except (ParallaxError, OSError) as error:
            found.append(f"px-{version.number}: {error}")
    return found


def predictions(loop: Loop) -> list[dict[str, Any]]:
    """All predictions of the project."""
    return list(loop.client.call("GET", "api/predictions/", params={"project": loop.number}))


def checkpoint_step(folder: Path) -> int | None:
    """Steps done according to the newest checkpoint of any run, None when there is none."""
    from safetensors import safe_open

    for path in sorted(folder.glob("*/checkpoint.safetensors")):
        try:
            with safe_open(path, framework="np") as file:
                return int(json.loads(file.metadata()["position"])["step"])
        except OSError:  # it has just been replaced or removed
            continue
    return None
