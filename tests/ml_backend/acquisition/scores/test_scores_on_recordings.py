"""Scores on real predictions and labels."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from label_config.values import BoolArray, FloatArray, PointState
from label_config.values.prediction import Output
from label_config.values.skeleton import Skeleton
from ml_backend.acquisition.score import Chunk, Labelled
from ml_backend.acquisition.score_registry import SCORES
from ml_backend.acquisition.scores.disagreement import EnsembleVariance
from ml_backend.acquisition.scores.pose_prior import PoseMahalanobis
from ml_backend.acquisition.scores.temporal import TemporalPoseChange
from ml_backend.acquisition.scores.uncalibrated_views import AffineResidual, EpipolarResidual
from tests.predictions import predicted

pytestmark = pytest.mark.data

MOUSE = Skeleton("mouse", ("snout", "leftear", "rightear", "tailbase"), ((0, 1), (0, 2), (0, 3)))


def run(xy_px: FloatArray, size_px: tuple[float, float], outputs: Any = None, **more: Any) -> Chunk:
    n, views = xy_px.shape[:2]
    return Chunk(
        sequence="recording",
        index=np.arange(n, dtype=np.int64),
        core=slice(0, n),
        prediction=predicted(xy_px, more.pop("confidence", None), outputs),
        size_px=np.tile(np.array(size_px), (views, 1)),
        **more,
    )


def labels(xy_px: FloatArray, size_px: tuple[float, float]) -> Labelled:
    state = np.where(np.isfinite(xy_px).all(axis=-1), PointState.VISIBLE, PointState.UNLABELLED).astype(np.int64)
    return Labelled(xy_px, state, np.tile(np.array(size_px), (xy_px.shape[1], 1)))


def read_csv(path: Path) -> tuple[list[str], FloatArray]:
    """Names of the columns' body parts and the numbers, NaN for empty cells; three header lines."""
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    return rows[1][1:], np.array([[float(cell) if cell else np.nan for cell in row[1:]] for row in rows[3:]])


@pytest.fixture(scope="module")
def open_field(data_folder: Path) -> tuple[FloatArray, FloatArray]:
    """2,330 frames of predictions: points (n, 4, 2) and likelihood (n, 4)."""
    h5py = pytest.importorskip("h5py")
    (path,) = (data_folder / "dlc_openfield/predictions").glob("*.h5")
    with h5py.File(path) as file:
        values = file["df_with_missing/table"]["values_block_0"].reshape(-1, 4, 3)
    return values[..., :2], values[..., 2]


def test_the_58_jumps_are_at_the_top_of_pose_change(open_field: tuple[FloatArray, FloatArray]) -> None:
    """A jump is a keypoint that moves by more than 100 px between two frames.  Both frames are wrong or next to it."""
    xy, likelihood = open_field
    step = np.linalg.norm(np.diff(xy, axis=0), axis=-1)
    jumps = np.argwhere(step > 100)
    assert len(jumps) == 58
    scores = TemporalPoseChange().score(run(xy[:, None], (640.0, 480.0), confidence=likelihood[:, None]), None)
    assert scores.per_point is not None

    at_end = np.zeros(xy.shape[:2], dtype=bool)
    for frame, keypoint in jumps:
        at_end[frame : frame + 2, keypoint] = True

    # by point: the 100 ends of jumps have a mean step above 50 px; what mixes with them moves by nearly 100 px twice
    points = scores.per_point[:, 0]
    assert (points[at_end] > 50).all()
    order = np.argsort(-points, axis=None)
    assert at_end.sum() == 100
    assert at_end.ravel()[order[:20]].all()
    assert at_end.ravel()[order[:100]].sum() >= 90

    # by frame: all 78 frames that touch a jump are among the first 100 of 2,330, and most of the first 58 touch one
    touched: BoolArray = np.any(at_end, axis=1)
    ranked = np.argsort(-scores.raw)
    assert touched.sum() == 78
    assert touched[ranked[:100]].sum() == 78
    assert touched[ranked[:58]].sum() >= 50


