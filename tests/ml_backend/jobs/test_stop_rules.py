"""The stop rules of parallax.yaml: each has its own frames, evaluated by a model that had not learnt them in that round."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from ml_backend.evaluation import stop_advice as advice
from ml_backend.evaluation.stop_advice import stop_advice
from tests.ml_backend.jobs.rounds_by_hand import Project


def test_min_is_the_mean_of_what_was_served_whatever_it_was_chosen_for(project: Callable[..., Project]) -> None:
    made = project(rule="sc_min", rounds=1)
    made.label(made.workspace, [0])
    kinds = {2: "diverse", 4: "ranked", 6: "random", 8: "diverse", 10: ""}
    made.serve(made.train(set()), kinds, wrong={4})
    made.label(made.workspace, [2, 4, 6, 10])
    found = stop_advice(made.workspace)
    assert (found.rule, found.frames) == ("sc_min", 3)
    assert found.figure == pytest.approx(2 / 3)
    assert not found.met
    assert stop_advice(project(rule="sc_min", rounds=1, oks=0.6).workspace).met


def test_quantile_looks_at_random_picks_alone(project: Callable[..., Project]) -> None:
    made = project(rounds=1)
    made.label(made.workspace, [0])
    made.serve(made.train(set()), {2: "diverse", 4: "ranked", 6: "random"}, wrong={4})
    made.label(made.workspace, [2, 4, 6])
    found = stop_advice(made.workspace)
    assert (found.rule, found.frames, found.figure, found.met) == ("sc_quantile", 1, 1.0, True)


def test_all_is_every_labelled_frame_seen_by_the_model_before_the_round(project: Callable[..., Project]) -> None:
    made = project(rule="sc_all", rounds=2)
    made.label(made.workspace, [0, 2])
    made.train(wrong=set())
    assert math.isnan(stop_advice(made.workspace).figure), "nobody has labelled under this version"
    made.label(made.workspace, [4, 6])
    first = stop_advice(made.workspace)
    assert (first.frames, first.figure, first.rounds_met, first.met) == (4, 1.0, 1, False)
    made.train(wrong={2, 8, 30})  # has forgotten a frame that it learnt; 8 is not labelled
    assert stop_advice(made.workspace) == first, "the new version has nothing to show yet"
    made.label(made.workspace, [10])
    second = stop_advice(made.workspace)
    assert (second.rule, second.frames, second.met) == ("sc_all", 5, False)
    assert second.figure == pytest.approx(4 / 5)
    made.train(wrong=set())
    made.label(made.workspace, [12])
    made.train(wrong=set())
    made.label(made.workspace, [14])
    last = stop_advice(made.workspace)
    assert (last.rounds_met, last.met, last.figure) == (2, True, 1.0)
    assert len(advice._of_all_labelled(made.workspace)) == 4
