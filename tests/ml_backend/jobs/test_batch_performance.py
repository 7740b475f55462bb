"""G of Taketsugu & Ukita (§3.3): mean OKS of the last batch under the model that chose it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ml_backend.evaluation.batch_performance import last_batch_performance
from ml_backend.project.round_state import RoundState
from tests.ml_backend.jobs.rounds_by_hand import Project

OFF_PX = 3.0
#: Stored labels are rounded to thousandths of a pixel.
ROUNDED = 1e-4


def oks_of_a_shift(made: Project, index: int) -> float:
    """exp(−d² / (2 · area · (2σ)²)) with d² = OFF_PX² + OFF_PX² for every keypoint; area of the box around the labels."""
    sides = np.ptp(made.studio.truth_xy[index], axis=1)  # (V, 2)
    area = sides[:, 0] * sides[:, 1]
    sigmas = np.array(made.workspace.binding.skeleton.sigmas)
    return float(np.mean([[np.exp(-(2 * OFF_PX**2) / (2 * a * (2 * s) ** 2)) for s in sigmas] for a in area]))


def test_nothing_is_known_before_a_model_has_chosen_a_batch(project: Callable[..., Project]) -> None:
    made = project()
    made.label(made.workspace, [0])
    made.train(set())
    found = last_batch_performance(RoundState(made.workspace))
    assert (np.isnan(found.oks), found.frames) == (True, 0)
    assert "not known yet" in str(found)


def test_it_is_the_mean_oks_of_the_networks_own_points_random_picks_included(project: Callable[..., Project]) -> None:
    made = project()
    made.label(made.workspace, [0])
    first = made.train({2, 8}, OFF_PX)
    # annotators are shown the right place, which all cameras agree on; and nothing for the random pick
    made.serve(first, {2: "diverse", 6: "random", 8: "", 10: "ranked"}, wrong=set())
    made.label(made.workspace, [2, 6, 8, 14])  # 8 was pseudo-labelled and 14 is no task of the order
    made.train({2, 6, 8, 10}, 500.0)  # what the next model says of them does not matter
    found = last_batch_performance(RoundState(made.workspace))
    assert found.frames == 2
    assert found.oks == pytest.approx((oks_of_a_shift(made, 2) + 1.0) / 2, abs=ROUNDED)
    assert 0.05 < found.oks < 0.95, "the figure can tell formulas apart"
    assert found.areas == ("the box around the labelled points",)
    assert str(found).endswith("(2 frames; area: the box around the labelled points)")


def test_a_training_without_new_labels_keeps_the_last_known_figure(project: Callable[..., Project]) -> None:
    made = project()
    made.label(made.workspace, [0])
    made.serve(made.train({2}, OFF_PX), {2: "diverse"}, wrong=set())
    made.label(made.workspace, [2])
    made.train(set())
    before = last_batch_performance(RoundState(made.workspace))
    made.train(set())
    assert last_batch_performance(RoundState(made.workspace)) == before
    assert before.oks == pytest.approx(oks_of_a_shift(made, 2), abs=ROUNDED)
