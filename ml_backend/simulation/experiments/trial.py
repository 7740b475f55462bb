"""One strategy with one seed: label, train, score, pick, round after round; resumable after any of them."""

from __future__ import annotations

import json
import math
import shutil
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from label_config.values import FloatArray, IntArray
from label_config.values.atomic_files import replacing
from label_config.values.prediction import Output
from ml_backend.acquisition.scores.disagreement import ENSEMBLE_MODELS
from ml_backend.metrics.curve_summaries import spearman
from ml_backend.pose.config import Auxiliary, auxiliaries_for
from ml_backend.pose.presets import acft_training_set
from ml_backend.simulation.experiments import accuracy
from ml_backend.simulation.experiments.arms import COMPOSITE, FULL, TRUE_ERROR, Arm
from ml_backend.simulation.experiments.data import TrueRecording
from ml_backend.simulation.experiments.design import Design
from ml_backend.simulation.experiments.learner import Recipe, Scan, TrainingSet, predict, train_network
from ml_backend.simulation.experiments.precision import picture_precision, pool_precision
from ml_backend.simulation.experiments.results_table import WATCHED, Row
from ml_backend.simulation.experiments.shared_files import locked
from ml_backend.simulation.experiments.simulated_annotator import annotate, frames_per_batch
from ml_backend.simulation.experiments.strategies import Knowledge, Raw, arm_fused, needs_of, pick, pseudo_label, score_pool

Emit = Callable[[Row], None]


@dataclass
class State:
    """Where a cell is: ``round`` is the next one.  The model of the round before lies beside it.

    performance  mean OKS of the last batch, and oks (len(labelled),) that of each frame, under the model that chose the batch
    """

    round: int
    labelled: IntArray
    pseudo: TrainingSet
    pseudo_error: float
    pseudo_keypoints: int
    performance: float
    newest: int
    oks: FloatArray
    rows: list[dict[str, Any]]

    def save(self, path: Path) -> None:
        plain = {n: getattr(self, n) for n in ("round", "pseudo_error", "pseudo_keypoints", "performance", "newest", "rows")}
        arrays = {
            "labelled": self.labelled,
            "oks": self.oks,
            **{f"pseudo_{name}": value for name, value in vars(self.pseudo).items()},
        }
        with replacing(path) as temporary:
            np.savez(temporary, plain=np.array(json.dumps(plain)), **arrays)

    @classmethod
    def load(cls, path: Path) -> State:
        with np.load(path, allow_pickle=False) as held:
            pseudo = TrainingSet(*(held[f"pseudo_{name}"] for name in ("rows", "xy_px", "weight")))
            return cls(labelled=held["labelled"], oks=held["oks"], pseudo=pseudo, **json.loads(str(held["plain"])))


@dataclass(frozen=True)
class Cell:
    """One strategy with one seed.

    folder  of the seed: holds the first models, which strategies share, and a folder per strategy while it runs
    source  the labelled takes that the first model is trained on, None = the first labelled frames alone
    """

    design: Design
    recording: TrueRecording
    arm: Arm
    seed: int
    folder: Path
    source: TrueRecording | None = None

    @property
    def home(self) -> Path:
        """Folder of the strategy."""
        return self.folder / str(self.arm)

    @property
    def auxiliary(self) -> tuple[Auxiliary, ...]:
        """The networks beside the pose network that the strategy's scores need."""
        return auxiliaries_for(needs_of(self.recording, self.arm))

    @property
    def first(self) -> Path:
        """Folder of the first model: one for all strategies that train it alike."""
        return self.folder / ("first" + self.arm.training + "".join(f"-{name}" for name in self.auxiliary))

    def model(self, round_: int) -> Path:
        """Folder of a round's model."""
        return self.home / f"model{round_}" if round_ else self.first

    def recipe(self, round_: int, mean_oks: float = math.nan) -> Recipe:
        """How the model of a round is trained.  Recipes that go on from an earlier model begin with the default one."""
        preset = self.arm.recipe if round_ or self.arm.recipe == "scratch" else ""
        return Recipe(preset, None if math.isnan(mean_oks) else mean_oks, self.arm.randaugment, self.auxiliary)


def run_trial(design: Design, recording: TrueRecording, arm: Arm, seed: int, folder: Path, emit: Emit,
              source: TrueRecording | None = None) -> None:  # fmt: skip
    """Run the rounds that are still missing; ``emit`` gets one row per round, those of earlier tries again.

    folder and source  see :class:`Cell`
    """
    cell = Cell(design, recording, arm, seed, folder, source)
    if arm.whole == FULL:
        emit(_full(cell))
        return
    path = cell.home / "state.npz"
    state = State.load(path) if path.exists() else _start(design, recording, seed)
    for row in state.rows:
        emit(row)
    while state.round <= design.last_round:
        row = _round(cell, state)
        state.rows.append(row)
        state.round += 1
        state.save(path)
        emit(row)
        shutil.rmtree(cell.home / f"model{state.round - ENSEMBLE_MODELS}", ignore_errors=True)
    shutil.rmtree(cell.home, ignore_errors=True)


