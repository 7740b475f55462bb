"""Smoothed tracks against values worked out by hand, and against motion that is known."""

from __future__ import annotations

import numpy as np
import pytest

from label_config.values import FloatArray
from ml_backend.tracks.kalman import LONGEST_GAP, smooth_points
from ml_backend.tracks.smoothing import Method, filtered

NAN = np.nan


def test_the_median_of_five_frames_takes_a_jump_away_and_leaves_gaps() -> None:
    x = np.array([0.0, 1, 2, 90, 4, 5, NAN, 7, 8, 9])
    found = filtered(np.stack([x, -x], axis=-1)[:, None], Method.MEDIAN)[:, 0]
    # By hand: windows of five within 0 … 5, ends repeated; within 7 … 9 windows of three.
    expected = np.array([0, 1, 2, 4, 5, 5, NAN, 7, 8, 9])
    np.testing.assert_allclose(found[:, 0], expected)
    np.testing.assert_allclose(found[[0, 1, 2, 3, 7, 8, 9], 1], -expected[[0, 1, 2, 3, 7, 8, 9]])


def test_savitzky_and_golay_keep_a_parabola_and_never_reach_over_a_gap() -> None:
    t = np.arange(20.0)
    x = 3 - 2 * t + 0.5 * t**2
    x[8] = NAN
    x[9:] += 1000
    found = filtered(x[:, None, None], Method.SAVGOL)[:, 0, 0]
    np.testing.assert_allclose(found, x, atol=1e-9)
    # The middle weight of the quadratic filter of seven points is 7/21 (Savitzky & Golay 1964, table I).
    impulse = np.zeros((15, 1, 1))
    impulse[7] = 1
    np.testing.assert_allclose(filtered(impulse, Method.SAVGOL)[7, 0, 0], 7 / 21)


def test_runs_that_are_shorter_than_the_window() -> None:
    x = np.array([5.0, NAN, 1, 2, NAN, 1, 9, 1])[:, None, None]
    np.testing.assert_allclose(filtered(x, Method.SAVGOL)[:5], x[:5])
    np.testing.assert_allclose(filtered(x, Method.MEDIAN)[5:, 0, 0], [1, 1, 1])


def batch_least_squares(y: FloatArray, variance: FloatArray, q: float) -> FloatArray:
    """The same model solved at once: states of all frames by weighted least squares, no recursion."""
    n = len(y)
    rows, right = [], []
    half = np.linalg.cholesky(np.linalg.inv(q * np.array([[1 / 3, 1 / 2], [1 / 2, 1.0]]))).T
    for t in range(n):
        row = np.zeros((1, 2 * n))
        row[0, 2 * t] = variance[t] ** -0.5
        rows.append(row)
        right.append([y[t] * variance[t] ** -0.5])
        step = np.zeros((2, 2 * n))
        if t:
            step[:, 2 * t - 2 : 2 * t] = half @ np.array([[-1.0, -1], [0, -1]])
            step[:, 2 * t : 2 * t + 2] = half
        rows.append(step)
        right.append([0.0, 0.0])
    states: FloatArray = np.linalg.lstsq(np.concatenate(rows), np.concatenate(right), rcond=None)[0]
    return states[::2]


def test_the_smoother_is_the_least_squares_solution_of_its_model() -> None:
    from ml_backend.tracks import kalman

    rng = np.random.default_rng(0)
    variance, q = rng.uniform(0.5, 2.0, 30), 0.2
    y = np.cumsum(rng.normal(0, 1, 30))
    spread = variance[:, None, None, None]
    one = np.ones(1)
    filtered_ = kalman._filter(y[:, None, None], spread, np.ones((30, 1), dtype=bool), q * one, one)
    mean, _ = kalman._backwards(filtered_, q * one)
    np.testing.assert_allclose(mean[:, 0, 0], batch_least_squares(y, variance, q), atol=0.01)


@pytest.fixture
def circling() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Truth (n, 1, 3), points with noise of 2 along x and y and 10 along z, and their covariance but for a factor."""
    rng = np.random.default_rng(1)
    t = np.arange(400) / 20
    truth = np.stack([100 * np.cos(t), 100 * np.sin(t), 20 * t], axis=-1)[:, None]
    noise = rng.normal(size=truth.shape) * (2.0, 2.0, 10.0)
    covariance = np.broadcast_to(np.diag([1.0, 1.0, 25.0]), (400, 1, 3, 3))
    return truth, truth + noise, covariance


def test_noise_is_found_and_reduced_to_less_than_half(circling: tuple[FloatArray, ...]) -> None:
    truth, points, covariance = circling
    found = smooth_points(points, covariance)
    before, after = (np.sqrt(((x - truth) ** 2).mean(axis=(0, 1))) for x in (points, found.xyz))
    assert (after < 0.5 * before).all()
    np.testing.assert_allclose(found.noise, 4.0, rtol=0.25)
    # The covariance that it states is that of its errors.
    off = (found.xyz - truth)[20:-20, 0]
    squares = np.einsum("ni,ni->n", off, np.linalg.solve(found.covariance[20:-20, 0], off[..., None])[..., 0])
    assert 1.5 < squares.mean() < 5.0  # 3 in the mean


def test_wrong_points_do_not_pull_and_gaps_are_bridged_up_to_a_length(circling: tuple[FloatArray, ...]) -> None:
    truth, points, covariance = circling
    plain = smooth_points(points, covariance).xyz
    points = points.copy()
    points[[50, 51, 130, 240]] += 500.0
    points[300 : 300 + LONGEST_GAP] = NAN
    points[340 : 341 + LONGEST_GAP] = NAN
    points[:5] = points[-5:] = NAN
    found = smooth_points(points, covariance).xyz
    assert np.abs(found - plain)[[50, 51, 130, 240]].max() < 25
    assert np.isfinite(found[300 : 300 + LONGEST_GAP]).all()
    assert np.abs(found - truth)[300 : 300 + LONGEST_GAP].max() < 60
    for missing in (slice(340, 341 + LONGEST_GAP), slice(0, 5), slice(395, 400)):
        assert np.isnan(found[missing]).all()


def test_a_subject_that_really_is_elsewhere_is_followed(circling: tuple[FloatArray, ...]) -> None:
    _, points, covariance = circling
    points = points.copy()
    points[200:] += 1000.0
    found = smooth_points(points, covariance).xyz
    assert np.abs(found[215:] - points[215:]).max() < 60
    assert np.abs(found[:190] - points[:190]).max() < 60


def test_without_points_nothing_is_made_up() -> None:
    points = np.full((10, 2, 2), NAN)
    points[4, 0] = 1.0
    assert np.isnan(smooth_points(points).xyz).all()
