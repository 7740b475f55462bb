"""Which points an annotator starts from."""

from __future__ import annotations

import numpy as np

from label_config.values import FloatArray
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.consistency import agreed_place
from ml_backend.geometry.triangulation import triangulate_robust
from ml_backend.jobs.preannotations import ENOUGH_LABELS, nearer_to_labels
from ml_backend.simulation.studio import CaptureStudio


def scene(seed: int = 0) -> tuple[Rig, FloatArray]:
    """A rig of four cameras and the true points (f, V, K, 2) of some frames, inside all pictures."""
    studio = CaptureStudio(seed=seed, n_frames=12, n_views=4)
    return studio.rig, studio.truth_xy


def test_the_agreed_place_is_nearer_than_noisy_points() -> None:
    """Four views of noise s: the place in space has two of eight coordinates' worth of freedom left, about s * sqrt(3 / 8)."""
    rig, truth = scene()
    rng = np.random.default_rng(1)
    noisy = truth + rng.normal(scale=1.5, size=truth.shape)
    agreed = agreed_place(rig, triangulate_robust(rig, noisy, threshold_px=8.0))
    there = np.isfinite(agreed).all(axis=-1)
    assert there.mean() > 0.9
    before, after = ((np.square(place - truth)[there]).mean() ** 0.5 for place in (noisy, agreed))
    assert abs(after / before - np.sqrt(3 / 8)) < 0.06
    labels = truth + rng.normal(scale=1.0, size=truth.shape)  # a careful annotator is not exact either
    assert nearer_to_labels(noisy, agreed, labels).all()


def test_a_camera_whose_calibration_is_off_keeps_the_points_of_the_network() -> None:
    _, truth = scene()
    rng = np.random.default_rng(2)
    noisy = truth + rng.normal(scale=0.7, size=truth.shape)
    agreed = truth + rng.normal(scale=0.4, size=truth.shape)
    agreed[:, 2] += 3.0
    assert nearer_to_labels(noisy, agreed, truth).tolist() == [True, True, False, True]


def test_a_few_blind_labels_decide_nothing() -> None:
    _, truth = scene()
    labels = np.full(truth.shape, np.nan)
    flat = labels.transpose(1, 0, 2, 3).reshape(4, -1, 2)
    for view, count in enumerate((ENOUGH_LABELS, ENOUGH_LABELS - 1, 0, ENOUGH_LABELS)):
        flat[view, :count] = truth.transpose(1, 0, 2, 3).reshape(4, -1, 2)[view, :count]
    labels = flat.reshape(4, len(truth), -1, 2).transpose(1, 0, 2, 3)
    assert nearer_to_labels(truth + 1.0, truth, labels).tolist() == [True, False, False, True]
