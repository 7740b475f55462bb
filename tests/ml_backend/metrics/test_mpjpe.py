"""Position errors: each alignment forgives exactly its own group of motions."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from label_config.values import BadInputError
from ml_backend.metrics.mpjpe import position_error

TRUTH = np.random.default_rng(0).normal(0, 300, (6, 9, 3))


def test_absolute_error_of_a_translation_is_its_length() -> None:
    result = position_error(TRUTH + [3.0, 4.0, 0.0], TRUTH)
    assert result.mean == pytest.approx(5)
    assert result.median == pytest.approx(5)
    np.testing.assert_allclose(result.per_frame, 5)
    np.testing.assert_allclose(result.per_keypoint, 5)
    assert result.coverage == 1


@pytest.mark.parametrize("alignment", ["root", "mean", "procrustes"])
def test_alignments_forgive_a_translation_per_frame(alignment: Any) -> None:
    moved = TRUTH + np.random.default_rng(1).normal(0, 500, (6, 1, 3))
    assert position_error(moved, TRUTH, alignment, root=4).mean == pytest.approx(0, abs=1e-9)


def test_root_error_is_charged_to_the_other_joints_but_not_with_mean_alignment() -> None:
    predicted = TRUTH.copy()
    predicted[:, 2, 0] += 9.0
    root = position_error(predicted, TRUTH, "root", root=2)
    np.testing.assert_allclose(root.per_keypoint, [9, 9, 0, 9, 9, 9, 9, 9, 9])
    mean = position_error(predicted, TRUTH, "mean")
    np.testing.assert_allclose(mean.per_keypoint, [1, 1, 8, 1, 1, 1, 1, 1, 1])


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.2, 5))
def test_procrustes_forgives_similarities(seed: int, scale: Any) -> None:
    rotation = Rotation.random(random_state=seed).as_matrix()
    moved = scale * TRUTH @ rotation.T + [10.0, -20.0, 30.0]
    assert position_error(moved, TRUTH, "procrustes").mean < 1e-8
    assert position_error(moved, TRUTH, "mean").mean > 1


@pytest.mark.parametrize("mirror", [1, -1])
def test_procrustes_is_the_best_rotation_and_scale(mirror: Any) -> None:
    """Against SciPy's rotation; the best scale for a given rotation has a closed form.  A mirror image is not forgiven."""
    noisy = (TRUTH + np.random.default_rng(2).normal(0, 20, TRUTH.shape)) * [mirror, 1, 1] * 1.7 + 5
    expected = []
    for predicted, truth in zip(noisy, TRUTH, strict=True):
        a, b = predicted - predicted.mean(0), truth - truth.mean(0)
        turned = Rotation.align_vectors(b, a)[0].apply(a)
        scale = (turned * b).sum() / (a**2).sum()
        expected.append(np.linalg.norm(scale * turned - b, axis=-1).mean())
    result = position_error(noisy, TRUTH, "procrustes")
    np.testing.assert_allclose(result.per_frame, expected, rtol=1e-6)
    assert (result.mean > 100) == (mirror == -1)


@pytest.mark.parametrize("alignment", ["absolute", "root", "mean", "procrustes"])
def test_missing_joints_lower_the_coverage_only(alignment: Any) -> None:
    predicted = TRUTH.copy()
    predicted[0, 5] = np.nan
    truth = TRUTH.copy()
    truth[1, 6] = np.nan
    result = position_error(predicted, truth, alignment)
    assert result.mean == pytest.approx(0, abs=1e-9)
    assert result.coverage == pytest.approx((6 * 9 - 2) / (6 * 9 - 1))


def test_frames_that_cannot_be_aligned_are_left_out() -> None:
    predicted = TRUTH.copy()
    predicted[0, 0] = np.nan
    predicted[1, 2:] = np.nan
    predicted[2] = np.nan
    root = position_error(predicted, TRUTH, "root", root=0)
    assert np.isnan(root.per_frame).tolist() == [True, False, True, False, False, False]
    procrustes = position_error(predicted, TRUTH, "procrustes")
    assert np.isnan(procrustes.per_frame).tolist() == [False, True, True, False, False, False]
    assert root.coverage == pytest.approx((0 + 2 + 0 + 27) / 54)


def test_nothing_to_compare_is_nan_not_zero() -> None:
    result = position_error(np.full((2, 3, 3), np.nan), np.zeros((2, 3, 3)))
    assert math.isnan(result.mean)
    assert result.coverage == 0
    assert math.isnan(position_error(np.zeros((0, 3, 3)), np.zeros((0, 3, 3))).coverage)


def test_bad_input_is_named() -> None:
    with pytest.raises(BadInputError, match="absolute, root, mean, procrustes, got 'pelvis'"):
        position_error(TRUTH, TRUTH, "pelvis")  # type: ignore[arg-type]
    with pytest.raises(BadInputError, match=r"\(n, K, D\)"):
        position_error(TRUTH[0], TRUTH[0])
