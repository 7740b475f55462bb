"""One small recording for all chaos tests, and loops made from it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ml_backend.simulation.studio import CaptureStudio
from plugins.demo.platform import Platform
from tests.chaos.harness import SIZE, Loop

FRAMES, VIEWS = 48, 3
#: Loops that run at the same time: most of their time is spent waiting for leases to run out.
AT_ONCE = 3

MakeLoop = Callable[..., Loop]


@pytest.fixture(scope="session")
def small_studio(tmp_path_factory: pytest.TempPathFactory) -> tuple[CaptureStudio, Path]:
    """A recording and the folder that it was written to."""
    studio = CaptureStudio(seed=5, n_frames=FRAMES, n_views=VIEWS, size_px=SIZE)
    folder = tmp_path_factory.mktemp("studio")
    studio.write(folder)
    return studio, folder


@pytest.fixture(scope="session")
def make_loop(platform: Platform, small_studio: tuple[CaptureStudio, Path], tmp_path_factory: pytest.TempPathFactory) -> MakeLoop:
    """Makes a project of its own for every call; settings by section: ``make_loop("name", train={"batch": 4})``."""
    studio, recording = small_studio
    folder, numbers, one_at_a_time = tmp_path_factory.mktemp("loops"), itertools.count(), threading.Lock()

    def make(name: str, server: Platform = platform, **settings: Any) -> Loop:
        plain = "".join(c if c.isalnum() else "-" for c in name)
        with one_at_a_time:  # Alembic keeps its context in a module
            return Loop(folder / f"{next(numbers)}-{plain}", server, studio, recording, **settings)

    return make


@pytest.fixture(scope="session")
def together() -> Iterator[Callable[[str, Callable[[], None]], Future[None]]]:
    """Starts work by name in the background, once, a few at a time."""
    started: dict[str, Future[None]] = {}
    pool = ThreadPoolExecutor(AT_ONCE)

    def start(name: str, job: Callable[[], None]) -> Future[None]:
        if name not in started:
            started[name] = pool.submit(job)
        return started[name]

    yield start
    pool.shutdown(wait=True, cancel_futures=True)
