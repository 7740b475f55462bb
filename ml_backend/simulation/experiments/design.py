"""What an experiment is: the recording, the strategies, how many rounds, how each model is trained."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from label_config.values import BadInputError
from ml_backend.acquisition.score_registry import SCORES

Dataset = Literal["studio", "lp_mirror_mouse", "dlc_openfield"]

#: Strategies that are no single score: no preference; k-center on poses; the product's default; the same with all frames weighted
#: alike; the same scores with DUW; uncertainty filter and nearest-neighbour diversity (Kaplan et al. 2021); the true error.
SPECIAL = ("random", "coreset", "composite", "k_median", "duw", "hybrid", "true_error")
#: References, no strategies: every frame of the pool labelled at once; as many steps as the others but no new labels.
FULL, IDLE = "full", "idle"
REFERENCES = (FULL, IDLE)


@dataclass(frozen=True)
class Arm:
    """One strategy as it is written: ``name[+pseudo|+pseudo_repeat][+views<n>][#draw]``.

    strategy  a name of SPECIAL, or any score alone ("mc", "mpe", …), highest first
    pseudo    self-training: "off", "on", or "repeat" (frames of the previous round may come back: the rule that drifts)
    views     people label this many views of every frame after the first ones, and so many more frames that a round costs them
              as many pictures as any other; calibration fills the other views.  0 = all
    draw      number of the repetition; keeps random draws apart
    """

    strategy: str
    pseudo: Literal["off", "on", "repeat"] = "off"
    views: int = 0
    draw: int = 0

    @classmethod
    def parse(cls, text: str) -> Arm:
        """Inverse of ``str``.  Raises BadInputError."""
        match = re.fullmatch(r"([a-z0-9_]+)(\+pseudo(?:_repeat)?)?(?:\+views([1-9]\d*))?(?:#(\d+))?", text.strip())
        known = (*SPECIAL, *REFERENCES, *SCORES)
        if match is None or match.group(1) not in known:
            raise BadInputError(
                f"strategy {text!r}: expected name[+pseudo|+pseudo_repeat][+views<n>][#draw] with a name among {', '.join(known)}"
            )
        pseudo: Literal["off", "on", "repeat"] = "off"
        if match.group(2):
            pseudo = "repeat" if match.group(2).endswith("repeat") else "on"
        return cls(match.group(1), pseudo, int(match.group(3) or 0), int(match.group(4) or 0))

    @property
    def kind(self) -> str:
        """The strategy without the number of the draw: what is averaged over draws."""
        trained = {"off": "", "on": "+pseudo", "repeat": "+pseudo_repeat"}[self.pseudo]
        return self.strategy + trained + (f"+views{self.views}" if self.views else "")

    def __str__(self) -> str:
        return self.kind + (f"#{self.draw}" if self.draw else "")


@dataclass(frozen=True)
class Design:
    """Everything that decides the figures of an experiment.

    initial, batch, rounds   labelled frames before the first model, per round, and rounds after the first model
    pool_frames, test_frames frames that may be picked and frames that evaluate (capture studio; recordings have what they have)
    views, rare_fraction     of the capture studio
    input_px                 (width, height) of the network's input
    steps_first, steps_round, steps_full   optimiser steps of a fresh model, of a warm start, of the model of all labels
    scan_stride              every n-th frame of the pool competes in a round, other ones in the next
    exclusion_frames         no two picks of a batch are this near in time (not for random picks)
    threshold_share          views agree within this share of the picture's longer side
    pseudo_ratio, pseudo_weight, pseudo_per_joint   pseudo-labels per human label of the batch, their loss weight, the rule
    annotator_px             standard deviation of the simulated annotator in pixels of the network's input, 0 = exact
    """

    dataset: Dataset = "studio"
    initial: int = 10
    batch: int = 10
    rounds: int = 3
    pool_frames: int = 2000
    test_frames: int = 160
    views: int = 4
    rare_fraction: float = 0.1
    input_px: tuple[int, int] = (96, 96)
    sigma_hm: float = 1.2
    steps_first: int = 700
    steps_round: int = 300
    steps_full: int = 2000
    warm_start: bool = True
    scan_stride: int = 4
    exclusion_frames: int = 5
    threshold_share: float = 0.03
    pseudo_ratio: float = 0.2
    pseudo_weight: float = 0.5
    pseudo_per_joint: bool = True
    annotator_px: float = 0.0
    width: int = 16
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        lowest = {"initial": 1, "batch": 1, "rounds": 0, "scan_stride": 1, "steps_first": 1, "steps_round": 1, "views": 1}
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise BadInputError(f"experiment: {name} must be at least {low}, got {getattr(self, name)}")

    @property
    def threshold_px(self) -> float:
        """Largest disagreement between views, pixels of the pictures that the network sees."""
        return self.threshold_share * max(self.input_px)

    def but(self, **changes: Any) -> Design:
        """The same with some fields changed."""
        return replace(self, **changes)

    def with_settings(self, settings: Sequence[str]) -> Design:
        """``field=value`` texts, values as JSON (``rounds=6``, ``input_px=[128,128]``).  Raises BadInputError."""
        values = self.to_json()
        for text in settings:
            name, _, value = text.partition("=")
            try:
                values[name] = json.loads(value)
            except ValueError:
                values[name] = value
        return Design.from_json(values)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Design:
        """Inverse of :meth:`to_json`.  Raises BadInputError for an unknown field."""
        unknown = sorted(set(data) - {item.name for item in fields(cls)})
        if unknown:
            raise BadInputError(f"experiment: unknown fields {', '.join(unknown)}")
        values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
        return cls(**values)

    def digest(self) -> str:
        """Short hash; folders and tables of different experiments never mix."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:12]


#: Starting points for each recording.
DESIGNS: Mapping[str, Design] = {
    "studio": Design(),
    "lp_mirror_mouse": Design(
        dataset="lp_mirror_mouse", input_px=(160, 96), scan_stride=1, exclusion_frames=0,
        steps_first=500, steps_round=250, steps_full=1250,
    ),
    "dlc_openfield": Design(
        dataset="dlc_openfield", input_px=(128, 128), scan_stride=1, exclusion_frames=0,
        steps_first=500, steps_round=250, steps_full=1250,
    ),
}  # fmt: skip
