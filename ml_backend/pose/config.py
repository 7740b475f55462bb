"""Everything that decides how a network is trained; stored in the model's manifest."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from pydantic import TypeAdapter

from label_config.values.errors import ModelError
from label_config.values.prediction import Output
from label_config.values.refusing import refusing
from ml_backend.heatmaps.crops import Grid

Codec = Literal["msra", "dark", "udp"]
Optimizer = Literal["adamw", "adam", "rmsprop"]
Schedule = Literal["onecycle", "constant", "exponential", "plateau", "steps"]
Auxiliary = Literal["links", "aleatoric", "learning_loss"]
Precision = Literal["auto", "float32", "bfloat16"]

#: What each auxiliary network predicts.
AUXILIARY_OUTPUT: Mapping[Auxiliary, Output] = {
    "links": Output.LINKS,
    "aleatoric": Output.VARIANCE,
    "learning_loss": Output.LEARNING_LOSS,
}


def auxiliaries_for(needs: Collection[object]) -> tuple[Auxiliary, ...]:
    """The auxiliary networks that predict the outputs among ``needs``, such as those of scores."""
    return tuple(name for name, output in AUXILIARY_OUTPUT.items() if output in needs)


@dataclass(frozen=True)
class AugmentConfig:
    """How far a training crop may be changed.  All ranges are uniform and symmetric.

    rotation_deg  largest rotation about the crop's centre
    scale         largest relative change of size
    shift         largest shift, as a fraction of the crop's side
    flip          probability of mirroring; used only where the skeleton says that a mirrored picture is valid
    brightness    largest relative change of brightness
    contrast      largest relative change of contrast
    noise         largest standard deviation of pixel noise, of 255
    randaugment   (number of operations, magnitude 0..10) of photometric RandAugment, None = off
    """

    rotation_deg: float = 45.0
    scale: float = 0.1
    shift: float = 0.05
    flip: float = 0.5
    brightness: float = 0.2
    contrast: float = 0.2
    noise: float = 0.0
    randaugment: tuple[int, float] | None = None

    @classmethod
    def none(cls) -> AugmentConfig:
        """Crops as they are."""
        return cls(rotation_deg=0, scale=0, shift=0, flip=0, brightness=0, contrast=0)


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    network, network_args  see ``networks.build_network``
    plugins      ``package.module:function`` names of own networks that may be imported
    input_px     (width, height) of the crop that the network sees
    sigma_hm     standard deviation of the target Gaussian in heatmap pixels
    amplitude    height of the target Gaussian
    grid         relation of input and heatmap pixels; "stride" for weights published with SimpleBaseline or HRNet
    simcc_ratio, simcc_sigma  bins per input pixel and width of the labels in bins, for SimCC heads only
    steps        optimiser steps
    lr           peak learning rate; each part of the network multiplies it by its own ``lr_parts`` (backbone, decoder, final)
    decay        ``exponential``: factor over one epoch;  ``plateau`` and ``steps``: factor of each drop
    drops        ``steps``: fractions of the run at which the rate drops
    patience     ``plateau``: validations without progress before a drop
    stop_patience  validations without progress before training ends early, None = never
    validate_every  steps between validations, 0 = never
    max_minutes  wall-clock budget; the schedule is squeezed into it, None = none
    auxiliary    networks trained beside the pose network on its feature maps, for scores: "links" (VL4Pose's lengths of limbs),
                 "aleatoric" (expected error of each point), "learning_loss" (expected loss of each crop)
    two_stage    also learn the whole picture so that the network can find the subject itself; None = when it is small there
    coarse_share share of whole pictures in a two-stage run
    cache_mb     memory for decoded crops; what does not fit is decoded again whenever it is drawn
    """

    network: str = "unet_small"
    network_args: Mapping[str, Any] = field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    input_px: tuple[int, int] = (128, 128)
    codec: Codec = "dark"
    sigma_hm: float = 1.2
    amplitude: float = 1.0
    grid: Grid = "centre"
    simcc_ratio: float = 2.0
    simcc_sigma: float = 6.0
    steps: int = 900
    batch: int = 8
    optimizer: Optimizer = "adamw"
    lr: float = 4e-3
    weight_decay: float = 1e-2
    lr_parts: tuple[float, float, float] = (1.0, 1.0, 1.0)
    schedule: Schedule = "onecycle"
    decay: float = 0.1
    drops: tuple[float, ...] = ()
    patience: int = 5
    stop_patience: int | None = None
    validate_every: int = 0
    augment: AugmentConfig = AugmentConfig()
    auxiliary: tuple[Auxiliary, ...] = ()
    two_stage: bool | None = None
    coarse_share: float = 0.3
    seed: int = 0
    device: str = "auto"
    threads: int = 1
    precision: Precision = "auto"
    compile: bool = False
    max_minutes: float | None = None
    checkpoint_every_s: float = 30.0
    cache_mb: int = 1024

    def __post_init__(self) -> None:
        positive = {
            "steps": self.steps,
            "batch": self.batch,
            "lr": self.lr,
            "sigma_hm": self.sigma_hm,
            "amplitude": self.amplitude,
        }
        for name, value in positive.items():
            if not value > 0:
                raise ModelError(f"train.{name}: expected a positive number, got {value}")
        unknown = [name for name in self.auxiliary if name not in get_args(Auxiliary)]
        if unknown or len(set(self.auxiliary)) < len(self.auxiliary):
            raise ModelError(
                f"train.auxiliary: expected different ones of {', '.join(get_args(Auxiliary))}, got {', '.join(self.auxiliary)}"
            )
        if min(self.input_px) < 16:
            raise ModelError(f"train.input_px: expected width and height of at least 16, got {self.input_px}")
        if self.max_minutes is not None and self.max_minutes <= 0:
            raise ModelError(f"train.max_minutes: expected a positive number or nothing, got {self.max_minutes}")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrainConfig:
        """Inverse of :meth:`to_json`.  Raises BadInputError for an unknown field."""
        with refusing(ModelError, "training configuration: expected named fields of their kinds"):
            known = {item.name for item in fields(cls)}
            unknown = sorted(set(data) - known)
            if unknown:
                names = f"unknown fields {', '.join(map(str, unknown))}; known: {', '.join(sorted(known))}"
                raise ModelError(f"training configuration: {names}")
            return TypeAdapter(cls).validate_python(dict(data))

    def but(self, **changes: Any) -> TrainConfig:
        """The same with some fields changed."""
        return replace(self, **changes)
