"""Harvesting with a generic network on a new take (Pavlakos et al. 2017; docs/methods.md §4.5).

A generic network learns from labelled frames of several takes.  Then comes a take without labels, known by the subject's limb
lengths alone: how well do two, three and four views place the keypoints, and does the network gain by labels that it harvests
there?

The studio's figure always has the same body and clothes; what makes a take new is its motion, cameras and room, and, unless
``known`` is set, rare actions, an object that looks like a limb, a larger distance and a noisier sensor, which the generic
network never met.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from label_config.values import BadInputError, BoolArray, FloatArray
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.pictorial import PictorialStructure, keep_best
from ml_backend.labels.harvested_labels import KEEP, MIN_POSES, Detections, Harvest, body_from_poses, harvest_points
from ml_backend.simulation.experiments.data import GUARD_FRAMES, TrueRecording
from ml_backend.simulation.experiments.design import Design
from ml_backend.simulation.experiments.learner import Recipe, TrainingSet, train_network
from ml_backend.simulation.experiments.shared_files import claim
from ml_backend.simulation.studies.reconstruction import METHODS, figures, neighbours, observe, reconstructed
from ml_backend.simulation.studies.study_table import add_rows, read_rows
from ml_backend.simulation.studies.takes import enlarged, recorded, reduced_px, together
from ml_backend.simulation.studio import CaptureStudio

#: The generic network, and what it becomes by other labels of the new take: its own points without geometry, the harvest's
#: poses, of both all or the best of each keypoint; the truth, to see what there is to gain.
STEPS = ("generic", "hm", "hm_sel", "ps", "ps_sel", "truth")
NAMES = (
    "seed", "step", "views", "method", "keypoints", "share", "error", "median", "aligned", "rare", "pcp",
    "px", "px_rare", "labels_share", "labels_px",
)  # fmt: skip
#: Points below this are no opinion at all.
CONFIDENT = 0.1
#: Seeds of the takes that the generic network of one seed learns from start here, far from those of the new takes.
_FIRST_GENERIC_SEED, _MOST_TAKES = 1000, 100

Tell = Callable[[str], None]


@dataclass(frozen=True)
class HarvestStudy:
    """Everything that decides the figures.

    takes, take_frames, take_stride   labelled takes of the generic network: how many, frames of each, every n-th
    pool_frames, test_frames, stride  of the new take; the test is a later stretch
    body_frames  frames of the new take whose true poses tell the limb lengths
    keep         share of each keypoint's poses that is kept
    steps        optimiser steps of the generic network
    side_px      of the square pictures that the network sees
    camera_px    of the camera pictures behind them, which geometry is counted in; a multiple of ``side_px``
    known        control: the generic network's takes are like the new one
    """

    takes: int = 4
    take_frames: int = 40
    take_stride: int = 30
    pool_frames: int = 300
    test_frames: int = 120
    stride: int = 5
    body_frames: int = 10
    views: int = 4
    keep: float = KEEP
    steps: int = 2500
    side_px: int = 96
    camera_px: int = 480
    width: int = 16
    known: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        lowest = {"takes": 1, "take_frames": 1, "test_frames": 1, "views": 2, "stride": 1, "body_frames": MIN_POSES, "steps": 1}
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise BadInputError(f"harvest study: {name} must be at least {low}, got {getattr(self, name)}")
        if self.takes > _MOST_TAKES or self.pool_frames < self.body_frames or self.camera_px % self.side_px:
            raise BadInputError(
                f"harvest study: expected at most {_MOST_TAKES} takes, at least body_frames = {self.body_frames} pool frames and "
                f"a camera_px that is a multiple of side_px, got {self.takes}, {self.pool_frames}, {self.camera_px}"
            )

    @property
    def factor(self) -> int:
        """Camera pixels per pixel of the network's picture."""
        return self.camera_px // self.side_px

    @property
    def design(self) -> Design:
        """As the networks of the experiments are trained."""
        return Design(views=self.views, input_px=(self.side_px,) * 2, width=self.width, precision=self.precision)

    def new_take(self, seed: int) -> TrueRecording:
        """Pool and test of the take without labels."""
        pool = self.stride * np.arange(self.pool_frames)
        test = pool[-1] + GUARD_FRAMES + self.stride * np.arange(self.test_frames)
        return recorded(self._studio(seed, int(test[-1]) + 1, new=True), np.concatenate([pool, test]), len(pool))

    def labelled_takes(self, seed: int) -> TrueRecording:
        """What the generic network learns from."""
        number = self.take_stride * np.arange(self.take_frames)
        first = _FIRST_GENERIC_SEED + _MOST_TAKES * seed
        studios = [self._studio(first + i, int(number[-1]) + 1, new=self.known) for i in range(self.takes)]
        return together([recorded(studio, number, len(number)) for studio in studios])

    def _studio(self, seed: int, n_frames: int, *, new: bool) -> CaptureStudio:
        size: dict[str, Any] = {"seed": seed, "n_frames": n_frames, "n_views": self.views, "size_px": (self.side_px,) * 2}
        if new:
            return CaptureStudio(**size, rare_fraction=0.2, fill=0.6, noise=8.0, distractor=True)
        return CaptureStudio(**size, rare_fraction=0.0, fill=0.72, noise=4.0, distractor=False)


