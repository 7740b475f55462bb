"""Several figures in the studio: they cross and hide one another, some leave, and the first one is who it was alone."""

from __future__ import annotations

import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.simulation.studio import CaptureStudio


@pytest.fixture(scope="module")
def studio() -> CaptureStudio:
    return CaptureStudio(seed=5, n_frames=300, n_views=3, size_px=(160, 120), fill=0.5, figures=4)


def test_shapes_and_the_first_figure(studio: CaptureStudio) -> None:
    assert studio.subjects_xyz.shape == (300, 4, 15, 3)
    assert studio.subjects_xy.shape == (300, 4, 3, 15, 2)
    np.testing.assert_array_equal(studio.truth_xyz, studio.subjects_xyz[:, 0])
    np.testing.assert_array_equal(studio.truth_xy, studio.subjects_xy[:, 0])
    np.testing.assert_array_equal(studio.occluded, studio.subjects_occluded[:, 0])


def test_the_count_varies_and_absent_figures_have_no_place(studio: CaptureStudio) -> None:
    assert studio.present[:, 0].all()
    assert set(studio.present.sum(axis=1).tolist()) >= {2, 3, 4}
    np.testing.assert_array_equal(np.isfinite(studio.subjects_xyz).all(axis=(2, 3)), studio.present)


def test_they_come_close_but_not_into_one_another_and_never_leap(studio: CaptureStudio) -> None:
    floor = studio._figures_world[:, :, 0, :2]
    apart = np.linalg.norm(floor[:, :, None] - floor[:, None], axis=-1)[:, *np.triu_indices(4, 1)]
    assert 300 < apart.min() < 500
    assert np.linalg.norm(np.diff(floor, axis=0), axis=-1).max() < 80
    assert np.abs(floor).max() < 1500


def test_they_change_sides_in_the_pictures(studio: CaptureStudio) -> None:
    x = studio.subjects_xy[:, :, :, :, 0].mean(axis=3)  # (n, S, V)
    side = np.sign(x[:, 0] - x[:, 1])
    assert ((side > 0).any(axis=0) & (side < 0).any(axis=0)).any()


def test_others_hide_more_than_the_figure_itself(studio: CaptureStudio) -> None:
    here = studio.present.sum(axis=1)
    assert studio.occluded[here == 4].mean() > studio.occluded[here == 2].mean() + 0.02


def test_a_figure_is_in_the_picture_while_it_is_in_the_room(studio: CaptureStudio) -> None:
    left = int(np.flatnonzero(~studio.present[:, 1])[0])
    neck = studio.rig.project(studio._figures_world[left - 1 : left + 1, 1, :1])[:, 0, 0].round().astype(int)
    with_it, without = (studio.render(frame, 0).astype(int) for frame in (left - 1, left))
    x, y = neck[0]
    assert np.abs(with_it[y, x] - without[y, x]).sum() > 60


def test_one_figure_alone_has_the_same_arrays() -> None:
    alone = CaptureStudio(seed=5, n_frames=20, n_views=2, size_px=(64, 64))
    np.testing.assert_array_equal(alone.subjects_xyz[:, 0], alone.truth_xyz)
    with pytest.raises(BadInputError, match="1 figure"):
        CaptureStudio(seed=0, figures=0)
