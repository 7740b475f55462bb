"""Heatmap normalisations in closed form."""

import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.heatmaps.normalise import normalise

HM = np.array([[[-1.0, 3.0], [1.0, 0.0]], [[-1.0, -2.0], [0.0, 0.0]]], dtype=np.float32)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("raw", [[-1, 3], [1, 0]]),
        ("clamp", [[0, 3], [1, 0]]),
        ("unit", [[0, 1.5], [0.5, 0]]),
        ("prob", [[0, 0.75], [0.25, 0]]),
    ],
)
def test_modes(mode, expected):
    np.testing.assert_allclose(normalise(HM, mode, amplitude=2.0)[0], expected)


def test_softmax_sums_to_one_and_survives_large_values():
    out = normalise(1000 * HM, "softmax", temperature=500.0)
    np.testing.assert_allclose(out.sum(axis=(1, 2)), 1, rtol=1e-6)
    np.testing.assert_allclose(out[0, 0, 1] / out[0, 1, 0], np.exp(4.0), rtol=1e-5)  # (3000 − 1000) / 500


def test_a_map_without_mass_has_no_distribution():
    assert np.isnan(normalise(HM, "prob")[1]).all()


def test_unknown_mode_is_named():
    with pytest.raises(BadInputError, match="got 'sum'"):
        normalise(HM, "sum")
    with pytest.raises(BadInputError, match=r"shape \(..., h, w\)"):
        normalise(np.zeros(3), "raw")