def run(study: HarvestStudy, seeds: Sequence[int], folder: Path, tell: Tell = print) -> list[dict[str, Any]]:
    """All rows, those of earlier calls too; a finished seed, or step of one, is not done again.

    Raises BadInputError when ``folder`` holds a study with other settings.
    """
    claim(folder / "study.json", asdict(study))
    path = folder / "results.csv"
    for seed in seeds:
        done = {row["step"] for row in read_rows(path) if row["seed"] == seed}
        missing = [step for step in STEPS if step not in done]
        if not missing:
            tell(f"seed {seed}: done before")
            continue
        scene = _Scene(study, seed, study.new_take(seed), folder / "models" / f"seed{seed}")
        for step in missing:
            rows = scene.rows(step)
            add_rows(path, NAMES, rows)
            tell(f"seed {seed}: {step} {rows[-1]['error']:.1f} mm, {rows[-1]['px']:.2f} px")
        shutil.rmtree(scene.home)
    return read_rows(path)


@dataclass(frozen=True)
class _Scene:
    """One seed under way; its models lie in ``home``."""

    study: HarvestStudy
    seed: int
    take: TrueRecording
    home: Path

    def rows(self, step: str) -> list[dict[str, Any]]:
        """Train what the step asks for and evaluate it."""
        if step == "generic":
            return list(self._evaluated(step, self.generic, range(2, self.study.views + 1), {}))
        training_set, model = self.training_set(step), self.home / step
        train_network(
            self.study.design, self.take, training_set, model,
            init=self.generic, steps=self.study.steps, seed=self.seed, recipe=Recipe("personalise"),
        )  # fmt: skip
        off = np.linalg.norm(training_set.xy_px - self.take.xy_px[training_set.rows], axis=-1)[training_set.weight > 0]
        about = {"labels_share": float((training_set.weight > 0).mean()), "labels_px": float(off.mean())}
        found = list(self._evaluated(step, model, [self.study.views], about))
        shutil.rmtree(model)
        return found

    @cached_property
    def generic(self) -> Path:
        """The generic network, trained when it is first asked for."""
        folder, takes = self.home / "generic", self.study.labelled_takes(self.seed)
        training_set = TrainingSet(takes.pool, takes.xy_px, np.ones(takes.xy_px.shape[:3]))
        train_network(self.study.design, takes, training_set, folder, init=None, steps=self.study.steps, seed=self.seed)
        return folder

    @cached_property
    def rig(self) -> Rig:
        assert self.take.rig is not None
        return enlarged(self.take.rig, self.study.factor)

    @cached_property
    def truth(self) -> FloatArray:
        """(m, K, 3)"""
        assert self.take.xyz is not None
        return self.take.xyz

    @cached_property
    def body(self) -> PictorialStructure:
        """Limb lengths from a handful of true poses."""
        few = np.linspace(0, len(self.take.pool) - 1, self.study.body_frames).round().astype(np.int64)
        return body_from_poses(self.truth[self.take.pool[few]], self.take.skeleton)

    @cached_property
    def seen(self) -> Detections:
        """The generic network's opinion of the pool."""
        return observe(self.take, self.generic, self.take.pool, self.study.factor)

    @cached_property
    def harvest(self) -> Harvest:
        """The pool's poses by the generic network."""
        return harvest_points(self.body, self.rig, [self.take.keys[row] for row in self.take.pool], self.seen)

    def training_set(self, step: str) -> TrainingSet:
        """The labels of the pool that a step trains on, pixels of the network's picture."""
        pool = self.take.pool
        if step == "truth":
            return TrainingSet(pool, self.take.xy_px[pool], np.ones(self.take.xy_px[pool].shape[:3]))
        keep = self.study.keep if step.endswith("_sel") else 1.0
        if step in ("hm", "hm_sel"):
            return _masked(pool, reduced_px(self.seen.xy_px, self.study.factor), most_confident(self.seen.confidence, keep))
        assert self.take.rig is not None
        kept = self.harvest.select(keep).kept
        xy = self.take.rig.project(np.where(kept[..., None], self.harvest.xyz_world, np.nan))
        return _masked(pool, xy, self.take.rig.inside(xy))

    def _evaluated(self, step: str, model: Path, counts: Sequence[int], about: dict[str, float]) -> Iterator[dict[str, Any]]:
        """One row per number of views, method and choice of keypoints, on the test frames."""
        test, limbs = self.take.test, self.take.skeleton.limbs
        seen = observe(self.take, model, test, self.study.factor)
        off = np.linalg.norm(reduced_px(seen.xy_px, self.study.factor) - self.take.xy_px[test], axis=-1)
        rare, keys = self.take.rare[test], [self.take.keys[row] for row in test]
        about = {**about, "px": float(off.mean()), "px_rare": float(off[rare].mean()) if rare.any() else float("nan")}
        for count in counts:
            groups = neighbours(self.study.views, count)
            found = [reconstructed(self.rig, self.body, keys, seen, views, self.study.keep) for views in groups]
            kept = np.concatenate([mask for _, mask in found])
            truth, often = np.concatenate([self.truth[test]] * len(groups)), np.concatenate([rare] * len(groups))
            for keypoints, true in (("kept", np.where(kept[..., None], truth, np.nan)), ("all", truth)):
                for method in METHODS:
                    xyz = np.concatenate([poses[method] for poses, _ in found])
                    where = {"seed": self.seed, "step": step, "views": count, "method": method, "keypoints": keypoints}
                    yield {**where, **figures(xyz, true, often, limbs), **about}


def most_confident(confidence: FloatArray, fraction: float) -> BoolArray:
    """(n, V, K) → the same shape: of every keypoint, the ``fraction`` of its confident points that is most so."""
    uncertainty = np.where(confidence >= CONFIDENT, -confidence, np.nan)
    return keep_best(uncertainty.reshape(-1, uncertainty.shape[-1]), fraction).reshape(uncertainty.shape)


def _masked(rows: Any, xy_px: FloatArray, kept: BoolArray) -> TrainingSet:
    return TrainingSet(rows, np.where(kept[..., None], xy_px, np.nan), kept.astype(np.float64))
