"""OKS in closed form; average precision against pycocotools on random, crowded and degenerate pictures."""

import contextlib
import io
import math
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.metrics.oks import (
    THRESHOLDS,
    Detection,
    Truth,
    area_from_box,
    average_precision,
    oks,
    pose_oks,
    pose_score,
)

SIGMAS = np.array([0.026, 0.025, 0.079, 0.107, 0.05])


def pose(rng: Any, centre: Any = (100, 100), size: Any = 80) -> Any:
    return np.asarray(centre) + rng.uniform(-size, size, (len(SIGMAS), 2))


def test_perfect_is_one_and_the_characteristic_distance_gives_one_over_e() -> None:
    truth = pose(np.random.default_rng(0))
    visible = np.ones(5, bool)
    assert oks(truth, truth, visible, np.array(900.0), SIGMAS) == 1
    # d = √(2·area)·2σ makes every exponent −1
    moved = truth + np.stack([math.sqrt(2 * 900) * 2 * SIGMAS, np.zeros(5)], axis=-1)
    assert oks(moved, truth, visible, np.array(900.0), SIGMAS) == pytest.approx(math.exp(-1))


def test_only_visible_keypoints_count_and_missing_predictions_count_zero() -> None:
    truth = pose(np.random.default_rng(1))
    predicted = truth.copy()
    predicted[0] += 1e6
    predicted[1] = np.nan
    visible = np.array([False, True, True, True, True])
    assert oks(predicted, truth, visible, np.array(900.0), SIGMAS) == pytest.approx(3 / 4)
    unlabelled = truth.copy()
    unlabelled[0] = np.nan
    assert oks(truth, unlabelled, visible, np.array(900.0), SIGMAS) == pytest.approx(1)


def test_nothing_visible_or_no_area_is_nan_and_batches_broadcast() -> None:
    rng = np.random.default_rng(2)
    truth = np.stack([pose(rng) for _ in range(3)])
    visible = np.array([[True] * 5, [False] * 5, [True] * 5])
    out = oks(truth, truth, visible, np.array([400.0, 400.0, 0.0]), SIGMAS)
    assert out[0] == 1
    assert np.isnan(out[1:]).all()
    assert oks(truth[:, None], truth[None], visible[None], np.full((1, 3), 400.0), SIGMAS).shape == (3, 3)


def test_the_area_is_that_of_the_subjects_box_where_one_is_known() -> None:
    truth = np.array([[[0.0, 0], [30, 0], [30, 20]]] * 2)  # two views; the box around the points has 600 px²
    labelled, sigmas = np.ones((2, 3), bool), np.full(3, 0.1)
    box = np.array([[-5.0, -5, 60, 40], [np.nan] * 4])  # known in the first view: 2,400 px²
    seen = truth + (6.0, 8.0)  # d² = 100; (2 · 0.1)² = 0.04
    known, unknown = math.exp(-100 / (2 * 2400 * 0.04)), math.exp(-100 / (2 * 600 * 0.04))
    assert pose_oks(seen, truth, labelled, sigmas, box) == pytest.approx((known + unknown) / 2)
    assert pose_oks(seen, truth, labelled, sigmas) == pytest.approx(unknown)


def test_area_source() -> None:
    assert area_from_box(10, 20, "bbox") == 200
    assert area_from_box(10, 20, "0.53 bbox") == pytest.approx(106)
    with pytest.raises(BadInputError, match="got 'seg'"):
        area_from_box(10, 20, "seg")


def test_pose_score_is_mean_plus_a_quarter_more_than_the_largest() -> None:
    assert pose_score(np.array([0.2, 0.6, np.nan])) == pytest.approx(0.8 / 3 + 1.25 * 0.6)


