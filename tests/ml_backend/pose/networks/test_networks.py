"""Every network: shapes, gradients, published parameter counts and tensor names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from label_config.values import BadInputError, Float32Array, FloatArray
from label_config.values.skeleton import Skeleton
from ml_backend.pose.auxiliaries import attach
from ml_backend.pose.config import TrainConfig
from ml_backend.pose.heads import make_head, pose_losses
from ml_backend.pose.networks import NETWORKS, Part, PoseNetwork, build_network, part_of

FIXTURES = Path(__file__).parent / "fixtures"
K = 5

TINY_RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 24], "depths": [1, 1, 1, 1], "layer_type": "basic"}
TINY_VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 32}
TINY_DINO = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
TINY_CONVNEXT = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "image_size": 64}

CASES: dict[str, tuple[str, dict[str, Any], int]] = {
    "unet_small": ("unet_small", {}, 64),
    "pose_resnet18": ("pose_resnet18", {"decoder": 16}, 64),
    "pose_resnet50": ("pose_resnet50", {"decoder": 16}, 64),
    "hrnet": ("hrnet_w32", {"width": 4}, 64),
    "hourglass": ("hourglass", {"channels": 16}, 64),
    "regression": ("regression", {"width": 4}, 64),
    "simcc": ("simcc", {"width": 4, "decoder": 8, "input_px": (64, 64)}, 64),
    "hub resnet": ("backbone", {"kind": "resnet", "config": TINY_RESNET, "decoder": 8}, 64),
    "hub vit": ("backbone", {"kind": "vit", "config": TINY_VIT, "decoder": 8}, 64),
    "hub dinov2": ("backbone", {"kind": "dinov2", "config": TINY_DINO, "decoder": 8}, 56),
    "hub convnext": ("backbone", {"kind": "convnextv2", "config": TINY_CONVNEXT, "decoder": 8}, 64),
}


def built(case: str) -> tuple[PoseNetwork, int]:
    name, arguments, side = CASES[case]
    if case == "hrnet":
        from ml_backend.pose.networks.hrnet import HRNet

        return HRNet(K, **arguments), side
    torch.manual_seed(0)
    return build_network(name, K, **arguments), side


@pytest.mark.parametrize("case", CASES)
def test_every_parameter_receives_a_finite_gradient_and_shapes_fit_the_head(case: str) -> None:
    network, side = built(case)
    config = TrainConfig(input_px=(side, side))
    head = make_head(network, config)
    output = network(torch.randn(3, 3, side, side))
    assert output.features.shape == (3, network.feature_dim)
    xy = np.random.default_rng(0).uniform(2, min(head.size_hm) - 3, (3, K, 2))
    target, weight = head.encode(xy, np.ones((3, K)))
    assert output.prediction.shape == target.shape
    pose_losses(head, output, torch.from_numpy(target), torch.from_numpy(weight)).mean().backward()  # type: ignore[no-untyped-call]
    # a mask token is used only when parts of the picture are hidden on purpose
    used = [(name, parameter) for name, parameter in network.named_parameters() if not name.endswith("mask_token")]
    for name, parameter in used:
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert _cancelled_by_softmax(name) or (parameter.grad != 0).any(), name
    decoded = head.decode(output.prediction.detach().numpy())
    assert decoded.xy_hm.shape == (3, K, 2)
    assert decoded.confidence.shape == (3, K)


def _cancelled_by_softmax(name: str) -> bool:
    # A constant added to all keys of an attention changes no softmax.
    return name.endswith(("key.bias", "k_proj.bias"))


@pytest.mark.parametrize("case", CASES)
def test_points_without_weight_give_no_gradient(case: str) -> None:
    network, side = built(case)
    head = make_head(network, TrainConfig(input_px=(side, side)))
    network.eval()
    prediction = network(torch.randn(2, 3, side, side)).prediction.detach().requires_grad_()
    known = np.ones((2, K))
    known[0, 1] = known[1, 3] = 0
    target, weight = head.encode(np.full((2, K, 2), 6.0), known)
    head.losses(prediction, torch.from_numpy(target), torch.from_numpy(weight)).mean().backward()  # type: ignore[no-untyped-call]
    assert prediction.grad is not None
    silent = prediction.grad.flatten(2).abs().sum(dim=2) == 0
    np.testing.assert_array_equal(silent.numpy(), weight == 0)


def logits(target: FloatArray | Float32Array) -> FloatArray | Float32Array:
    """What a network says whose head takes their softmax."""
    return np.asarray(np.log(np.maximum(target, 1e-9)))


@pytest.mark.parametrize(
    ("case", "said", "within"), [("regression", np.copy, 0.02), ("simcc", logits, 0.26), ("unet_small", np.copy, 0.02)]
)
def test_a_head_decodes_what_it_encodes(case: str, said: Any, within: float) -> None:
    network, side = built(case)
    head = make_head(network, TrainConfig(input_px=(side, side)))
    h, w = head.size_hm
    xy = np.random.default_rng(1).uniform(4, min(h, w) - 5, (4, K, 2))
    target, _ = head.encode(xy, np.ones((4, K)))
    decoded = head.decode(said(target))
    np.testing.assert_allclose(decoded.xy_hm, xy, atol=within)
    np.testing.assert_allclose(decoded.confidence, 1, atol=0.2)


@pytest.mark.parametrize(
    ("name", "arguments", "millions"),
    [
        ("unet_small", {}, 0.27),
        ("pose_resnet50", {}, 34.0),  # Xiao et al. 2018, table 2
        ("pose_resnet101", {}, 53.0),
        ("hrnet_w32", {}, 28.5),  # Sun et al. 2019, table 1
        ("hrnet_w48", {}, 63.6),
        ("backbone", {"kind": "resnet"}, 34.0),
    ],
)
def test_parameter_counts_are_the_published_ones(name: str, arguments: dict[str, Any], millions: float) -> None:
    with torch.device("meta"):
        network = build_network(name, 17, **arguments)
    count = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert count == pytest.approx(millions, rel=0.016 if name == "unet_small" else 0.002)


def _bottleneck(into: int, half: int) -> int:
    """Three batch norms, three convolutions with bias, and a projected short cut where channels differ."""
    convolutions = (into * half + half) + (9 * half**2 + half) + (half * 2 * half + 2 * half)
    projection = into * 2 * half + 2 * half if into != 2 * half else 0
    return 2 * into + 2 * half + 2 * half + convolutions + projection


@pytest.mark.parametrize(("stacks", "count"), [(1, 3_586_960), (2, 6_730_912), (8, 25_594_624)])
def test_the_hourglass_has_one_bottleneck_per_place(stacks: int, count: int) -> None:
    k, c = 16, 256
    stem = (3 * 49 * 64 + 64) + 128 + _bottleneck(64, 64) + _bottleneck(128, 128) + _bottleneck(256, 128)
    # Three bottlenecks at each of four sizes, one at the bottom, one behind; a 1×1 convolution with batch norm; the prediction.
    stage = (3 * 4 + 1 + 1) * _bottleneck(c, 128) + (c * c + c + 2 * c) + (c * k + k)
    between = (c * c + c) + (k * c + c)
    assert stem + stacks * stage + (stacks - 1) * between == count
    with torch.device("meta"):
        network = build_network("hourglass", k, stacks=stacks)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


def test_the_last_hourglass_offers_the_maps_of_vl4pose() -> None:
    skeleton = Skeleton("chain", tuple("abcdefghijklmnop"), limbs=tuple((i, i + 1) for i in range(15)))
    with torch.device("meta"):
        network = build_network("hourglass", 16)
        output = network(torch.zeros(2, 3, 256, 256))
        auxiliary = attach(network, TrainConfig(network="hourglass", input_px=(256, 256), auxiliary=("links",)), skeleton)
    assert [tuple(level.shape) for level in output.maps] == [(2, 256, side, side) for side in (64, 32, 16, 8, 4)]
    assert len(output.earlier) == 1
    assert auxiliary is not None
    assert sum(parameter.numel() for parameter in auxiliary.parameters()) == pytest.approx(2.1e6, rel=0.03)


@pytest.mark.parametrize("name", ["pose_resnet50", "pose_resnet101", "hrnet_w32", "hrnet_w48"])
def test_published_state_dicts_load_strictly(name: str) -> None:
    lines = (FIXTURES / f"{name}.txt").read_text().splitlines()
    published = {line.split()[0]: torch.empty([int(n) for n in line.split()[1:]], device="meta") for line in lines}
    with torch.device("meta"):
        network = build_network(name, 17)
    counters = {key: value for key, value in network.state_dict().items() if key.endswith("num_batches_tracked")}
    assert len(counters) * 4 == sum("running" in key for key in published) * 2
    network.load_state_dict({**published, **counters}, strict=True, assign=True)


def test_parts_of_a_network_are_told_by_name() -> None:
    names = [name for name, _ in build_network("pose_resnet18", 3).named_parameters()]
    parts = {name: part_of(name) for name in names}
    assert {name for name, part in parts.items() if part == Part.FINAL} == {"final_layer.weight", "final_layer.bias"}
    assert all((part == Part.DECODER) == name.startswith("deconv_layers") for name, part in parts.items())


def test_unknown_or_unusable_networks_are_clear_errors() -> None:
    with pytest.raises(BadInputError, match=r"expected one of unet_small, .*package\.module:function"):
        build_network("nothing", 3)
    with pytest.raises(BadInputError, match="arguments"):
        build_network("unet_small", 3, depth=9)
    with pytest.raises(BadInputError, match="no backbone of the transformers library"):
        build_network("backbone", 3, kind="llama")
    with pytest.raises(BadInputError, match="multiples of 32"):
        make_head(build_network("pose_resnet18", 3), TrainConfig(input_px=(72, 64)))
    simcc = build_network("simcc", 3, input_px=(64, 64))
    with pytest.raises(BadInputError, match=r"network_args\.input_px"):
        simcc(torch.zeros(1, 3, 96, 96))


def test_weights_that_cannot_be_downloaded_name_the_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BadInputError, match=r"cannot be had.*(internet|path|HF_HOME)"):
        build_network("backbone", 3, pretrained="microsoft/resnet-18")


def resnet_of_a_hub() -> Any:
    from transformers import ResNetBackbone, ResNetConfig

    return ResNetBackbone(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"))


def vit_of_a_hub() -> Any:
    from transformers import ViTConfig, ViTModel

    small = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32)
    return ViTModel(small, add_pooling_layer=False)


@pytest.mark.parametrize("make", [resnet_of_a_hub, vit_of_a_hub])
def test_a_downloaded_folder_is_all_that_a_backbone_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], Any]
) -> None:
    """Without a connection, and only as safetensors."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    saved = make()
    saved.save_pretrained(tmp_path)
    loaded = build_network("backbone", 3, pretrained=str(tmp_path)).state_dict()
    for name, value in saved.state_dict().items():
        assert torch.equal(loaded[f"backbone.model.{name}"], value), name
    torch.save(saved.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(BadInputError, match="cannot be had"):
        build_network("backbone", 3, pretrained=str(tmp_path))


def test_every_registered_name_is_importable() -> None:
    for name in NETWORKS:
        with torch.device("meta"):
            assert isinstance(build_network(name, 2), PoseNetwork)
