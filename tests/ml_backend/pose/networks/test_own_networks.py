"""Networks of one's own: found beside parallax.yaml, checked when they are loaded, and started as the settings say."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from label_config.settings.learning_settings import Train
from label_config.settings.spec import Spec
from label_config.values import BadInputError
from ml_backend.pose.config import AugmentConfig, TrainConfig
from ml_backend.pose.infer import Predictor
from ml_backend.pose.networks import PoseNetwork, PoseOutput, build_network
from ml_backend.pose.training import train
from ml_backend.project.training_config import config_for
from plugins.cli.commands.up import own_command, own_environment

MODULE = "own_networks_of_a_test"
SOURCE = """
import torch
from torch import nn
from ml_backend.pose.networks import PoseNetwork, PoseOutput


class Beside(PoseNetwork):
    feature_dim, multiple, stride = 4, 4, 4

    def __init__(self, n_keypoints):
        super().__init__()
        self.body, self.final_layer = nn.Conv2d(3, 4, 4, stride=4), nn.Conv2d(4, n_keypoints, 1)

    def forward(self, crops):
        maps = self.body(crops)
        return PoseOutput(self.final_layer(maps), maps.mean(dim=(2, 3)))
"""


class Own(PoseNetwork):
    """Right, or wrong in one way; counts how often it reads its weights."""

    stride, multiple, feature_dim = 4, 4, 4
    read = 0

    def __init__(self, n_keypoints: int, fault: str = "", pretrained: str | None = "imagenet") -> None:
        super().__init__()
        if fault == "type error":
            len(n_keypoints)  # type: ignore[arg-type]
        Own.read += pretrained is not None
        self.fault = fault
        self.feature_dim = 7 if fault == "features" else 4
        self.body = nn.Conv2d(3, 4, 4, stride=8 if fault == "size" else 4)
        self.final_layer = nn.Conv2d(4, n_keypoints + (fault == "keypoints"), 1)

    def forward(self, crops: torch.Tensor) -> PoseOutput:
        if self.fault == "raises":
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
        maps = self.body(crops)
        if self.fault == "plain":
            return self.final_layer(maps)  # type: ignore[no-any-return]
        return PoseOutput(self.final_layer(maps), maps.mean(dim=(2, 3)))


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> str:
    module = types.ModuleType(MODULE)
    module.Own = Own  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, MODULE, module)
    Own.read = 0
    return f"{MODULE}:Own"


def config_of(name: str, **arguments: Any) -> TrainConfig:
    return TrainConfig(
        network=name,
        plugins=(name,),
        network_args=arguments,
        input_px=(32, 32),
        steps=2,
        batch=2,
        device="cpu",
        two_stage=False,
        augment=AugmentConfig.none(),
    )


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("size", r"prediction: expected heatmaps of shape \(2, 3, 8, 8\), .*got \(2, 3, 4, 4\)"),
        ("keypoints", r"prediction: expected heatmaps of shape \(2, 3, 8, 8\), .*got \(2, 4, 8, 8\)"),
        ("features", r"features: expected shape \(2, 7\), as feature_dim says, got \(2, 4\)"),
        ("plain", r"expected a PoseOutput, got Tensor"),
        ("raises", r"fails on crops of shape \(2, 3, 32, 32\): RuntimeError: mat1 and mat2"),
    ],
)
def test_outputs_are_checked_before_training(own: str, make_blobs: Any, tmp_path: Path, fault: str, words: str) -> None:
    blobs = make_blobs()
    with pytest.raises(BadInputError, match=words):
        train(config_of(own, fault=fault), blobs.targets, blobs.skeleton, blobs.load, tmp_path)


def test_outputs_are_checked_when_a_model_is_loaded(own: str, make_blobs: Any, tmp_path: Path, monkeypatch: Any) -> None:
    blobs = make_blobs()
    train(config_of(own), blobs.targets, blobs.skeleton, blobs.load, tmp_path)
    monkeypatch.setattr(Own, "feature_dim", property(lambda self: 9, lambda self, value: None))
    with pytest.raises(BadInputError, match="as feature_dim says"):
        Predictor.load(tmp_path, "cpu", plugins=(own,))


def test_an_error_inside_a_constructor_is_not_one_of_its_arguments(own: str) -> None:
    with pytest.raises(BadInputError, match=r"cannot be built: TypeError: object of type 'int' has no len\(\)") as inside:
        build_network(own, 3, plugins=(own,), fault="type error")
    assert "arguments" not in str(inside.value)
    with pytest.raises(BadInputError, match=r"arguments \['depth'\] do not fit: got an unexpected keyword argument 'depth'"):
        build_network(own, 3, plugins=(own,), depth=3)


def test_a_loaded_model_does_not_read_its_first_weights_again(own: str, make_blobs: Any, tmp_path: Path) -> None:
    blobs = make_blobs()
    train(config_of(own), blobs.targets, blobs.skeleton, blobs.load, tmp_path / "m")
    assert Own.read == 1
    Predictor.load(tmp_path / "m", "cpu", plugins=(own,))
    assert Own.read == 1
    train(config_of(own), blobs.targets, blobs.skeleton, blobs.load, tmp_path / "n", init=tmp_path / "m")
    assert Own.read == 1


def test_weights_none_reach_a_network_of_ones_own(own: str) -> None:
    def arguments(**settings: Any) -> Any:
        return config_for(Train(network=own, **settings), warm=False, round_=1).network_args

    assert arguments(weights="none") == {"pretrained": None}
    assert arguments() == {}
    assert arguments(weights="none", network_args={"fault": "x", "pretrained": "mine"}) == {"fault": "x", "pretrained": "mine"}
    plain = config_for(Train(network="unet_small", weights="none"), warm=False, round_=1)
    assert plain.network_args == {}


def test_rates_of_the_parts_can_be_set() -> None:
    train_ = Spec.model_validate({"train": {"lr_parts": [0.1, 1, 2]}}).train
    assert config_for(train_, warm=True, round_=1).lr_parts == (0.1, 1.0, 2.0)
    assert config_for(Spec().train, warm=True, round_=1).lr_parts == (1.0, 1.0, 1.0)


def test_workers_find_a_module_beside_parallax_yaml(tmp_path: Path) -> None:
    (tmp_path / "beside_of_a_test.py").write_text(SOURCE, encoding="utf-8")
    # What would be found first if the folder came before what is installed.
    (tmp_path / "torch.py").write_text("raise SystemExit('the wrong torch')", encoding="utf-8")
    (tmp_path / "parallax.yaml").write_text("", encoding="utf-8")
    program = (
        "from ml_backend.pose.networks import build_network; name = 'beside_of_a_test:Beside'; "
        "print(type(build_network(name, 3, plugins=(name,))).__name__)"
    )
    worker = [*own_command()[:2], "-c", program]
    environment = {**own_environment(), "PARALLAX_CONFIG": str(tmp_path / "parallax.yaml"), "PATH": ""}
    done = subprocess.run(worker, cwd="/", env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.stdout.strip() == "Beside", done.stderr
