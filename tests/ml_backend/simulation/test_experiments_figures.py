"""What is computed from the table of results, on tables made by hand."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.simulation.experiments.arms import Arm
from ml_backend.simulation.experiments.design import DESIGNS, Design
from ml_backend.simulation.experiments.learning_curves import (
    against_random,
    area,
    complete_cells,
    curve_of,
    kinds_of,
    label_ratio,
    labels_needed,
    last,
    stopping,
)
from ml_backend.simulation.experiments.results_table import FIELDS, append_rows, read_rows
from ml_backend.simulation.experiments.turnaround import TurnaroundClock, rounds_for


def rows_of(strategy: Any, errors: Any, seed: int = 0, **more: Any) -> Any:
    """One cell per round: 10, 20, 30 … labels."""
    figures = dict.fromkeys(FIELDS, math.nan)
    return [
        figures
        | {"strategy": strategy, "seed": seed, "round": r, "labels": 10.0 * (r + 1), "error": float(error)}
        | {name: values[r] for name, values in more.items()}
        for r, error in enumerate(errors)
    ]


def test_turn_around_of_the_published_example() -> None:
    """1,000 of 5,008 frames, 200 first, 100 per round, 1 min and 1 h: 25.7 h against 83.5 h."""
    clock = TurnaroundClock()
    rounds = rounds_for(1000, 200, 100)
    assert rounds == 8
    assert clock.sequential_hours(200, 100, rounds) == pytest.approx(25.7, abs=0.05)
    assert clock.conventional_hours(5008) == pytest.approx(83.5, abs=0.05)
    assert 1 - clock.sequential_hours(200, 100, rounds) / clock.conventional_hours(5008) == pytest.approx(0.69, abs=0.005)


def test_at_equal_accuracy_a_loop_with_many_trainings_is_slower() -> None:
    """130 labels in five trainings against 160 random ones at one go: 7.2 h against 2.7 h, or 3.7 h with their one training."""
    clock = TurnaroundClock()
    hours = clock.sequential_hours(10, 30, 4)
    assert hours == pytest.approx(130 / 60 + 5)
    printed, with_training = clock.at_equal_accuracy(hours, 160)
    assert printed == pytest.approx((130 / 60 + 5) / (160 / 60))
    assert with_training == pytest.approx((130 / 60 + 5) / (160 / 60 + 1))
    assert printed > with_training > 1
    quick = TurnaroundClock(minutes_per_frame=5.0, hours_per_training=0.25)
    assert max(quick.at_equal_accuracy(quick.sequential_hours(10, 30, 4), 160)) < 1, "dear labels, cheap trainings"


@pytest.mark.parametrize(
    ("clock", "hours"),
    [
        (
            TurnaroundClock(1.0, 1.0),
            200 / 60 + 8 * 100 / 60 + 1,
        ),  # labelling a batch takes longer than training: training is hidden
        (TurnaroundClock(0.3, 1.0), 0.3 * 200 / 60 + 8 * 1.0 + 1),  # training takes longer
    ],
)
def test_overlapped_rounds_take_the_longer_of_the_two(clock: Any, hours: Any) -> None:
    assert clock.overlapped_hours(200, 100, 8) == pytest.approx(hours)
    assert clock.overlapped_hours(200, 100, 8) < clock.sequential_hours(200, 100, 8)


@pytest.mark.parametrize(("labels", "rounds"), [(200, 0), (150, 0), (201, 1), (300, 1), (301, 2)])
def test_rounds_until_a_number_of_labels(labels: Any, rounds: Any) -> None:
    assert rounds_for(labels, 200, 100) == rounds


def test_rounds_for_labels_that_are_never_reached() -> None:
    with pytest.raises(BadInputError, match="finite"):
        rounds_for(math.inf, 200, 100)


@pytest.mark.parametrize(
    ("target", "labels"),
    [(8.0, 10.0), (9.0, 10.0), (6.0, 15.0), (4.0, 20.0), (3.0, 30.0), (2.9, math.inf)],
)
def test_labels_needed_between_rounds(target: Any, labels: Any) -> None:
    assert labels_needed(np.array([10.0, 20.0, 30.0]), np.array([8.0, 4.0, 3.0]), target) == pytest.approx(labels)


def test_area_is_the_mean_height_over_the_budget() -> None:
    assert area(np.array([20.0, 40.0, 80.0]), np.array([5.0, 5.0, 5.0])) == pytest.approx(5.0)
    # trapezoids: 20 labels at mean 6, 40 labels at mean 3
    assert area(np.array([20.0, 40.0, 80.0]), np.array([8.0, 4.0, 2.0])) == pytest.approx((20 * 6 + 40 * 3) / 60)


def test_draws_of_one_seed_are_averaged_before_seeds_are() -> None:
    rows = rows_of("random", [4, 2]) + rows_of("random#2", [8, 4]) + rows_of("random", [1, 1], seed=1)
    curve = curve_of(rows, "random")
    np.testing.assert_allclose(curve.value, [[6, 3], [1, 1]])
    np.testing.assert_allclose(curve.mean, [3.5, 2])
    np.testing.assert_allclose(curve.labels, [10, 20])


def test_references_are_no_strategies() -> None:
    rows = rows_of("mc", [1]) + rows_of("full", [1]) + rows_of("random#2", [1]) + rows_of("idle", [1])
    assert kinds_of(rows) == ["random", "mc"]


def test_comparison_is_paired_and_leaves_unfinished_seeds_out() -> None:
    rows = []
    for seed, level in enumerate((10.0, 50.0, 90.0)):
        rows += rows_of("random", [level, level], seed) + rows_of("mc", [level, level - 2], seed)
    rows += rows_of("random", [7.0, 7.0], 3) + rows_of("mc", [7.0], 3)
    found = against_random(rows, "mc", "error", last)
    assert found.n == 3
    # seeds differ by 80, yet every pair by 2: the interval has no width
    assert (found.delta, found.lo, found.hi) == pytest.approx((-2.0, -2.0, -2.0))
    assert against_random(rows, "mc", "error", area).delta == pytest.approx(-1.0)


def test_runs_under_way_are_left_out_of_reports() -> None:
    rows = rows_of("random", [9, 7, 5]) + rows_of("mc", [9, 7]) + rows_of("mc", [9, 7, 5], seed=1) + rows_of("full", [2])
    kept = complete_cells(rows, 2)
    assert [(row["strategy"], row["seed"]) for row in kept] == [("random", 0)] * 3 + [("mc", 1)] * 3 + [("full", 0)]


def test_label_ratio_of_a_strategy_that_needs_half() -> None:
    rows = []
    for seed in range(3):
        rows += rows_of("random", [9, 7, 5, 3], seed) + rows_of("mc", [9, 3, 3, 3], seed)
    found = label_ratio(rows, "mc", lambda _, chance: float(chance[-1]))
    assert (found.target, found.mine, found.chance, found.ratio) == pytest.approx((3, 20, 40, 0.5))
    assert (found.lo, found.hi, found.seeds) == pytest.approx((0.5, 0.5, 3))
    never = label_ratio(rows, "mc", lambda *_: 1.0)
    assert math.isinf(never.mine)
    assert math.isnan(never.ratio)


def test_stopping_rules_stop_in_the_first_round_above_the_threshold() -> None:
    rows = rows_of("composite", [9, 6, 3], batch_oks=[0.5, 0.75, 0.9], seen_oks_min=[0.1, 0.2, 0.3], val_oks_q05=[0.4, 0.6, 0.8])
    found = {(stop.rule, stop.threshold): stop for stop in stopping(rows, "composite")}
    assert found["SC_Min", 0.5].labels == 20  # 0.5 does not exceed 0.5
    assert found["SC_Min", 0.8].labels == 30
    assert found["SC_Min", 0.5].excess == pytest.approx(1.0)
    assert found["SC_quantile", 0.5].labels == 20
    assert found["SC_All", 0.5].stopped == 0
    assert math.isnan(found["SC_All", 0.5].labels)


@pytest.mark.parametrize(
    "text",
    [
        "random",
        "random#3",
        "mc",
        "hybrid",
        "duw",
        "k_median",
        "composite+pseudo",
        "composite+pseudo_repeat#2",
        "mc+views2",
        "mc+pseudo+views3#1",
    ],
)
def test_strategy_names_round_trip(text: Any) -> None:
    assert str(Arm.parse(text)) == text


@pytest.mark.parametrize("text", ["", "best", "mc+magic", "mc#x", "random#", "mc+views", "mc+views0"])
def test_unknown_strategies_are_refused_with_those_that_exist(text: Any) -> None:
    with pytest.raises(BadInputError, match="outlier_ratio"):
        Arm.parse(text)


def test_settings_of_a_design() -> None:
    design = DESIGNS["studio"].with_settings(["rounds=7", "input_px=[64, 64]", "warm_start=false", "precision=bfloat16"])
    assert (design.rounds, design.input_px, design.warm_start, design.precision) == (7, (64, 64), False, "bfloat16")
    assert Design.from_json(design.to_json()) == design
    with pytest.raises(BadInputError, match="colour"):
        design.with_settings(["colour=red"])
    with pytest.raises(BadInputError, match="batch"):
        design.with_settings(["batch=0"])


def test_table_survives_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    append_rows(path, rows_of("mc", [3.25, 2.5]))
    with path.open("a") as file:
        file.write("mc,0,2,30")  # killed here
    append_rows(path, rows_of("random", [4.0]))
    append_rows(path, rows_of("random", [5.0]))  # the same cell again: the first one counts
    rows = read_rows(path)
    assert [(row["strategy"], row["round"], row["error"]) for row in rows] == [
        ("mc", 0, 3.25),
        ("mc", 1, 2.5),
        ("random", 0, 4.0),
    ]
    assert math.isnan(float(rows[0]["entropy"]))


def test_table_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("strategy,seed\nmc,0\n")
    with pytest.raises(BadInputError, match="another version"):
        read_rows(path)
