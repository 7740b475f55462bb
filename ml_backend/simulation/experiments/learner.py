"""The network of an experiment: training from arrays, prediction on arrays.  The only module here that needs torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from label_config.values import BoolArray, Box, ByteArray, FloatArray, ImageRef, IntArray, TrainingTarget, Triangulation
from label_config.values.prediction import Prediction, stacked
from ml_backend.geometry.triangulation import triangulate_robust
from ml_backend.pose.config import Auxiliary, TrainConfig
from ml_backend.simulation.experiments.data import TrueRecording
from ml_backend.simulation.experiments.design import Design

#: Operations and magnitude; the paper of Feng et al. gives neither.
RANDAUGMENT = (2, 9.0)


@dataclass(frozen=True)
class TrainingSet:
    """What a network is trained on: rows (m,) of the recording, points (m, V, K, 2), weights (m, V, K)."""

    rows: IntArray
    xy_px: FloatArray
    weight: FloatArray

    def joined(self, other: TrainingSet) -> TrainingSet:
        """Both."""
        return TrainingSet(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in ("rows", "xy_px", "weight")))


@dataclass(frozen=True)
class Scan:
    """The network's output for c frames of the recording.

    rows          (c,) of the recording
    prediction    batch axes (c, V)
    triangulated  batch axes (c,), None without a rig
    """

    rows: IntArray
    prediction: Prediction
    triangulated: Triangulation | None

    @property
    def xy_px(self) -> FloatArray:
        """(c, V, K, 2) image pixels."""
        return self.prediction.xy_px


def fast_precision() -> Literal["float32", "bfloat16"]:
    """bfloat16 where the processor multiplies it natively, twice as fast there; else float32."""
    from ml_backend.pose.device import multiplies_bfloat16

    return "bfloat16" if multiplies_bfloat16() else "float32"


@dataclass(frozen=True)
class Recipe:
    """How a network is trained apart from the design.

    preset       recipe of ``pose.presets``, which may replace the steps by a number of epochs; "" = the default training
    mean_oks     G, for recipes whose length follows from it
    randaugment  RandAugment beside the augmentation of the recipe
    auxiliary    networks beside the pose network, for scores; they leave it as it is
    changes     fields of the training configuration that differ from the recipe's
    """

    preset: str = ""
    mean_oks: float | None = None
    randaugment: bool = False
    auxiliary: tuple[Auxiliary, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict, hash=False)


def train_network(
    design: Design,
    recording: TrueRecording,
    training_set: TrainingSet,
    folder: Path,
    *,
    init: Path | None,
    steps: int,
    seed: int,
    recipe: Recipe = Recipe(),
) -> float:
    """Train into ``folder``; seconds.  A finished run of the same training_set is taken as it is, a killed one goes on."""
    from ml_backend.pose.presets import preset
    from ml_backend.pose.training import train

    config = TrainConfig(
        network_args={"width": design.width, "decoder": 3 * design.width},
        input_px=design.input_px,
        sigma_hm=design.sigma_hm,
        steps=steps,
        seed=seed,
        device="cpu",
        precision=design.precision,
        two_stage=False,
        cache_mb=256,
        auxiliary=recipe.auxiliary,
    )

    def load(ref: ImageRef) -> ByteArray:
        frame, view = map(int, ref.source.split("/"))
        return np.asarray(recording.pictures[view][frame])

    targets = [
        TrainingTarget(
            ImageRef(f"{recording.frame_of[row]}/{view}"),
            training_set.xy_px[i, view],
            training_set.weight[i, view],
            box_px=_box(recording, row, view),
        )
        for i, row in enumerate(training_set.rows.tolist())
        for view in range(len(recording.pictures))
        if (training_set.weight[i, view] > 0).any()
    ]
    if recipe.preset:
        own = preset(recipe.preset, config, n_targets=len(targets), mean_oks=recipe.mean_oks, alpha=design.acft_alpha)
        # The printed 5,000 steps of 32 pictures are for a network a thousand times as large: --set steps_first says how many.
        config = own.but(steps=steps, batch=config.batch) if recipe.preset == "scratch" else own
    if recipe.randaugment:
        config = config.but(augment=replace(config.augment, randaugment=RANDAUGMENT))
    config = config.but(**recipe.changes)
    return train(config, targets, recording.skeleton, load, folder, init=init).seconds


def predict(
    design: Design,
    recording: TrueRecording,
    folder: Path,
    rows: IntArray,
    *,
    heatmaps: bool = False,
    earlier: Sequence[Path] = (),
) -> Scan:
    """Predict ``rows`` with the model in ``folder``, and the points of ``earlier`` models beside its own."""
    prediction = _predicted(recording, folder, rows, heatmaps).beside(
        [_predicted(recording, other, rows, False).xy_px for other in earlier]
    )
    rig = recording.rig
    triangulated = None if rig is None else triangulate_robust(rig, prediction.xy_px, threshold_px=design.threshold_px)
    return Scan(rows, prediction, triangulated)


def _predicted(recording: TrueRecording, folder: Path, rows: IntArray, heatmaps: bool) -> Prediction:
    from ml_backend.pose.infer import Predictor

    predictor = Predictor.load(folder, "cpu", batch=64)
    seen = stacked(
        [
            predictor.predict(
                _pictures(part, recording.frame_of[rows]), [_box(recording, row, v) for row in rows.tolist()], heatmaps=heatmaps
            )
            for v, part in enumerate(recording.pictures)
        ],
        axis=1,
    )
    return seen if recording.found is None else _only(seen, recording.found[rows])


def _box(recording: TrueRecording, row: int, view: int) -> Box | None:
    if recording.box_px is None:
        return None
    x, y, w, h = recording.box_px[row, view].tolist()
    return x, y, w, h


def _only(seen: Prediction, found: BoolArray) -> Prediction:
    """NaN where a figure was not found."""
    arrays = {name: array.copy() for name, array in seen.arrays().items()}
    for array in arrays.values():
        array[~found] = np.nan
    return Prediction.from_arrays(arrays)


def _pictures(part: ByteArray, frames: IntArray) -> Sequence[ByteArray]:
    return [np.asarray(part[frame]) for frame in frames]
