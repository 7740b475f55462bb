"""OSPA in closed form and against all assignments."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.metrics.ospa import ospa


def test_pairs_and_what_is_missing() -> None:
    assert ospa(np.zeros((0, 0))) == 0
    assert ospa(np.zeros((2, 0))) == 1
    assert ospa(np.zeros((0, 3)), cutoff=0.5) == 0.5
    assert ospa(np.array([[0.3]])) == pytest.approx(0.3)
    # one of two subjects found exactly: half a cut-off; by order 2 its square root
    assert ospa(np.array([[0.0], [0.9]])) == pytest.approx(0.5)
    assert ospa(np.array([[0.0], [0.9]]), order=2) == pytest.approx(0.5**0.5)
    assert ospa(np.array([[7.0]])) == ospa(np.array([[np.nan]])) == 1


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (4, 2), (1, 3)])
@pytest.mark.parametrize("order", [1, 2])
def test_cheapest_assignment_equals_enumeration(shape: Any, order: Any) -> None:
    distance = np.random.default_rng(sum(shape)).uniform(0, 1.5, shape)
    cut = np.minimum(distance if shape[0] <= shape[1] else distance.T, 1.0) ** order
    few, many = cut.shape
    best = min(sum(cut[i, p] for i, p in enumerate(chosen)) for chosen in permutations(range(many), few))
    assert ospa(distance, order=order) == pytest.approx(((best + many - few) / many) ** (1 / order))


@pytest.mark.parametrize("wrong", [{"cutoff": 0.0}, {"order": 0.5}])
def test_settings_without_meaning_are_refused(wrong: Any) -> None:
    with pytest.raises(BadInputError, match="OSPA"):
        ospa(np.zeros((1, 1)), **wrong)
