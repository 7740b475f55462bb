"""Which score separates corrupted poses from clean ones? (docs/methods.md §3.2: autoencoder against Mahalanobis and limb lengths)

Single pictures of the capture studio, as 2-D poses without the pictures: scores learn from labelled poses of some takes and views
and score poses of other takes, clean and corrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from label_config.values import BadInputError, FloatArray, PointState
from label_config.values.prediction import Output, Prediction
from ml_backend.acquisition.features import pose_size_px
from ml_backend.acquisition.score import Chunk, Labelled
from ml_backend.acquisition.score_registry import make_scores
from ml_backend.simulation.experiments.shared_files import claim
from ml_backend.simulation.studies.study_table import write_rows
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.simulation.studio_figure import KEYPOINTS, STUDIO_SKELETON

#: How far a displaced keypoint goes, in units of the pose's size.
JUMP = 0.35
LEG = ("hip", "knee", "ankle")
NAMES = ("seed", "labelled", "score", "corruption", "auroc")
#: What is compared: the name in the table → score and parameters.
DETECTORS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "wpu, paper": ("wpu", {"mode": "paper"}),
    "wpu, fixed": ("wpu", {"mode": "fixed"}),
    "pose_mahalanobis": ("pose_mahalanobis", {}),
    "link_length": ("link_length", {}),
    "link_likelihood": ("link_likelihood", {}),
    "coreset_distance": ("coreset_distance", {}),
}
#: Takes that test have seeds from here on.
_FIRST_TEST_TAKE = 500

Corruption = Callable[[FloatArray, np.random.Generator], FloatArray]


@dataclass(frozen=True)
class BadPosesStudy:
    """Everything that decides the figures.

    labelled       numbers of labelled poses
    test           clean poses to test with, and as many of each corruption
    takes, frames  of the studio on either side, and how long each is
    views          cameras of each take
    side_px        of the square pictures
    """

    labelled: tuple[int, ...] = (200, 1000)
    test: int = 1000
    takes: int = 10
    frames: int = 900
    views: int = 8
    side_px: int = 256

    def __post_init__(self) -> None:
        object.__setattr__(self, "labelled", tuple(self.labelled))
        if not self.labelled or max(*self.labelled, self.test) > self.takes * self.frames * self.views:
            raise BadInputError(
                f"bad poses: expected numbers of labelled poses and a test of at most takes · frames · views = "
                f"{self.takes * self.frames * self.views}, got {self.labelled} and {self.test}"
            )
        if not 1 <= self.takes <= _FIRST_TEST_TAKE:
            raise BadInputError(f"bad poses: expected 1 to {_FIRST_TEST_TAKE} takes, got {self.takes}")


def displaced(xy_px: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """``count`` different keypoints of every pose (n, K, 2) go JUMP × its size in a direction of their own."""
    n, k = xy_px.shape[:2]
    angle = rng.uniform(0, 2 * np.pi, (n, k))
    step = JUMP * pose_size_px(xy_px)[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    chosen = rng.random((n, k)).argsort(axis=1) < count
    return np.asarray(xy_px + np.where(chosen[..., None], step, 0.0))


def leg_copied(xy_px: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Both legs of every pose (n, K, 2) lie where the left one is, or the right one: double counting."""
    left, right = ([KEYPOINTS.index(f"{side}_{keypoint}") for keypoint in LEG] for side in ("left", "right"))
    on_left = rng.random(len(xy_px)) < 0.5
    result = xy_px.copy()
    result[:, left] = np.where(on_left[:, None, None], xy_px[:, left], xy_px[:, right])
    result[:, right] = result[:, left]
    return result


