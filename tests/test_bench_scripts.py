"""The benchmark that wants a GPU runs, in small, without one; so it is ready when there is one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import bench_gpu, gpu_loop, gpu_network, gpu_round
from ml_backend.pose.config import TrainConfig
from ml_backend.simulation.studio import CaptureStudio

ROOT = Path(__file__).parents[1]
#: Imports the benchmark where the named packages cannot be.
BARE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from bench import bench_gpu, gpu_network
gpu_network.PARTS = 1
print(bench_gpu.table({{"network": bench_gpu.run_part("network", "cpu"), "loop": bench_gpu.run_part("loop", "cpu")}}))
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_nothing_is_measured_and_that_is_said() -> None:
    done = subprocess.run([sys.executable, "-m", "bench.bench_gpu"], cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("  no CUDA device: ")


def test_networks_are_compared_where_pytorch_is_all_there_is() -> None:
    absent = {"cv2", "pydantic", "yaml", "rich", "click", "httpx", "sqlalchemy", "av", "typer", "redis", "rq", "flask"}
    program = [sys.executable, "-c", BARE.format(absent=absent)]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    figures = [line for line in done.stdout.splitlines() if line.startswith("  network")]
    assert len(figures) == 4  # training and inference, eager and fast
    assert "loop     left out: No module named" in done.stdout


def test_a_part_that_fails_or_takes_too_long_is_named_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench_gpu.in_a_process("tests", 0.01) == {"failed": "not done within 0 s"}
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert bench_gpu.in_a_process("tests", 60)["failed"].startswith("ended with status 1")


def test_eager_float32_is_the_measure(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_network, "PARTS", 1)
    factors = gpu_network.compare("unet_small", "cpu", batch=1, side=32, steps=1, compiled=False)
    assert [value for name, value in factors.items() if name.endswith("float32")] == [1.0, 1.0]
    assert capsys.readouterr().out.count("pictures/s") == 4


@pytest.mark.slow
def test_the_comparison_of_training_loops_runs(capsys: pytest.CaptureFixture[str]) -> None:
    small = {"width": 4, "decoder": 8}
    config = TrainConfig(network_args=small, input_px=(64, 64), batch=4, device="cpu", two_stage=False)
    factors = gpu_loop.compare(config, "cpu", steps=3, count=8)
    assert set(factors) == {"training", "inference"}
    assert capsys.readouterr().out.count("pictures/s") == 5


@pytest.mark.slow
def test_a_round_is_timed_stage_by_stage(capsys: pytest.CaptureFixture[str]) -> None:
    studio = CaptureStudio(seed=0, n_frames=100, n_views=3, size_px=(64, 64))
    found = gpu_round.measure(studio, 10, {"input_px": 32, "batch": 4, "steps_first": 4, "device": "cpu"})
    assert 0 < found["rest of rescoring"] < 1
    assert set(found) >= {"retrain", "rescore", "select", "network"}
    assert "rescored" in capsys.readouterr().out
