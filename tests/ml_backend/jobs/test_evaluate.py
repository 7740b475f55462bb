"""The field's figures of a model against people's points, in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from label_config.values import FloatArray, FrameKey
from label_config.values.prediction import Prediction
from label_config.values.skeleton import Skeleton
from ml_backend.evaluation.evaluation_report import as_json
from ml_backend.evaluation.validation_error import Validation
from ml_backend.evaluation.version_metrics import measure
from ml_backend.store.frames import FrameRow

#: Four points whose box is 60 × 80 px: diagonal 100 px, area 4800 px².
CORNERS = np.array([[10.0, 10.0], [70.0, 10.0], [70.0, 90.0], [10.0, 90.0]])
CHAIN = Skeleton("chain", ("a", "b", "c", "d"), limbs=((0, 1), (1, 2)))


def seen(
    truth_px: FloatArray,
    found_px: FloatArray,
    *,
    confidence: float | FloatArray = 0.8,
    block: Sequence[int] | None = None,
    size_px: FloatArray | None = None,
    truth_world: FloatArray | None = None,
    predicted_world: FloatArray | None = None,
) -> Validation:
    """Frames (f, V, K, 2) as people and a model see them."""
    count, views, keypoints = truth_px.shape[:3]
    unknown = np.full((count, keypoints, 3), np.nan)
    return Validation(
        frames=[FrameRow(i, FrameKey("s", i), {}, "val", False) for i in range(count)],
        block=np.array(block if block is not None else range(count), dtype=np.int64),
        predicted=Prediction(
            xy_px=found_px,
            confidence=np.broadcast_to(np.asarray(confidence, dtype=np.float64), found_px.shape[:3]),
            box_px=np.full((count, views, 4), np.nan),
            size_px=np.full((count, views, 2), 100.0) if size_px is None else size_px,
        ),
        truth_px=truth_px,
        truth_world=unknown if truth_world is None else truth_world,
        predicted_world=unknown if predicted_world is None else predicted_world,
    )


def two_subjects(truth_px: FloatArray, found_px: FloatArray, **more: Any) -> Validation:
    """Rows 2 i and 2 i + 1 are subjects 0 and 1 of frame i."""
    one = seen(truth_px, found_px, **more)
    frames = [FrameRow(row // 2, FrameKey("s", row // 2), {}, "val", False) for row in range(len(truth_px))]
    return replace(one, frames=frames, subjects=np.arange(len(frames)) % 2)


def pictures(count: int) -> FloatArray:
    """(count, 1, 4, 2) the corners, one view."""
    return np.broadcast_to(CORNERS, (count, 1, 4, 2)).copy()


def test_a_known_shift_is_the_error_and_steps_over_the_share_of_the_diagonal() -> None:
    truth = pictures(2)
    for shift, right in (((3.0, 4.0), (1, 1)), ((3.001, 4.0), (0, 1)), ((6.0, 8.0), (0, 1)), ((6.001, 8.0), (0, 0))):
        found = measure(seen(truth, truth + shift), CHAIN, 3, None)
        distance = math.hypot(*shift)
        assert (found.error.mean, found.error.median) == pytest.approx((distance, distance))
        assert (found.error.points, found.error.labelled, found.frames, found.pictures) == (8, 8, 2, 2)
        assert [keypoint.mean for keypoint in found.per_keypoint] == pytest.approx([distance] * 4)
        assert tuple(value.overall for value in found.pck.values()) == right
        assert found.reliability.ece == pytest.approx(abs(0.8 - right[0]))


def test_mean_and_median_per_keypoint_of_unlike_errors() -> None:
    found_px = pictures(3)
    found_px[:, 0, 1, 0] += [1.0, 2.0, 9.0]
    found = measure(seen(pictures(3), found_px), CHAIN, 3, None)
    assert (found.per_keypoint[1].mean, found.per_keypoint[1].median, found.per_keypoint[1].points) == (4.0, 2.0, 3)
    assert found.per_keypoint[0].mean == 0
    assert (found.error.mean, found.error.median) == (1.0, 0.0)


def test_similarity_by_the_box_around_the_labelled_points() -> None:
    truth = pictures(3)
    found = measure(seen(truth, truth + [3.0, 4.0]), CHAIN, 3, None).oks
    # exp(−5² / (2 · 4800 · (2 · 0.05)²)) = 0.7707: right at the thresholds 0.50 … 0.75, six of ten
    assert found.mean == pytest.approx(math.exp(-25 / 96))
    assert (found.ap.ap, found.ap.at[0.5], found.ap.at[0.75], found.ap.at[0.8]) == pytest.approx((0.6, 1, 1, 0))
    assert found.ap.area_source == "bbox"


def test_a_limb_is_right_when_both_ends_are_within_half_its_length() -> None:
    found_px = pictures(1)
    found_px[0, 0, 1] += [21.0, 28.0]  # 35 px: more than half of a–b (60 px), less than half of b–c (80 px)
    found = measure(seen(pictures(1), found_px), CHAIN, 3, None)
    assert found.protocol.strict is not None
    assert (found.protocol.strict.per_limb.tolist(), found.protocol.strict.mean, found.limbs) == ([0.0, 1.0], 0.5, 2)
    assert measure(seen(pictures(1), found_px), Skeleton("loose", CHAIN.keypoints), 3, None).protocol.strict is None


def test_confidence_against_the_share_of_right_points() -> None:
    found_px = pictures(2)
    found_px[1, 0, 0] += 50.0
    found_px[1, 0, 1] = np.nan  # states nothing
    confidence = np.full((2, 1, 4), 0.95)
    confidence[1, 0, 1] = 0.0
    found = measure(seen(pictures(2), found_px, confidence=confidence), CHAIN, 3, None).reliability
    assert found.count.tolist() == [0] * 9 + [7]
    assert found.correct[9] == pytest.approx(6 / 7)
    assert found.ece == pytest.approx(0.95 - 6 / 7)


def test_points_that_the_model_lacks_are_wrong_but_have_no_distance() -> None:
    found_px = pictures(2) + [3.0, 4.0]
    found_px[0, 0, 2] = np.nan
    found_px[1] = np.nan
    found = measure(seen(pictures(2), found_px), CHAIN, 3, None)
    assert (found.error.mean, found.error.points, found.error.labelled) == (5.0, 3, 8)
    assert math.isnan(found.per_keypoint[2].mean)
    assert found.pck[0.05].overall == 3 / 8
    assert found.protocol.strict is not None
    assert found.protocol.strict.per_limb.tolist() == [0.5, 0.0]
    assert found.oks.mean == pytest.approx(3 / 4 * math.exp(-25 / 96) / 2)
    count = found.oks.count
    # the first picture's 0.578 reaches OKS 0.5; nothing is found in the second
    assert (count.matched_share, count.mean_count_error, count.subjects, count.detections) == (0.5, 0.5, 2, 1)
    assert found.oks.ap.at[0.5] == pytest.approx(51 / 101), "precision 1 up to recall 0.5 on the grid 0, 0.01 … 1"


def test_pictures_that_cannot_be_read_count_nowhere() -> None:
    found_px, size_px = pictures(2), np.full((2, 1, 2), 100.0)
    found_px[1], size_px[1] = np.nan, np.nan
    world = np.ones((2, 4, 3))
    missing = world.copy()
    missing[1] = np.nan
    answers = seen(pictures(2), found_px, size_px=size_px, truth_world=world, predicted_world=missing)
    found = measure(answers, CHAIN, 3, "mm")
    assert (found.frames, found.pictures, found.unreadable, found.error.labelled) == (1, 1, 1, 4)
    assert (found.pck[0.05].overall, found.oks.mean, found.oks.count.mean_count_error) == (1, 1, 0)
    assert found.world is not None
    assert (found.world.points, found.world.by_alignment["absolute"].coverage) == (4, 1)


def test_what_cannot_be_told_is_not_a_zero() -> None:
    """One labelled point: no box, so neither size nor area nor limbs; one block of time, so no interval."""
    truth = pictures(1)
    truth[0, 0, 1:] = np.nan
    found = measure(seen(truth, pictures(1) + [3.0, 4.0]), CHAIN, 3, None)
    assert (found.error.mean, found.error.points, found.limbs) == (5.0, 1, 0)
    assert found.protocol.strict is not None
    figures = [
        *found.interval,
        found.pck[0.05].overall,
        found.protocol.strict.mean,
        found.oks.mean,
        found.oks.ap.ap,
        found.reliability.ece,
    ]
    figures += [found.oks.count.matched_share, found.oks.count.mean_count_error, found.per_keypoint[1].median]
    assert all(math.isnan(figure) for figure in figures), figures
    said = as_json(found)
    assert said["mpjpe"] is None
    assert said["error"]["mean_95"] == [None, None]
    assert (said["pck"]["at"][0]["share"], said["oks"]["ap"], said["confidence"]["ece"]) == (None, None, None)


def test_nothing_readable_at_all() -> None:
    found = measure(seen(pictures(1), pictures(1), size_px=np.full((1, 1, 2), np.nan)), CHAIN, 3, "mm")
    assert (found.frames, found.unreadable, found.error.points) == (0, 1, 0)
    assert math.isnan(found.error.mean)
    assert as_json(found)["mpjpe"]["absolute"]["mean"] is None


def test_the_interval_draws_whole_blocks_of_time() -> None:
    truth = pictures(4)
    found_px = truth + np.array([1.0, 1.0, 3.0, 3.0])[:, None, None, None] * [1.0, 0.0]
    # Two blocks with 1 and 3 px everywhere: a draw is 1, 2 or 3 px with probability ¼, ½, ¼.
    assert measure(seen(truth, found_px, block=[0, 0, 1, 1]), CHAIN, 3, None).interval == (1.0, 3.0)
    low, high = measure(seen(truth, found_px), CHAIN, 3, None).interval
    assert 1 <= low < 2 < high <= 3
    assert np.isnan(measure(seen(truth, found_px, block=[5] * 4), CHAIN, 3, None).interval).all()


def test_alignments_in_space() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 100, (5, 4, 3))
    shifted = seen(pictures(5), pictures(5), truth_world=truth, predicted_world=truth + [2.0, 3.0, 6.0])
    errors = measure(shifted, CHAIN, 3, "m").world
    assert errors is not None
    assert {name: error.mean for name, error in errors.by_alignment.items()} == pytest.approx(
        {"absolute": 7, "root": 0, "mean": 0, "procrustes": 0}, abs=1e-9
    )
    root = truth[:, CHAIN.root : CHAIN.root + 1]
    larger = seen(pictures(5), pictures(5), truth_world=truth, predicted_world=root + 1.5 * (truth - root))
    errors = measure(larger, CHAIN, 3, "m").world
    assert errors is not None
    expected = 0.5 * np.linalg.norm(truth - root, axis=-1).mean()
    assert [errors.by_alignment[name].mean for name in ("root", "absolute")] == pytest.approx([expected] * 2)
    assert errors.by_alignment["procrustes"].mean == pytest.approx(0, abs=1e-9)
    assert (errors.unit, errors.points) == ("m", 20)


def test_figures_of_protocols_and_any_threshold_are_in_the_report() -> None:
    truth = pictures(3)
    found_px = truth + [3.0, 4.0]
    found_px[2] = np.nan
    skeleton = Skeleton("chain", CHAIN.keypoints, limbs=CHAIN.limbs, head=(0, 1), torso=(1, 3))  # 60 and 100 px
    said = as_json(measure(seen(truth, found_px), skeleton, 3, None, (0.77, 0.78)))
    similarity = math.exp(-25 / (2 * 4800 * 0.1**2))
    assert said["oks"]["ap_at"] == {"0.77": pytest.approx(67 / 101), "0.78": 0.0}  # recall 2/3: 67 of the 101 places
    assert said["oks"]["ospa"] == pytest.approx((2 * (1 - similarity) + 1) / 3)
    assert (said["pckh"]["share"], said["pckh"]["alpha"], said["torso_pck"]["share"]) == (8 / 12, 0.5, 8 / 12)
    assert (said["pcp"]["mean"], said["pcp"]["loose"]) == pytest.approx((2 / 3, 2 / 3))
    assert as_json(measure(seen(truth, truth), CHAIN, 3, None))["pckh"] is None


def test_of_several_subjects_each_label_has_the_prediction_that_lies_on_it() -> None:
    truth = pictures(6)
    truth[1::2] += [100.0, 0.0]
    world = np.random.default_rng(0).normal(0, 100, (6, 4, 3)) + np.array([0.0, 1000.0] * 3)[:, None, None]
    exchanged = np.array([0, 1, 3, 2, 4, 5])  # in the second frame
    found = measure(two_subjects(truth, truth[exchanged], truth_world=world, predicted_world=world[exchanged]), CHAIN, 3, "mm")
    assert (found.error.mean, found.pictures, found.oks.ap.ap, found.oks.ap.ar, found.oks.ospa) == (0, 6, 1, 1, 0)
    assert found.world is not None
    assert found.world.by_alignment["absolute"].mean == 0
    assert found.protocol.strict is not None
    assert found.protocol.strict.mean == 1
    assert found.identities is not None
    assert (found.identities.switches, found.identities.subjects) == (4, 6), "there and back again"
    assert found.identities.mota == pytest.approx(1 - 4 / 6)
    assert found.identities.idf1 == pytest.approx(4 / 6)
    said = as_json(found)
    assert said["identities"]["switches"] == 4
    assert as_json(measure(seen(truth, truth), CHAIN, 3, None))["identities"] is None


def test_of_two_subjects_one_may_be_missed_and_the_picture_counts_once() -> None:
    truth = pictures(4)
    truth[1::2] += [100.0, 0.0]
    found_px = truth.copy()
    found_px[3] = np.nan
    found = measure(two_subjects(truth, found_px), CHAIN, 3, None)
    assert found.oks.count.mean_count_error == 0.5, "one subject is missed in one of two pictures"
    assert found.oks.count.matched_share == 3 / 4
    assert found.oks.ospa == pytest.approx((0 + 1 / 2) / 2)
    assert found.identities is not None
    assert (found.identities.missed, found.identities.switches, found.identities.mota) == (1, 0, 3 / 4)


def test_limbs_in_the_world() -> None:
    pose = np.array([[[0.0, 0, 0], [100, 0, 0], [200, 0, 0], [300, 0, 0]]])
    moved = pose + [[[0, 0, 60.0], [0, 0, 20.0], [0, 0, 0], [0, 0, 0]]]  # first limb: one end beyond 50, mean 40
    said = as_json(measure(seen(pictures(1), pictures(1), truth_world=pose, predicted_world=moved), CHAIN, 3, "mm"))
    assert (said["mpjpe"]["pcp_strict"], said["mpjpe"]["pcp_loose"]) == (0.5, 1.0)
