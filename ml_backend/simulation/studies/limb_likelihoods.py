"""Which score of one picture knows how wrong the network is, and do limbs repair it?  (Shukla et al. 2022; docs/methods.md §6)

Networks learn from some labelled pictures of a take of the capture studio, each with the auxiliary networks beside it, and
predict later pictures of the same take.  Scores are ranked against the true error of each picture; then the points are
predicted once more with limbs that choose among all maxima (eq. 6), and what the best choice among the maxima would give says
what there is to gain.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from label_config.values import BadInputError, ByteArray, FloatArray
from label_config.values.masked import mean_of
from label_config.values.prediction import Output, Prediction
from ml_backend.metrics.curve_summaries import spearman
from ml_backend.pose.config import AUXILIARY_OUTPUT, Auxiliary
from ml_backend.simulation.experiments.arms import Arm
from ml_backend.simulation.experiments.data import GUARD_FRAMES, TrueRecording
from ml_backend.simulation.experiments.design import Design
from ml_backend.simulation.experiments.learner import Recipe, Scan, TrainingSet, train_network
from ml_backend.simulation.experiments.shared_files import claim
from ml_backend.simulation.experiments.strategies import score_pool
from ml_backend.simulation.studies.study_table import add_rows, read_rows
from ml_backend.simulation.studies.takes import recorded
from ml_backend.simulation.studio import CaptureStudio

#: Rank correlations with the true error, one per score.
SCORES = ("vl4pose", "link_likelihood", "link_length", "mpe", "least_confidence", "aleatoric", "learning_loss")
#: Mean errors in pixels of the picture: the largest maximum, what the limbs choose, the best of all maxima.
POINTS = ("largest", "limbs", "best")
#: Share of the keypoints that the limbs move; milliseconds for a picture without and with the auxiliary networks.
SHARES, TIMES = ("moved",), ("alone_ms", "beside_ms")
NAMES = ("seed", "labelled", *SCORES, *POINTS, *SHARES, *TIMES)
_AUXILIARY: tuple[Auxiliary, ...] = tuple(sorted(AUXILIARY_OUTPUT))


@dataclass(frozen=True)
class LimbStudy:
    """Everything that decides the figures.

    labelled      numbers of labelled pictures, one network each
    pool_frames, test_frames, stride  of the take, every n-th frame; labelled pictures are drawn from the pool, the test is later
    steps         optimiser steps
    side_px       of the square pictures
    """

    labelled: tuple[int, ...] = (30, 200)
    pool_frames: int = 400
    test_frames: int = 400
    stride: int = 5
    steps: int = 1500
    side_px: int = 128
    width: int = 16
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "labelled", tuple(self.labelled))
        if not self.labelled or min(self.labelled) < 1 or max(self.labelled) > self.pool_frames or self.test_frames < 3:
            raise BadInputError(
                f"limb study: expected numbers of labelled pictures from 1 to pool_frames = {self.pool_frames} and a test of at "
                f"least 3, got {list(self.labelled)} and {self.test_frames}"
            )

    @property
    def design(self) -> Design:
        """As the networks of the experiments are trained."""
        return Design(views=1, input_px=(self.side_px,) * 2, width=self.width, precision=self.precision)

    def take(self, seed: int) -> TrueRecording:
        """One camera's pictures, of which it alone knows nothing in 3-D."""
        pool = self.stride * np.arange(self.pool_frames)
        test = pool[-1] + GUARD_FRAMES + self.stride * np.arange(self.test_frames)
        studio = CaptureStudio(seed=seed, n_frames=int(test[-1]) + 1, n_views=1, size_px=(self.side_px,) * 2)
        return replace(recorded(studio, np.concatenate([pool, test]), len(pool)), rig=None, xyz=None)