def pycoco(truths: Any, detections: Any, thresholds: Any = None) -> Any:
    """COCOeval's precision (thresholds,) and recall (thresholds,) for all areas; NaN for its −1."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    names = sorted({t.image for t in truths} | {d.image for d in detections})
    images = {name: i + 1 for i, name in enumerate(names)}
    annotations = []
    for i, t in enumerate(truths):
        points = np.concatenate([np.nan_to_num(t.xy_px), 2.0 * t.visible[:, None]], axis=1)
        annotations.append(
            {
                "id": i + 1,
                "image_id": images[t.image],
                "category_id": 1,
                "keypoints": points.ravel().tolist(),
                "num_keypoints": int(t.visible.sum()),
                "area": t.area_px2,
                "bbox": list(t.box_px),
                "iscrowd": int(t.crowd),
            }
        )
    results = [
        {
            "image_id": images[d.image],
            "category_id": 1,
            "score": d.score,
            "keypoints": np.concatenate([d.xy_px, np.ones((len(d.xy_px), 1))], axis=1).ravel().tolist(),
        }
        for d in detections
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": i} for i in images.values()],
            "annotations": annotations,
            "categories": [{"id": 1}],
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "keypoints")
        evaluation.params.kpt_oks_sigmas = SIGMAS
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        if thresholds is not None:
            evaluation.params.iouThrs = np.array(thresholds)
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, 0, 0]
    recall = evaluation.eval["recall"][:, 0, 0, 0]
    return precision.mean(axis=1), recall


def scene(seed: int, crowds: Any = True) -> Any:
    """Pictures with several subjects, some fully occluded, some crowds, good and bad and spurious detections."""
    rng = np.random.default_rng(seed)
    truths, detections = [], []
    for i in range(12):
        for _ in range(rng.integers(0, 5)):
            xy = pose(rng, rng.uniform(50, 400, 2))
            visible = rng.random(5) < (0.0 if rng.random() < 0.15 else 0.8)
            low, high = xy.min(0), xy.max(0)
            box = (*low, *(high - low))
            crowd = bool(crowds and rng.random() < 0.1)
            truths.append(Truth(f"im{i}", xy, visible, float(box[2] * box[3] * 0.6), box, crowd))
            for _ in range(rng.integers(0, 3)):
                noise = rng.choice([1.0, 6.0, 20.0])
                detections.append(Detection(f"im{i}", xy + rng.normal(0, noise, xy.shape), round(float(rng.random()), 2)))
        for _ in range(rng.integers(0, 2)):
            detections.append(Detection(f"im{i}", pose(rng, rng.uniform(50, 400, 2)), float(rng.random())))
    return truths, detections


@pytest.mark.parametrize("seed", range(8))
def test_average_precision_equals_pycocotools(seed: int) -> None:
    truths, detections = scene(seed)
    ours = average_precision(truths, detections, SIGMAS, area_source="seg")
    precision, recall = pycoco(truths, detections)
    np.testing.assert_allclose(list(ours.at.values()), precision, atol=1e-9)
    np.testing.assert_allclose(list(ours.recall.values()), recall, atol=1e-9)
    assert ours.ap == pytest.approx(precision.mean())
    assert ours.ar == pytest.approx(recall.mean())
    assert 0.6 in ours.at


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_at_any_threshold_equals_pycocotools(seed: int) -> None:
    truths, detections = scene(seed)
    thresholds = (0.07, 0.33, 0.6, 0.8, 0.97)
    ours = average_precision(truths, detections, SIGMAS, area_source="seg", thresholds=thresholds)
    np.testing.assert_allclose(list(ours.at.values()), pycoco(truths, detections, thresholds)[0], atol=1e-9)


def test_more_than_twenty_detections_in_one_picture_are_cut_as_in_pycocotools() -> None:
    rng = np.random.default_rng(9)
    xy = pose(rng)
    truths = [Truth("a", xy, np.ones(5, bool), 4000.0, (0, 0, 80, 80))]
    bad = [Detection("a", xy + 500, 0.5 + 0.01 * i) for i in range(20)]
    detections = [*bad, Detection("a", xy, 0.1)]
    assert average_precision(truths, detections, SIGMAS, area_source="seg").ar == 0
    assert average_precision(truths, detections[1:], SIGMAS, area_source="seg").ar == 1


def test_a_subject_is_preferred_to_a_crowd_that_fits_better() -> None:
    rng = np.random.default_rng(12)
    xy = pose(rng)
    visible = np.ones(5, bool)
    truths = [
        Truth("a", xy, visible, 4000.0, (0, 0, 80, 80), crowd=True),
        Truth("a", xy + 1.0, visible, 4000.0, (0, 0, 80, 80)),
    ]
    detections = [Detection("a", xy, 0.9)]
    ours = average_precision(truths, detections, SIGMAS, area_source="seg")
    assert ours.recall[0.5] == 1
    np.testing.assert_allclose(list(ours.at.values()), pycoco(truths, detections)[0], atol=1e-9)


def test_closed_forms_of_average_precision() -> None:
    rng = np.random.default_rng(10)
    poses = [pose(rng) for _ in range(2)]
    visible = np.ones(5, bool)
    truths = [Truth(f"{i}", xy, visible, 4000.0) for i, xy in enumerate(poses)]
    perfect = [Detection(f"{i}", xy, 0.9) for i, xy in enumerate(poses)]
    result = average_precision(truths, perfect, SIGMAS, area_source="bbox")
    assert result.ap == pytest.approx(1)
    assert (result.ar, result.subjects, result.area_source) == (1, 2, "bbox")
    # One of two found: precision 1 up to recall 0.5, which is 51 of 101 grid points.
    half = average_precision(truths, perfect[:1], SIGMAS, area_source="bbox")
    assert half.ap == pytest.approx(51 / 101)
    assert half.ar == 0.5


def test_no_subjects_is_nan_and_no_detections_is_zero() -> None:
    xy = pose(np.random.default_rng(11))
    nothing = average_precision([], [Detection("a", xy, 0.5)], SIGMAS, area_source="bbox")
    assert math.isnan(nothing.ap)
    assert math.isnan(nothing.at[THRESHOLDS[0]])
    missed = average_precision([Truth("a", xy, np.ones(5, bool), 100.0)], [], SIGMAS, area_source="bbox")
    assert (missed.ap, missed.ar) == (0, 0)
