"""Which frames a strategy takes, and how errors are weighed, on predictions made by hand (no network)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError
from label_config.values.prediction import Output
from ml_backend.geometry.triangulation import triangulate_robust
from ml_backend.simulation.experiments import accuracy
from ml_backend.simulation.experiments.arms import Arm
from ml_backend.simulation.experiments.data import RARE_DENSITY, load_recording
from ml_backend.simulation.experiments.design import DESIGNS, Design
from ml_backend.simulation.experiments.learner import Scan
from ml_backend.simulation.experiments.simulated_annotator import annotate
from ml_backend.simulation.experiments.strategies import Knowledge, pick, pseudo_label, score_pool
from tests.predictions import peaks, predicted
from tests.recorded_data import DATA, needed

SMALL = Design(pool_frames=50, test_frames=20, views=3, rare_fraction=0.3, input_px=(32, 32), batch=5, exclusion_frames=0)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_recording(SMALL, 2, tmp_path_factory.mktemp("renders"), Path())


def seen_as(recording: Any, rows: Any, xy: Any, threshold_px: Any = 2.0) -> Any:
    views = xy.shape[1]
    outputs = {
        Output.PEAKS: peaks(xy[:, :, :, None], np.full((*xy.shape[:3], 1), 0.9)),
        Output.FEATURES: np.zeros((len(rows), views, 4), np.float32),
    }
    return Scan(
        rows=rows,
        prediction=predicted(xy, np.full(xy.shape[:3], 0.9), outputs),
        triangulated=triangulate_robust(recording.rig, xy, threshold_px=threshold_px) if recording.rig else None,
    )


def chosen(recording: Any, seen: Any, arm: Any, labelled: Any, seed: int = 0, design: Any = SMALL) -> Any:
    training_set = annotate(design, recording, labelled)
    raw = score_pool(recording, seen, training_set, arm)
    return pick(design, recording, seen, raw, arm, Knowledge(training_set, accuracy.frame_error(recording, seen), 0.5, seed))


@pytest.fixture(scope="module")
def flawed(recording: Any) -> Any:
    """Exact but for five frames, where one view errs by 12 px in all keypoints."""
    xy = recording.xy_px[recording.pool].copy()
    wrong = np.array([3, 11, 19, 27, 35])
    xy[wrong, 0] += 12.0
    return seen_as(recording, recording.pool, xy), wrong


def test_consistency_takes_the_frames_whose_views_disagree(recording: Any, flawed: Any) -> None:
    seen, wrong = flawed
    labelled = np.array([0, 1, 40, 41, 42, 43])
    for name in ("mc", "outlier_ratio"):
        assert sorted(chosen(recording, seen, Arm.parse(name), labelled)) == wrong.tolist()


def test_labelled_frames_are_never_taken_again(recording: Any, flawed: Any) -> None:
    seen, _ = flawed
    labelled = np.array([3, 11, 40, 41, 42, 43])
    for name in ("mc", "random", "coreset", "composite", "duw", "k_median", "hybrid", "true_error"):
        picked = chosen(recording, seen, Arm.parse(name), labelled)
        assert len(picked) == SMALL.batch
        assert not set(picked) & set(labelled)


def test_random_draws_depend_on_the_seed_alone(recording: Any, flawed: Any) -> None:
    seen, _ = flawed
    labelled = np.arange(4)
    first = chosen(recording, seen, Arm.parse("random"), labelled, seed=1)
    np.testing.assert_array_equal(first, chosen(recording, seen, Arm.parse("random"), labelled, seed=1))
    assert set(first) != set(chosen(recording, seen, Arm.parse("random"), labelled, seed=2))


def test_hybrid_takes_unsure_frames_that_look_different(recording: Any) -> None:
    seen = seen_as(recording, recording.pool, recording.xy_px[recording.pool])
    confidence = np.full_like(seen.prediction.confidence, 0.9)
    features = np.random.default_rng(0).normal(size=seen.prediction.outputs[Output.FEATURES].shape)
    unsure = np.arange(10, 30)
    confidence[unsure, :, :6] = 0.2
    confidence[10:20] -= 0.01  # the ten most uncertain, which look like five pairs of one frame each
    confidence[40:45] = 0.31  # the least sure of all, but every point is found
    features[10:20] = np.repeat(features[10:20:2], 2, axis=0)
    outputs = {**seen.prediction.outputs, Output.FEATURES: features.astype(np.float32)}
    seen = replace(seen, prediction=replace(seen.prediction, confidence=confidence, outputs=outputs))
    picked = chosen(recording, seen, Arm.parse("hybrid"), np.array([0, 1]))
    rows = np.searchsorted(recording.pool, picked)
    assert set(rows) <= set(unsure)
    assert len({tuple(features[row].ravel()) for row in rows}) == SMALL.batch
    alone = chosen(recording, seen, Arm.parse("least_confidence"), np.array([0, 1]))
    assert sorted(np.searchsorted(recording.pool, alone)) == [40, 41, 42, 43, 44]


def test_coreset_begins_with_the_pose_farthest_from_the_labelled_one(recording: Any) -> None:
    seen = seen_as(recording, recording.pool, recording.xy_px[recording.pool])
    centred = recording.xyz[recording.pool] - recording.xyz[recording.pool][:, :1]
    far = np.linalg.norm(centred - centred[7], axis=-1).mean(axis=1).argmax()
    assert chosen(recording, seen, Arm.parse("coreset"), np.array([7]))[0] == far


def test_nothing_is_taken_by_the_idle_reference(recording: Any, flawed: Any) -> None:
    assert len(chosen(recording, flawed[0], Arm.parse("idle"), np.arange(4))) == 0


def test_mean_error_weighs_rare_frames_as_the_recording_holds_them(recording: Any) -> None:
    rare = recording.rare[recording.test]
    assert rare.mean() > recording.rare_share  # rare frames are taken RARE_DENSITY times as densely
    odds = rare.mean() / (1 - rare.mean()) / (recording.rare_share / (1 - recording.rare_share))
    assert odds == pytest.approx(RARE_DENSITY, rel=0.35)
    seen = seen_as(recording, recording.test, recording.xy_px[recording.test])
    offset = np.where(rare, 50.0, 10.0)[:, None, None] * np.array([0.0, 0.0, 1.0])
    moved = replace(seen, triangulated=replace(seen.triangulated, xyz_world=recording.xyz[recording.test] + offset))
    figures = accuracy.errors_of(recording, moved)
    assert (figures["error_common"], figures["error_rare"]) == pytest.approx((10, 50))
    assert figures["error"] == pytest.approx(10 * (1 - recording.rare_share) + 50 * recording.rare_share)


def test_pseudo_labels_sit_out_one_round_unless_repeating_is_asked_for(recording: Any) -> None:
    design = SMALL.but(pseudo_ratio=0.4)  # two whole frames
    seen = seen_as(recording, recording.pool, recording.xy_px[recording.pool])
    none = np.zeros(0, np.int64)
    labels, training_set = pseudo_label(design, recording, seen, Arm.parse("mc+pseudo"), none, none)
    assert len(training_set.rows) == 2
    assert labels.whole.all()
    assert set(np.unique(training_set.weight)) <= {0.0, design.pseudo_weight}
    again = pseudo_label(design, recording, seen, Arm.parse("mc+pseudo"), none, training_set.rows)[1]
    assert not set(again.rows) & set(training_set.rows)
    repeated = pseudo_label(design, recording, seen, Arm.parse("mc+pseudo_repeat"), none, training_set.rows)[1]
    assert set(repeated.rows) == set(training_set.rows)


def test_rendered_recordings_are_drawn_once(tmp_path: Path) -> None:
    design = SMALL.but(pool_frames=3, test_frames=2)
    first = load_recording(design, 1, tmp_path, Path())
    (path,) = tmp_path.glob("*.npy")
    stamp = path.stat().st_mtime_ns
    second = load_recording(design, 1, tmp_path, Path())
    assert path.stat().st_mtime_ns == stamp
    np.testing.assert_array_equal(first.pictures[0], second.pictures[0])
    assert first.pictures[0].shape == (len(first.keys), 32, 32, 3)
    assert not set(first.pool) & set(first.test)


def test_a_missing_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="dlc_openfield"):
        load_recording(DESIGNS["dlc_openfield"], 0, tmp_path, tmp_path)


@pytest.mark.data
@pytest.mark.parametrize(("name", "frames", "views", "keypoints"), [("lp_mirror_mouse", 90, 2, 7), ("dlc_openfield", 116, 1, 4)])
def test_recordings_labelled_by_hand(name: Any, frames: Any, views: Any, keypoints: Any, tmp_path: Path) -> None:
    needed(name)
    design = DESIGNS[name]
    one, two = (load_recording(design, seed, tmp_path, DATA) for seed in (0, 1))
    assert one.xy_px.shape == (frames, views, keypoints, 2)
    assert len(one.pictures) == views
    assert len(one.test) == 30
    assert {str(key) for key in one.keys} == {str(key) for key in two.keys}
    assert [one.keys[i] for i in one.test] != [two.keys[i] for i in two.test]  # every seed is another split
    for view, pixels in enumerate(one.pictures):
        known = one.xy_px[:, view][np.isfinite(one.xy_px[:, view]).all(axis=-1)]
        height, width = pixels.shape[1:3]
        assert (known > -0.5).all()
        assert (known < np.array([width, height]) - 0.5).all()
