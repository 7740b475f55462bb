"""Memory runs out: the batch shrinks, in all processes that train together, and the run goes on from where it was."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.spawn import start_processes

from label_config.values import ByteArray, ImageRef, ParallaxError, TrainingTarget
from label_config.values.skeleton import Skeleton
from ml_backend.pose import engine
from ml_backend.pose.checkpoint import CHECKPOINT_NAME
from ml_backend.pose.config import AugmentConfig, TrainConfig
from ml_backend.pose.distributed import Group, KilledError, joined
from ml_backend.pose.heads import pose_losses
from ml_backend.pose.networks import PoseNetwork, PoseOutput
from ml_backend.pose.training import TrainResult, train
from ml_backend.pose.weights import WEIGHTS_NAME, read_manifest, read_tensors
from plugins.cli.processes.ports import free_port

#: rank:steps:crops:signal – the process with this rank has room for so many crops in one step after its first steps; with more
#: it runs out, or is ended by the signal.
ROOM = "PARALLAX_TEST_ROOM"
NAME = f"{__name__}:Greedy"
STEPS, FULL_AT = 9, 5

SKELETON = Skeleton("two", ("a", "b"), limbs=((0, 1),))
TARGETS = [TrainingTarget(ImageRef(f"p{i}"), np.array([[8.0 + i, 9.0], [20.0, 8.0 + i]]), np.ones(2)) for i in range(7)]
CONFIG = TrainConfig(
    network=NAME,
    plugins=(NAME,),
    input_px=(32, 32),
    steps=STEPS,
    batch=4,
    lr=0.02,
    device="cpu",
    precision="float32",
    augment=AugmentConfig(rotation_deg=10),
    checkpoint_every_s=1e-9,
)


class Greedy(PoseNetwork):
    """Takes more memory than there is; without batch norm, whose statistics are those of each process's own crops."""

    stride, multiple, feature_dim = 4, 4, 8

    def __init__(self, n_keypoints: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU(), nn.Conv2d(8, 8, 5, 2, 2), nn.ReLU())
        self.final_layer = nn.Conv2d(8, n_keypoints, 1)
        rank, steps, crops, self.how = os.environ[ROOM].split(":")
        self.mine, self.steps, self.crops = int(rank) == Group.current().rank, int(steps), int(crops)

    def forward(self, crops: Tensor) -> PoseOutput:
        maps = self.body(crops)
        self.steps -= int(self.training)  # its shapes are looked at once before
        if self.mine and self.steps < 0 and len(crops) > self.crops:
            if self.how:
                os.kill(os.getpid(), signal.Signals[self.how])
            maps.register_hook(full)  # in backward, when the last layer has its gradients already
        return PoseOutput(self.final_layer(maps), maps.mean(dim=(2, 3)), (maps,))


def full(_: Tensor) -> Tensor:
    raise torch.OutOfMemoryError("Tried to allocate 2 GiB")


def picture(ref: ImageRef) -> ByteArray:
    """Reached by name in every process."""
    return np.random.default_rng(int(ref.source[1:])).integers(0, 255, (32, 32, 3), dtype=np.uint8)


def fit(folder: Path, config: TrainConfig = CONFIG, **more: Any) -> TrainResult:
    return train(config, TARGETS, SKELETON, picture, folder, **more)


def stop_after(steps: int) -> Any:
    asked = iter([False] * steps + [True])
    return lambda: next(asked)


def without_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROOM, "0:0:1000:")


@pytest.fixture
def smaller_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainResult:
    """One process, 8 crops per step, and 4 from step ``FULL_AT`` on because they are asked for."""
    without_trouble(monkeypatch)
    asked = fit(tmp_path / "smaller", CONFIG.but(batch=8), should_stop=stop_after(FULL_AT))
    assert (asked.ending, asked.batch) == ("asked", 8)
    return fit(tmp_path / "smaller", CONFIG.but(batch=8), batch=4)


def test_a_smaller_batch_that_is_asked_for_continues_the_same_run(tmp_path: Path, smaller_from_there: TrainResult) -> None:
    assert (smaller_from_there.ending, smaller_from_there.batch, smaller_from_there.steps) == ("done", 4, STEPS)
    large = fit(tmp_path / "large", CONFIG.but(batch=8))
    assert smaller_from_there.losses[:FULL_AT] == large.losses[:FULL_AT]
    assert smaller_from_there.losses[FULL_AT:] != large.losses[FULL_AT:]
    assert smaller_from_there.manifest is not None
    assert large.manifest is not None
    assert smaller_from_there.manifest.run == large.manifest.run
    assert smaller_from_there.manifest.config.batch == 8
    assert read_manifest(tmp_path / "smaller").metrics["batch"] == 4