def _human_labels(design: Design, recording: TrueRecording, arm: Arm, labelled: IntArray) -> TrainingSet:
    """The human labels: the first frames in all views, for they are the same for all strategies, later ones as the arm says."""
    if recording.frame is not None:  # every pose in all views
        return annotate(design, recording, labelled)
    first, later = labelled[: design.initial], labelled[design.initial :]
    return annotate(design, recording, first).joined(annotate(design, recording, later, arm.views))


def _effort(design: Design, recording: TrueRecording, arm: Arm, labelled: IntArray) -> float:
    """Labelled pictures, in frames of all views."""
    later = recording.count_frames(labelled) - design.initial
    return design.initial + later * (arm.views / len(recording.pictures) if arm.views else 1.0)


def _start(design: Design, recording: TrueRecording, seed: int) -> State:
    drawn = np.random.default_rng([seed, 11]).choice(np.unique(recording.frame_of[recording.pool]), design.initial, replace=False)
    drawn = recording.rows_of(drawn)
    views, keypoints = recording.xy_px.shape[1:3]
    none = TrainingSet(np.zeros(0, np.int64), np.zeros((0, views, keypoints, 2)), np.zeros((0, views, keypoints)))
    return State(0, np.sort(drawn), none, math.nan, 0, math.nan, len(drawn), np.full(len(drawn), math.nan), [])


def _round(cell: Cell, state: State) -> dict[str, Any]:
    """Train on what is labelled, score, then choose what is labelled next (left in ``state``)."""
    design, recording, arm = cell.design, cell.recording, cell.arm
    training_set = _human_labels(design, recording, arm, state.labelled)
    train_s = _train(cell, state, training_set)
    model = cell.model(state.round)
    row: dict[str, Any] = {"strategy": str(arm), "seed": cell.seed, "round": state.round}
    n_labelled, n_pool = recording.count_frames(state.labelled), recording.count_frames(recording.pool)
    row |= {"labels": _effort(design, recording, arm, state.labelled), "pool": n_pool}
    row |= {"train_s": train_s, "pseudo_frames": len(state.pseudo.rows), "pseudo_keypoints": state.pseudo_keypoints}
    row |= {"pseudo_error": state.pseudo_error}
    row |= _tested(design, recording, model)
    row |= accuracy.covered(recording, state.labelled)

    started = time.monotonic()
    offset = state.round % design.scan_stride
    scanned = np.unique(recording.frame_of[recording.pool])[offset :: design.scan_stride]
    rows = np.union1d(recording.rows_of(scanned), state.labelled)
    needs = needs_of(recording, arm)
    earlier = range(max(0, state.round - ENSEMBLE_MODELS + 1), state.round) if Output.ENSEMBLE in needs else ()
    seen = predict(
        design, recording, model, rows, heatmaps=Output.HEATMAPS in needs, earlier=[cell.model(r) for r in reversed(earlier)]
    )
    raw = score_pool(recording, seen, training_set, arm, cell.source)
    error = accuracy.frame_error(recording, seen)
    new = ~np.isin(rows, state.labelled)
    row |= {f"rho_{name}": spearman(raw[name][new], error[new]) for name in WATCHED if name in raw}
    row |= _own_score(recording, raw, arm, error, np.flatnonzero(new))
    if design.scan_stride == 1:
        row |= pool_precision(recording, seen, state.labelled)
    known = Knowledge(training_set, error, state.performance, _seed(cell.seed, state.round, arm.draw))
    batch = frames_per_batch(design, arm, len(recording.pictures), state.round, n_labelled, n_pool)
    asked = replace(design, batch=batch) if batch else design
    picked = pick(asked, recording, seen, raw, arm, known) if batch and new.any() else rows[:0]
    row |= _stopping(recording, seen, picked, state)
    row["scan_s"] = time.monotonic() - started
    _propose_pseudo_labels(asked, recording, seen, arm, picked, state)
    state.labelled = np.concatenate([state.labelled, picked])
    state.oks = accuracy.frame_oks(recording, seen)[np.searchsorted(rows, state.labelled)]
    return row


def _tested(design: Design, recording: TrueRecording, model: Path) -> dict[str, float]:
    """The figures of a model on the test frames."""
    seen = predict(design, recording, model, recording.test)
    figures = accuracy.errors_of(recording, seen) | picture_precision(recording, seen)
    if recording.unseen is not None:
        away = predict(design, recording.unseen, model, recording.test)
        figures["unseen_error"] = accuracy.errors_of(recording.unseen, away)["error"]
    return figures


