"""A loop that costs seconds: forked processes, a stand-in for Label Studio, few small pictures, trainings of a few steps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml_backend.simulation.studio import CaptureStudio
from ml_backend.store import generations, versions
from plugins.cli.commands.up import own_environment
from plugins.label_studio_sync.client import Client
from tests.chaos.forked_processes import ForkedProcess
from tests.chaos.harness import COMMANDS, SIZE, Loop, Process
from tests.chaos.invariants import last_snapshot
from tests.chaos.stand_in_platform import StandIn

FRAMES, VIEWS, LABELS, WINDOW, CHUNK = 24, 2, 4, 8, 3
STUB_STEPS, REAL_STEPS = 6, 120
_set_up = threading.Lock()


def small_studio(folder: Path) -> CaptureStudio:
    """Write the recording of every small loop into ``folder``."""
    studio = CaptureStudio(seed=5, n_frames=FRAMES, n_views=VIEWS, size_px=SIZE)
    studio.write(folder)
    return studio


class SmallLoop(Loop):
    """A loop of forked processes beside the stand-in."""

    poll_s = 0.7
    platform: StandIn

    def _process(self, name: str) -> Process:
        environment = {**own_environment(), "PARALLAX_CONFIG": str(self.file), "OMP_NUM_THREADS": "1"}
        return ForkedProcess(COMMANDS[name], environment, self.folder / f"{name}.log")

    def has_converged(self) -> bool:
        """Nothing is left to do: all labels are in a training set, and the order of the live model is served."""
        rows = versions.list_snapshots(self.workspace.store)
        if not rows or not self.is_quiet():
            return False
        live, current = versions.live(self.workspace.store), self.workspace.project.generation
        if live is None or current is None or len(last_snapshot(self).annotations) < len(self.submitted):
            return False
        return generations.get(self.workspace.store, current).version_id == live.id

    def first_round(self) -> None:
        """Wait for the first order, label, and wait for the order of the first model."""
        self.until("an order is served", lambda: self.served().startswith("px-0."))
        self.label(LABELS)
        self.until("the order of the first model is served", lambda: self.serves_model(1))


@contextmanager
def small_loop(
    folder: Path,
    studio: CaptureStudio,
    recording: Path,
    *,
    seed: int = 0,
    store: str = "",
    host: str = "127.0.0.1",
    steps: int = STUB_STEPS,
    **more: Any,
) -> Iterator[SmallLoop]:
    """A loop in ``folder`` of which nothing runs yet; ``more`` are settings by section."""
    settings: dict[str, dict[str, Any]] = {
        "train": {"steps_first": steps, "steps_round": steps // 2, "min_new_frames": LABELS, "checkpoint_seconds": 0.05},
        "selection": {"window": WINDOW},
        "validation": {"block_frames": 3, "guard_frames": 0, "fraction": 0.2},
        "sync": {"chunk": CHUNK},
    }
    for name, values in more.items():
        settings[name] = settings.get(name, {}) | values
    platform = StandIn(folder.with_name(folder.name + "-documents"), seed)
    platform.documents.mkdir(parents=True)
    platform.start()
    try:
        with _set_up:  # Alembic keeps its context in a module
            made = SmallLoop(folder, platform, studio, recording, store=store, host=host, **settings)
        made.client.close()
        made.client = Client(platform.url, platform.observer)
        # On a machine that is busy with other things the stand-in may be slow.
        made.client._http.timeout = made.annotator.http.timeout = 900
        with made as loop:
            yield loop
    finally:
        platform.stop()
