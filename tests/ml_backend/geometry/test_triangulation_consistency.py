"""Consistency scores and the acceptance of pseudo-labels, on residuals that can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.consistency import (
    multi_view_consistency,
    outlier_ratio,
    trusted,
    weak_geometry,
)
from ml_backend.geometry.triangulation import triangulate_robust

Ring = Callable[..., Rig]
NAN = float("nan")
RESIDUAL = np.array([[[3.0, NAN, 0.0], [4.0, NAN, 1.0]], [[NAN] * 3, [NAN] * 3]])  # (2 frames, 2 views, 3 keypoints)


def test_scores_by_hand() -> None:
    squared, support = multi_view_consistency(RESIDUAL)
    np.testing.assert_allclose(squared, [(9 + 16 + 0 + 1) / 4, NAN])
    np.testing.assert_array_equal(support, [4, 0])
    np.testing.assert_allclose(multi_view_consistency(RESIDUAL, power=1)[0], [2.0, NAN])
    inlier = np.array([[[False, False, True], [True, False, True]], [[False] * 3] * 2])
    np.testing.assert_allclose(outlier_ratio(inlier, RESIDUAL), [1 - (0.5 + 1) / 2, NAN])
    with pytest.raises(BadInputError, match="power"):
        multi_view_consistency(RESIDUAL, power=3)


def test_one_displaced_view_gives_delta_squared_over_views_and_keypoints(make_ring: Ring) -> None:
    rig = make_ring(5)
    xy = rig.project(np.random.default_rng(0).normal(size=(3, 4, 3)) * 200)
    clean = triangulate_robust(rig, xy)
    assert multi_view_consistency(clean.reprojection_px)[0].max() < 1e-12
    assert trusted(clean).all()
    xy[1, 2, 3] += (60.0, 0.0)
    found = triangulate_robust(rig, xy)
    np.testing.assert_allclose(multi_view_consistency(found.reprojection_px)[0], [0, 60.0**2 / (5 * 4), 0], atol=1e-4)
    np.testing.assert_allclose(outlier_ratio(found.inlier, found.reprojection_px), [0, 1 / 20, 0])
    np.testing.assert_array_equal(trusted(found).all(axis=-1), [True, False, True])
    np.testing.assert_array_equal(trusted(found)[1], [True, True, True, False])
    assert found.reprojection_px[1].max(axis=-1).argmax() == 2


def test_two_views_are_weak_and_never_label_themselves(make_ring: Ring) -> None:
    rig = make_ring(4)
    xy = rig.project(np.zeros((1, 2, 3)))
    xy[0, 2:, 0] = np.nan
    found = triangulate_robust(rig, xy)
    np.testing.assert_array_equal(weak_geometry(found), [[True, False]])
    np.testing.assert_array_equal(trusted(found), [[False, True]])
    assert not trusted(found, min_views=2)[0, 0]
    assert not trusted(found, min_views=5).any()
    assert weak_geometry(found, min_angle_deg=179.9).all()


def test_a_point_that_nobody_sees_is_weak_and_untrusted(make_ring: Ring) -> None:
    found = triangulate_robust(make_ring(3), np.full((1, 3, 2, 2), NAN))
    assert weak_geometry(found).all()
    assert not trusted(found).any()
