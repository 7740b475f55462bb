"""One strategy with one seed: label, train, score, pick, round after round; resumable after any of them."""

from __future__ import annotations

import json
import math
import shutil
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from label_config.values import FloatArray, IntArray
from label_config.values.atomic_files import replacing
from ml_backend.metrics.curve_summaries import spearman
from ml_backend.simulation.experiments import accuracy
from ml_backend.simulation.experiments.data import TrueRecording
from ml_backend.simulation.experiments.design import FULL, Arm, Design
from ml_backend.simulation.experiments.learner import Scan, TrainingSet, predict, train_network
from ml_backend.simulation.experiments.results_table import WATCHED, Row
from ml_backend.simulation.experiments.shared_files import locked
from ml_backend.simulation.experiments.simulated_annotator import annotate, frames_per_batch
from ml_backend.simulation.experiments.strategies import Knowledge, pick, pseudo_label, score_pool

Emit = Callable[[Row], None]


@dataclass
class State:
    """Where a cell is: ``round`` is the next one.  The model of the round before lies beside it."""

    round: int
    labelled: IntArray
    pseudo: TrainingSet
    pseudo_error: float
    pseudo_keypoints: int
    performance: float
    rows: list[dict[str, Any]]

    def save(self, path: Path) -> None:
        plain = {n: getattr(self, n) for n in ("round", "pseudo_error", "pseudo_keypoints", "performance", "rows")}
        arrays = {"labelled": self.labelled, **{f"pseudo_{name}": value for name, value in vars(self.pseudo).items()}}
        with replacing(path) as temporary:
            np.savez(temporary, plain=np.array(json.dumps(plain)), **arrays)

    @classmethod
    def load(cls, path: Path) -> State:
        with np.load(path, allow_pickle=False) as held:
            pseudo = TrainingSet(*(held[f"pseudo_{name}"] for name in ("rows", "xy_px", "weight")))
            return cls(labelled=held["labelled"], pseudo=pseudo, **json.loads(str(held["plain"])))


def run_trial(design: Design, recording: TrueRecording, arm: Arm, seed: int, folder: Path, emit: Emit) -> None:
    """Run the rounds that are still missing; ``emit`` gets one row per round, those of earlier tries again.

    folder  of this seed: holds the first model, which all strategies share, and a folder per strategy while it runs
    """
    if arm.strategy == FULL:
        emit(_full(design, recording, seed, folder))
        return
    home = folder / str(arm)
    path = home / "state.npz"
    state = State.load(path) if path.exists() else _start(design, recording, seed)
    for row in state.rows:
        emit(row)
    while state.round <= design.rounds:
        row = _round(design, recording, arm, seed, folder, home, state)
        state.rows.append(row)
        state.round += 1
        state.save(path)
        emit(row)
        shutil.rmtree(home / f"model{state.round - 2}", ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)


def _human_labels(design: Design, recording: TrueRecording, arm: Arm, labelled: IntArray) -> TrainingSet:
    """The human labels: the first frames in all views, for they are the same for all strategies, later ones as the arm says."""
    first, later = labelled[: design.initial], labelled[design.initial :]
    return annotate(design, recording, first).joined(annotate(design, recording, later, arm.views))


def _effort(design: Design, recording: TrueRecording, arm: Arm, labelled: IntArray) -> float:
    """Labelled pictures, in frames of all views."""
    later = len(labelled) - design.initial
    return design.initial + later * (arm.views / len(recording.pictures) if arm.views else 1.0)


def _start(design: Design, recording: TrueRecording, seed: int) -> State:
    drawn = np.random.default_rng([seed, 11]).choice(recording.pool, design.initial, replace=False)
    views, keypoints = recording.xy_px.shape[1:3]
    none = TrainingSet(np.zeros(0, np.int64), np.zeros((0, views, keypoints, 2)), np.zeros((0, views, keypoints)))
    return State(0, np.sort(drawn), none, math.nan, 0, math.nan, [])


