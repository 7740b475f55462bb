"""Ensemble variance, and the random order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy import stats

from label_config.values.prediction import Output
from ml_backend.acquisition.scores.disagreement import EnsembleVariance
from ml_backend.acquisition.scores.random_order import Random
from tests.predictions import changed, predicted


def test_variance_is_numpys_and_missing_models_are_left_out(world: Any) -> None:
    xy = np.moveaxis(world.chunk.outputs[Output.ENSEMBLE], 3, 0).copy()
    expected = xy.var(axis=0, ddof=1).sum(axis=-1)
    whole = EnsembleVariance().score(world.chunk, None).per_point
    assert whole is not None
    np.testing.assert_allclose(whole, expected)
    xy[0, 3, 1, 2] = np.nan
    xy[:2, 4, 1, 2] = np.nan
    scores = EnsembleVariance().score(changed(world.chunk, {Output.ENSEMBLE: np.moveaxis(xy, 0, 3)}), None)
    assert scores.per_point is not None
    np.testing.assert_allclose(scores.per_point[3, 1, 2], xy[1:, 3, 1, 2].var(axis=0, ddof=1).sum())
    assert np.isnan(scores.per_point[4, 1, 2])
    assert scores.support[4] == 14


def test_far_from_the_origin_nothing_is_lost(world: Any) -> None:
    far = changed(world.chunk, {Output.ENSEMBLE: world.chunk.outputs[Output.ENSEMBLE] + 1e7})
    np.testing.assert_allclose(
        EnsembleVariance().score(far, None).raw, EnsembleVariance().score(world.chunk, None).raw, rtol=1e-6
    )


def test_the_random_order_depends_on_seed_and_key_alone(world: Any) -> None:
    long = replace(
        world.chunk,
        index=np.arange(20_000, dtype=np.int64),
        core=slice(0, 20_000),
        prediction=predicted(np.zeros((20_000, 3, 5, 2))),
    )
    raw = Random().score(long, None).raw
    assert np.array_equal(raw[:12], Random().score(world.chunk, None).raw)
    assert stats.kstest(raw, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(raw[1:], raw[:-1])[0, 1]) < 0.03
    assert len(np.unique(raw)) == 20_000
    for other in (Random(seed=1).score(long, None).raw, Random().score(replace(long, sequence="b"), None).raw):
        assert abs(np.corrcoef(raw, other)[0, 1]) < 0.03
