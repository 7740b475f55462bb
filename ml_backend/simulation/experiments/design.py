"""What an experiment is: the recording, how many rounds, how each model is trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from typing import Any, Literal

from label_config.values import BadInputError

Dataset = Literal["studio", "lp_mirror_mouse", "dlc_openfield"]


@dataclass(frozen=True)
class Design:
    """Everything that decides the figures of an experiment.

    initial, batch, rounds   labelled frames before the first model, per round, and rounds after the first model
    pool_frames, test_frames frames that may be picked and frames that evaluate (capture studio; recordings have what they have)
    views, rare_fraction     of the capture studio
    figures                  of the studio; of several, a frame is labelled with all that are there
    unseen_views             further cameras of the studio before which models are only tested (Feng et al. 2023)
    input_px                 (width, height) of the network's input
    steps_first, steps_round, steps_full   optimiser steps of a fresh model, of a warm start, of the model of all labels
    scan_stride              every n-th frame of the pool competes in a round, other ones in the next
    exclusion_frames         no two picks of a batch are this near in time (not for random picks)
    threshold_share          views agree within this share of the picture's longer side
    pseudo_ratio, pseudo_weight, pseudo_per_joint   pseudo-labels per human label of the batch, their loss weight, the rule
    schedule                 labelled shares of the pool, increasing, one per round ([0.05, 0.1, …]); replaces batch and rounds
    generic_takes, generic_frames   the first model is trained on so many other takes of the studio, so many frames of each, all
                             labelled; the first frames of the take itself may then be none (initial=0)
    acft_alpha               epochs of ACFT for a batch with G = 0
    acft_theta               ACFT trains again on labelled frames with an OKS of at most this + 0.05; 1 = on all
    annotator_px             standard deviation of the simulated annotator in pixels of the network's input, 0 = exact
    """

    dataset: Dataset = "studio"
    initial: int = 10
    batch: int = 10
    rounds: int = 3
    pool_frames: int = 2000
    test_frames: int = 160
    views: int = 4
    figures: int = 1
    unseen_views: int = 0
    rare_fraction: float = 0.1
    input_px: tuple[int, int] = (96, 96)
    sigma_hm: float = 1.2
    steps_first: int = 700
    steps_round: int = 300
    steps_full: int = 2000
    warm_start: bool = True
    schedule: tuple[float, ...] = ()
    generic_takes: int = 0
    generic_frames: int = 60
    acft_alpha: float = 250.0
    acft_theta: float = 1.0
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
        least = 0 if self.generic_takes else 1
        lowest = {
            "initial": least,
            "generic_takes": 0,
            "unseen_views": 0,
            "generic_frames": 1,
            "batch": 1,
            "rounds": 0,
            "scan_stride": 1,
            "steps_first": 1,
            "steps_round": 1,
            "views": 1,
            "figures": 1,
        }
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise BadInputError(f"experiment: {name} must be at least {low}, got {getattr(self, name)}")
        if any(not low < high <= 1 for low, high in pairwise((0.0, *self.schedule))):
            raise BadInputError(f"experiment: schedule must increase within (0, 1], got {list(self.schedule)}")
        if self.unseen_views and (self.views < 2 or self.unseen_views < 2):
            raise BadInputError(
                "experiment: unseen_views are compared by 3-D errors; expected at least two of them, and two views"
            )
        if self.figures > 1 and (self.dataset != "studio" or self.unseen_views or self.generic_takes):
            raise BadInputError("experiment: several figures are of dataset 'studio', without unseen_views and generic_takes")
        if self.generic_takes and self.dataset != "studio":
            raise BadInputError("experiment: generic_takes are takes of the studio; expected dataset 'studio', or 0 of them")

    @property
    def last_round(self) -> int:
        """Number of the last round; 0 is that of the first model."""
        return len(self.schedule) or self.rounds

    def batch_of(self, round_: int, pool: int, labelled: int) -> int:
        """Frames that are labelled after ``round_`` in a pool of so many, of which ``labelled`` have labels."""
        if not self.schedule:
            return self.batch
        # Rounded first: 0.29 · 100 is 28.99… in binary.
        wanted = max(1, int(round(self.schedule[round_] * pool, 9))) if round_ < len(self.schedule) else labelled
        return max(0, wanted - labelled)

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
