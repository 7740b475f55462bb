"""Two processes with half of the batch each do what one does with all of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ml_backend.pose.distributed import Group, joined
from ml_backend.pose.weights import read_manifest, read_tensors

#: Without batch norm, whose statistics are those of each process's own half.
SCRIPT = """
import json, sys, types
from pathlib import Path

import numpy as np
import torch
from torch import nn

from label_config.values.skeleton import Skeleton
from label_config.values import ImageRef, TrainingTarget
from ml_backend.pose.config import AugmentConfig, TrainConfig
from ml_backend.pose.distributed import joined
from ml_backend.pose.networks import PoseNetwork, PoseOutput
from ml_backend.pose.training import train


class Plain(PoseNetwork):
    stride, multiple, feature_dim = 4, 4, 8

    def __init__(self, n_keypoints):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU(), nn.Conv2d(8, 8, 5, 2, 2), nn.ReLU())
        self.running = nn.BatchNorm2d(8, affine=False)  # its statistics are kept, its output is not used
        self.final_layer = nn.Conv2d(8, n_keypoints, 1)

    def forward(self, crops):
        maps = self.body(crops)
        self.running(maps.detach())
        return PoseOutput(self.final_layer(maps), maps.mean(dim=(2, 3)), (maps,))


sys.modules["plain_network"] = module = types.ModuleType("plain_network")
module.Plain = Plain
torch.set_num_threads(1)
rng = np.random.default_rng(0)
pictures = {f"p{i}": rng.integers(0, 255, (32, 32, 3), dtype=np.uint8) for i in range(9)}
targets = [TrainingTarget(ImageRef(name), rng.uniform(6, 26, (3, 2)), np.ones(3)) for name in pictures]
skeleton = Skeleton("three", ("a", "b", "c"), limbs=((0, 1), (1, 2)))
name = "plain_network:Plain"
batch, stop_at, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
config = TrainConfig(
    network=name, plugins=(name,), input_px=(32, 32), steps=10, batch=batch, lr=0.02, device="cpu", validate_every=5,
    precision="float32", auxiliary=("links",), augment=AugmentConfig(rotation_deg=10),
)
with joined() as group:
    steps = iter([False] * stop_at + [True] * 99)
    # Only the first process is asked to stop.
    ask = (lambda: next(steps)) if group.leads else None
    if stop_at:
        train(config, targets[:7], skeleton, lambda ref: pictures[ref.source], folder, validation=targets[7:], should_stop=ask)
    result = train(config, targets[:7], skeleton, lambda ref: pictures[ref.source], folder, validation=targets[7:])
    said = {"losses": result.losses, "validations": result.validations, "ending": result.ending}
    (folder / f"rank{group.rank}.json").write_text(json.dumps(said))
"""


def run(folder: Path, processes: int, batch: int, stop_at: int = 0) -> list[Any]:
    """What each process says of the run."""
    script = folder.parent / "script.py"
    script.write_text(SCRIPT)
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(processes):
        places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        environment |= {name: str(value) for name, value in places.items()}
        command = [sys.executable, str(script), str(batch), str(stop_at), str(folder)]
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    try:
        for process in started:
            _, error = process.communicate(timeout=120)
            assert process.returncode == 0, error
    finally:
        for process in started:
            process.kill()
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(processes)]


@pytest.mark.slow
def test_two_processes_equal_one_with_the_doubled_batch(tmp_path: Path) -> None:
    (alone,) = run(tmp_path / "alone", 1, batch=4)
    first, second = run(tmp_path / "together", 2, batch=2, stop_at=3)
    assert first == second
    assert first["ending"] == "done"
    np.testing.assert_allclose(first["losses"], alone["losses"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(first["validations"], alone["validations"], rtol=1e-5)
    ours, theirs = read_tensors(tmp_path / "together"), read_tensors(tmp_path / "alone")
    for name in (name for name in theirs if not name.endswith("running_var")):  # that is the variance of each half
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-4, msg=name)
    assert read_manifest(tmp_path / "together").metrics["batch"] == 2


def test_alone_nothing_is_exchanged() -> None:
    with joined() as group:
        assert group == Group.current() == Group(0, 1)
        assert group.leads
    values = torch.tensor([1.0, 2.0])
    assert group.mean(values) is values
    assert group.agree(torch.device("cpu"), 3.0, 4.0) == [3.0, 4.0]
    layer = torch.nn.Linear(2, 1)
    layer(values).backward()
    before = layer.weight.grad
    group.average_gradients(layer, group.pack_gradients(layer))
    assert [group.any(torch.device("cpu"), flag) for flag in (True, False)] == [True, False]
    group.wait()
    assert layer.weight.grad is before
