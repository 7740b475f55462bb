"""Labels harvested with 3-D pictorial structures (Pavlakos et al. 2017; docs/methods.md §4).

From the predictions of a network in all calibrated views and the subject's limb lengths, every frame of a recording gets a 3-D
pose with an uncertainty per keypoint.  The least uncertain poses of each keypoint are kept; on their projections a network is
trained for this subject.

    body = body_from_poses(xyz_labelled, skeleton)
    parts = [harvest_points(body, rig, keys, detections) for keys, detections in chunks]
    harvest = Harvest.joined(parts).select(0.7)
    targets = harvest_targets(harvest, rig, images, views)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, shortest_path

from label_config.values import BadInputError, BoolArray, Float32Array, FloatArray, FrameKey, ImageRef, IntArray, TrainingTarget
from label_config.values.masked import median_of
from label_config.values.skeleton import Skeleton, limbs_by_name
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.pictorial import PictorialPose, PictorialStructure, infer_heatmaps, infer_points, keep_best
from ml_backend.geometry.pictorial_body import LimbLengths, box_centres, fit_side
from ml_backend.geometry.triangulation import triangulate_linear, triangulate_robust
from ml_backend.geometry.view_agreement import agreement_px
from ml_backend.labels.snapshot import box_or_none

#: Share of each keypoint's poses that is kept, those with the least uncertainty.
KEEP = 0.7
#: Voxels per side; finer grids cost much and gain little, because the views that agree refine the pose anyway.
GRID = 32
#: Fewest labelled poses from which limb lengths are estimated.
MIN_POSES = 5
#: A keypoint is a label only where the points of this many views agree with the pose.
MIN_VIEWS = 2
#: A stated limb length is true within this share of itself.
STATED_WITHIN = 0.05
#: A refined keypoint stays within this many voxels of the pictorial estimate, else that estimate is used.
_REFINED_WITHIN_VOX = 2.0


@dataclass(frozen=True)
class Detections:
    """A network's predictions for n frames of one rig.

    xy_px               (n, V, K, 2) image pixels, NaN = none
    confidence          (n, V, K) in [0, 1], NaN = none
    sigma_px            (n, V) how far off a good point may be; used only without heatmaps
    heatmaps            (n, V, K, h, w) at unit training amplitude, None = the network has none
    heatmap_from_image  (n, V, 2, 3) affine map image pixels → heatmap cells, NaN = view missing; None without heatmaps
    """

    xy_px: FloatArray
    confidence: FloatArray
    sigma_px: FloatArray
    heatmaps: Float32Array | None = None
    heatmap_from_image: FloatArray | None = None


def body_from_poses(xyz_world: FloatArray, skeleton: Skeleton, *, grid: int = GRID) -> PictorialStructure:
    """The subject's pictorial structure from poses (m, K, 3): its limb lengths, and a box that holds it.

    Raises BadInputError with fewer than MIN_POSES poses in which two keypoints are known.
    """
    usable = poses_of_use(xyz_world)
    if usable.sum() < MIN_POSES:
        raise BadInputError(f"harvest: limb lengths need {MIN_POSES} poses with two known keypoints, got {int(usable.sum())}")
    poses = xyz_world[usable]
    return PictorialStructure(len(skeleton), LimbLengths.from_labels(poses, skeleton.limbs), fit_side(poses), grid)


def poses_of_use(xyz_world: FloatArray) -> BoolArray:
    """(m,) poses (m, K, 3) in which at least two keypoints are known."""
    return np.asarray(np.isfinite(xyz_world).all(axis=-1).sum(axis=-1) >= 2)


def body_from_lengths(lengths: Sequence[tuple[str, str, float]], skeleton: Skeleton, *, grid: int = GRID) -> PictorialStructure:
    """The pictorial structure of a subject whose limbs were measured: (keypoint, keypoint, length in world units).

    A limb may differ from its length by the share STATED_WITHIN.  The box holds the subject stretched out.  Raises BadInputError
    for names that are no limb, limbs without a length and lengths that are not positive.
    """
    pairs = np.array(skeleton.limbs, dtype=np.int64).reshape(-1, 2)
    stated = dict(zip(map(frozenset, limbs_by_name(skeleton.keypoints, [row[:2] for row in lengths])), lengths, strict=True))
    wrong = [f"{one}–{other}: {value}" for one, other, value in lengths if not (np.isfinite(value) and value > 0)]
    wrong += [
        f"{one}–{other}: no limb" for limb, (one, other, _) in stated.items() if limb not in set(map(frozenset, skeleton.limbs))
    ]
    wrong += [
        f"{skeleton.keypoints[a]}–{skeleton.keypoints[b]}: missing" for a, b in skeleton.limbs if frozenset((a, b)) not in stated
    ]
    if wrong or not skeleton.limbs:
        raise BadInputError(
            f"limb lengths: expected a positive one for each limb of the skeleton, got {'; '.join(wrong) or 'no limbs'}"
        )
    length = np.array([stated[frozenset(limb)][2] for limb in skeleton.limbs], dtype=np.float64)
    return PictorialStructure(len(skeleton), LimbLengths(pairs, length, STATED_WITHIN * length), _stretched(pairs, length), grid)


def _stretched(pairs: IntArray, length_world: FloatArray) -> float:
    """Farthest that two keypoints can be apart along limbs; of separate trees the sum."""
    count = int(pairs.max()) + 1
    apart = shortest_path(coo_array((length_world, (pairs[:, 0], pairs[:, 1])), shape=(count, count)).tocsr(), directed=False)
    trees, tree = connected_components(np.isfinite(apart))
    return float(sum(apart[np.ix_(tree == one, tree == one)].max() for one in range(trees)))


def confirmed_poses(rig: Rig, xy_px: FloatArray, threshold_px: float | None = None) -> FloatArray:
    """(n, V, K, 2) predicted points → (n, K, 3) keypoints on which three views agree (two, where there are but two); NaN = none.

    Two views of many agree by chance too often for a length to rest on.
    """
    found = triangulate_robust(rig, xy_px, threshold_px=threshold_px)
    agreed = found.inlier.sum(axis=-2) >= min(MIN_VIEWS + 1, len(rig))
    return np.where(agreed[..., None], found.xyz_world, np.nan)


@dataclass(frozen=True)
class Harvest:
    """Poses of n frames.

    keys         (n,) frames
    xyz_world    (n, K, 3) world units, NaN = no pose
    covariance   (n, K, 3, 3) of the marginals, world units squared
    logdet       (n, K) log det of the covariance and the grid's own: the uncertainty
    residual_px  (n, V, K) distance of the network's point from the pose's projection, NaN = no point
    agreeing     (n, K) views whose point agrees with the pose
    kept         (n, K) the keypoint is a label
    """

    keys: tuple[FrameKey, ...]
    xyz_world: FloatArray
    covariance: FloatArray
    logdet: FloatArray
    residual_px: FloatArray
    agreeing: npt.NDArray[np.int64]
    kept: BoolArray

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def spread_world(self) -> FloatArray:
        """(n, K) typical standard deviation of a keypoint, det^(1/6), world units."""
        return np.asarray(np.exp(self.logdet / 6))

    def select(self, fraction: float = KEEP, *, unconfirmed: bool = False) -> Harvest:
        """Keep of every keypoint the least uncertain ``fraction`` of those poses that MIN_VIEWS views confirm.

        ``unconfirmed``: of all poses, as printed (§4.3).
        """
        eligible = self.logdet if unconfirmed else np.where(self.agreeing >= MIN_VIEWS, self.logdet, np.nan)
        return replace(self, kept=keep_best(eligible, fraction))

    @classmethod
    def joined(cls, parts: Sequence[Harvest]) -> Self:
        """Several recordings, or parts of one, as one data set.  Raises BadInputError without a part."""
        if not parts:
            raise BadInputError("harvest: expected at least one frame, got none")
        names = ("xyz_world", "covariance", "logdet", "residual_px", "agreeing", "kept")
        arrays: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return cls(keys=tuple(key for part in parts for key in part.keys), **arrays)

    def rows(self, chosen: npt.NDArray[Any]) -> Harvest:
        """The frames at these positions, or where the mask is True."""
        positions = np.arange(len(self))[chosen]
        arrays: dict[str, Any] = {name: value[positions] for name, value in vars(self).items() if name != "keys"}
        return Harvest(keys=tuple(self.keys[i] for i in positions), **arrays)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """For the array store."""
        return {**vars(self), "keys": np.array([str(key) for key in self.keys], dtype=np.str_)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Inverse of :meth:`to_arrays`."""
        values: dict[str, Any] = {name: array for name, array in arrays.items() if name != "keys"}
        return cls(keys=tuple(FrameKey.parse(str(key)) for key in arrays["keys"]), **values)


