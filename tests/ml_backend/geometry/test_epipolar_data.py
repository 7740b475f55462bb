"""Rigs without calibration: a mouse and its mirror image, labelled by hand in both views."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from label_config.values import BoolArray, FloatArray
from ml_backend.geometry.affine import affine_residual, fit_affine
from ml_backend.geometry.epipolar import epipolar_residual, fit_fundamentals

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def labels(data_folder: Path) -> FloatArray:
    """(90, 2, 7, 2): body parts that are labelled in the side (top) and in the mirror (bottom) view."""
    rows = list(csv.reader((data_folder / "lp_mirror_mouse/CollectedData.csv").read_text().splitlines()))
    names = rows[1][1::2]
    values = np.array([[float(cell) if cell else np.nan for cell in row[1:]] for row in rows[3:]]).reshape(len(rows) - 3, -1, 2)
    parts = [name.removesuffix("_top") for name in names if name.endswith("_top") and name.removesuffix("_top") + "_bot" in names]
    views = [values[:, [names.index(part + end) for part in parts]] for end in ("_top", "_bot")]
    return np.stack(views, axis=1)


def test_mirror_labels_are_consistent_to_three_pixels(labels: FloatArray) -> None:
    pairs = np.isfinite(labels).all(axis=(1, 3))
    residual = epipolar_residual(fit_fundamentals(labels), labels)
    print("\nmirror mouse:", pairs.sum(), "pairs, median epipolar residual", np.nanmedian(residual), "px")
    assert pairs.sum() == 603
    assert np.isfinite(residual[:, 0]).sum() == 603
    # The recording's notes: 3.1 px for a least-median-of-squares matrix; the median error itself may be lower, not higher.
    assert 2.0 < np.nanmedian(residual) < 3.2


def test_mirror_labels_are_nearly_affine(labels: FloatArray) -> None:
    # The recording's notes: the rank-3 factorisation leaves a fourth singular value of 4.4 px.
    model = fit_affine(labels)
    assert model is not None
    residual = affine_residual(model, labels)
    both: BoolArray = np.all(np.isfinite(residual), axis=1)
    off_subspace = np.sqrt((np.where(both[:, None], residual, 0) ** 2).sum() / both.sum())
    print("\nmirror mouse: affine residual", off_subspace, "px, epsilon", model.epsilon_px)
    assert 3.0 < off_subspace < 4.8


def test_swapped_paws_stand_out(labels: FloatArray) -> None:
    complete = np.flatnonzero(np.isfinite(labels).all(axis=(1, 2, 3)))
    swapped = labels.copy()
    first, second = labels[complete[0], 1, 0].copy(), labels[complete[0], 1, 1].copy()
    swapped[complete[0], 1, 0], swapped[complete[0], 1, 1] = second, first
    before = epipolar_residual(fit_fundamentals(labels), labels)[complete[0]]
    after = epipolar_residual(fit_fundamentals(swapped), swapped)[complete[0]]
    print("\nswapped:", before[0, :2], "->", after[0, :2], "px")
    assert after[:, :2].max() > 3 * before[:, :2].max()