def run(study: LimbStudy, seeds: Sequence[int], folder: Path, tell: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """One row per seed and number of labels, those of earlier calls too; what is finished is not done again.

    Raises BadInputError when ``folder`` holds a study with other settings.
    """
    claim(folder / "study.json", asdict(study))
    path = folder / "results.csv"
    for seed in seeds:
        done = {row["labelled"] for row in read_rows(path) if row["seed"] == seed}
        missing = [count for count in study.labelled if count not in done]
        take = study.take(seed) if missing else None
        for count in missing:
            assert take is not None
            row = {"seed": seed, "labelled": count, **_row(study, take, count, seed, folder / "models" / f"{seed}-{count}")}
            add_rows(path, NAMES, [row])
            tell(f"seed {seed}, {count} labels: {row['largest']:.2f} px, by limbs {row['limbs']:.2f} px")
    return read_rows(path)


def _row(study: LimbStudy, take: TrueRecording, count: int, seed: int, folder: Path) -> dict[str, float]:
    drawn = np.sort(np.random.default_rng([seed, count, 61]).choice(take.pool, count, replace=False))
    training_set = TrainingSet(drawn, take.xy_px[drawn], np.ones(take.xy_px[drawn].shape[:3]))
    train_network(
        study.design, take, training_set, folder, init=None, steps=study.steps, seed=seed, recipe=Recipe(auxiliary=_AUXILIARY)
    )
    figures = dict(_figures(take, folder, training_set))
    shutil.rmtree(folder)
    return figures


def _figures(take: TrueRecording, folder: Path, training_set: TrainingSet) -> Iterator[tuple[str, float]]:
    from ml_backend.pose.infer import Predictor

    pictures, truth = [np.asarray(take.pictures[0][row]) for row in take.test], take.xy_px[take.test, 0]
    plain = Predictor.load(folder, "cpu", batch=64).predict(pictures, heatmaps=True)
    refined = Predictor.load(folder, "cpu", batch=64, limb_refinement=True).predict(pictures)
    error = np.linalg.norm(plain.xy_px - truth, axis=-1)
    seen = Scan(take.test, Prediction.from_arrays({name: array[:, None] for name, array in plain.arrays().items()}), None)
    raw = score_pool(take, seen, training_set, Arm.parse("+".join(SCORES)))
    yield from ((name, spearman(raw[name], error.mean(axis=1))) for name in SCORES)
    yield "largest", mean_of(error.ravel())
    yield "limbs", mean_of(np.linalg.norm(refined.xy_px - truth, axis=-1).ravel())
    yield "best", mean_of(np.fmin(error, nearest(plain.outputs[Output.PEAKS][..., :2], truth)).ravel())
    yield "moved", float((refined.xy_px != plain.xy_px).any(axis=-1).mean())
    yield from zip(TIMES, _milliseconds(folder, pictures), strict=True)


def nearest(peak_xy_px: FloatArray, truth: FloatArray) -> FloatArray:
    """(n, K, M, 2) maxima and (n, K, 2) truth → (n, K) distance of the nearest; infinite without a maximum."""
    distance = np.linalg.norm(peak_xy_px - truth[:, :, None], axis=-1)
    return np.asarray(np.where(np.isfinite(distance), distance, np.inf).min(axis=-1))


def _milliseconds(folder: Path, pictures: Sequence[ByteArray]) -> tuple[float, float]:
    """Of the network for one picture, without and with the auxiliary network for the lengths of limbs; medians of five turns."""
    from ml_backend.pose.infer import Predictor

    alone, beside = Predictor.load(folder, "cpu", batch=64), Predictor.load(folder, "cpu", batch=64)
    alone.network.auxiliary = None
    for name in set(_AUXILIARY) - {"links"}:
        del beside.network.auxiliary[name]
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(5):
        for predictor, times in zip((alone, beside), spent, strict=True):
            before = predictor.spent_s["network"]
            predictor.predict(pictures)
            times.append(1000 * (predictor.spent_s["network"] - before) / len(pictures))
    return float(np.median(spent[0])), float(np.median(spent[1]))
