"""The simulated person: exact or careless, in all views or in those that tell most."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.geometry.cameras import Camera, Rig
from ml_backend.simulation.experiments.data import load_recording
from ml_backend.simulation.experiments.design import Design
from ml_backend.simulation.experiments.simulated_annotator import annotate, best_views

DESIGN = Design(initial=4, pool_frames=40, test_frames=8, views=4, rare_fraction=0.4, input_px=(64, 64))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_recording(DESIGN, 5, tmp_path_factory.mktemp("renders"), tmp_path_factory.mktemp("data"))


def test_errs_by_the_given_amount(recording: Any) -> None:
    training_set = annotate(DESIGN.but(annotator_px=2.0), recording, recording.pool)
    error = (training_set.xy_px - recording.xy_px[recording.pool])[(training_set.weight > 0) & ~recording.hidden[recording.pool]]
    assert np.std(error) == pytest.approx(2.0, rel=0.25)  # a few exchanged sides widen it
    assert 0 < (training_set.weight == 0).mean() < 0.03  # forgotten points
    exact = annotate(DESIGN, recording, recording.pool)
    np.testing.assert_array_equal(exact.xy_px, recording.xy_px[recording.pool])


@pytest.mark.parametrize("views", [0, 2])
def test_nothing_is_said_about_no_frame(recording: Any, views: Any) -> None:
    training_set = annotate(DESIGN.but(annotator_px=2.0), recording, recording.pool[:0], views)
    assert (len(training_set.rows), training_set.xy_px.shape) == (0, (0, *recording.xy_px.shape[1:]))


def test_two_exact_views_tell_the_others_exactly_but_count_half(recording: Any) -> None:
    training_set = annotate(DESIGN, recording, recording.pool, 2)
    own, told = training_set.weight == 1.0, training_set.weight == 0.5
    assert (own.sum(axis=1) == 2).all()
    assert told.sum() > 0.9 * own.sum()
    known = training_set.weight > 0
    np.testing.assert_allclose(training_set.xy_px[known], recording.xy_px[recording.pool][known], atol=1e-3)


def test_all_views_is_the_same_as_no_choice(recording: Any) -> None:
    some, all_ = (annotate(DESIGN, recording, recording.pool, views) for views in (4, 0))
    np.testing.assert_array_equal(some.xy_px, all_.xy_px)
    np.testing.assert_array_equal(some.weight, all_.weight)


def test_some_views_of_an_uncalibrated_recording_is_an_error(recording: Any) -> None:
    with pytest.raises(BadInputError, match="calibrated"):
        annotate(DESIGN, replace(recording, rig=None), recording.pool, 2)


def test_best_views_cross_at_a_right_angle() -> None:
    def camera(degrees: Any) -> Any:
        angle = np.radians(degrees)
        forward = -np.array([np.cos(angle), 0.0, np.sin(angle)])
        down = np.array([0.0, 1.0, 0.0])
        rotation = np.stack([np.cross(down, forward), down, forward])
        return Camera(str(degrees), np.diag([500.0, 500.0, 1.0]), rotation, rotation @ (1000 * forward), size_px=(100, 100))

    rig = Rig(tuple(camera(degrees) for degrees in (0, 30, 80, 175)))
    # least eigenvalues 1 - |cos|: 0-30 .13, 0-80 .83, 0-175 .004, 30-80 .36, 30-175 .18, 80-175 .91
    assert best_views(rig, np.zeros(3), 2) == [2, 3]
    assert best_views(rig, np.zeros(3), 4) == [0, 1, 2, 3]
    for count in (1, 5):
        with pytest.raises(BadInputError, match="2 to 4 labelled views"):
            best_views(rig, np.zeros(3), count)
