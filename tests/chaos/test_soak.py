"""What the soak says of its samples, and a short soak."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.chaos.fault_runs import read_runs
from tests.chaos.small_loop import small_loop, small_studio
from tests.chaos.soak import report, slopes, soak

#: One or more of each per round, as their rows are the project's history.
HISTORY = {"events", "generations", "jobs", "ledger", "picks", "snapshots", "versions"}


def test_a_line_has_its_slope_and_no_error_and_what_stays_did_not_grow() -> None:
    rows = [{"round": n, "at": 60.0 * n, "memory of sync, MiB": 100 + 0.5 * n, "rows of jobs": 7.0} for n in range(9)]
    last, slope, error = slopes(rows)["memory of sync, MiB"]
    assert (last, slope) == pytest.approx((104.0, 0.5))
    assert error == pytest.approx(0.0, abs=1e-9)
    assert slopes(rows)["rows of jobs"] == pytest.approx((7.0, 0.0, 0.0))
    assert "| memory of sync, MiB | 104.0 | 0.5000 |" in report(rows)
    assert "Did not grow: rows of jobs." in report(rows)


def test_what_happened_while_caches_filled_does_not_count() -> None:
    rows = [{"round": n, "at": 0.0, "files of models": 5.0 if n >= 3 else float(n)} for n in range(9)]
    assert slopes(rows)["files of models"] == pytest.approx((5.0, 0.0, 0.0))


@pytest.mark.chaos
@pytest.mark.redis
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_only_history_grows(tmp_path: Path) -> None:
    studio = small_studio(tmp_path / "studio")
    with small_loop(tmp_path / "loop", studio, tmp_path / "studio") as loop:
        soak(loop, 12, time.monotonic() + 1500, tmp_path / "soak.jsonl")
    found = slopes(read_runs(tmp_path / "soak.jsonl"))
    growing = {name.removeprefix("rows of ") for name, (_, slope, _) in found.items() if name.startswith("rows") and slope > 0.1}
    assert growing <= HISTORY
    assert found["files of models"][1] < 0.5
