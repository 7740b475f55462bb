"""The label check on hand-labelled mice in front of six cameras, with noise, habits and mistakes added."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.bench_label_check import accused, clicked, mice, moved, pairs_of
from label_config.values import BoolArray
from ml_backend.labels.label_check import swapped_pairs

pytestmark = pytest.mark.data


def test_points_moved_by_thirty_pixels_are_found_and_few_others(data_folder: Path) -> None:
    hits = wrong = named = 0
    for seed, (rig, xy) in enumerate(mice(data_folder)):
        rng = np.random.default_rng(seed)
        spoilt, which = moved(clicked(xy, rng), rng, 30.0)
        found = accused(rig, spoilt)
        hits, wrong, named = hits + int((found & which).sum()), wrong + int(which.sum()), named + int(found.sum())
    assert hits >= 0.9 * wrong
    assert hits >= 0.8 * named


def test_exchanged_pairs_are_found(data_folder: Path) -> None:
    found = exchanged = 0
    for seed, (rig, xy) in enumerate(mice(data_folder)):
        rng = np.random.default_rng(seed)
        points, pairs = clicked(xy, rng), pairs_of(xy)
        known: BoolArray = np.all(np.isfinite(points), axis=-1)
        chosen = {(f, rng.integers(len(rig)), *pairs[rng.integers(len(pairs))]) for f in range(len(points)) for _ in range(2)}
        chosen = {(f, v, a, b) for f, v, a, b in chosen if known[f, v, a] and known[f, v, b]}
        for f, v, a, b in chosen:
            points[f, v, [a, b]] = points[f, v, [b, a]]
        named = {(s.frame, s.view, s.left, s.right) for s in swapped_pairs(rig, points, pairs)}
        found, exchanged = found + len(chosen & named), exchanged + len(chosen)
    assert found >= 0.95 * exchanged
