"""Model folders: ``weights.safetensors`` and, written last, ``manifest.json`` with the hash of every other file.

Only tensors are ever read.  Weights published as PyTorch files are read with ``weights_only=True``, which refuses
everything that is not a tensor or a plain container.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor

from label_config.values.errors import ModelError
from label_config.values.json_values import text_of
from label_config.values.refusing import refusing
from label_config.values.skeleton import Skeleton
from ml_backend.pose.auxiliaries import attach
from ml_backend.pose.config import TrainConfig
from ml_backend.pose.model_files import replacing
from ml_backend.pose.networks import Part, PoseNetwork, build_network, part_of, takes

WEIGHTS_NAME = "weights.safetensors"
MANIFEST_NAME = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """What a model is, apart from its numbers.

    two_stage   without a given box, run a first forward pass on the whole picture
    subject_px  typical longer side of a subject in the training pictures, NaN = not known
    run         hash of configuration, targets and start that led to it
    metrics     figures of the training run
    extra       whatever the caller wants to keep (snapshot hash, parent version)
    """

    skeleton: Skeleton
    config: TrainConfig
    two_stage: bool = False
    subject_px: float = float("nan")
    run: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    code_version: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return {
            "format": FORMAT,
            "skeleton": asdict(self.skeleton),
            "config": self.config.to_json(),
            "two_stage": self.two_stage,
            "subject_px": self.subject_px if self.subject_px == self.subject_px else None,
            "run": self.run,
            "metrics": dict(self.metrics),
            "extra": dict(self.extra),
            "code_version": self.code_version,
            "files": dict(self.files),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Manifest:
        """Inverse of :meth:`to_json`.  Raises BadInputError."""
        with refusing(ModelError, "expected the manifest of a model"):
            if data.get("format") != FORMAT:
                raise ModelError(f"expected format {FORMAT}, got {text_of(data.get('format'))}; written by another version?")
            fields: dict[str, Any] = {**data, "config": TrainConfig.from_json(data["config"])}
            if data["subject_px"] is None:
                fields["subject_px"] = float("nan")
            return TypeAdapter(cls).validate_python(fields)


def code_version() -> str:
    """Version of the installed distribution, "unknown" when run from a bare source tree."""
    try:
        return metadata.version("label-studio-parallax")
    except metadata.PackageNotFoundError:
        return "unknown"


def save_model(folder: Path, network: PoseNetwork, manifest: Manifest) -> Manifest:
    """Write weights, then the manifest; returns the manifest as written."""
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in network.state_dict().items()}
    weights = folder / WEIGHTS_NAME
    with replacing(weights) as path:
        save_file(tensors, path)
    fields = {**vars(manifest), "files": {WEIGHTS_NAME: _sha256(weights)}, "code_version": code_version()}
    written = Manifest(**fields)
    text = json.dumps(written.to_json(), indent=1, sort_keys=True)
    with replacing(folder / MANIFEST_NAME) as path:
        path.write_text(text, encoding="utf-8")
    return written


def read_manifest(folder: Path) -> Manifest:
    """The manifest alone.  Raises BadInputError when there is none or it is damaged."""
    path = folder / MANIFEST_NAME
    if not path.exists():
        raise ModelError(f"{folder}: no {MANIFEST_NAME}; expected a folder written by training")
    with refusing(ModelError, f"{path}: damaged manifest; restore the folder or train again"):
        try:
            return Manifest.from_json(json.loads(path.read_text()))
        except ModelError as error:
            raise ModelError(f"{path}: {error}; restore the folder or train again") from error


def load_model(folder: Path, *, plugins: Collection[str] = ()) -> tuple[PoseNetwork, Manifest]:
    """Network in evaluation mode and manifest, after every file's hash was checked.

    ``plugins``: own networks that may be imported (a name in the manifest alone imports nothing).
    Raises BadInputError for a missing, damaged or changed file.
    """
    manifest = read_manifest(folder)
    if WEIGHTS_NAME not in manifest.files:
        raise ModelError(f"{folder / MANIFEST_NAME}: lists no {WEIGHTS_NAME}; restore the folder or train again")
    for name, expected in manifest.files.items():
        path = folder / name
        found = _sha256(path) if path.is_file() and path.parent == folder else "no such file"
        if found != expected:
            raise ModelError(f"{path}: expected sha256 {expected}, got {found}; restore the folder or train again")
    config = manifest.config
    arguments = without_pretrained(config, plugins)
    with refusing(ModelError, f"{folder}: network {config.network!r} cannot be built as its manifest says"):
        network = build_network(config.network, len(manifest.skeleton), plugins=plugins, **arguments)
        attach(network, config, manifest.skeleton)
    with refusing(ModelError, f"{folder}: weights do not fit network {config.network!r}"):
        network.load_state_dict(load_file(folder / WEIGHTS_NAME))
    return network.eval(), manifest


def without_pretrained(config: TrainConfig, plugins: Collection[str]) -> Mapping[str, Any]:
    """The arguments of a network whose weights come from elsewhere: it reads none by itself, nor by a default of its own."""
    if "pretrained" in config.network_args or takes(config.network, "pretrained", plugins=plugins):
        return {**config.network_args, "pretrained": None}
    return config.network_args


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a model folder, a ``.safetensors`` file or a PyTorch state dict (``.pt``, ``.pth``, ``.pth.tar``).

    Prefixes of DataParallel and of common wrappers are removed.  Raises BadInputError when the file is missing or holds
    anything but tensors; nothing in it is executed.
    """
    fix = "save the state_dict alone, best as safetensors"
    with refusing(ModelError, f"weights {path}: expected tensors only, got something else; {fix}"):
        if path.is_dir():
            return read_tensors(path / WEIGHTS_NAME)
        if not path.exists():
            raise ModelError(f"weights {path}: no such file; give a model folder, a .safetensors or a .pt file")
        loaded: Any = load_file(path) if path.suffix == ".safetensors" else _load_torch(path)
    for wrapper in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ModelError(f"weights {path}: expected a mapping from names to tensors, got {type(loaded).__name__}")
    return {str(name).removeprefix("module."): value for name, value in loaded.items()}


@dataclass(frozen=True)
class WarmStart:
    """Which tensors were taken over and which kept their fresh values."""

    taken: int
    fresh: tuple[str, ...]


def warm_start(network: PoseNetwork, tensors: Mapping[str, Tensor], source: str) -> WarmStart:
    """Take over every tensor whose name and shape agree; a last layer of another skeleton stays fresh.

    Raises BadInputError when not even half of the parameters find their values; auxiliary networks do not count.
    """
    own = network.state_dict()
    fitting = {name: value for name, value in tensors.items() if name in own and own[name].shape == value.shape}
    counted = [name for name in own if part_of(name) != Part.AUXILIARY]
    covered = sum(own[name].numel() for name in counted if name in fitting)
    total = sum(own[name].numel() for name in counted)
    if covered < 0.5 * total:
        raise ModelError(
            f"weights {source}: only {covered / total:.0%} of the parameters of {type(network).__name__} are in it; "
            "expected weights of the same kind of network"
        )
    network.load_state_dict(fitting, strict=False)
    return WarmStart(len(fitting), tuple(sorted(set(own) - set(fitting))))


def _load_torch(path: Path) -> Any:
    with warnings.catch_warnings():
        # An unusual pickle protocol is worth no warning: the file is refused or it is not.
        warnings.simplefilter("ignore", UserWarning)
        return torch.load(path, map_location="cpu", weights_only=True)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
