"""What the fault runs found, as Markdown and a histogram of recovery times.

python -m tests.chaos.fault_report [--folder .chaos] [--figure docs/img/chaos-recovery.png]
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from tests.chaos.fault_runs import RECOVERY_S, read_runs
from tests.chaos.invariants import KINDS

#: The machine was so busy with other things that the observer, who looks every 0.7 s, got no turn for so long.
STALLED_S = 5.0


def kinds_of(run: dict[str, Any]) -> set[str]:
    """The kinds of faults that befell a run."""
    missed = set(run.get("not_reached", ()))
    found = set()
    for name, place in run["faults"].items():
        if f"{name} {place}" not in missed:
            found.add(f"{name} {'stopped (SIGSTOP)' if ':STOP' in place else 'killed'} at a named place")
    found |= {f"{name} killed at any moment" for name in run["killed_at"]}
    if run["redis_at"] is not None:
        found.add("Redis gone for 10 s with all it held")
    if run["refused"]:
        found.add("Label Studio answers 500 to 10 or 30 % of calls")
    if run["cut"]:
        found.add("connection cut after 10 or 30 % of writes were done")
    return found or {"none reached"}


def report(runs: list[dict[str, Any]]) -> str:
    """Markdown: totals, a row per kind of fault, recovery times per process."""
    bad = [run for run in runs if run["error"] or run["violations"]]
    counts = sum(run["postgres"] for run in runs), sum(run["real"] for run in runs)
    lines = [f"{len(runs)} runs, {counts[0]} on PostgreSQL, {counts[1]} with real"]
    lines[0] += f" training; {len(bad)} did not hold: seeds {[run['seed'] for run in bad]}"
    lines += ["", "| | in all runs |", "|---|---|"]
    for kind in KINDS:
        lines.append(f"| {kind} | {sum(len(run['violations'].get(kind, ())) for run in runs)} |")
    lines += ["", "| fault | runs | held |", "|---|---|---|"]
    total, held = Counter[str](), Counter[str]()
    for run in runs:
        total.update(kinds_of(run))
        held.update(kinds_of(run) if run not in bad else ())
    lines += [f"| {kind} | {total[kind]} | {held[kind]} |" for kind in sorted(total)]
    head = "| recovery of | times | median | 95 % | longest | over 60 s | of these on a stalled machine |"
    lines += ["", head, "|---" * 7 + "|"]
    late = [(name, gap) for run in runs for name, seconds, gap in run["recoveries"] if seconds > RECOVERY_S]
    stalled = Counter(name for name, gap in late if gap > STALLED_S)
    for name, seconds in sorted(recoveries(runs).items()):
        spread = " | ".join(f"{value:.0f} s" for value in (np.median(seconds), np.percentile(seconds, 95), max(seconds)))
        lines.append(f"| {name} | {len(seconds)} | {spread} | {sum(s > RECOVERY_S for s in seconds)} | {stalled[name]} |")
    return "\n".join(lines)


def recoveries(runs: list[dict[str, Any]]) -> dict[str, list[float]]:
    """What died or stopped → seconds until its work was taken up, of all runs."""
    found: dict[str, list[float]] = {}
    for run in runs:
        for name, seconds, *_ in run["recoveries"]:
            found.setdefault(name, []).append(seconds)
    return found


def draw(runs: list[dict[str, Any]], target: Path) -> None:
    """The histogram as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = recoveries(runs)
    figure = Figure(figsize=(7, 3.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    top = max([RECOVERY_S + 5, *(max(seconds) for seconds in found.values())])
    names = sorted(found)
    labels = [f"{name} ({len(found[name])})" for name in names]
    axes.hist([found[name] for name in names], bins=list(np.arange(0, top + 2.5, 2.5)), stacked=True, label=labels)
    axes.axvline(RECOVERY_S, color="black", linestyle="--", linewidth=1)
    axes.set_xlabel("seconds from the death of a process until its work is taken up")
    axes.set_ylabel("recoveries")
    axes.set_title(f"{len(runs)} fault runs")
    axes.legend(frameon=False)
    figure.savefig(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(".chaos"))
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    runs = read_runs(options.folder / "runs.jsonl")
    print(report(runs))
    if options.figure is not None:
        draw(runs, options.figure)


if __name__ == "__main__":
    main()