def _round(
    design: Design, recording: TrueRecording, arm: Arm, seed: int, folder: Path, home: Path, state: State
) -> dict[str, Any]:
    """Train on what is labelled, score, then choose what is labelled next (left in ``state``)."""
    training_set = _human_labels(design, recording, arm, state.labelled)
    model, train_s = _model(design, recording, seed, folder, home, state, training_set)
    row: dict[str, Any] = {"strategy": str(arm), "seed": seed, "round": state.round}
    row |= {"labels": _effort(design, recording, arm, state.labelled)}
    row |= {"train_s": train_s, "pseudo_frames": len(state.pseudo.rows), "pseudo_keypoints": state.pseudo_keypoints}
    row |= {"pseudo_error": state.pseudo_error}
    row |= accuracy.errors_of(recording, predict(design, recording, model, recording.test))
    row |= accuracy.covered(recording, state.labelled)

    started = time.monotonic()
    offset = state.round % design.scan_stride
    rows = np.union1d(recording.pool[offset :: design.scan_stride], state.labelled)
    seen = predict(design, recording, model, rows)
    raw = score_pool(recording, seen, training_set, arm)
    error = accuracy.frame_error(recording, seen)
    new = ~np.isin(rows, state.labelled)
    row |= {f"rho_{name}": spearman(raw[name][new], error[new]) for name in WATCHED if name in raw}
    known = Knowledge(training_set, error, state.performance, _seed(seed, state.round, arm.draw))
    asked = design.but(batch=frames_per_batch(design, arm, len(recording.pictures)))
    picked = pick(asked, recording, seen, raw, arm, known) if new.any() else rows[:0]
    row |= _stopping(recording, seen, picked, state)
    row["scan_s"] = time.monotonic() - started
    _propose_pseudo_labels(asked, recording, seen, arm, picked, state)
    state.labelled = np.concatenate([state.labelled, picked])
    return row


def _model(
    design: Design, recording: TrueRecording, seed: int, folder: Path, home: Path, state: State, training_set: TrainingSet
) -> tuple[Path, float]:
    """Folder of this round's model and the seconds it took.  The first one is the same for all strategies."""
    first = folder / "first"
    if state.round == 0:
        with locked(first):
            return first, train_network(
                design, recording, training_set, first, init=None, steps=design.steps_first, seed=_seed(seed, 0)
            )
    before = first if state.round == 1 else home / f"model{state.round - 1}"
    init = before if design.warm_start else None
    steps = design.steps_round if design.warm_start else design.steps_first
    model = home / f"model{state.round}"
    both = training_set.joined(state.pseudo)
    return model, train_network(design, recording, both, model, init=init, steps=steps, seed=_seed(seed, state.round))


def _stopping(recording: TrueRecording, seen: Scan, picked: IntArray, state: State) -> dict[str, float]:
    """OKS under the model that chose the batch, before it learns from it (VATL4Pose, §3.6)."""
    value = accuracy.frame_oks(recording, seen)
    batch, old = np.isin(seen.rows, picked), np.isin(seen.rows, state.labelled)
    if not batch.any():
        return {}
    chosen = Scan(seen.rows[batch], seen.prediction.rows(batch), None)
    state.performance = accuracy.right_share(recording, chosen)
    return {"batch_oks": float(value[batch].mean()), "seen_oks_min": float(value[batch | old].min())}


def _propose_pseudo_labels(
    design: Design, recording: TrueRecording, seen: Scan, arm: Arm, picked: IntArray, state: State
) -> None:
    if arm.pseudo == "off":
        return
    excluded = np.concatenate([state.labelled, picked])
    labels, state.pseudo = pseudo_label(design, recording, seen, arm, excluded, state.pseudo.rows)
    assert recording.xyz is not None
    distance: FloatArray = np.linalg.norm(labels.xyz_world - recording.xyz[state.pseudo.rows], axis=-1)
    state.pseudo_keypoints = int(labels.accepted.sum())
    state.pseudo_error = float(distance[labels.accepted].mean()) if state.pseudo_keypoints else math.nan


def _full(design: Design, recording: TrueRecording, seed: int, folder: Path) -> dict[str, Any]:
    """The reference: every frame of the pool is labelled."""
    home = folder / FULL
    training_set = annotate(design, recording, recording.pool)
    seconds = train_network(design, recording, training_set, home, init=None, steps=design.steps_full, seed=_seed(seed, 0))
    row: dict[str, Any] = {"strategy": FULL, "seed": seed, "round": 0, "labels": len(recording.pool), "train_s": seconds}
    row |= accuracy.errors_of(recording, predict(design, recording, home, recording.test))
    row |= accuracy.covered(recording, recording.pool)
    shutil.rmtree(home)
    return row


def _seed(seed: int, round_: int, draw: int = 0) -> int:
    """One number for (seed, round, draw), the same for all strategies, so that they are paired."""
    return zlib.crc32(f"{seed}/{round_}/{draw}".encode())
