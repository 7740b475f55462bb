"""Everything that wants a CUDA device, within eight minutes: a table at the end, and all figures as JSON.

    python -m bench gpu
    python -m bench.bench_gpu [--json .bench/gpu.json] [--minutes 8] [--parts network,loop]

Each part is a process of its own with a share of the time; one that fails, runs out of time or lacks a package is named and the
others go on.  ``network`` needs PyTorch, NumPy and nothing else, so it runs from a bare checkout; the others need what Parallax
needs.

    tests    the tests marked ``gpu``: mixed precision, compilation, memory that runs out
    network  PoseResNet-50 and the default network: bfloat16, channels last, compiled, against eager float32 (3 × is wanted)
    loop     training and prediction as a worker does them against the loop that anybody would write first
    round    retrain, rescore 5,000 frames of 8 cameras, select, by stage (at most 10 % of rescoring beside the network is wanted)
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
#: Part → share of the time.
SHARES = {"network": 0.3, "tests": 0.15, "loop": 0.2, "round": 0.35}
SIDE = 256


def network(device: str) -> dict[str, float]:
    """PoseResNet-50 as published, and the network that a project gets by default; a trial of the latter without CUDA."""
    from bench import gpu_network

    if device == "cpu":
        return gpu_network.compare("unet_small", device, batch=1, side=32, steps=1, compiled=False)
    published = gpu_network.compare("pose_resnet50", device, batch=64, side=SIDE, steps=15, compiled=True)
    return {**published, **gpu_network.compare("unet_small", device, batch=64, side=128, steps=15, compiled=True)}


def loop(device: str) -> dict[str, float]:
    """``train`` and ``Predictor``, pictures to points."""
    gpu_loop = importlib.import_module("bench.gpu_loop")
    config = importlib.import_module("ml_backend.pose.config").TrainConfig(
        network="pose_resnet50", input_px=(SIDE, SIDE), batch=64, device=device, two_stage=False
    )
    found: dict[str, float] = gpu_loop.compare(config, device, steps=20, count=512)
    return found


def round_(device: str) -> dict[str, float]:
    """A project's whole round with PoseResNet-50."""
    studio = importlib.import_module("ml_backend.simulation.studio").CaptureStudio(
        seed=0, n_frames=5000, n_views=8, size_px=(SIDE, SIDE)
    )
    train = {"network": "pose_resnet50", "input_px": SIDE, "batch": 64, "lr": 1e-3, "steps_first": 300, "device": device}
    found: dict[str, float] = importlib.import_module("bench.gpu_round").measure(studio, 100, train)
    return found


def tests(device: str) -> dict[str, float]:
    """Those that only a device can pass."""
    import pytest

    chosen = ["tests/ml_backend/pose", "tests/ml_backend/jobs"]
    status = int(pytest.main(["-q", "-m", "gpu", "-p", "no:cacheprovider", *chosen]))
    if status:
        raise SystemExit(status)
    return {}


PARTS: dict[str, Callable[[str], dict[str, float]]] = {"network": network, "tests": tests, "loop": loop, "round": round_}


def in_a_process(part: str, seconds: float) -> dict[str, Any]:
    """The figures of a part, or what kept it from having any."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "figures.json"
        start = time.monotonic()
        try:
            command = [sys.executable, "-m", "bench.bench_gpu", "--run", part, "--json", str(written)]
            status = subprocess.run(command, cwd=ROOT, timeout=seconds).returncode
        except subprocess.TimeoutExpired:
            return {"failed": f"not done within {seconds:.0f} s"}
        took = time.monotonic() - start
        if not written.is_file():
            return {"failed": f"ended with status {status} after {took:.0f} s"}
        return {"seconds": round(took, 1), **json.loads(written.read_text())}


def run_part(part: str, device: str) -> dict[str, Any]:
    """What a part found, or the package that it lacks."""
    try:
        return {"figures": PARTS[part](device)}
    except ModuleNotFoundError as error:
        return {"failed": f"left out: {error}"}


def table(found: dict[str, dict[str, Any]]) -> str:
    """One line per figure."""
    lines = []
    for part, said in found.items():
        figures = said.get("figures", {})
        lines += [f"  {part:<8} {name:<64} {value:10.2f}" for name, value in figures.items()]
        lines += [f"  {part:<8} {said['failed']}"] if "failed" in said else []
    return "\n".join(lines)


def main() -> int:
    """On a CUDA device only."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, default=ROOT / ".bench" / "gpu.json")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--parts", default=",".join(SHARES), help=f"of {', '.join(SHARES)}")
    parser.add_argument("--run", choices=list(PARTS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("  no CUDA device: nothing measured; run this on a machine with one")
        return 0
    given.json.parent.mkdir(parents=True, exist_ok=True)
    if given.run:
        given.json.write_text(json.dumps(run_part(given.run, "cuda")))
        return 0
    device = {"device": torch.cuda.get_device_name(), "devices": torch.cuda.device_count(), "torch": torch.__version__}
    found: dict[str, dict[str, Any]] = {}
    for part in given.parts.split(","):
        print(f"\n{part}", flush=True)
        found[part] = in_a_process(part, 60 * given.minutes * SHARES[part])
        given.json.write_text(json.dumps({**device, "parts": found}, indent=1))
    print(f"\n{device['device']} ({device['devices']}), PyTorch {device['torch']}\n{table(found)}\n  written to {given.json}")
    return int(any("failed" in said for said in found.values()))


if __name__ == "__main__":
    sys.exit(main())
