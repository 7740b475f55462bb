"""What holds for every registered score: shapes, NaN instead of silent zeros, one view, shards with halo."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError, FloatArray, Triangulation
from label_config.values.prediction import Output, Prediction
from ml_backend.acquisition.score import Chunk, Context, Scores
from ml_backend.acquisition.score_registry import SCORES
from tests.predictions import changed

QUICK: dict[str, dict[str, Any]] = {"wpu": {"epochs": 5}, "pictorial_logdet": {"grid": 8}}
VARIANTS: list[tuple[str, dict[str, Any]]] = [(name, QUICK.get(name, {})) for name in SCORES]
VARIANTS += [
    ("margin", {"mode": "paper"}),
    ("margin", {"mode": "released"}),
    ("mpe", {"mode": "paper", "norm": "softmax_raw"}),
    ("mpe", {"norm": "softmax_x30"}),
    ("mc", {"power": 1}),
    ("mc", {"relative": True}),
    ("tpc", {"mode": "paper"}),
    ("tpc", {"mode": "released"}),
    ("tpc", {"dead_zone_px": 2.0}),
    ("wpu", {"mode": "paper", "epochs": 5}),
    ("link_likelihood", {"mode": "paper", "norm": "softmax_raw"}),
    ("vl4pose", {"mode": "paper"}),
]
#: What a chunk may lack.
CONTEXT = ("triangulated", "rig", "subjects")
IDS = ["-".join([name, *map(str, parameters.values())]) for name, parameters in VARIANTS]
every_score = pytest.mark.parametrize(("name", "parameters"), VARIANTS, ids=IDS)


def score_chunk(name: str, parameters: dict[str, Any], world: Any, chunk: Chunk | None = None) -> Scores:
    score = SCORES[name](**parameters)
    return score.score(chunk or world.chunk, score.fit(world.labelled, world.rig, world.skeleton))


def check_contract(scores: Scores, chunk: Chunk) -> None:
    count = len(chunk.index[chunk.core])
    assert scores.raw.shape == scores.support.shape == (count,)
    assert scores.raw.dtype == np.float64
    assert np.issubdtype(scores.support.dtype, np.integer)
    assert np.array_equal(np.isnan(scores.raw), scores.support == 0)
    assert not np.isinf(scores.raw).any()
    if scores.per_point is not None:
        assert scores.per_point.shape == (count, *chunk.xy_px.shape[1:3])


def cut(chunk: Chunk, start: int, stop: int, core: slice) -> Chunk:
    """The frames start:stop of a chunk as a chunk of their own."""

    def part(value: Any, name: str) -> Any:
        if isinstance(value, Triangulation):
            return Triangulation(**{f.name: getattr(value, f.name)[start:stop] for f in fields(value)})
        if isinstance(value, Prediction):
            return value.rows(slice(start, stop))
        return value[start:stop] if isinstance(value, np.ndarray) and name != "size_px" else value

    changed = {f.name: part(getattr(chunk, f.name), f.name) for f in fields(chunk)}
    return Chunk(**{**changed, "core": core})


def without_predictions(chunk: Chunk) -> Chunk:
    """All joints missing in every view, as a network that found nothing would leave them."""

    def lost(value: Any) -> Any:
        return None if value is None else np.full_like(value, np.nan)

    points = chunk.triangulated
    if points is not None:
        points = Triangulation(
            xyz_world=lost(points.xyz_world),
            inlier=np.zeros_like(points.inlier),
            reprojection_px=lost(points.reprojection_px),
            covariance=lost(points.covariance),
            angle_deg=lost(points.angle_deg),
            consensus=np.zeros_like(points.consensus),
        )
    prediction = Prediction.from_arrays({name: lost(array) for name, array in chunk.prediction.arrays().items()})
    return replace(chunk, triangulated=points, prediction=prediction, subjects=lost(chunk.subjects))


@every_score
def test_an_ordinary_run_has_scores(name: str, parameters: dict[str, Any], world: Any) -> None:
    scores = score_chunk(name, parameters, world)
    check_contract(scores, world.chunk)
    known = scores.support > 0
    assert known[1:-1].all()  # a score over time may have nothing to say at the two ends
    assert known.all() or SCORES[name](**parameters).halo > 0


@every_score
def test_frames_without_a_prediction_are_nan(name: str, parameters: dict[str, Any], world: Any) -> None:
    chunk = without_predictions(world.chunk)
    scores = score_chunk(name, parameters, world, chunk)
    check_contract(scores, chunk)
    assert (scores.support == 0).all() or name == "random"


@every_score
def test_one_blank_frame_does_not_touch_the_others(name: str, parameters: dict[str, Any], world: Any) -> None:
    blank = without_predictions(world.chunk)
    holes = cut(world.chunk, 0, 12, slice(0, 12))
    for array in holes.prediction.arrays().values():
        array[5] = np.nan
    assert holes.subjects is not None
    holes.subjects[5] = np.nan
    assert holes.triangulated is not None
    assert blank.triangulated is not None
    for f in fields(Triangulation):
        getattr(holes.triangulated, f.name)[5] = getattr(blank.triangulated, f.name)[5]
    complete = score_chunk(name, parameters, world)
    scores = score_chunk(name, parameters, world, holes)
    check_contract(scores, holes)
    assert name == "random" or scores.support[5] == 0
    reach = SCORES[name](**parameters).halo
    far = np.abs(np.arange(12) - 5) > reach
    np.testing.assert_allclose(scores.raw[far], complete.raw[far], rtol=1e-9, atol=1e-12)


@every_score
def test_an_empty_run(name: str, parameters: dict[str, Any], world: Any) -> None:
    chunk = cut(world.chunk, 0, 0, slice(0, 0))
    check_contract(score_chunk(name, parameters, world, chunk), chunk)


@every_score
def test_a_single_frame(name: str, parameters: dict[str, Any], world: Any) -> None:
    chunk = cut(world.chunk, 4, 5, slice(0, 1))
    scores = score_chunk(name, parameters, world, chunk)
    check_contract(scores, chunk)
    assert (scores.support[0] == 0) == (Context.NEIGHBOURS in SCORES[name](**parameters).requires)


@every_score
@pytest.mark.parametrize("n_views", [1, 2])
def test_without_calibration(name: str, parameters: dict[str, Any], n_views: int, make_world: Callable[..., Any]) -> None:
    world = make_world(n_views=n_views, calibrated=False)
    scores = score_chunk(name, parameters, world)
    check_contract(scores, world.chunk)
    needs_more = {"epipolar_residual", "affine_residual", "count_disagreement"} if n_views == 1 else set()
    silent = Context.RIG in SCORES[name](**parameters).requires or name in needs_more
    assert (scores.support[1:-1] == 0).all() == silent


@every_score
def test_missing_input_or_state_is_nan(name: str, parameters: dict[str, Any], world: Any) -> None:
    score = SCORES[name](**parameters)
    bare = replace(world.chunk, prediction=replace(world.chunk.prediction, outputs={}), **dict.fromkeys(CONTEXT))
    scores = score.score(bare, None)
    check_contract(scores, bare)
    enough = score.requires <= {Context.NEIGHBOURS}
    assert (scores.support[1:-1] > 0).all() == enough


@pytest.mark.parametrize("field", ["xy_px", "confidence"])
def test_infinite_predictions_are_refused(field: str, world: Any) -> None:
    broken = getattr(world.chunk, field).copy()
    broken[3, 1, 2] = np.inf
    with pytest.raises(
        BadInputError, match=rf"Chunk.prediction.{field} of 'trial': expected finite numbers or NaN, got infinity"
    ):
        changed(world.chunk, **{field: broken})


@pytest.mark.parametrize("name", ["heatmap_entropy", "unimodality", "thc"])
def test_infinite_heatmaps_are_no_terms(name: str, world: Any) -> None:
    maps = world.chunk.outputs[Output.HEATMAPS].copy()
    maps[3:5, :, :, 0, 0] = np.inf
    scores = score_chunk(name, {}, world, changed(world.chunk, {Output.HEATMAPS: maps}))
    check_contract(scores, world.chunk)
    assert (scores.support[3:5] == 0).all()


@pytest.mark.parametrize(("field", "shape"), [("size_px", (2, 2)), ("index", (11,))])
def test_wrong_shapes_are_named(field: str, shape: tuple[int, ...], world: Any) -> None:
    with pytest.raises(BadInputError, match=rf"Chunk.{field}: expected shape .*, got {re.escape(str(shape))}"):
        replace(world.chunk, **{field: np.zeros(shape)})


@every_score
def test_no_labels_teach_nothing(name: str, parameters: dict[str, Any], world: Any) -> None:
    score = SCORES[name](**parameters)
    none = replace(
        world.labelled,
        xy_px=world.labelled.xy_px[:0],
        state=world.labelled.state[:0],
        xyz_world=world.labelled.xyz_world[:0],
    )
    blank = replace(
        world.labelled,
        xy_px=np.full_like(world.labelled.xy_px, np.nan),
        xyz_world=np.full_like(world.labelled.xyz_world, np.nan),
    )
    assert score.fit(none, None, world.skeleton) is None
    assert score.fit(blank, None, world.skeleton) is None


def of_points(scores: Scores) -> FloatArray:
    """(c, V, K); without views and keypoints where the score has none."""
    return np.empty((len(scores.raw), 0, 0)) if scores.per_point is None else scores.per_point


@every_score
def test_shards_with_halo_equal_the_whole_run(name: str, parameters: dict[str, Any], world: Any) -> None:
    whole = score_chunk(name, parameters, world)
    halo = SCORES[name](**parameters).halo
    shards = []
    for start, stop in ((0, 5), (5, 6), (6, 12)):
        low, high = max(start - halo, 0), min(stop + halo, 12)
        shards.append(score_chunk(name, parameters, world, cut(world.chunk, low, high, slice(start - low, stop - low))))
    np.testing.assert_allclose(np.concatenate([shard.raw for shard in shards]), whole.raw, rtol=1e-9, atol=1e-12)
    points = np.concatenate([of_points(shard) for shard in shards])
    np.testing.assert_allclose(points, of_points(whole), rtol=1e-9, atol=1e-12, strict=True)


@every_score
def test_state_is_plain_arrays_and_deterministic(name: str, parameters: dict[str, Any], world: Any) -> None:
    score = SCORES[name](**parameters)
    first = score.fit(world.labelled, world.rig, world.skeleton)
    second = score.fit(world.labelled, world.rig, world.skeleton)
    assert (first is not None) == (second is not None) == (Context.LABELS in score.requires)
    first, second = first or {}, second or {}
    for key in first:
        assert first[key].dtype == np.float64
        assert np.array_equal(first[key], second[key], equal_nan=True)


def apart_in_pictures(world: Any) -> Any:
    """Keypoint 2 of frame 7 lies somewhere else in every picture."""
    wild = world.chunk.xy_px.copy()
    wild[7, :, 2] += [[90.0, 0.0], [0.0, -90.0], [-90.0, 0.0], [0.0, 90.0]]
    return world.predicting(wild)


def apart_in_3d(world: Any) -> Any:
    """Keypoint 2 of frame 7 lies somewhere else, and every picture shows it there."""
    wild, moved = world.chunk.xy_px.copy(), world.chunk.triangulated.xyz_world.copy()
    moved[7, 2] += [0.0, 400.0, 200.0]
    wild[7] = world.rig.project(moved[7])
    return world.predicting(wild)


Corrupt = Callable[[Any], Any]
#: (score, parameters, corruption that it measures)
CORRUPTED: list[tuple[str, dict[str, Any], Corrupt]] = [
    ("mc", {}, apart_in_pictures),
    ("outlier_ratio", {}, apart_in_pictures),
    ("max_error", {}, apart_in_pictures),
    ("epipolar_residual", {}, apart_in_pictures),
    ("affine_residual", {}, apart_in_pictures),
    ("tpc", {}, apart_in_pictures),
    ("jitter_3d", {}, apart_in_3d),
    ("link_length", {}, apart_in_pictures),
    ("link_likelihood", {}, apart_in_pictures),
    ("vl4pose", {}, apart_in_pictures),
    ("pose_mahalanobis", {}, apart_in_pictures),
    ("wpu", {"epochs": 60}, apart_in_pictures),
    ("coreset_distance", {}, apart_in_3d),
]


@pytest.mark.parametrize(("name", "parameters", "corrupt"), CORRUPTED)
def test_a_corrupted_pose_comes_first(
    name: str, parameters: dict[str, Any], corrupt: Corrupt, make_world: Callable[..., Any]
) -> None:
    scores = score_chunk(name, parameters, corrupt(make_world(n=15, n_views=4, noise_px=0.2)))
    assert np.nanargmax(scores.raw) == 7


NAMES_THE_POINT = {"mc", "outlier_ratio", "max_error", "epipolar_residual", "affine_residual", "tpc", "jitter_3d", "wpu"}


@pytest.mark.parametrize(("name", "parameters", "corrupt"), [one for one in CORRUPTED if one[0] in NAMES_THE_POINT])
def test_the_worst_point_is_in_the_corrupted_pose(
    name: str, parameters: dict[str, Any], corrupt: Corrupt, make_world: Callable[..., Any]
) -> None:
    scores = score_chunk(name, parameters, corrupt(make_world(n=15, n_views=4, noise_px=0.2)))
    assert scores.per_point is not None
    assert np.unravel_index(np.nanargmax(scores.per_point), scores.per_point.shape)[0] == 7