def test_pose_prior_from_other_labels_finds_wrong_mice(open_field: tuple[FloatArray, FloatArray], data_folder: Path) -> None:
    """Labels of another animal in another session; wrong = likelihood below 0.1 at some point."""
    xy, likelihood = open_field
    names, values = read_csv(data_folder / "dlc_openfield/labeled-data/m4s1/CollectedData_Pranav.csv")
    labelled = labels(values.reshape(-1, 1, 4, 2), (640.0, 480.0))
    assert names[::2] == list(MOUSE.keypoints)
    wrong = likelihood.min(axis=1) < 0.1
    for score in (PoseMahalanobis(), SCORES["link_length"]()):
        raw = score.score(run(xy[:, None], (640.0, 480.0)), score.fit(labelled, None, MOUSE)).raw
        ahead = (raw[wrong][:, None] > raw[~wrong][None]).mean()
        assert ahead > 0.8, f"{score.name}: a wrong frame ranks above a right one in {ahead:.1%}"


@pytest.fixture(scope="module")
def mirror_ensemble(data_folder: Path) -> FloatArray:
    """(5 models, 2000 frames, 2 views, 4 paws, 2)."""
    models = []
    for path in sorted((data_folder / "eks/mirror-mouse").glob("*.csv")):
        names, values = read_csv(path)
        points = values.reshape(len(values), -1, 3)[..., :2]
        order = [names[::3].index(f"{paw}_{view}") for view in ("top", "bot") for paw in PAWS]
        models.append(points[:, order].reshape(len(values), 2, 4, 2))
    return np.stack(models)


PAWS = ("paw1LH", "paw2LF", "paw3RF", "paw4RH")


def test_ensemble_variance_on_five_models(mirror_ensemble: FloatArray) -> None:
    assert mirror_ensemble.shape == (5, 2000, 2, 4, 2)
    mean = mirror_ensemble.mean(axis=0)
    scores = EnsembleVariance().score(run(mean, (406.0, 396.0), {Output.ENSEMBLE: np.moveaxis(mirror_ensemble, 0, 3)}), None)
    assert scores.per_point is not None
    np.testing.assert_allclose(scores.per_point, mirror_ensemble.var(axis=0, ddof=1).sum(axis=-1))
    assert (scores.support == 8).all()
    # one model that loses a paw altogether comes first
    spoilt = mirror_ensemble.copy()
    spoilt[2, 700, 1, 3] += 300.0
    again = EnsembleVariance().score(run(mean, (406.0, 396.0), {Output.ENSEMBLE: np.moveaxis(spoilt, 0, 3)}), None)
    assert again.raw.argmax() == 700


def test_affine_residual_agrees_with_the_ensemble(mirror_ensemble: FloatArray) -> None:
    """The mirror makes two views of one picture; the model is learned from every 20th frame of the median prediction."""
    median = np.median(mirror_ensemble, axis=0)
    score = AffineResidual()
    chunk = run(median, (406.0, 396.0), {Output.ENSEMBLE: np.moveaxis(mirror_ensemble, 0, 3)})
    scores = score.score(chunk, score.fit(labels(median[::20], (406.0, 396.0)), None, Skeleton("paws", PAWS)))
    assert (scores.support == 8).all()
    assert scores.per_point is not None
    assert np.median(scores.per_point) < 3.0
    variance = EnsembleVariance().score(chunk, None).raw
    unsure = variance > np.quantile(variance, 0.95)
    ahead = (scores.raw[unsure][:, None] > scores.raw[~unsure][None]).mean()
    assert ahead > 0.6


def test_hand_labels_in_the_mirror_are_a_few_pixels_apart(data_folder: Path) -> None:
    names, values = read_csv(data_folder / "lp_mirror_mouse/CollectedData.csv")
    parts = (*PAWS, "tailBase", "tailMid", "nose")
    order = [names[::2].index(f"{part}_{view}") for view in ("top", "bot") for part in parts]
    xy = values.reshape(len(values), -1, 2)[:, order].reshape(len(values), 2, 7, 2)
    body, labelled, chunk = Skeleton("mouse", parts), labels(xy, (406.0, 396.0)), run(xy, (406.0, 396.0))
    for score, limit in ((EpipolarResidual(), (2.0, 4.5)), (AffineResidual(), (1.0, 4.5))):
        scores = score.score(chunk, score.fit(labelled, None, body))
        assert scores.per_point is not None
        assert limit[0] < np.nanmedian(scores.per_point) < limit[1]
        shifted = xy.copy()
        shifted[40, 0, 0] += [0.0, 60.0]
        shifted[40, 0, 1] += [60.0, 0.0]
        moved = score.score(run(shifted, (406.0, 396.0)), score.fit(labelled, None, body))
        assert moved.raw[40] > scores.raw[40] + 3
