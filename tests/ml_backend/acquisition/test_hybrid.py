import numpy as np
import pytest

from label_config.values import BadInputError, FloatArray
from ml_backend.acquisition.feature_spaces import make_space
from ml_backend.acquisition.hybrid import filter_views, passes_filter, suppress_neighbours


def frames_with(found: list[int], keypoints: int = 18) -> FloatArray:
    """One frame for each number of found keypoints."""
    return np.stack([np.where(np.arange(keypoints) < count, 0.9, 0.1) for count in found])


def test_rules_count_on_eighteen_keypoints() -> None:
    confidence = frames_with([0, 5, 6, 12, 13, 18])
    # A: at least 6 not found = at most 12 found.  B: fewer than 6 found.
    assert passes_filter(confidence, rule="A").tolist() == [True, True, True, True, False, False]
    assert passes_filter(confidence, rule="B").tolist() == [True, True, False, False, False, False]


def test_b_is_part_of_a_and_empty_frames_pass() -> None:
    confidence = np.random.default_rng(0).random((500, 18))
    a, b = passes_filter(confidence, rule="A"), passes_filter(confidence, rule="B")
    assert (a | ~b).all()
    assert a.sum() > b.sum()
    for nothing in (np.zeros((1, 18)), np.full((1, 18), np.nan)):
        assert passes_filter(nothing, rule="A").all()
        assert passes_filter(nothing, rule="B").all()


def test_the_level_itself_counts_as_found() -> None:
    confidence = np.array([[0.3, 0.3, 0.299999]])
    assert passes_filter(confidence, least=1).tolist() == [True]
    assert passes_filter(confidence, least=2).tolist() == [False]


def test_frames_without_anybody_are_capped() -> None:
    confidence = frames_with([0, 0, 3, 0, 18, 0])
    uncertainty = np.array([0.1, 0.9, 0.0, np.nan, 1.0, 0.9])
    assert filter_views(confidence[:, None], uncertainty, 2, empty_share=1.0).tolist() == [False, True, True, False, False, True]
    assert filter_views(confidence[:, None], uncertainty, 0).tolist() == [False, False, True, False, False, False]


def test_neighbours_are_suppressed() -> None:
    # Two groups of three; two picks suppress ceil(6 / 2) - 1 = 2 neighbours each.
    x = np.array([[0.0], [1.0], [2.0], [100.0], [101.0], [102.0]])
    uncertainty = np.array([0.9, 0.8, 0.7, 0.1, 0.3, 0.2])
    assert suppress_neighbours(make_space("l2", x), uncertainty, 2, np.ones(6, dtype=bool)) == [0, 4]
    everything = suppress_neighbours(make_space("l2", x), uncertainty, 6, np.ones(6, dtype=bool))
    assert everything == [0, 1, 2, 4, 5, 3], "as many picks as candidates suppress nothing"


def test_suppressed_candidates_come_when_nothing_else_is_left() -> None:
    x = np.array([[0.0], [0.1], [9.0], [9.1]])
    hidden = np.zeros(4, dtype=bool)
    open_ = np.array([True, True, True, False])
    picks = suppress_neighbours(
        make_space("l2", x), np.array([0.9, 0.8, 0.1, 1.0]), 3, open_, around=lambda i: slice(2, 4), hidden=hidden
    )
    assert picks == [0, 1, 2], "position 2 is hidden after the first pick, 3 was never open"
    assert not open_.any()


def test_suppressed_candidates_come_before_those_too_near_in_time() -> None:
    # 0 suppresses 1 in space and hides 3 in time; 2 is free.
    x = np.array([[0.0], [0.1], [9.0], [50.0], [60.0]])
    picks = suppress_neighbours(
        make_space("l2", x),
        np.array([0.9, 0.2, 0.1, 0.8, 0.0]),
        3,
        np.array([True, True, True, True, False]),
        around=lambda i: slice(3, 4),
        hidden=np.zeros(5, dtype=bool),
    )
    assert picks == [0, 2, 1]


def test_missing_features_suppress_nobody() -> None:
    x = np.array([[np.nan], [0.0], [1.0], [2.0]])
    assert suppress_neighbours(make_space("l2", x), np.array([0.9, 0.8, 0.7, 0.6]), 2, np.ones(4, dtype=bool)) == [0, 1]


def test_nothing_to_choose_from() -> None:
    assert suppress_neighbours(make_space("l2", np.zeros((0, 2))), np.zeros(0), 3, np.zeros(0, dtype=bool)) == []
    with pytest.raises(BadInputError, match=r"\(n, K\)"):
        passes_filter(np.zeros(4))


def test_a_camera_that_found_nothing_is_not_hidden_by_one_that_found_everything() -> None:
    confidence = np.full((5, 2, 6), 0.9)
    confidence[1, :, :2] = 0.1  # not found by either view
    confidence[2, 0] = 0.1  # nothing found in one view; 0.5 in the mean over the views
    confidence[3, 0] = np.nan  # one view missing, which is no finding
    confidence[4, 1, 0] = 0.1  # a single keypoint of six
    assert filter_views(confidence, np.zeros(5), 10).tolist() == [False, True, True, False, False]


def test_a_quantile_is_relative_to_the_confidences_of_each_camera() -> None:
    """A network that never says less than 0.3: by the printed threshold nothing passes."""
    rng = np.random.default_rng(0)
    confidence = np.stack([rng.uniform(0.8, 1.0, (50, 6)), rng.uniform(0.4, 0.5, (50, 6))], axis=1)
    confidence[7, 0, :3] = 0.79  # the lowest of the first camera
    confidence[9, 1, :3] = 0.39  # the lowest of the second
    assert not filter_views(confidence, np.zeros(50), 10).any()
    # 1 % of 300 keypoints are 3: those of one frame for each camera
    found = filter_views(confidence, np.zeros(50), 10, quantile=0.01)
    assert np.flatnonzero(found).tolist() == [7, 9]


def test_a_tenth_of_the_batch_may_show_nothing() -> None:
    uncertainty = np.linspace(0, 1, 40, dtype=np.float64)
    for batch, most in ((1, 1), (10, 1), (15, 2), (30, 3)):
        assert np.flatnonzero(filter_views(np.full((40, 2, 6), 0.1), uncertainty, batch)).tolist() == list(range(40 - most, 40))