def shuffled(xy_px: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The keypoints of every pose (n, K, 2) change places along one random cycle, so that none keeps its own."""
    cycle = rng.random(xy_px.shape[:2]).argsort(axis=1)
    order = np.empty_like(cycle)
    np.put_along_axis(order, cycle, np.roll(cycle, 1, axis=1), axis=1)
    return np.asarray(np.take_along_axis(xy_px, order[..., None], axis=1))


CORRUPTIONS: Mapping[str, Corruption] = {
    "jump": lambda xy_px, rng: displaced(xy_px, 1, rng),
    "jump3": lambda xy_px, rng: displaced(xy_px, 3, rng),
    "leg copy": leg_copied,
    "shuffle": shuffled,
}


def auroc(clean: FloatArray, corrupted: FloatArray) -> float:
    """Chance that a corrupted pose scores higher than a clean one; ties count half."""
    return float(stats.mannwhitneyu(corrupted, clean, method="asymptotic").statistic / (len(corrupted) * len(clean)))


def drawn_poses(study: BadPosesStudy, first_take: int, count: int, rng: np.random.Generator) -> FloatArray:
    """(count, K, 2) pixels: different pictures of ``study.takes`` takes of the studio."""
    size = (study.side_px, study.side_px)
    takes = [CaptureStudio(first_take + i, study.frames, study.views, size).truth_xy for i in range(study.takes)]
    poses = np.concatenate(takes).reshape(-1, len(KEYPOINTS), 2)
    return np.asarray(poses[rng.choice(len(poses), count, replace=False)])


def run(study: BadPosesStudy, seeds: Sequence[int], folder: Path, tell: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """One row per seed, number of labelled poses, score and corruption; written to ``folder`` at the end."""
    claim(folder / "study.json", asdict(study))
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        rows += _one(study, seed)
        tell(f"seed {seed}: done")
    write_rows(folder / "results.csv", NAMES, rows)
    return rows


def _one(study: BadPosesStudy, seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng([seed, 32])
    first = 2 * _FIRST_TEST_TAKE * seed
    known = drawn_poses(study, first, max(study.labelled), rng)
    clean = drawn_poses(study, first + _FIRST_TEST_TAKE, study.test, rng)
    # The box is a detector's: it knows where the subject is, whatever the keypoints are.
    box = _boxes(clean)
    corrupted = {name: corrupt(clean, rng) for name, corrupt in CORRUPTIONS.items()}
    rows = []
    for labelled in study.labelled:
        for name in DETECTORS:
            score = _detector(study, name, known[:labelled])
            value = score(clean, box)
            for corruption, poses in corrupted.items():
                found = auroc(value, score(poses, box))
                rows.append({"seed": seed, "labelled": labelled, "score": name, "corruption": corruption, "auroc": found})
    return rows


def _detector(study: BadPosesStudy, name: str, known: FloatArray) -> Callable[[FloatArray, FloatArray], FloatArray]:
    """A score that has learnt from poses (m, K, 2): poses (n, K, 2) and boxes (n, 4) → (n,) raw values."""
    score, parameters = DETECTORS[name]
    (learner,) = make_scores({score: parameters})
    size = np.full((1, 2), float(study.side_px))
    visible = np.full((len(known), 1, known.shape[1]), PointState.VISIBLE, dtype=np.int64)
    state = learner.fit(Labelled(known[:, None], visible, size, None, _boxes(known)[:, None]), None, STUDIO_SKELETON)

    def value_of(poses: FloatArray, box: FloatArray) -> FloatArray:
        n = len(poses)
        peaks = np.concatenate([poses, np.ones((*poses.shape[:2], 1))], axis=-1)[:, None, :, None]
        chunk = Chunk(
            sequence="studio",
            index=np.arange(n),
            core=slice(0, n),
            prediction=Prediction(poses[:, None], np.ones((n, 1, poses.shape[1])), box[:, None], {Output.PEAKS: peaks}),
            size_px=size,
            gap=np.ones(n, dtype=np.bool_),
            skeleton=STUDIO_SKELETON,
        )
        return learner.score(chunk, state).raw

    return value_of


def _boxes(xy_px: FloatArray) -> FloatArray:
    """(n, K, 2) → (n, 4) x, y, width, height around the keypoints."""
    low, high = xy_px.min(axis=1), xy_px.max(axis=1)
    return np.concatenate([low, high - low], axis=1)
