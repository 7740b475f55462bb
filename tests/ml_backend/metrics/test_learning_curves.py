"""Learning-curve figures in closed form."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from label_config.values import BadInputError
from ml_backend.metrics.curve_summaries import (
    area_under_learning_curve,
    coverage_radius,
    pose_entropy,
    spearman,
)


@pytest.mark.parametrize(
    ("share", "score", "area"),
    [
        ([0, 0.3, 1], [1, 1, 1], 1),
        ([0, 1], [0, 1], 0.5),
        ([0, 0.5], [0, 1], 0.75),  # stopped early: 0.25 + 0.5 × 1
        ([0.5, 1], [0, 1], 0.5),  # begins late: averaged over its own range
        ([0.2], [0.7], 0.7),
        ([1.0], [0.4], 0.4),
    ],
)
def test_alc(share: Any, score: Any, area: Any) -> None:
    assert area_under_learning_curve(np.array(share), np.array(score)) == pytest.approx(area)


@pytest.mark.parametrize(("share", "message"), [([0.5, 0.2], "increase"), ([0, 1.2], "increase within"), ([], "r > 0")])
def test_alc_refuses_what_is_no_curve(share: Any, message: Any) -> None:
    with pytest.raises(BadInputError, match=message):
        area_under_learning_curve(np.array(share, float), np.zeros(len(share)))


def clustered(clusters: Any = 10, each: Any = 20) -> Any:
    """Poses of two joints: the root anywhere, the second in one of well-separated places around it."""
    rng = np.random.default_rng(0)
    where = np.repeat(np.arange(clusters), each)
    offset = np.stack([1000.0 * where, np.zeros(len(where)), np.zeros(len(where))], axis=-1) + rng.normal(0, 1, (len(where), 3))
    root = rng.normal(0, 5000, (len(where), 3))
    return np.stack([root, root + offset], axis=1), where


def test_pose_entropy_of_equal_use_is_ln_ten_and_of_one_cluster_zero() -> None:
    poses, where = clustered()
    assert pose_entropy(poses, np.arange(len(poses)), root=0) == pytest.approx(math.log(10))
    assert pose_entropy(poses, np.flatnonzero(where == 3), root=0) == 0
    two = np.flatnonzero((where == 3) | (where == 7))
    assert pose_entropy(poses, two, root=0) == pytest.approx(math.log(2))


def test_pose_entropy_edges() -> None:
    poses, _ = clustered()
    assert math.isnan(pose_entropy(poses, np.array([], int), root=0))
    with pytest.raises(BadInputError, match="at least 10 poses"):
        pose_entropy(poses[:4], np.arange(4), root=0)
    poses[0, 1] = np.nan
    with pytest.raises(BadInputError, match="complete"):
        pose_entropy(poses, np.arange(3), root=0)
    same = np.zeros((12, 2, 3))
    assert pose_entropy(same, np.arange(12), root=0) == 0


def test_coverage_radius_ignores_the_root_and_averages_over_joints() -> None:
    poses = np.zeros((3, 2, 3))
    poses[:, 0] = [[0, 0, 0], [700, 0, 0], [0, 900, 0]]
    poses[:, 1] = poses[:, 0] + [[0, 0, 0], [0, 0, 8], [0, 0, 20]]
    # Joint 1 differs by 8 and 20 from frame 0; the root by nothing: means 4 and 10.
    assert coverage_radius(poses, np.array([0]), root=0) == 10
    assert coverage_radius(poses, np.array([0, 2]), root=0) == 4
    poses[2, 1] = np.nan
    assert coverage_radius(poses, np.array([0]), root=0) == 4
    assert math.isnan(coverage_radius(poses, np.array([], int), root=0))


def test_spearman_equals_scipy_with_ties_and_drops_nan() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 8, 50).astype(float), rng.integers(0, 8, 50).astype(float)
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    a2, b2 = np.append(a, np.nan), np.append(b, 1e9)
    assert spearman(a2, b2) == pytest.approx(spearman(a, b))


def test_spearman_without_information_is_nan() -> None:
    assert math.isnan(spearman(np.array([1.0, 2.0]), np.array([1.0, 2.0])))
    assert math.isnan(spearman(np.ones(5), np.arange(5, dtype=np.float64)))
