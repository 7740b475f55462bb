"""Model folders: round trip, hashes, and that nothing but tensors is ever read."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from label_config.values import BadInputError
from label_config.values.skeleton import Skeleton
from ml_backend.pose.checkpoint import CHECKPOINT_NAME, Position, load_checkpoint, save_checkpoint
from ml_backend.pose.config import AugmentConfig, TrainConfig
from ml_backend.pose.networks import build_network
from ml_backend.pose.weights import (
    MANIFEST_NAME,
    WEIGHTS_NAME,
    Manifest,
    load_model,
    read_manifest,
    read_tensors,
    save_model,
    warm_start,
)

SKELETON = Skeleton("two", ("a", "b"), limbs=((0, 1),), pairs=((0, 1),), flip_augment=True)


def saved(folder: Path, **config: Any) -> Manifest:
    settings = TrainConfig(network_args={"width": 4, "decoder": 8}, **config)
    network = build_network("unet_small", 2, width=4, decoder=8)
    return save_model(folder, network, Manifest(SKELETON, settings, two_stage=True, subject_px=40.0, extra={"snapshot": "s1"}))


def test_a_model_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    config = {"drops": (0.5, 0.9), "augment": AugmentConfig(randaugment=(2, 9.0))}
    written = saved(tmp_path, **config)
    network, manifest = load_model(tmp_path)
    assert manifest == written
    assert manifest.skeleton == SKELETON
    assert manifest.config.augment.randaugment == (2, 9.0)
    assert not network.training
    fresh = read_tensors(tmp_path)
    assert all(torch.equal(value, fresh[name]) for name, value in network.state_dict().items())


def test_an_unknown_size_of_subject_survives(tmp_path: Path) -> None:
    network = build_network("unet_small", 2)
    save_model(tmp_path, network, Manifest(SKELETON, TrainConfig()))
    assert np.isnan(read_manifest(tmp_path).subject_px)


def test_a_changed_or_missing_file_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    weights = tmp_path / WEIGHTS_NAME
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(BadInputError, match="expected sha256"):
        load_model(tmp_path)
    weights.unlink()
    with pytest.raises(BadInputError, match="no such file"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/hostname"])
def test_a_manifest_cannot_point_outside_its_folder(tmp_path: Path, name: str) -> None:
    saved(tmp_path)
    path = tmp_path / MANIFEST_NAME
    manifest = json.loads(path.read_text())
    manifest["files"][name] = "0" * 64
    path.write_text(json.dumps(manifest))
    with pytest.raises(BadInputError, match="no such file"):
        load_model(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}', '{"format": 99}'])
def test_a_damaged_manifest_is_a_clear_error(tmp_path: Path, text: str) -> None:
    saved(tmp_path)
    (tmp_path / MANIFEST_NAME).write_text(text)
    with pytest.raises(BadInputError, match="manifest"):
        load_model(tmp_path)


def test_a_folder_without_a_model_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="expected a folder written by training"):
        load_model(tmp_path)


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> Any:
        return (Path.touch, (self.trap,))


def write_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("write", [write_pickle, torch.save])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_a_malicious_file_raises_and_does_not_execute(tmp_path: Path, write: Callable[[object, Path], None], suffix: str) -> None:
    trap = tmp_path / "executed"
    path = tmp_path / f"weights{suffix}"
    write({"weight": Malicious(trap)}, path)
    with pytest.raises(BadInputError, match="expected tensors only"):
        read_tensors(path)
    assert not trap.exists()
    pickle.loads(pickle.dumps(Malicious(trap)))
    assert trap.exists(), "the trap itself must work"


def test_a_published_state_dict_loses_its_wrappers(tmp_path: Path) -> None:
    network = build_network("unet_small", 2)
    wrapped = {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in network.state_dict().items()}}
    torch.save(wrapped, tmp_path / "published.pth.tar")
    assert read_tensors(tmp_path / "published.pth.tar").keys() == network.state_dict().keys()


def test_a_missing_weights_file_is_a_clear_error(tmp_path: Path) -> None:
    for name in ("none.pt", "none.safetensors"):
        with pytest.raises(BadInputError, match="no such file"):
            read_tensors(tmp_path / name)


def test_a_last_layer_of_another_skeleton_stays_fresh() -> None:
    old, new = build_network("unet_small", 2), build_network("unet_small", 5)
    start = warm_start(new, old.state_dict(), "old")
    assert start.fresh == ("final_layer.bias", "final_layer.weight")
    assert torch.equal(new.state_dict()["conv1.weight"], old.state_dict()["conv1.weight"])


def test_weights_of_another_kind_of_network_are_refused() -> None:
    with pytest.raises(BadInputError, match="only 0% of the parameters"):
        warm_start(build_network("unet_small", 2), {"fc.weight": torch.zeros(3)}, "elsewhere")


def test_a_name_in_a_manifest_imports_nothing_unless_the_user_named_it(tmp_path: Path) -> None:
    saved(tmp_path)
    path = tmp_path / MANIFEST_NAME
    manifest = json.loads(path.read_text())
    manifest["config"]["network"] = "subprocess:getoutput"
    manifest["config"]["plugins"] = ["subprocess:getoutput"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(BadInputError, match=r"name it in parallax\.yaml"):
        load_model(tmp_path)


def test_an_unknown_setting_is_an_error() -> None:
    with pytest.raises(BadInputError, match="unknown fields stepz"):
        TrainConfig.from_json({"stepz": 3})
    with pytest.raises(BadInputError, match=r"train\.lr"):
        TrainConfig(lr=0)


WRONG_VALUES: tuple[Any, ...] = ([[]], "x", None, 10**400, {"a": 1})


def places(value: Any, so_far: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place in a JSON value."""
    yield so_far
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*so_far, key))


