"""Means and medians over what is known equal NumPy's; nothing known is NaN without a warning."""

from __future__ import annotations

import numpy as np

from label_config.values.masked import masked_mean, masked_median, mean_of, median_of


def test_they_equal_numpy_where_something_is_known() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 5, 7))
    values[rng.uniform(size=values.shape) < 0.4] = np.nan
    values[..., 0] = 1.0
    np.testing.assert_allclose(masked_mean(values, axis=2)[0], np.nanmean(values, axis=2))
    np.testing.assert_array_equal(masked_mean(values, axis=(1, 2))[1], np.isfinite(values).sum(axis=(1, 2)))
    np.testing.assert_allclose(masked_median(values), np.nanmedian(values, axis=-1))
    np.testing.assert_allclose([mean_of(values), median_of(values)], [np.nanmean(values), np.nanmedian(values)])


def test_nothing_known_is_nan() -> None:
    for values in (np.zeros((2, 0)), np.full((2, 3), np.nan), np.full((2, 3), np.inf)):
        assert np.isnan([mean_of(values), median_of(values)]).all()
        assert np.isnan(masked_median(values)).all()
        assert np.isnan(masked_mean(values, axis=1)[0]).all()
