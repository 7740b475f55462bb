"""Training and prediction on a CUDA device: mixed precision, compiled, with prefetched batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ml_backend.pose.config import AugmentConfig, TrainConfig
from ml_backend.pose.infer import Predictor
from ml_backend.pose.training import train

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("compiled", [False, True])
def test_a_handful_of_pictures_is_learnt_on_the_device(make_blobs: Any, tmp_path: Path, compiled: bool) -> None:
    blobs = make_blobs()
    config = TrainConfig(input_px=(64, 64), steps=150, batch=6, device="cuda", compile=compiled, augment=AugmentConfig.none())
    asked = iter([False] * 40 + [True])
    assert train(config, blobs.targets, blobs.skeleton, blobs.load, tmp_path, should_stop=lambda: next(asked)).ending == "asked"
    assert train(config, blobs.targets, blobs.skeleton, blobs.load, tmp_path).ending == "done"
    found = Predictor.load(tmp_path, "cuda").predict(blobs.images)
    assert np.linalg.norm(found.xy_px - blobs.truth, axis=-1).mean() < 1
    on_cpu = Predictor.load(tmp_path, "cpu").predict(blobs.images)
    np.testing.assert_allclose(on_cpu.xy_px, found.xy_px, atol=0.3)


def test_a_batch_larger_than_the_device_is_halved(make_blobs: Any, tmp_path: Path) -> None:
    blobs = make_blobs()
    config = TrainConfig(input_px=(64, 64), steps=2, batch=4096, device="cuda", precision="float32")
    torch.cuda.set_per_process_memory_fraction(0.005)
    try:
        result = train(config, blobs.targets, blobs.skeleton, blobs.load, tmp_path)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert result.ending == "done"
    assert result.batch < 4096
