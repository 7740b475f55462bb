"""A campaign: all cells of strategies × seeds, over several processes, skipping what the table already holds."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from ml_backend.simulation.experiments.arms import FULL, Arm
from ml_backend.simulation.experiments.data import load_recording, source_takes
from ml_backend.simulation.experiments.design import Design
from ml_backend.simulation.experiments.results_table import Row, append_rows, finished, key_of, read_rows
from ml_backend.simulation.experiments.shared_files import claim
from ml_backend.simulation.experiments.strategies import check_arm
from ml_backend.simulation.experiments.trial import run_trial

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Campaign:
    """A design, what is run of it, and where.

    folder   results.csv, design.json and, while cells run, their models
    cache    rendered recordings, shared by all campaigns
    data     folder with the labelled recordings; None when only the studio is used
    minutes  no new cell is started after this time; None = until all are done
    """

    design: Design
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    folder: Path
    cache: Path
    data: Path | None
    minutes: float | None = None

    @property
    def table(self) -> Path:
        """The rows so far."""
        return self.folder / "results.csv"

    def missing(self) -> list[tuple[Arm, int]]:
        """Cells with a round that the table does not hold: seed by seed, so that strategies stay paired."""
        done = finished(read_rows(self.table))
        return [
            (arm, seed)
            for seed in self.seeds
            for arm in self.arms
            if not all((str(arm), seed, r) in done for r in range(1 if arm.whole == FULL else self.design.last_round + 1))
        ]


def run(campaign: Campaign, *, processes: int = 1, tell: Tell = print) -> bool:
    """Run what is missing; True when nothing is left.  Raises BadInputError when the folder holds another experiment, and
    for a strategy that the recording cannot serve."""
    claim(campaign.folder / "design.json", campaign.design.to_json())
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    cells, started = campaign.missing(), time.monotonic()
    if cells:
        recording = load_recording(campaign.design, campaign.seeds[0], campaign.cache, campaign.data)
        for arm in campaign.arms:
            check_arm(recording, arm)
    tell(f"{len(cells)} of {len(campaign.arms) * len(campaign.seeds)} cells to run")

    def late() -> bool:
        return campaign.minutes is not None and time.monotonic() - started > 60 * campaign.minutes

    if processes <= 1:
        for number, (arm, seed) in enumerate(cells, start=1):
            if late():
                break
            tell(f"[{number}/{len(cells)}] {_one(campaign, arm, seed)}")
    else:
        _spread(campaign, cells, processes, tell, late)
    return not campaign.missing()


def _spread(campaign: Campaign, cells: Sequence[tuple[Arm, int]], processes: int, tell: Tell, late: Callable[[], bool]) -> None:
    queue, done = iter(cells), 0
    # Fork would copy torch's threads in an unknown state.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_end_with_parent) as pool:
        running: set[Future[str]] = set()
        while True:
            while len(running) < processes and not late():
                cell = next(queue, None)
                if cell is None:
                    break
                running.add(pool.submit(_one, campaign, *cell))
            if not running:
                return
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                done += 1
                tell(f"[{done}/{len(cells)}] {future.result()}")


def _end_with_parent() -> None:
    """However a campaign ends, its processes end with it, instead of going on unseen until their cells are done."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="watch the campaign", daemon=True).start()


def _one(campaign: Campaign, arm: Arm, seed: int) -> str:
    started = time.monotonic()
    recording = load_recording(campaign.design, seed, campaign.cache, campaign.data)
    source = source_takes(campaign.design, seed, campaign.cache)
    held = finished(row for row in read_rows(campaign.table) if row["seed"] == seed)

    def emit(row: Row) -> None:
        if key_of(row) not in held:
            append_rows(campaign.table, [row])

    run_trial(campaign.design, recording, arm, seed, campaign.folder / "models" / f"seed{seed}", emit, source)
    last = [row for row in read_rows(campaign.table) if row["strategy"] == str(arm) and row["seed"] == seed][-1]
    return f"{arm} seed {seed}: {float(last['error']):.2f} {recording.unit} in {time.monotonic() - started:.0f} s"
