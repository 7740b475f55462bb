"""A live Label Studio for tests: a fresh server starts on a copy of an empty database, whose migrations run once per version."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from plugins.demo.platform import Platform

DATABASE = "label_studio.sqlite3"
ENVIRONMENT = {"COLLECT_ANALYTICS": "false", "LATEST_VERSION_CHECK": "false", "SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": ""}


def fresh_platform(program: Path, folder: Path, environment: dict[str, str] | None = None) -> Platform:
    """Return a server of ``program``, not started, with nobody in it yet: it makes its user and organization when it starts."""
    (folder / "data").mkdir(parents=True)
    shutil.copyfile(empty_database(program), folder / "data" / DATABASE)
    return Platform(program, folder / "data", folder / "documents", environment=environment or {})


def empty_database(program: Path) -> Path:
    """Return the path of the migrated, empty SQLite database of ``program``'s version, made beside its environment when missing.

    Thousands of statements of migrations cost 20 to 50 s of one core; the copy starts in a few seconds.  Several runs of the
    tests may ask at once: the first makes it, the others wait.
    """
    environment = program.resolve().parent.parent
    kept = environment / f"empty-{_version(environment)}.sqlite3"
    with (environment / "empty.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            _migrate(program, kept)
    return kept


def _version(environment: Path) -> str:
    found = sorted(environment.glob("lib/python*/site-packages/label_studio-*.dist-info"))
    assert len(found) == 1, f"one installed label-studio was expected under {environment}, found {found}"
    return found[0].name.removeprefix("label_studio-").removesuffix(".dist-info")


def _migrate(program: Path, kept: Path) -> None:
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        settings = {**os.environ, **ENVIRONMENT, "LABEL_STUDIO_BASE_DATA_DIR": folder}
        done = subprocess.run([str(program), "version"], env=settings, capture_output=True, text=True, cwd=folder)
        assert done.returncode == 0, f"{program} could not make its database:\n{done.stderr[-3000:]}"
        (Path(folder) / DATABASE).rename(kept)