def _own_score(recording: TrueRecording, raw: Raw, arm: Arm, error: FloatArray, new: IntArray) -> dict[str, float]:
    """How the arm's own score ranks the frames by their true error, and the share of frames that it has a value for."""
    total = arm_fused(recording, {**raw, TRUE_ERROR: error}, arm, new).total
    if not arm.weights({COMPOSITE: 1.0}) or not len(new):
        return {}
    return {"rho_own": spearman(total, error[new]), "scored": float(np.isfinite(total).mean())}


def _train(cell: Cell, state: State, training_set: TrainingSet) -> float:
    """Train this round's model; the seconds it took.  The first one is the same for all strategies that train it alike."""
    design, round_ = cell.design, state.round
    seed = _seed(cell.seed, round_)
    if round_ == 0:
        with locked(cell.first):
            return _train_first(cell, training_set, seed)
    fresh = cell.arm.recipe == "scratch" or not design.warm_start
    both = _replayed(cell, state, training_set).joined(state.pseudo)
    return train_network(
        design,
        cell.recording,
        both,
        cell.model(round_),
        init=None if fresh else cell.model(round_ - 1),
        steps=design.steps_first if fresh else design.steps_round,
        seed=seed,
        recipe=cell.recipe(round_, state.performance),
    )


def _train_first(cell: Cell, training_set: TrainingSet, seed: int) -> float:
    """On the first labelled frames, after a generic model on the takes of others where there are some."""
    design, init, seconds = cell.design, None, 0.0
    if cell.source is not None:
        everything = TrainingSet(cell.source.pool, cell.source.xy_px, np.ones(cell.source.xy_px.shape[:3]))
        init = cell.first if not len(training_set.rows) else cell.first.with_name(cell.first.name + "-generic")
        seconds = train_network(
            design, cell.source, everything, init, init=None, steps=design.steps_first, seed=seed, recipe=cell.recipe(0)
        )
        if init == cell.first:
            return seconds
    steps = design.steps_first if init is None else design.steps_round
    return seconds + train_network(
        design, cell.recording, training_set, cell.first, init=init, steps=steps, seed=seed, recipe=cell.recipe(0)
    )


def _replayed(cell: Cell, state: State, training_set: TrainingSet) -> TrainingSet:
    """What ACFT trains on: the newest frames, and those that the model before still misestimates; all for other recipes."""
    if cell.arm.recipe != "acft":
        return training_set
    is_new = np.isnan(state.oks)
    is_new[len(state.labelled) - state.newest :] = True
    kept = acft_training_set(state.oks, is_new, cell.design.acft_theta)
    return TrainingSet(training_set.rows[kept], training_set.xy_px[kept], training_set.weight[kept])


def _stopping(recording: TrueRecording, seen: Scan, picked: IntArray, state: State) -> dict[str, float]:
    """OKS under the model that chose the batch, before it is trained on it (VATL4Pose, §3.3)."""
    value = accuracy.frame_oks(recording, seen)
    batch, old = np.isin(seen.rows, picked), np.isin(seen.rows, state.labelled)
    state.newest = len(picked)
    if not batch.any():
        return {}
    state.performance = float(value[batch].mean())
    return {"batch_oks": state.performance, "seen_oks_min": float(value[batch | old].min())}


def _propose_pseudo_labels(
    design: Design, recording: TrueRecording, seen: Scan, arm: Arm, picked: IntArray, state: State
) -> None:
    if not arm.pseudo:
        return
    excluded = np.concatenate([state.labelled, picked])
    labels, state.pseudo = pseudo_label(design, recording, seen, arm, excluded, state.pseudo.rows)
    assert recording.xyz is not None
    distance: FloatArray = np.linalg.norm(labels.xyz_world - recording.xyz[state.pseudo.rows], axis=-1)
    state.pseudo_keypoints = int(labels.accepted.sum())
    state.pseudo_error = float(distance[labels.accepted].mean()) if state.pseudo_keypoints else math.nan


def _full(cell: Cell) -> dict[str, Any]:
    """The reference: every frame of the pool is labelled."""
    design, recording = cell.design, cell.recording
    training_set = annotate(design, recording, recording.pool)
    seed = _seed(cell.seed, 0)
    seconds = train_network(
        design, recording, training_set, cell.home, init=None, steps=design.steps_full, seed=seed, recipe=cell.recipe(0)
    )
    row: dict[str, Any] = {"strategy": str(cell.arm), "seed": cell.seed, "round": 0}
    n_pool = recording.count_frames(recording.pool)
    row |= {"labels": n_pool, "pool": n_pool, "train_s": seconds}
    row |= _tested(design, recording, cell.home)
    row |= accuracy.covered(recording, recording.pool)
    shutil.rmtree(cell.home)
    return row


def _seed(seed: int, round_: int, draw: int = 0) -> int:
    """One number for (seed, round, draw), the same for all strategies, so that they are paired."""
    return zlib.crc32(f"{seed}/{round_}/{draw}".encode())
