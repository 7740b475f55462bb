from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_config.values import BadInputError
from ml_backend.acquisition.fusion import Component, fuse, min_max, percentiles

NAN = float("nan")


def test_percentiles_by_hand() -> None:
    # Four finite values: below + half of the equal ones, over four.
    raw = np.array([5.0, NAN, 1.0, 5.0, 9.0, np.inf])
    np.testing.assert_allclose(percentiles(raw), [2 / 4, NAN, 0.5 / 4, 2 / 4, 3.5 / 4, NAN])


@pytest.mark.parametrize(
    ("raw", "expected"),
    [([], []), ([3.0], [0.5]), ([7.0, 7.0, 7.0], [0.5, 0.5, 0.5]), ([NAN, NAN], [NAN, NAN]), ([-np.inf, 0.0], [NAN, 0.5])],
)
def test_percentiles_of_small_pools(raw: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(percentiles(np.array(raw, dtype=float)), expected)


@given(st.lists(st.one_of(st.integers(-5, 5).map(float), st.just(NAN)), max_size=40))
@settings(deadline=None, max_examples=60)
def test_percentiles_equal_their_definition(values: list[float]) -> None:
    raw = np.array(values, dtype=float)
    finite = raw[np.isfinite(raw)]
    expected = [((finite < v).sum() + 0.5 * (finite == v).sum()) / len(finite) if np.isfinite(v) else NAN for v in raw]
    np.testing.assert_allclose(percentiles(raw), expected)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30, unique=True))
@settings(deadline=None, max_examples=30)
def test_percentiles_ignore_a_monotone_change_of_unit(values: list[float]) -> None:
    raw = np.array(values)
    changed = np.argsort(np.argsort(raw)).astype(float) ** 3 + 7
    np.testing.assert_array_equal(percentiles(raw), percentiles(changed))


def test_min_max() -> None:
    np.testing.assert_allclose(min_max(np.array([2.0, NAN, 4.0, 3.0])), [0, NAN, 1, 0.5])
    np.testing.assert_allclose(min_max(np.array([6.0, 6.0, NAN])), [0.5, 0.5, NAN])
    np.testing.assert_allclose(min_max(np.array([-1.5e308, 1.5e308])), [0, 1])
    assert np.isnan(min_max(np.array([NAN]))).all()


def test_fused_score_uses_only_what_a_frame_has() -> None:
    a = Component("a", np.array([1.0, 2.0, NAN, NAN]), weight=3.0)
    b = Component("b", np.array([20.0, 10.0, 30.0, NAN]), weight=1.0)
    fused = fuse([a, b], 4)
    # a: percentiles 1/4, 3/4; b: 1/2, 1/6, 5/6.
    np.testing.assert_allclose(fused.total, [(3 / 4 + 1 / 2) / 4, (9 / 4 + 1 / 6) / 4, 5 / 6, NAN])
    assert fused.unscored.tolist() == [False, False, False, True]


def test_weight_zero_is_recorded_but_not_counted() -> None:
    fused = fuse([Component("a", np.array([1.0, 2.0]), weight=0.0)], 2)
    np.testing.assert_allclose(fused.scaled, [[0.25, 0.75]])
    assert fused.unscored.all()


def test_minmax_is_the_equal_sum_of_the_paper() -> None:
    thc, wpu = np.array([0.0, 5.0, 10.0]), np.array([3.0, 1.0, 2.0])
    fused = fuse([Component("thc", thc), Component("wpu", wpu)], 3, "minmax")
    np.testing.assert_allclose(min_max(fused.total), min_max(thc / 10 + (wpu - 1) / 2))


def test_nothing_to_fuse() -> None:
    assert fuse([], 3).unscored.all()
    assert fuse([Component("a", np.zeros(0))], 0).total.shape == (0,)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: fuse([Component("a", np.zeros(3))], 4), "each of 4 frames"),
        (lambda: fuse([Component("a", np.zeros(3)), Component("a", np.zeros(3))], 3), "listed twice"),
        (lambda: Component("a", np.zeros((3, 1))), r"shape \(n,\)"),
        (lambda: Component("a", np.zeros(3), weight=-1.0), "weight"),
        (lambda: Component("a", np.zeros(3), weight=NAN), "weight"),
        (lambda: Component("a", np.zeros(3), support=np.zeros(2, dtype=int)), "support"),
    ],
)
def test_bad_components_are_named(make: Any, said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        make()
