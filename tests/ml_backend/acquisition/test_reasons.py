import math
from dataclasses import replace

import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.acquisition.reasons import LONGEST, RANDOM, reason_line, reasons, worst_point
from ml_backend.acquisition.score_record import ComponentRecord, PointDetail
from ml_backend.acquisition.score_registry import SCORES

NAN = math.nan


def outliers(pct: float = 0.98) -> ComponentRecord:
    worst = PointDetail("cam5", "left_wrist", 1.0, residual_px=84.1, disagreeing=3, views=8)
    return ComponentRecord("outlier_ratio", 0.22, "1", pct, 3.0, 120, worst)


def test_the_line_names_view_and_keypoint() -> None:
    assert reason_line(reasons([outliers()])) == "3 of 8 views disagree on left wrist (cam5: 84 px)"


def test_of_several_subjects_the_line_names_one_and_people_count_from_one() -> None:
    said = reasons([replace(outliers(), subject=1), ComponentRecord("coreset_distance", 0.19, "m", 0.9, 1.0, subject=0)])
    assert said == (
        "subject 2: 3 of 8 views disagree on left wrist (cam5: 84 px)",
        "subject 1: pose far from the labelled ones (0.19 m)",
    )
    (text,) = reasons([replace(outliers(0.5), subject=1)], "diverse")
    assert text.endswith("check every point, first subject 2, left wrist (cam5: 84 px)")


def test_two_strongest_weighted_components() -> None:
    weak = ComponentRecord("mpe", 0.9, "nat", 0.99, 0.5)
    middle = ComponentRecord("coreset_distance", 0.19, "m", 0.9, 1.0)
    below = ComponentRecord("mc", 9.0, "px^2", 0.79, 5.0)
    silent = ComponentRecord("thc", NAN, "1", NAN, 9.0)
    unweighted = ComponentRecord("wpu", 9.0, "z", 1.0, 0.0)
    assert reasons([weak, below, silent, unweighted, middle, outliers()]) == (
        "3 of 8 views disagree on left wrist (cam5: 84 px)",
        "pose far from the labelled ones (0.19 m)",
    )
    assert "disagree" in reasons([outliers(0.8)])[0]
    assert reasons([outliers(0.79)]) == ("next by score",)


def test_squared_pixels_are_shown_as_pixels() -> None:
    item = ComponentRecord("mc", 612.4, "px^2", 0.95, 2.0, 120, PointDetail("cam5", "left_wrist", 7056.0))
    assert reasons([item]) == ("cameras disagree on left wrist (cam5: 84 px)",)
    assert reasons([ComponentRecord("mc", 625.0, "px^2", 0.95, 2.0)]) == ("cameras disagree by 25 px",)


def test_random_and_blind_picks_get_no_hint() -> None:
    assert reasons([outliers()], "random") == (RANDOM,)
    assert reasons([outliers()], "ranked", without_points=True) == (RANDOM,)


def test_a_frame_unlike_the_labelled_ones_says_where_to_look() -> None:
    assert reasons([], "diverse") == ("unlike the labelled frames: check every point",)
    said = "unlike the labelled frames: check every point, first left wrist (cam5: 84 px)"
    assert reasons([outliers(0.5)], "diverse") == (said,)
    assert reasons([outliers(0.5)], "diverse", stands_for=12) == (said, "stands for 12 frames like it")
    assert reasons([], "unscored") == ("no score yet; unlike the labelled frames: check every point",)


@pytest.mark.parametrize("kind", ["diverse", "unscored", "ranked"])
def test_there_is_always_a_text(kind: str) -> None:
    assert reason_line(reasons([], kind))


@pytest.mark.parametrize("name", [*SCORES, "a_score_of_somebody_else"])
def test_every_score_has_a_text_with_and_without_a_point(name: str) -> None:
    point = PointDetail("cam5", "left_wrist", 30.0)
    with_point = reasons([ComponentRecord(name, 30.0, "px", 0.9, 1.0, 3, point)])
    without = reasons([ComponentRecord(name, 30.0, "px", 0.9, 1.0)])
    for (text,) in (with_point, without):
        assert 5 < len(text) <= LONGEST
        assert "{" not in text
    generic = f"{name.replace('_', ' ')} is high"
    assert with_point[0].startswith(generic) == (name == "a_score_of_somebody_else")


def test_the_line_is_never_too_long() -> None:
    assert reason_line(["a" * 100, "b" * 58]) == "a" * 100 + "; " + "b" * 58
    assert reason_line(["a" * 100, "b" * 59]) == "a" * 100
    assert reason_line(["a" * 161]) == "a" * 159 + "…"
    assert reason_line(["a" * 160]) == "a" * 160
    assert reason_line([]) == ""


def test_worst_point_of_residuals() -> None:
    error = np.array([[1.0, NAN, 3.0], [2.0, NAN, 9.0]])
    assert worst_point(error, ["a", "b"], ["x", "y", "z"]) == PointDetail("b", "z", 9.0)
    assert worst_point(np.full((2, 3), NAN), ["a", "b"], ["x", "y", "z"]) is None


def test_worst_point_of_outlier_flags() -> None:
    # z has two outlier views, the larger residual is in c; view d does not see it.
    flags = np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, NAN]])
    residual = np.array([[99.0, 1.0, 30.0], [1.0, 1.0, 2.0], [1.0, 1.0, 84.0], [1.0, 1.0, NAN]])
    inlier = flags == 0
    detail = worst_point(flags, list("abcd"), list("xyz"), residual_px=residual, inlier=inlier)
    assert detail == PointDetail("c", "z", 1.0, 84.0, disagreeing=2, views=3)


def test_equal_points_go_to_the_first() -> None:
    assert worst_point(np.ones((2, 2)), ["a", "b"], ["x", "y"]) == PointDetail("a", "x", 1.0)


def test_wrong_shape_is_named() -> None:
    with pytest.raises(BadInputError, match="residual_px"):
        worst_point(np.ones((2, 2)), ["a", "b"], ["x", "y"], residual_px=np.ones((2, 3)))
