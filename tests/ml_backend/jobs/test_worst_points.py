"""Of several subjects, a reason names the one for which the score is highest, with its own point and its own residual."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from label_config.values import FloatArray
from ml_backend.acquisition.combining import Combine
from ml_backend.jobs.worst_points import subjects_that_stand_out, worst_points
from ml_backend.project.subject_rows import Arrays, join_subjects
from ml_backend.store import frames
from ml_backend.store.workspace import Workspace

VIEWS, KEYPOINTS = ("cam1", "cam2", "cam3"), tuple(f"k{k}" for k in range(15))


def part(frame_ids: list[int], confidence: float, points: dict[str, FloatArray], residual: FloatArray) -> Arrays:
    n = len(frame_ids)
    shape = (n, 3, 15)
    found: Arrays = {
        "frame_ids": np.array(frame_ids),
        "confidence": np.full(shape, confidence),
        "reprojection_px": residual,
        "inlier": residual < 10,
    }
    for name, values in points.items():
        found |= {f"raw.{name}": values.mean(axis=(1, 2)), f"support.{name}": np.full(n, 45), f"point.{name}": values}
    return found


def at(view: int, keypoint: int, value: float) -> FloatArray:
    """(2, 3, 15) two frames alike, with one point that stands out."""
    found = np.full((2, 3, 15), 1.0)
    found[:, view, keypoint] = value
    return found


def joined(make_workspace: Callable[..., Workspace], combine: Combine) -> Arrays:
    """Two frames; subject 0 is in both, subject 2 in the second.  The network is least sure of subject 0."""
    rows = frames.list_frames(make_workspace().store)[:2]
    ids = [row.id for row in rows]
    first = part(ids, 0.2, {"mc": at(0, 4, 90.0), "mpe": at(2, 5, 60.0)}, at(0, 4, 30.0))
    both = part(ids, 0.9, {"mc": at(1, 7, 120.0), "mpe": at(1, 6, 9.0)}, at(1, 7, 44.0))
    other = {name: array[1:] for name, array in both.items()}
    return join_subjects({0: first, 2: other}, rows, 3, {}, combine)


def test_each_score_has_a_subject_of_its_own(make_workspace: Callable[..., Workspace]) -> None:
    arrays = joined(make_workspace, "mean")
    assert subjects_that_stand_out(arrays, 0) == {}, "one subject need not be named"
    assert subjects_that_stand_out(arrays, 1) == {"mc": 2, "mpe": 0}
    alone, found = (worst_points(arrays, row, VIEWS, KEYPOINTS) for row in (0, 1))
    assert alone["mc"] is not None
    assert found["mc"] is not None
    assert found["mpe"] is not None
    assert (alone["mc"].view, alone["mc"].keypoint, alone["mc"].residual_px, alone["mc"].disagreeing) == ("cam1", "k4", 30.0, 1)
    assert (found["mc"].view, found["mc"].keypoint, found["mc"].residual_px, found["mc"].disagreeing) == ("cam2", "k7", 44.0, 1)
    assert (found["mpe"].view, found["mpe"].keypoint, found["mpe"].residual_px) == ("cam3", "k5", 1.0)


def test_the_setting_says_how_a_frame_s_score_is_put_together(make_workspace: Callable[..., Workspace]) -> None:
    first, other = at(0, 4, 90.0)[0].mean(), at(1, 7, 120.0)[0].mean()
    wanted: dict[Combine, float] = {"mean": (first + other) / 2, "max": other, "sum": first + other}
    for combine, value in wanted.items():
        arrays = joined(make_workspace, combine)
        np.testing.assert_allclose(arrays["raw.mc"], [first, value], rtol=1e-12)
        assert arrays["support.mc"].tolist() == [45, 90]
