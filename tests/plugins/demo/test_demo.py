"""``make demo`` as a newcomer runs it: on the capture studio with three seeds, and on real recordings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plugins.demo.__main__ import SUMMARY
from tests.conftest import LABEL_STUDIO, ROOT

pytestmark = [pytest.mark.ls, pytest.mark.redis]

SEEDS = (0, 1, 2)


def demo(folder: Path, *options: str) -> dict[str, Any]:
    """Run it to the end; the figures of its table."""
    command = [sys.executable, "-m", "plugins.demo", "--exit", "--folder", str(folder), "--label-studio", str(LABEL_STUDIO)]
    done = subprocess.run([*command, *options], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-3000:]
    figures: dict[str, Any] = json.loads((folder / SUMMARY).read_text())
    return figures


def errors_px(figures: dict[str, Any]) -> list[float]:
    """Held-out error of every version."""
    return [row["error"]["px"] for row in figures["rounds"]]


def served_in_order(figures: dict[str, Any]) -> float:
    """Share of the served tasks that were the first open one of our order."""
    expected: int = figures["served_as_expected"]
    return expected / (expected + len(figures["exceptions"]))


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_the_loop_learns_and_labels_itself_rightly(tmp_path: Path) -> None:
    """The goals of the demo, as means over seeds; every seed by itself accepts pseudo-labels and serves our order."""
    runs = [demo(tmp_path / str(seed), "--seed", str(seed)) for seed in SEEDS]
    assert np.mean([errors_px(run)[-1] / errors_px(run)[0] for run in runs]) < 0.6
    for run in runs:
        accepted = [row["pseudo"] for row in run["rounds"] if row["pseudo"]["keypoints"]]
        assert sum(pseudo["keypoints"] for pseudo in accepted) >= 20
        own = np.mean([pseudo["median_px"] for pseudo in accepted])
        assert own <= 0.7 * np.mean([pseudo["pool_median_px"] for pseudo in accepted])
        assert served_in_order(run) > 0.95
        assert sum(run["peak_mb"].values()) < 3072


@pytest.mark.data
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["pose2sim_single_4cam", "lp_mirror_mouse"])
def test_a_real_recording_runs_through_the_same_loop(data_folder: Path, tmp_path: Path, name: str) -> None:
    """Calibrated video of a person with codec padding; an uncalibrated mouse with two views in one picture.

    A single round after the first model: does it start, are the points found, does it learn from what is labelled.
    """
    figures = demo(tmp_path / "demo", "--recording", str(data_folder / name), "--rounds", "1", "--no-compare")
    first, last = errors_px(figures)
    assert last < first
    assert served_in_order(figures) > 0.9
