"""A soak: round after round of labelling, and whether the memory of any process, rows or files grow with them.

    python -m tests.chaos.soak [--minutes 10] [--rounds 5400] [--folder .chaos/soak]
    python -m tests.chaos.soak --report .chaos/soak

Hours are compressed by settings, not by waiting less: ticks follow one another, locks of tasks last two seconds, and every four
submits a model is trained, its pool scored, its order pushed and the former one cleaned up.  5,400 rounds are six hours of one
submit per second.  After the first round people change labels that are there, so that nothing has a reason to grow.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from sqlalchemy import func, select

from label_config.values import FrameKey
from ml_backend.store import projects, versions
from ml_backend.store.schema import metadata
from tests.chaos.fault_runs import read_runs
from tests.chaos.small_loop import LABELS, SmallLoop, small_loop, small_studio

ROUNDS_IN_SIX_HOURS = 6 * 3600 // LABELS
#: Share of the rounds at the beginning, in which caches fill, that says nothing about growth.
WARM_UP = 1 / 3
MEBIBYTE = 2**20


def sample(loop: SmallLoop) -> dict[str, float]:
    """Resident memory of each process in MiB, rows of each table, files and MiB of each folder.

    Memory that is shared counts: forked processes make pages their own without growing.
    """
    found: dict[str, float] = {}
    running = {**loop.processes, "redis": loop.redis.process}
    for name, process in running.items():
        if process.popen is not None:
            found[f"memory of {name}, MiB"] = psutil.Process(process.popen.pid).memory_info().rss / MEBIBYTE
    with loop.workspace.store.read() as connection:
        for table in metadata.sorted_tables:
            found[f"rows of {table.name}"] = float(connection.execute(select(func.count()).select_from(table)).scalar_one())
    counts, sizes = Counter[str](), Counter[str]()
    for path in (loop.folder / ".parallax").rglob("*"):
        if path.is_file():
            kind = path.relative_to(loop.folder / ".parallax").parts[0]
            counts[kind] += 1
            sizes[kind] += path.stat().st_size
    found |= {f"files of {kind}": float(number) for kind, number in counts.items()}
    return found | {f"{kind}, MiB": size / MEBIBYTE for kind, size in sizes.items()}


def change_labels(loop: SmallLoop, first: int) -> None:
    """A person corrects as many labels as make a round, and a training is asked for."""
    for number in range(first, first + LABELS):
        annotation = loop.submitted[number % len(loop.submitted)]
        task = loop.platform.tasks[loop.platform.annotations[annotation]["task"]]
        result = loop.truth(FrameKey.parse(task["data"]["parallax_key"]).index)
        loop.client.call("PATCH", f"api/annotations/{annotation}", body={"result": result})
    projects.change(loop.workspace.store, train_requested=True, pull_requested=True)


def one_round(loop: SmallLoop, number: int) -> None:
    """Corrections, another model, its order."""
    before = len(versions.list_versions(loop.workspace.store))
    change_labels(loop, number * LABELS)
    loop.until("another model", lambda: len(versions.list_versions(loop.workspace.store)) > before)
    loop.until("its order is served", loop.has_converged)


def soak(loop: SmallLoop, rounds: int, ends: float, file: Path) -> None:
    """Rounds until there were so many, or the time is up; a line per round is added to the file."""
    for name in ("serve", "worker", "sync"):
        loop.start(name)
    loop.first_round()
    for number in range(rounds):
        one_round(loop, number)
        with file.open("a") as lines:
            lines.write(json.dumps({"round": number, "at": time.time(), **sample(loop)}) + "\n")
        if time.monotonic() > ends:
            return


def slopes(rows: list[dict[str, Any]]) -> dict[str, tuple[float, float, float]]:
    """Measure → its value at the end, growth per round after the warm-up by least squares, and the standard error of that."""
    kept = rows[int(len(rows) * WARM_UP) :]
    found = {}
    for name in sorted(set(itertools.chain.from_iterable(kept)) - {"round", "at"}):
        points = np.array([(row["round"], row[name]) for row in kept if name in row], dtype=np.float64)
        if len(points) < 3:
            continue
        x, y = (points - points.mean(axis=0)).T  # round and value, about their means
        slope = float(x @ y / (x @ x))
        error = float(np.sqrt(((y - slope * x) ** 2).sum() / (len(x) - 2) / (x @ x)))
        found[name] = (float(points[-1, 1]), slope, error)
    return found


def report(rows: list[dict[str, Any]]) -> str:
    """Markdown: what grew, by more than twice the standard error; the rest in one line."""
    lines = [f"{len(rows)} rounds, {len(rows) * LABELS} submits in {(rows[-1]['at'] - rows[0]['at']) / 60:.0f} min", ""]
    lines += ["| measure | at the end | per round | ± | after six hours at that rate |", "|---" * 5 + "|"]
    still = []
    for name, (last, slope, error) in slopes(rows).items():
        if name.startswith("memory") or slope > 2 * error + 1e-9:
            lines.append(f"| {name} | {last:.1f} | {slope:.4f} | {error:.4f} | {last + slope * ROUNDS_IN_SIX_HOURS:.0f} |")
        else:
            still.append(name)
    return "\n".join([*lines, "", f"Did not grow: {', '.join(still)}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS_IN_SIX_HOURS)
    parser.add_argument("--minutes", type=float, default=24 * 60)
    parser.add_argument("--folder", type=Path, default=Path(".chaos/soak"))
    parser.add_argument("--report", type=Path, help="only report what stands in this folder")
    options = parser.parse_args()
    file = (options.report or options.folder) / "soak.jsonl"
    if options.report is None:
        os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        options.folder.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(prefix="parallax-soak-") as scratch:
            studio = small_studio(Path(scratch) / "studio")
            with small_loop(Path(scratch) / "loop", studio, Path(scratch) / "studio") as loop:
                soak(loop, options.rounds, time.monotonic() + 60 * options.minutes, file)
    print(report(read_runs(file)))


if __name__ == "__main__":
    main()
