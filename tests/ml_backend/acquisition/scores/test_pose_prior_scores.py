"""Autoencoder and Mahalanobis distance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError
from label_config.values.skeleton import Skeleton
from ml_backend.acquisition.features import released_triples
from ml_backend.acquisition.score import Source
from ml_backend.acquisition.scores.autoencoder import HIDDEN, AutoEncoder, train
from ml_backend.acquisition.scores.body_features import Body
from ml_backend.acquisition.scores.pose_prior import PoseMahalanobis, WholeBodyUnnaturalness, _gaussian, _mahalanobis
from tests.predictions import changed


@pytest.mark.parametrize("sigmoid", [False, True])
def test_gradients_equal_finite_differences(sigmoid: bool) -> None:
    rng = np.random.default_rng(1)
    features, valid = rng.normal(size=(6, 9)), rng.uniform(size=(6, 9)) < 0.8
    features = np.where(valid, features, 0.0)
    network = AutoEncoder.random(9, sigmoid, seed=2)

    def loss() -> float:
        return float((np.where(valid, network.reconstruct(features) - features, 0.0) ** 2).sum() / valid.sum())

    analytic = network.gradients(features, valid)
    for parameter, gradient in zip((*network.weights, *network.biases), analytic, strict=True):
        place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        here = parameter[place]
        difference = []
        for step in (1e-6, -1e-6):
            parameter[place] = here + step
            difference.append(loss())
        parameter[place] = here
        assert (difference[0] - difference[1]) / 2e-6 == pytest.approx(gradient[place], rel=1e-4, abs=1e-9)


@pytest.mark.parametrize(("features", "parameters"), [(38, 2752), (42, 2948)])
def test_the_network_has_the_published_number_of_parameters(features: int, parameters: int) -> None:
    network = AutoEncoder.random(features, False, seed=0)
    assert sum(p.size for p in (*network.weights, *network.biases)) == parameters
    assert len(network.weights) == 2 * len(HIDDEN)


def test_data_on_a_plane_are_learned_and_other_data_are_not() -> None:
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(2, 12))
    inside, outside = rng.normal(size=(300, 2)) @ plane, 1.5 * rng.normal(size=(100, 12))
    network = train(inside, np.ones_like(inside, dtype=bool), sigmoid=False, seed=0, epochs=150, batch=32, learning_rate=3e-3)
    error = [float(((network.reconstruct(x) - x) ** 2).mean()) for x in (inside, outside)]
    assert error[0] < 0.1 * inside.var()
    assert error[1] > 5 * error[0]


def test_sigmoid_cannot_reproduce_negative_features() -> None:
    negative = np.full((40, 6), -0.5)
    valid = np.ones_like(negative, dtype=bool)
    options: dict[str, Any] = {"seed": 0, "epochs": 200, "batch": 40, "learning_rate": 1e-2}
    linear, squashed = (train(negative, valid, sigmoid=s, **options) for s in (False, True))
    assert ((linear.reconstruct(negative) - negative) ** 2).mean() < 1e-3
    assert ((squashed.reconstruct(negative) - negative) ** 2).mean() > 0.2499


def test_mahalanobis_is_the_exact_marginal_of_the_features_that_are_there() -> None:
    rng = np.random.default_rng(3)
    correlation = np.corrcoef(rng.normal(size=(6, 40)) + rng.normal(size=40))
    z = rng.normal(size=(50, 6))
    valid = rng.uniform(size=(50, 6)) < 0.7
    valid[0], valid[1] = True, False
    found = _mahalanobis(np.where(valid, z, 0.0), valid, np.asarray(correlation, dtype=np.float64))
    for i in range(50):
        v = valid[i]
        expected = z[i, v] @ np.linalg.inv(correlation[np.ix_(v, v)]) @ z[i, v] / v.sum() if v.any() else np.nan
        assert found[i] == pytest.approx(expected, nan_ok=True)


def test_ordinary_poses_are_about_one() -> None:
    rng = np.random.default_rng(4)
    mixing = rng.normal(size=(8, 8))
    sample = rng.normal(size=(4000, 8)) @ mixing + 7
    mean, std, correlation = _gaussian(sample[:2000])
    z = (sample[2000:] - mean) / std
    assert _mahalanobis(z, np.ones_like(z, dtype=bool), correlation).mean() == pytest.approx(1.0, abs=0.1)


def test_views_have_their_own_gaussian_only_with_enough_labels(make_world: Callable[..., Any]) -> None:
    world = make_world(n_views=2)
    score = PoseMahalanobis(min_poses=20)
    xy = world.labelled.xy_px.copy()
    xy[15:, 1] = np.nan
    features = Body.from_labels(xy, world.skeleton).features(xy)
    state = score.fit(replace(world.labelled, xy_px=xy), None, world.skeleton)
    assert state is not None
    np.testing.assert_allclose(state["mean"][0], features[:, 0].mean(axis=0))
    np.testing.assert_allclose(state["mean"][1], np.concatenate([features[:, 0], features[:15, 1]]).mean(axis=0))
    assert score.fit(replace(world.labelled, xy_px=xy[:9]), None, world.skeleton) is None


@pytest.mark.parametrize("score", [PoseMahalanobis(), WholeBodyUnnaturalness(epochs=100)])
def test_the_worst_poses_are_found_with_joints_missing(score: Any, make_world: Callable[..., Any]) -> None:
    world = make_world(n=40, n_views=2, calibrated=False)
    xy = world.chunk.xy_px.copy()
    xy[::3, :, 0] = np.nan
    xy[20:, :, 3] = xy[20:, :, 3] + [70.0, -60.0]
    raw = score.score(changed(world.chunk, xy_px=xy), score.fit(world.labelled, None, world.skeleton)).raw
    clean, wild = raw[:20], raw[20:]
    assert (wild[:, None] > clean[None]).mean() > 0.9


def test_the_autoencoder_begins_with_poses_of_another_project(world: Any) -> None:
    """Without a label it knows those; with labels it is tuned from there, which brings it nearer to them."""
    foreign = Source(world.labelled.xy_px[:, :1], np.full((len(world.labelled.xy_px), 1, 4), np.nan))
    nothing = replace(world.labelled, xy_px=world.labelled.xy_px[:0], state=world.labelled.state[:0], xyz_world=None, box_px=None)
    score = WholeBodyUnnaturalness(epochs=60, min_poses=5)
    assert score.fit(nothing, None, world.skeleton) is None
    alone = score.fit(replace(nothing, source=foreign), None, world.skeleton)
    tuned = score.fit(replace(world.labelled, source=foreign), None, world.skeleton)
    assert alone is not None
    assert tuned is not None
    before, after = (float(np.nanmean(score.score(world.chunk, state).raw)) for state in (alone, tuned))
    assert after < before
    again = score.fit(replace(world.labelled, source=foreign), None, world.skeleton)
    assert again is not None
    np.testing.assert_array_equal(again["weight0"], tuned["weight0"])  # always from the pre-trained one


COCO = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow"),
    *("left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
)


def test_the_eight_released_angles_are_those_of_cocos_indices() -> None:
    triples = released_triples(Skeleton("coco", COCO)).tolist()
    printed = [[8, 6, 12], [6, 8, 10], [5, 7, 9], [7, 5, 11], [11, 12, 14], [12, 11, 13], [12, 14, 16], [11, 13, 15]]
    assert triples == printed
    with pytest.raises(BadInputError, match=r"lacks left_ankle, .*take 'limbs'"):
        released_triples(Skeleton("hand", ("left_hip", "thumb")))
