"""``train.devices``: a retraining by several processes that the worker starts and ends."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from label_config.settings.learning_settings import Train
from label_config.values import BadInputError, ByteArray, ImageRef, ParallaxError, TrainingTarget
from label_config.values.skeleton import Skeleton
from ml_backend.jobs.run_job import run_here
from ml_backend.pose.checkpoint import CHECKPOINT_NAME
from ml_backend.pose.config import AugmentConfig, TrainConfig
from ml_backend.pose.training import Progress, train
from ml_backend.pose.weights import read_manifest
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.training_config import processes_of, recipe_for
from ml_backend.store import versions, work
from ml_backend.store.workspace import Workspace

Make = Callable[..., Workspace]
Label = Callable[..., None]

SKELETON = Skeleton("two", ("a", "b"), limbs=((0, 1),))
TARGETS = [TrainingTarget(ImageRef(f"p{i}"), np.array([[8.0 + i, 9.0], [20.0, 8.0 + i]]), np.ones(2)) for i in range(6)]
CONFIG = TrainConfig(
    input_px=(32, 32),
    network_args={"width": 4, "decoder": 8},
    steps=12,
    batch=2,
    device="cpu",
    augment=AugmentConfig.none(),
    checkpoint_every_s=1000.0,
)


def picture(ref: ImageRef) -> ByteArray:
    """Reached by name in every process."""
    return np.random.default_rng(int(ref.source[1:])).integers(0, 255, (32, 32, 3), dtype=np.uint8)


def dies(ref: ImageRef) -> ByteArray:
    os._exit(7)


def unreadable(ref: ImageRef) -> ByteArray:
    raise OSError("gone")


def test_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [processes_of(Train(devices=n, device="cpu")) for n in (1, 2, "all")] == [1, 2, 1]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [processes_of(Train(devices=n)) for n in (1, 3, "all")] == [1, 3, 4]
    with pytest.raises(BadInputError, match="at most the 4 CUDA devices"):
        processes_of(Train(devices=5))
    with pytest.raises(BadInputError, match=r"cannot share train\.device 'cuda:1'"):
        processes_of(Train(devices="all", device="cuda:1"))


def test_epochs_are_shared_out() -> None:
    def steps(devices: int) -> int:
        settings = Train(preset="acft", batch=8, devices=devices, device="cpu")
        return recipe_for(settings, warm=True, round_=2, n_targets=64, performance=0.6).steps

    assert (steps(1), steps(2)) == (800, 400)  # 100 epochs of 64 pictures, 8 or 16 at a time


def test_pictures_are_read_in_another_process_as_here(make_workspace: Make, recorded: Any) -> None:
    here = Pictures(make_workspace())
    there = pickle.loads(pickle.dumps(here.read))
    ref = next(iter(recorded[3].images.values()))
    np.testing.assert_array_equal(there(ref), here.read(ref))


@pytest.mark.slow
def test_two_processes_train_stop_and_go_on(tmp_path: Path) -> None:
    seen: list[Progress] = []
    enough = threading.Event()

    def note(progress: Progress) -> None:
        seen.append(progress)
        enough.set()

    long = CONFIG.but(steps=100_000)
    asked = train(long, TARGETS, SKELETON, picture, tmp_path / "a", progress=note, should_stop=enough.is_set, processes=2)
    assert asked.ending == "asked"
    assert 20 <= asked.steps < 100_000
    assert (tmp_path / "a" / CHECKPOINT_NAME).exists()
    done = train(CONFIG, TARGETS, SKELETON, picture, tmp_path / "b", processes=2)
    assert (done.ending, done.steps, len(done.losses)) == ("done", 12, 12)
    assert read_manifest(tmp_path / "b").run == done.manifest.run  # type: ignore[union-attr]


@pytest.mark.slow
def test_what_goes_wrong_in_a_process_is_said_here(tmp_path: Path) -> None:
    with pytest.raises(ParallaxError, match=r"none of 6 pictures could be read; .*gone"):
        train(CONFIG, TARGETS, SKELETON, unreadable, tmp_path, processes=2)
    with pytest.raises(ParallaxError, match=r"one of them ended: .*exit code 7"):
        train(CONFIG, TARGETS, SKELETON, dies, tmp_path, processes=2)


@pytest.mark.slow
def test_a_round_by_two_processes(make_workspace: Make, label: Label) -> None:
    workspace = make_workspace(train={"devices": 2, "device": "cpu"})
    label(workspace, [0, 8, 16])
    stages: list[str] = []
    job = work.request(workspace.store, "retrain")
    run_here(workspace, job, lambda progress: stages.append(progress["stage"]))
    live = versions.live(workspace.store)
    assert live is not None
    assert read_manifest(workspace.models / live.path).metrics["steps"] == 8
    assert "train" in stages
