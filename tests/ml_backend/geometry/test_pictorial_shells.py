from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError, FloatArray
from ml_backend.geometry.pictorial_shells import ShellConvolution, shell


def brute_force(field: FloatArray, length: float, tolerance: float) -> FloatArray:
    """Sum over all pairs of voxels, straight from the definition of the pairwise term."""
    voxels = np.argwhere(np.ones(field.shape, dtype=bool))
    distance = np.linalg.norm(voxels[:, None] - voxels[None, :], axis=-1)
    total: FloatArray = (np.abs(distance - length) <= tolerance) @ field.ravel()
    return total.reshape(field.shape)


@pytest.mark.parametrize(
    ("length", "tolerance"),
    [
        (4.3, 1.0),
        (0.4, 0.7),  # the ball: inner radius below zero
        (11.0, 2.5),  # shell larger than the grid in most directions
        (17.5, 1.0),  # only reaches along diagonals
    ],
)
def test_message_equals_the_sum_over_all_pairs_of_voxels(length: Any, tolerance: Any) -> None:
    field = np.random.default_rng(3).random((12, 12, 12))
    expected = brute_force(field, length, tolerance)
    np.testing.assert_allclose(ShellConvolution(length, tolerance, 12, np.float64)(field), expected, atol=1e-10)
    single = ShellConvolution(length, tolerance, 12)(field.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, atol=1e-5 * expected.max())


def test_padding_is_only_what_the_shell_reaches() -> None:
    assert ShellConvolution(10.0, 1.0, 64).padded == 75  # 64 + 11, and 75 = 3·5² is a fast length
    assert ShellConvolution(90.0, 1.0, 64).padded <= 128  # never more than full padding


def test_shell_of_radius_one_has_the_six_neighbours() -> None:
    assert shell(1.0, 0.3, 1).sum() == 6
    assert shell(0.0, 0.5, 1).sum() == 1  # the middle is counted once


@pytest.mark.parametrize(("length", "tolerance"), [(40.0, 1.0), (3.0, 0.2)])
def test_impossible_shell_is_an_error(length: Any, tolerance: Any) -> None:
    with pytest.raises(BadInputError, match=r"voxel"):
        ShellConvolution(length, tolerance, 12)