def harvest_points(
    model: PictorialStructure, rig: Rig, keys: Sequence[FrameKey], detections: Detections, threshold_px: float | None = None
) -> Harvest:
    """Poses of n frames of one rig; nothing is kept before :meth:`Harvest.select`.

    The marginal means are refined by triangulating the views that agree with them: the grid decides which of several places
    is meant, the pixels decide where it is (§4.2).  Frames in which no two views agree about anything have no pose.

    threshold_px  distance up to which views agree, see :func:`ml_backend.geometry.view_agreement.agreement_px`
    """
    limit = agreement_px(rig, detections.xy_px, threshold_px)[..., None]
    triangulated = triangulate_robust(rig, detections.xy_px, threshold_px=threshold_px).xyz_world
    centre = box_centres(triangulated, model.side_world)
    pose = _marginals(model, rig, detections, centre)
    xyz = _refined(model, rig, detections, pose.mean_world, limit)
    residual = _residual(rig, xyz, detections.xy_px)
    return Harvest(
        keys=tuple(keys),
        xyz_world=xyz,
        covariance=pose.covariance,
        logdet=pose.logdet,
        residual_px=residual,
        agreeing=np.asarray(residual <= limit).sum(axis=1),
        kept=np.zeros(pose.logdet.shape, dtype=np.bool_),
    )