def test_the_smaller_one_of_checkpoint_and_wish_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_trouble(monkeypatch)
    for wish, batch in ((2, 2), (3, 2), (None, 2), (1, 1), (4, 1)):
        assert fit(tmp_path, should_stop=stop_after(1), batch=wish).batch == batch
    assert fit(tmp_path / "other", should_stop=stop_after(1), batch=100).batch == CONFIG.batch


def test_alone_the_step_is_repeated_with_half_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smaller_from_there: TrainResult
) -> None:
    monkeypatch.setenv(ROOM, f"0:{FULL_AT}:4:")
    result = fit(tmp_path / "alone", CONFIG.but(batch=8))
    assert result.batch == 4
    assert result.losses == smaller_from_there.losses
    ours, theirs = read_tensors(tmp_path / "alone"), read_tensors(tmp_path / "smaller")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_after_it_a_resumed_run_repeats_the_uninterrupted_one(
    make_blobs: Any, tiny: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With batch norm, whose statistics the try that failed has moved."""
    blobs = make_blobs()
    real, calls = pose_losses, list[int]()

    def limited(head: Any, output: Any, target: Tensor, weight: Tensor) -> Tensor:
        calls.append(len(target))
        if len(calls) > FULL_AT and len(target) > 2:
            raise torch.OutOfMemoryError("after the forward pass")
        return real(head, output, target, weight)

    monkeypatch.setattr(engine, "pose_losses", limited)
    whole = train(tiny, blobs.targets, blobs.skeleton, blobs.load, tmp_path / "whole")
    assert calls == [4] * (FULL_AT + 1) + [2] * (tiny.steps - FULL_AT)
    calls.clear()
    train(tiny, blobs.targets, blobs.skeleton, blobs.load, tmp_path / "parts", should_stop=stop_after(FULL_AT + 2))
    assert (tmp_path / "parts" / CHECKPOINT_NAME).exists()
    rest = train(tiny, blobs.targets, blobs.skeleton, blobs.load, tmp_path / "parts")
    np.testing.assert_allclose(rest.losses, whole.losses, rtol=0, atol=1e-6)
    first, second = read_tensors(tmp_path / "whole" / WEIGHTS_NAME), read_tensors(tmp_path / "parts" / WEIGHTS_NAME)
    assert any(name.endswith("running_mean") for name in first)
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)


def test_no_room_for_one_crop_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROOM, "0:2:0:")
    with pytest.raises(ParallaxError, match=r"memory ran out in step 3 with a batch of 1; .* lower train\.input_px"):
        fit(tmp_path)


@pytest.mark.slow
def test_all_processes_shrink_when_one_of_them_runs_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smaller_from_there: TrainResult
) -> None:
    """Two processes with half the crops each do what one does: four crops each, two from step ``FULL_AT`` on."""
    monkeypatch.setenv(ROOM, f"1:{FULL_AT}:2:")
    result = fit(tmp_path / "together", processes=2)
    assert (result.ending, result.batch, result.steps) == ("done", 2, STEPS)
    np.testing.assert_allclose(result.losses, smaller_from_there.losses, rtol=0, atol=1e-6)
    ours, theirs = read_tensors(tmp_path / "together"), read_tensors(tmp_path / "smaller")
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.slow
def test_a_killed_process_ends_no_run_that_a_smaller_batch_can_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smaller_from_there: TrainResult
) -> None:
    """From the last checkpoint, which is as old as the step, with half of the batch."""
    monkeypatch.setenv(ROOM, f"1:{FULL_AT}:2:SIGKILL")
    result = fit(tmp_path / "together", processes=2)
    assert (result.ending, result.batch, result.steps) == ("done", 2, STEPS)
    np.testing.assert_allclose(result.losses, smaller_from_there.losses, rtol=0, atol=1e-6)
    monkeypatch.setenv(ROOM, "1:0:0:SIGSEGV")
    with pytest.raises(KilledError, match=r"one of them was ended by SIGSEGV.*train\.batch"):
        fit(tmp_path / "hopeless", CONFIG.but(batch=1), processes=2)


def member(rank: int, port: int, folder: Path) -> None:
    """One process of a group, which writes down what ends its training."""
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in places.items()})
    with joined("cpu"):
        try:
            fit(folder)
        except ParallaxError as error:
            (folder / f"said{rank}").write_text(str(error))


@pytest.mark.slow
def test_where_even_one_crop_is_too_much_all_processes_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROOM, "1:3:0:")
    start_processes(member, (free_port(), tmp_path), nprocs=2, start_method="spawn")  # type: ignore[no-untyped-call]
    said = [(tmp_path / f"said{rank}").read_text() for rank in range(2)]
    assert said[0] == said[1]
    assert "memory ran out in step 4 with a batch of 1" in said[0]
