"""``make test``: everything the tests need, then all tests; prints passed and skipped per mark and fails on unwanted skips.

Each core runs a share of the files, with servers of its own; what waits longest starts first.  With ``--coverage`` the share of
lines that ran is printed per room, and a room below its floor fails; lines that only other processes ran do not count.

Outside CI the marks ``browser`` and ``postgres`` may be skipped where their system packages cannot be installed; ``data``,
``gpu`` and ``package`` may always be.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import coverage
import pytest

MARKS = ("data", "ls", "redis", "chaos", "browser", "postgres", "gpu", "package", "slow")
MAY_SKIP = {"data", "gpu", "package"}
MAY_SKIP_OUTSIDE_CI = {"browser", "postgres"}
#: Each runs a Label Studio, workers and a browser of its own: about 3 GiB.
MOST_SHARES = 4
#: Least share of a room's lines that tests run, in %; rooms whose programs mostly run as processes of their own have a lower one.
FLOOR = 90
FLOORS = {
    "ml_backend/child_processes": 30,  # runs in the children
    "ml_backend/formats": 88,
    "ml_backend/label_studio_ml": 0,  # runs inside of a host of its own
    "ml_backend/recordings": 85,
    "ml_backend/tracks": 88,
    "plugins/cli": 88,
    "plugins/demo": 40,
}
PACKAGES = {"chromium": "chromium", "chromedriver": "chromium-driver", "docker-compose": "docker-compose"}


class Tally:
    """Counts outcomes per mark; a test without a mark counts as ``plain``."""

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.skipped: list[tuple[frozenset[str], str, str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest for the three phases of every test."""
        marks = frozenset(mark for mark in MARKS if mark in report.keywords)
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr or "")
            self.skipped.append((marks, report.nodeid, reason))
        elif report.failed or report.when == "call":
            for mark in marks or {"plain"}:
                (self.failed if report.failed else self.passed)[mark] += 1

    def unwanted(self, in_ci: bool) -> list[str]:
        """Skips that nothing excuses."""
        allowed = MAY_SKIP if in_ci else MAY_SKIP | MAY_SKIP_OUTSIDE_CI
        return [f"{name}: {why}" for marks, name, why in self.skipped if not marks & allowed]

    def show(self) -> None:
        """One line per mark."""
        skipped = Counter(mark for marks, _, _ in self.skipped for mark in marks or {"plain"})
        for mark in ("plain", *MARKS):
            if self.passed[mark] or self.failed[mark] or skipped[mark]:
                print(f"{mark:9} {self.passed[mark]:5} passed {self.failed[mark]:3} failed {skipped[mark]:3} skipped")


def coverage_by_room() -> dict[str, float]:
    """Room → % of its lines that ran, read from the file that pytest-cov left."""
    measured = coverage.Coverage()
    measured.load()
    lines: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for name in (file for file in measured.get_data().measured_files() if file.endswith(".py")):  # templates are compiled, too
        parts = Path(name).relative_to(Path.cwd()).parts
        room = "/".join(parts[: min(len(parts) - 1, 2)])
        _, statements, _, missing, _ = measured.analysis2(name)
        lines[room] += len(statements)
        missed[room] += len(missing)
    return {room: 100 * (1 - missed[room] / count) for room, count in sorted(lines.items()) if count}


def too_little_run(shares: dict[str, float]) -> list[str]:
    """Print the table; the rooms below their floor."""
    for room, share in shares.items():
        print(f"{room:32} {share:5.1f} % of its lines ran; at least {FLOORS.get(room, FLOOR)} %")
    return [room for room, share in shares.items() if share < FLOORS.get(room, FLOOR)]


def install_packages() -> None:
    """Debian's packages that some tests use, when we may install them; otherwise their names."""
    missing = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    if not any(Path("/usr/lib/postgresql").glob("*/bin/initdb")) and shutil.which("initdb") is None:
        missing.append("postgresql")
    if not missing:
        return
    if shutil.which("apt-get") and os.getuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        subprocess.run(command, check=False, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, stdout=subprocess.DEVNULL)
    else:
        print(f"some tests will be skipped; they need the system packages {' '.join(missing)}")


def main() -> int:
    """Run; the exit status is 0 only when everything passed and nothing was skipped without excuse."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="the slow campaigns too")
    parser.add_argument("--coverage", action="store_true", help="count the lines that ran; a tenth slower")
    options, rest = parser.parse_known_args()
    install_packages()
    tally = Tally()
    selection = [] if options.all else ["-m", "not slow"]
    shares = ["-n", str(min(os.cpu_count() or 1, MOST_SHARES)), "--dist", "loadfile", "--no-loadscope-reorder"]
    folders = ("label_config", "ml_backend", "plugins")
    counted = [*(f"--cov={folder}" for folder in folders), "--cov-report="] if options.coverage else []
    status = pytest.main([*selection, *shares, *counted, "-q", "--durations=15", *rest], plugins=[tally])
    tally.show()
    uncovered = too_little_run(coverage_by_room()) if options.coverage else []
    for room in uncovered:
        print(f"tests run too little of {room}")
    unwanted = tally.unwanted(in_ci=os.environ.get("CI", "").lower() in ("1", "true"))
    for line in unwanted:
        print(f"skipped without excuse: {line}")
    return int(status) or (1 if unwanted or uncovered else 0)


if __name__ == "__main__":
    sys.exit(main())
