import numpy as np

from label_config.values import PointState, Provenance
from ml_backend.simulation.noise import AnnotatorNoise
from ml_backend.simulation.studio_figure import STUDIO_SKELETON

K = len(STUDIO_SKELETON)
GRID = np.stack(np.broadcast_arrays(np.arange(K) * 100.0, np.arange(4)[:, None] * 1000.0), axis=-1)
SEEN = np.zeros((4, K), dtype=bool)


def test_noise_has_the_stated_spread() -> None:
    noise = AnnotatorNoise(sigma_px=2.0, occluded_sigma_px=5.0, miss_rate=0.0, swap_rate=0.0)
    hidden = SEEN.copy()
    hidden[1] = True
    errors = np.stack([noise.annotate(i, GRID, hidden, STUDIO_SKELETON).xy_px - GRID for i in range(300)])
    assert abs(errors[:, 0].std() - 2.0) < 0.1
    assert abs(errors[:, 1].std() - 5.0) < 0.2
    assert np.abs(errors.mean()) < 0.1


def test_misses_and_swaps_occur_at_their_rates() -> None:
    noise = AnnotatorNoise(sigma_px=0.0, miss_rate=0.1, swap_rate=0.05)
    poses = [noise.annotate(i, GRID, SEEN, STUDIO_SKELETON) for i in range(400)]
    missed = np.stack([pose.state == PointState.UNLABELLED for pose in poses])
    assert abs(missed.mean() - 0.1) < 0.01
    xy = np.stack([pose.xy_px for pose in poses])
    np.testing.assert_array_equal(np.isnan(xy).any(axis=-1), missed)
    left, right = STUDIO_SKELETON.pairs[0]
    swapped = xy[:, :, left, 0] == GRID[0, right, 0]
    assert 0.02 < swapped.mean() < 0.08
    both = swapped & ~missed[:, :, right]
    assert (xy[:, :, right, 0][both] == GRID[0, left, 0]).all()
    centre = STUDIO_SKELETON.root
    assert np.nanmax(np.abs(xy[:, :, centre] - GRID[:, centre])) == 0


def test_states_and_provenance() -> None:
    hidden = SEEN.copy()
    hidden[2, 3] = True
    truth = GRID.copy()
    truth[0, 0] = np.nan
    pose = AnnotatorNoise(miss_rate=0.0, swap_rate=0.0).annotate(0, truth, hidden, STUDIO_SKELETON)
    assert pose.state[2, 3] == PointState.OCCLUDED
    assert pose.state[0, 0] == PointState.UNLABELLED
    assert pose.provenance[0, 0] == Provenance.NONE
    assert (pose.state == PointState.VISIBLE).sum() == 4 * K - 2
    assert pose.provenance[1, 1] == Provenance.PLACED


def test_seeded_per_frame() -> None:
    a, b = AnnotatorNoise(seed=1), AnnotatorNoise(seed=2)
    first = a.annotate(7, GRID, SEEN, STUDIO_SKELETON).xy_px
    np.testing.assert_array_equal(first, a.annotate(7, GRID, SEEN, STUDIO_SKELETON).xy_px)
    assert not np.array_equal(first, a.annotate(8, GRID, SEEN, STUDIO_SKELETON).xy_px)
    assert not np.array_equal(first, b.annotate(7, GRID, SEEN, STUDIO_SKELETON).xy_px)
