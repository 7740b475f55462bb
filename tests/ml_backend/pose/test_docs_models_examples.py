"""The examples of docs/models.md run as they stand."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml_backend.pose.adapter import PoseModel
from ml_backend.pose.config import AugmentConfig, TrainConfig
from ml_backend.pose.infer import Predictor
from ml_backend.pose.training import train

PAGE = Path(__file__).parents[3] / "docs" / "models.md"


def example(number: int) -> str:
    examples: list[str] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    return examples[number]


def test_a_network_of_ones_own_trains_saves_and_predicts(
    make_blobs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(example(0).strip().splitlines()) <= 30
    module = types.ModuleType("example_network_module")
    exec(example(0), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    name = f"{module.__name__}:MyNetwork"
    blobs = make_blobs()
    config = TrainConfig(
        network=name, plugins=(name,), input_px=(64, 64), steps=120, batch=6, device="cpu", augment=AugmentConfig.none()
    )
    train(config, blobs.targets, blobs.skeleton, blobs.load, tmp_path)
    found = Predictor.load(tmp_path, "cpu", plugins=(name,)).predict(blobs.images)
    assert np.linalg.norm(found.xy_px - blobs.truth, axis=-1).mean() < 2


def test_a_model_trained_elsewhere_is_a_pose_model() -> None:
    names: dict[str, Any] = {}
    exec(example(1), names)
    model = names["BrightestPixel"]()
    assert isinstance(model, PoseModel)
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[7, 11] = 255
    np.testing.assert_array_equal(model.predict([picture]).xy_px, [[[11, 7]]])
