"""The benchmarks that want a GPU run, in small, without one; so they are ready when there is one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import bench_network, bench_round
from ml_backend.pose.config import TrainConfig
from ml_backend.simulation.studio import CaptureStudio


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("name", ["bench_network", "bench_round"])
def test_without_a_device_nothing_is_measured_and_that_is_said(name: str) -> None:
    command = [sys.executable, "-m", f"bench.{name}"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("  no CUDA device: ")


@pytest.mark.slow
def test_the_comparison_of_training_loops_runs(capsys: pytest.CaptureFixture[str]) -> None:
    small = {"width": 4, "decoder": 8}
    config = TrainConfig(network_args=small, input_px=(64, 64), batch=4, device="cpu", two_stage=False)
    bench_network.compare(config, "cpu", steps=3, count=8)
    lines = capsys.readouterr().out.splitlines()
    assert sum("pictures/s" in line for line in lines) == 5


@pytest.mark.slow
def test_a_round_is_timed_stage_by_stage(capsys: pytest.CaptureFixture[str]) -> None:
    studio = CaptureStudio(seed=0, n_frames=100, n_views=3, size_px=(64, 64))
    share = bench_round.measure(studio, 10, {"input_px": 32, "batch": 4, "steps_first": 4, "device": "cpu"})
    assert 0 < share < 1
    said = capsys.readouterr().out
    assert all(stage in said for stage in ("retrain", "rescore", "select"))
