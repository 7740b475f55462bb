"""Scores of subjects become scores of frames."""

from __future__ import annotations

import numpy as np
import pytest

from ml_backend.acquisition.combining import Combine, combined, strongest

NAN = float("nan")
VALUES = np.array([[1.0, 3.0, NAN], [NAN, -2.0, NAN], [NAN, NAN, NAN], [2.0, 2.0, 2.0]])


@pytest.mark.parametrize(
    ("combine", "wanted"), [("mean", [2.0, -2.0, NAN, 2.0]), ("max", [3.0, -2.0, NAN, 2.0]), ("sum", [4.0, -2.0, NAN, 6.0])]
)
def test_subjects_of_which_nothing_is_known_do_not_count(combine: Combine, wanted: list[float]) -> None:
    np.testing.assert_array_equal(combined(VALUES, combine), wanted)


@pytest.mark.parametrize("combine", ["mean", "max", "sum"])
def test_of_one_subject_it_is_its_own_score_to_the_last_bit(combine: Combine) -> None:
    own = np.random.default_rng(0).normal(size=(50, 1)) * 10.0 ** np.arange(-25, 25)[:, None]
    padded = np.concatenate((np.full((50, 2), np.nan), own), axis=1)
    assert combined(own, combine).tobytes() == combined(padded, combine).tobytes() == own[:, 0].tobytes()


def test_the_strongest_is_the_first_of_equal_ones() -> None:
    assert strongest(VALUES).tolist() == [1, 1, -1, 0]
