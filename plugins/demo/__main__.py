"""``make demo``: the whole loop on a live Label Studio, with an oracle annotator and a table at the end."""

from __future__ import annotations

import json
import math
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from label_config.values import ParallaxError
from plugins.demo.conduct import ROUNDS, Demo, RoundRow, prepare
from plugins.demo.demo_recordings import DemoRecording, capture_studio, real_recording
from plugins.demo.held_out_error import HeldOut
from plugins.demo.platform import Platform
from plugins.demo.several_figures import studio_of_several
from plugins.demo.subject_figures import SubjectFigures

ROOT = Path(__file__).resolve().parents[2]
LABEL_STUDIO = ROOT / ".venv-ls" / "bin" / "label-studio"
#: File in the demo's folder with the figures of the table, for programs.
SUMMARY = "summary.json"


def main(
    exit_: Annotated[bool, typer.Option("--exit", help="stop everything after the table")] = False,
    recording: Annotated[Path | None, typer.Option(help="a real recording instead of the capture studio")] = None,
    subjects: Annotated[int, typer.Option(min=1, max=4, help="figures in the capture studio")] = 1,
    numbered: Annotated[bool, typer.Option(help="of several figures, the detector's boxes say who is who")] = True,
    seed: Annotated[int, typer.Option(help="of the recording, the oracle and the training")] = 0,
    folder: Annotated[Path, typer.Option(help="where everything is kept")] = ROOT / ".demo",
    rounds: Annotated[int, typer.Option(min=0, help="after the first model")] = ROUNDS,
    compare: Annotated[bool, typer.Option(help="train on as many frames in random order, too")] = True,
    label_studio: Annotated[Path, typer.Option(help="the label-studio program")] = LABEL_STUDIO,
) -> None:
    """Run the demo."""
    console = Console(width=140 if not sys.stdout.isatty() else None)
    started = time.monotonic()
    prepare(folder)
    with console.status("the recording is made ready"):
        source = _source(folder, recording, subjects, seed, numbered=numbered)
    platform = Platform(label_studio, folder / "label-studio", folder / "documents")
    demo = Demo(folder, source, seed, console, platform, rounds=rounds)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        demo.run()
        if compare:
            demo.compare_with_random()
        _report(console, demo, time.monotonic() - started)
        (folder / SUMMARY).write_text(json.dumps(summary(demo), indent=1))
        if not exit_:
            console.print(
                f"\nStill running: {platform.url}  login {platform.email}  password {platform.password}   (Ctrl-C ends it)"
            )
            signal.pause()
    except KeyboardInterrupt:
        console.print("stopping")
    except ParallaxError as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from error
    finally:
        demo.stop()


def _source(folder: Path, recording: Path | None, subjects: int, seed: int, *, numbered: bool) -> DemoRecording:
    if recording is not None:
        return real_recording(recording, folder)
    if subjects > 1:
        return studio_of_several(folder / "documents" / "recording", folder / "documents", seed, subjects, numbered=numbered)
    return capture_studio(folder, seed)


def _report(console: Console, demo: Demo, seconds: float) -> None:
    console.print(_table(demo.rows))
    check = demo.check
    if check is not None:
        total = check.expected + len(check.exceptions)
        console.print(f"served order: {check.expected} of {total} tasks were the first open one of the order, given locks")
        for line in check.exceptions:
            console.print(f"  exception: {line}", style="dim")
    if demo.memory is not None:
        peaks = ", ".join(f"{role} {mb:.0f} MB" for role, mb in sorted(demo.memory.peak_mb.items()))
        console.print(f"peak memory: {peaks} (sum {sum(demo.memory.peak_mb.values()):.0f} MB)")
    first, last = demo.rows[0], demo.rows[-1]
    console.print(f"held-out error: last {last.error.px:.2f} px = {last.error.px / first.error.px:.2f} × the first model's")
    if last.random is not None:
        verdict = "better" if last.error.px < last.random.px else "worse"
        console.print(
            f"the same number of labels in random order: {last.random.px:.2f} px; the loop's order was {verdict} in this run"
        )
    console.print(f"{seconds / 60:.1f} min")


def summary(demo: Demo) -> dict[str, Any]:
    """The figures of the table as plain JSON; NaN where there is none."""
    check = demo.check
    return {
        "rounds": [asdict(row) for row in demo.rows],
        "served_as_expected": check.expected if check else 0,
        "exceptions": check.exceptions if check else [],
        "peak_mb": demo.memory.peak_mb if demo.memory else {},
    }


def _table(rows: list[RoundRow]) -> Table:
    table = Table(title="Parallax demo")
    for name in (
        "round",
        "labels",
        "version",
        "held-out px",
        rows[0].error.unit or "3-D",
        "rare px",
        "random px",
        "untouched",
        "pseudo-labels",
        "their px",
        "pool px",
        *(("count", "matched", "switches") if rows[0].subjects else ()),
    ):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            str(row.round),
            str(row.labels),
            row.version,
            _number(row.error.px),
            f"{row.error.world:.4g}" if math.isfinite(row.error.world) else "–",
            _number(row.error.rare_px),
            _number(_px(row.random)),
            f"{100 * row.untouched / max(row.shown, 1):.0f} %",
            f"{row.pseudo.keypoints} keypoints in {row.pseudo.frames} frames",
            _number(row.pseudo.median_px),
            _number(row.pseudo.pool_median_px),
            *_of_subjects(row.subjects),
        )
    return table


def _of_subjects(figures: SubjectFigures | None) -> tuple[str, ...]:
    if figures is None:
        return ()
    return (f"{100 * figures.count:.1f} %", f"{100 * figures.matched:.1f} %", str(figures.switches))


def _px(error: HeldOut | None) -> float:
    return error.px if error is not None else math.nan


def _number(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


if __name__ == "__main__":
    typer.run(main)