def with_value(value: Any, place: tuple[str | int, ...], new: Any) -> Any:
    if not place:
        return new
    changed = copy.copy(value)
    changed[place[0]] = with_value(value[place[0]], place[1:], new)
    return changed


def test_a_manifest_with_any_value_of_another_kind_is_read_or_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    path = tmp_path / MANIFEST_NAME
    whole = json.loads(path.read_text())
    refused = 0
    for place in places(whole):
        for wrong in WRONG_VALUES:
            path.write_text(json.dumps(with_value(whole, place, wrong)))
            try:
                load_model(tmp_path)
            except BadInputError:
                refused += 1
    assert refused > 100


@pytest.mark.parametrize("raw", [b"", b"[" * 100_000, b"9" * 5000, b"\xff\xfe", b"null", b'{"format": 1}'], ids=repr)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / MANIFEST_NAME).write_bytes(raw)
    with pytest.raises(BadInputError, match=r"manifest\.json: .*restore the folder or train again"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("file", "save"),
    [
        ("zip.pt", torch.save),
        ("legacy.pt", partial(torch.save, _use_new_zipfile_serialization=False)),
        ("w.safetensors", save_file),
    ],
    ids=["zip", "legacy", "safetensors"],
)
def test_weights_with_one_damaged_byte_are_read_or_refused(tmp_path: Path, file: str, save: Callable[..., None]) -> None:
    network = build_network("unet_small", 2, width=4, decoder=8)
    path = tmp_path / file
    save(network.state_dict(), path)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for turn in range(60):
        data = bytearray(whole)
        data[random.integers(min(len(data), 3000))] ^= int(random.integers(1, 256))
        path.write_bytes(data[: random.integers(len(data))] if turn % 7 == 0 else data)
        with contextlib.suppress(BadInputError):
            read_tensors(path)


def test_weights_where_there_can_be_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.pt").mkdir()
    for path in (tmp_path / "folder.pt", tmp_path / ("a" * 300 + ".pt"), tmp_path / "a\0.pt", tmp_path / "none.pt"):
        with pytest.raises(BadInputError, match="weights "):
            read_tensors(path)


def test_a_damaged_checkpoint_costs_time_and_not_the_training(tmp_path: Path) -> None:
    network = build_network("unet_small", 2, width=4, decoder=8)
    optimizer = torch.optim.AdamW(network.parameters())
    save_checkpoint(tmp_path, network, optimizer, Position("r", 4), None)
    path = tmp_path / CHECKPOINT_NAME
    whole = path.read_bytes()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = np.random.default_rng(0)
    for _ in range(40):
        data = bytearray(whole)
        data[random.integers(2000)] ^= int(random.integers(1, 256))
        path.write_bytes(data)
        network.load_state_dict(before)
        read = load_checkpoint(tmp_path, "r", network, optimizer) is not None
        assert read or all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
