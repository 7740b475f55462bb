"""Limb lengths: statistics, likelihoods, expectation over peaks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from label_config.values import FloatArray
from label_config.values.prediction import Output
from label_config.values.skeleton import Skeleton
from ml_backend.acquisition.score import Chunk
from ml_backend.acquisition.scores.confidence import peak_probability
from ml_backend.acquisition.scores.link_peaks import (
    LinkLikelihood,
    VL4Pose,
    labelled_links,
)
from ml_backend.acquisition.scores.links import LinkLength, fit_links, limb_lengths_px, log_likelihood, subject_size_px
from tests.predictions import changed, predicted
from tests.predictions import peaks as as_peaks


@pytest.fixture
def peaks(world: Any) -> tuple[Any, Any, Any]:
    """Positions and heights of random peaks, some missing, and what labels taught."""
    rng = np.random.default_rng(7)
    n, views, joints = world.chunk.confidence.shape
    xy = world.chunk.xy_px[..., None, :] + rng.normal(0, 40, (n, views, joints, 4, 2))
    xy[..., 0, :] = world.chunk.xy_px
    value = -np.sort(-rng.uniform(0.1, 1.0, (n, views, joints, 4)), axis=-1)
    count = rng.integers(0, 5, value.shape[:3])
    count[:4] = 4
    absent = np.arange(4) >= count[..., None]
    xy[absent], value[absent] = np.nan, np.nan
    return xy, value, fit_links(world.labelled, world.skeleton, 10)


def test_log_likelihood_is_the_normal_density_with_a_floor_of_one_pixel() -> None:
    found = log_likelihood(np.array([50.0, 50.0]), np.array([100.0, 100.0]), np.array([0.4, 0.4]), np.array([0.05, 0.0001]))
    np.testing.assert_allclose(found, stats.norm.logpdf(0.5, 0.4, [0.05, 0.01]))


def test_one_wild_joint_does_not_change_the_size() -> None:
    mean = np.array([1.0, 0.5, 2.0, 1.5, 1.0])
    length = 30.0 * mean
    length[2] *= 9
    assert subject_size_px(length, mean) == pytest.approx(30.0)
    length[3:] = np.nan
    assert subject_size_px(length, mean) == pytest.approx(30.0)
    length[1:] = np.nan
    assert np.isnan(subject_size_px(length, mean))  # one limb says nothing
    assert np.isnan(subject_size_px(np.zeros(5), mean))


def test_fit_recovers_lengths_whatever_the_size_of_the_subject(world: Any) -> None:
    rng = np.random.default_rng(0)
    size = rng.uniform(0.2, 5.0, 400)
    true, spread = np.array([90.0, 50.0, 70.0, 70.0]), 0.04
    angle = rng.uniform(0, 2 * np.pi, (400, 4))
    length = size[:, None] * true * (1 + spread * rng.normal(size=(400, 4)))
    xy = np.zeros((400, 5, 2))
    for i, (parent, child) in enumerate(world.skeleton.limbs):
        step = np.stack([np.cos(angle[:, i]), np.sin(angle[:, i])], axis=1)
        xy[:, child] = xy[:, parent] + length[:, i, None] * step
    labelled = replace(world.labelled, xy_px=xy[:, None], xyz_world=None)
    state = fit_links(labelled, world.skeleton, 10)
    assert state is not None
    np.testing.assert_allclose(state["mean"][0] / state["mean"][0].sum(), true / true.sum(), rtol=0.02)
    assert state["spread"][0] / state["mean"][0] == pytest.approx(spread, rel=0.35)


def test_labels_themselves_score_zero_on_average(world: Any) -> None:
    state = fit_links(world.labelled, world.skeleton, 10)
    chunk = replace(
        world.chunk,
        index=np.arange(60),
        core=slice(0, 60),
        prediction=predicted(world.labelled.xy_px),
    )
    scores = LinkLength().score(chunk, state)
    assert scores.per_point is not None
    np.testing.assert_allclose(scores.per_point[:, :, 1:].mean(axis=0), 0.0, atol=1e-9)


def test_a_stretched_limb_is_named_at_its_child(make_world: Callable[..., Any]) -> None:
    world = make_world(n=6, n_views=1, calibrated=False)
    xy = world.chunk.xy_px.copy()
    xy[2, 0, 4] += 3 * (xy[2, 0, 4] - xy[2, 0, 1])
    score = LinkLength()
    scores = score.score(changed(world.chunk, xy_px=xy), score.fit(world.labelled, None, world.skeleton))
    assert np.nanargmax(scores.raw) == 2
    assert scores.per_point is not None
    assert np.nanargmax(scores.per_point[2, 0]) == 4
    assert np.isnan(scores.per_point[:, :, 0]).all()  # the root is nobody's child
    assert (scores.support == 4).all()


def test_expectation_over_one_peak_is_the_log_likelihood_of_the_maxima(world: Any) -> None:
    state = fit_links(world.labelled, world.skeleton, 10)
    assert state is not None
    single = changed(world.chunk, {Output.PEAKS: world.chunk.outputs[Output.PEAKS][..., :1, :]})
    found = LinkLikelihood(mode="paper").score(single, state).raw
    length = limb_lengths_px(world.chunk.xy_px, state["limbs"].astype(int))
    size = subject_size_px(length, state["mean"])[..., None]
    logq = stats.norm.logpdf(length / size, state["mean"], np.maximum(state["spread"], 1 / size))
    np.testing.assert_allclose(found, -logq.sum(axis=2).mean(axis=1))


@pytest.mark.parametrize("norm", ["l1", "softmax_raw"])
def test_expectation_equals_the_plain_double_sum(norm: Any, peaks: Any, world: Any) -> None:
    xy, value, state = peaks
    chunk = changed(world.chunk, {Output.PEAKS: as_peaks(xy, value)})
    found = LinkLikelihood(mode="paper", norm=norm).score(chunk, state).per_point
    assert found is not None
    probability = peak_probability(value, norm)
    size = labelled_links(xy, state).size_px
    for frame, view in ((0, 0), (3, 2), (6, 1)):
        for i, (parent, child) in enumerate(state["limbs"].astype(int)):
            scale, mean = size[frame, view], state["mean"][view, i]
            sigma = max(state["spread"][view, i], 1 / scale)
            terms = []
            for a, b in np.ndindex(4, 4):
                weight = probability[frame, view, parent, a] * probability[frame, view, child, b]
                length = np.linalg.norm(xy[frame, view, parent, a] - xy[frame, view, child, b])
                terms.append(weight * stats.norm.logpdf(length / scale, mean, sigma))
            present = [term for term in terms if np.isfinite(term)]
            expected = -sum(present) if present else math.nan  # unavailable without a pair of peaks
            assert found[frame, view, child] == pytest.approx(expected, nan_ok=True)


def test_ambiguous_peaks_at_impossible_places_cost_likelihood(world: Any) -> None:
    score = LinkLikelihood()
    state = score.fit(world.labelled, None, world.skeleton)
    maxima = world.chunk.outputs[Output.PEAKS].copy()
    maxima[4, :, 3, 1, :2] = maxima[4, :, 3, 0, :2] + 120.0
    maxima[4, :, 3, :2, 2] = 0.5
    raw = score.score(changed(world.chunk, {Output.PEAKS: maxima}), state).raw
    assert raw.argmax() == 4


@pytest.fixture
def one_peak(world: Any) -> tuple[Chunk, FloatArray, FloatArray]:
    """One maximum per keypoint, the expected length of every limb, and −log of its normal density at the length there."""
    rng = np.random.default_rng(0)
    xy = world.chunk.xy_px + rng.normal(0, 5, world.chunk.xy_px.shape)
    single = changed(world.chunk, {Output.PEAKS: as_peaks(xy[..., None, :], np.ones(xy.shape[:3])[..., None])})
    links = world.chunk.outputs[Output.LINKS]
    expected, sigma = links[..., 0], np.maximum(np.exp(0.5 * links[..., 1]), 1.0)
    return single, expected, -stats.norm.logpdf(limb_lengths_px(xy, np.array(world.skeleton.limbs)), expected, sigma)


def test_vl4pose_with_one_peak_is_the_mean_normal_density_of_the_limbs(one_peak: tuple[Chunk, FloatArray, FloatArray]) -> None:
    single, expected, nll = one_peak
    found = VL4Pose(mode="fixed").score(single, None)
    relative = nll - np.log(expected.mean(axis=2, keepdims=True))  # lengths in units of the picture's mean expected one
    np.testing.assert_allclose(found.raw, relative.mean(axis=2).mean(axis=1))
    assert (found.support == 3 * 4).all()


def test_vl4pose_as_printed_sums_the_densities_per_cell(one_peak: tuple[Chunk, FloatArray, FloatArray]) -> None:
    single, _, nll = one_peak
    found = VL4Pose(mode="paper").score(single, None)
    cell = np.sqrt(single.size_px.prod(axis=1)) / 64  # the crop is the whole picture
    np.testing.assert_allclose(found.raw, (nll - np.log(cell)[:, None]).sum(axis=2).mean(axis=1))
    assert (found.support == 3 * 5).all()  # the root's single maximum has no entropy, and counts


@pytest.mark.parametrize("mode", ["fixed", "paper"])
def test_vl4pose_does_not_depend_on_how_near_the_subject_is(mode: Any, world: Any) -> None:
    # Far above the floor of one pixel; crop and subject three times as large.
    links, maxima = np.maximum(world.chunk.outputs[Output.LINKS], [0.0, 2.0]), world.chunk.outputs[Output.PEAKS]
    box = np.broadcast_to([0.0, 0.0, 120.0, 90.0], world.chunk.prediction.box_px.shape)
    far = changed(world.chunk, {Output.LINKS: links}, box_px=box)
    larger = {Output.PEAKS: maxima * [3, 3, 1], Output.LINKS: links * [3, 1] + [0, 2 * np.log(3)]}
    near = changed(world.chunk, larger, box_px=3 * box)
    score = VL4Pose(mode=mode)
    np.testing.assert_allclose(score.score(near, None).raw, score.score(far, None).raw)


def one_limb(parent: Any, child: Any, values: Any) -> Chunk:
    """One picture, one limb of expected length 10 and spread e; maxima (M, 2) and their heights (2, M)."""
    points = np.array([parent, child], dtype=np.float64)[None, None]
    outputs = {
        Output.PEAKS: as_peaks(points, np.array(values, dtype=np.float64)[None, None]),
        Output.LINKS: np.array([10.0, 2.0]).reshape(1, 1, 1, 2),
    }
    return Chunk(
        sequence="s",
        index=np.arange(1),
        core=slice(0, 1),
        prediction=predicted(points[..., 0, :], outputs=outputs),
        size_px=np.array([[64.0, 64.0]]),
        skeleton=Skeleton("two", ("head", "neck"), limbs=((0, 1),)),
    )


def test_the_root_of_the_tree_has_a_term_of_its_own_as_printed() -> None:
    """Two maxima of the root at the same distance from the child: only their own entropy is added, 0.325 nat for 0.9 and 0.1."""
    nan = np.nan
    sure = one_limb([[20, 20], [nan, nan]], [[30, 20], [nan, nan]], [[0.9, nan], [0.8, nan]])
    torn = one_limb([[20, 20], [40, 20]], [[30, 20], [nan, nan]], [[0.9, 0.1], [0.8, nan]])
    density = 1 + 0.5 * np.log(2 * np.pi)  # −log N(10; 10, e)
    paper = VL4Pose(mode="paper")
    assert paper.score(sure, None).raw[0] == pytest.approx(density)
    assert paper.score(torn, None).raw[0] == pytest.approx(density - 0.9 * np.log(0.9) - 0.1 * np.log(0.1))
    assert VL4Pose().score(torn, None).raw[0] == pytest.approx(VL4Pose().score(sure, None).raw[0])


@pytest.mark.parametrize(("weighted", "times"), [("both", 1), ("parent", 2), ("child", 2)])
def test_both_readings_of_the_expectation(weighted: Any, times: int) -> None:
    """Two maxima at each end, all four distances 10: weighted on one side alone, the other side's maxima are counted, here 2."""
    half = 5 * np.sqrt(2)  # the corners of a square of side 10, parents on one diagonal and children on the other
    chunk = one_limb([[30 - half, 30], [30 + half, 30]], [[30, 30 - half], [30, 30 + half]], [[0.7, 0.3], [0.6, 0.4]])
    root = -(0.7 * np.log(0.7) + 0.3 * np.log(0.3))
    found = VL4Pose(mode="paper", weighted=weighted).score(chunk, None)
    assert found.raw[0] == pytest.approx(times * (1 + 0.5 * np.log(2 * np.pi)) + root)  # −log N(10; 10, e); cells are pixels here


def test_what_a_picture_expects_of_its_limbs_decides(world: Any) -> None:
    """The same points, but in one picture another length is expected: statistics of labels cannot tell, VL4Pose can."""
    links = world.chunk.outputs[Output.LINKS].copy()
    links[6, 1, 2, 0] *= 1.5
    strongest = world.chunk.outputs[Output.PEAKS][..., :1, :]
    scores = VL4Pose().score(changed(world.chunk, {Output.LINKS: links, Output.PEAKS: strongest}), None)
    assert scores.raw.argmax() == 6
    assert scores.per_point is not None
    limb_child = world.skeleton.limbs[2][1]
    assert [int(i) for i in np.unravel_index(np.nanargmax(scores.per_point), scores.per_point.shape)] == [6, 1, limb_child]


def test_lengths_that_make_no_sense_say_nothing(world: Any) -> None:
    links = world.chunk.outputs[Output.LINKS].copy()
    links[3, :, :, 0] = -1.0
    links[4] = np.nan
    scores = VL4Pose().score(changed(world.chunk, {Output.LINKS: links}), None)
    np.testing.assert_array_equal(np.flatnonzero(scores.support == 0), [3, 4])
