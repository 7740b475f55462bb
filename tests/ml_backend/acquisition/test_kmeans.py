import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.acquisition.kmeans import flatten_poses, k_means


def test_separate_groups_are_found_largest_first() -> None:
    rng = np.random.default_rng(0)
    sizes = [10, 40, 25]
    truth = np.repeat([2, 0, 1], sizes)
    x = np.array([[0.0, 0.0], [50.0, 0.0], [0.0, 80.0]])[np.repeat([0, 1, 2], sizes)] + rng.normal(0, 0.5, (75, 2))
    clusters = k_means(x, 3, seed=1)
    assert clusters.label.tolist() == truth.tolist()
    for cluster in range(3):
        inside = x[truth == cluster]
        expected = np.linalg.norm(inside - inside.mean(0), axis=1)
        np.testing.assert_allclose(clusters.distance[truth == cluster], expected, atol=1e-4)


def test_no_row_is_nearer_to_another_centre() -> None:
    x = np.random.default_rng(1).normal(size=(300, 5))
    clusters = k_means(x, 7, seed=3, iterations=500)
    centres = np.stack([x[clusters.label == c].mean(0) for c in range(7)])
    distance = np.linalg.norm(x[:, None] - centres, axis=2)
    assert (distance.argmin(1) == clusters.label).all()


def test_same_seed_same_clusters() -> None:
    x = np.random.default_rng(2).normal(size=(100, 3))
    assert k_means(x, 5, seed=4).label.tolist() == k_means(x, 5, seed=4).label.tolist()


def test_missing_rows_copies_and_too_many_clusters() -> None:
    x = np.array([[0.0], [0.0], [np.nan], [5.0], [0.0]])
    clusters = k_means(x, 10)
    assert clusters.label.tolist() == [0, 0, -1, 1, 0]
    assert np.isnan(clusters.distance[2])
    assert k_means(np.full((2, 3), np.nan), 2).label.tolist() == [-1, -1]
    assert k_means(np.zeros((0, 3)), 2).label.shape == (0,)


def test_wrong_input_is_named() -> None:
    with pytest.raises(BadInputError, match="k >= 1"):
        k_means(np.zeros((3, 2)), 0)
    with pytest.raises(BadInputError, match="shape"):
        k_means(np.zeros((3, 2, 2)), 1)


def test_missing_joints_take_the_mean_place() -> None:
    poses = np.array([[[0.0, 2.0], [1.0, 1.0]], [[4.0, 6.0], [np.nan, 3.0]], [[np.nan, 1.0], [np.nan, 1.0]]])
    np.testing.assert_array_equal(flatten_poses(poses)[:2], [[0, 2, 1, 1], [4, 6, 1, 1]])
    assert np.isnan(flatten_poses(poses)[2]).all()