def _marginals(model: PictorialStructure, rig: Rig, seen: Detections, centre_world: FloatArray) -> PictorialPose:
    if seen.heatmaps is not None and seen.heatmap_from_image is not None:
        return infer_heatmaps(model, rig, seen.heatmaps, seen.heatmap_from_image, centre_world)
    return infer_points(model, rig, seen.xy_px, seen.confidence, seen.sigma_px, centre_world)


def _refined(model: PictorialStructure, rig: Rig, seen: Detections, mean_world: FloatArray, limit_px: FloatArray) -> FloatArray:
    # The mean is no better than a voxel, and so far may it be off from a point that agrees with it.
    inlier = _residual(rig, mean_world, seen.xy_px) <= limit_px + _voxel_px(model, rig, mean_world)
    refined = triangulate_linear(rig, np.where(inlier[..., None], seen.xy_px, np.nan))
    near = np.linalg.norm(refined - mean_world, axis=-1) <= _REFINED_WITHIN_VOX * model.spacing_world
    return np.where(near[..., None], refined, mean_world)


def _voxel_px(model: PictorialStructure, rig: Rig, xyz_world: FloatArray) -> FloatArray:
    """(n, V, K) how long a voxel's edge is at most in each view, image pixels."""
    here = rig.project(xyz_world)
    edges = [rig.project(xyz_world + edge) - here for edge in model.spacing_world * np.eye(3)]
    return np.asarray(np.linalg.norm(edges, axis=-1).max(axis=0))


def _residual(rig: Rig, xyz_world: FloatArray, xy_px: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.norm(rig.project(xyz_world) - xy_px, axis=-1))


def harvest_targets(
    harvest: Harvest,
    rig: Rig,
    images: Sequence[Mapping[str, ImageRef]],
    views: Sequence[str],
    *,
    weight: float = 1.0,
    box_px: FloatArray | None = None,
) -> list[TrainingTarget]:
    """Kept keypoints, projected into every picture of their frame; all others have weight 0, so the loss is masked (§4.4).

    images  (n,) view → picture of each frame; pictures without a single kept keypoint inside them make no target
    views   (V,) names in the order of the rig's cameras
    box_px  (n, V, 4) x, y, width, height of the subject where prediction will know it too, NaN = not known
    """
    boxes = np.full((len(harvest), len(views), 4), np.nan) if box_px is None else box_px
    projected = rig.project(np.where(harvest.kept[..., None], harvest.xyz_world, np.nan))
    inside = rig.inside(projected)
    return [
        TrainingTarget(
            image=images[i][view],
            xy_px=np.where(inside[i, v, :, None], projected[i, v], np.nan),
            weight=weight * inside[i, v],
            box_px=box_or_none(boxes[i, v]),
            key=harvest.keys[i],
            view=view,
        )
        for i in range(len(harvest))
        for v, view in enumerate(views)
        if view in images[i] and inside[i, v].any()
    ]


@dataclass(frozen=True)
class KeypointSummary:
    """One keypoint of a harvest, over its kept poses; NaN without any.

    kept          share of all frames
    residual_px   median distance of the network's points from the pose's projection
    spread_world  median of the keypoint's typical standard deviation
    """

    kept: float
    residual_px: float
    spread_world: float


def summarise(harvest: Harvest) -> list[KeypointSummary]:
    """(K,) one line per keypoint."""
    return [
        KeypointSummary(
            kept=float(kept.mean()) if len(kept) else float("nan"),
            residual_px=median_of(harvest.residual_px[kept, :, k]),
            spread_world=median_of(harvest.spread_world[kept, k]),
        )
        for k, kept in enumerate(harvest.kept.T)
    ]
