"""3-D pictorial structures: the posterior of every keypoint on a voxel grid (Pavlakos et al. 2017; docs/methods.md §4).

``p(S | views) ∝ Π_views Π_keypoints (h + floor) · Π_limbs 1[| ‖s_i − s_j‖ − L | ≤ ε]``; marginals by exact sum-product on the
skeleton's forest, each message one convolution with a shell.  The estimate is the marginal's mean, its uncertainty the marginal's
covariance.

    limbs = LimbLengths.from_labels(xyz_world, skeleton.limbs)
    model = PictorialStructure(len(skeleton), limbs, side_world=fit_side(xyz_world), grid=32)
    pose = infer_points(model, rig, xy_px, confidence, sigma_px, box_centres(xyz_triangulated, model.side_world))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from label_config.values import BadInputError, BoolArray, Float32Array, FloatArray
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.pictorial_body import LimbLengths, tree_order
from ml_backend.geometry.pictorial_shells import ShellConvolution
from ml_backend.geometry.pictorial_unary import heatmap_unary, point_unary, voxel_points

#: Chance-like weight of a view being wrong about a keypoint (docs/methods.md §4.2: 1e-3 … 1e-2 costs nothing with four views).
DEFAULT_FLOOR = 1e-3
#: The paper's code adds the float64 machine epsilon.
PAPER_FLOOR = 2.2e-16
PAPER_TOLERANCE_VOX = 1.0
#: Voxels evaluated at a time: what they need then stays in the processor's cache.
_BLOCK = 1 << 15

Unary = tuple[Float32Array, BoolArray]


class PictorialStructure:
    """A skeleton on a voxel grid of fixed size, with everything computed that does not change between frames.

    n_keypoints  K
    limbs        lengths and tolerances; keypoints without a limb have their unary term alone
    side_world   side of the cube, world units; the same for all frames of one subject
    grid         G, voxels per side; spacing = side / (G − 1)
    mode         "default": outlier floor, tolerance from the labels and at least one voxel.
                 "paper": floor 2.2e-16 (any view can veto), unseen voxels vetoed, tolerance exactly one voxel
    echo         send a parent's whole belief down instead of dividing the child's own message out, as the paper's code does:
                 not the true marginal, slightly sharper with two views
    dtype        of the messages; float32 and float64 agree to a fraction of a millimetre

    In default mode messages are kept above 8 machine epsilons of their maximum, where float32 convolution is noise anyway; no
    single limb can therefore veto either.  In paper mode they are exact down to the smallest number of ``dtype`` and 0 where no
    voxel of the shell has any belief: an impossible limb vetoes, and a keypoint without any possible place has NaN marginals.
    """

    def __init__(
        self,
        n_keypoints: int,
        limbs: LimbLengths,
        side_world: float,
        grid: int = 32,
        *,
        mode: Literal["default", "paper"] = "default",
        floor: float | None = None,
        echo: bool = False,
        dtype: type[np.float32] | type[np.float64] = np.float32,
    ) -> None:
        if not (np.isfinite(side_world) and side_world > 0 and grid >= 2):
            raise BadInputError(f"pictorial structure: expected a box side > 0 and a grid ≥ 2, got {side_world} and {grid}")
        self.n_keypoints, self.side_world, self.grid, self.echo = n_keypoints, float(side_world), grid, echo
        self.dtype = dtype
        if floor is not None and floor <= 0:
            raise BadInputError(
                f"pictorial structure: floor: expected a positive number, got {floor}; use mode='paper' for vetoes"
            )
        self.veto_unseen = mode == "paper"
        self.floor = floor if floor is not None else PAPER_FLOOR if mode == "paper" else DEFAULT_FLOOR
        self.spacing_world = self.side_world / (grid - 1)
        self._message_floor = None if mode == "paper" else dtype(8 * np.finfo(dtype).eps)
        known = np.isfinite(limbs.length_world) & np.isfinite(limbs.tolerance_world)
        self.order, self.component = tree_order(n_keypoints, limbs.pairs[known])
        length_vox = limbs.length_world / self.spacing_world
        tolerance_vox = np.maximum(limbs.tolerance_world / self.spacing_world, 1.0)
        if mode == "paper":
            tolerance_vox = np.full(len(length_vox), PAPER_TOLERANCE_VOX)
        shells = {
            (int(parent), int(child)): ShellConvolution(float(length_vox[i]), float(tolerance_vox[i]), grid, dtype)
            for i, (parent, child) in enumerate(limbs.pairs)
            if known[i]
        }
        self._shells = [shells[limb] for limb in self.order]

    def marginals(self, log_unary: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Log unary terms (K, G, G, G) → marginals (K, G, G, G), each summing to 1 (NaN throughout for a keypoint that
        the limbs leave no place, in paper mode only).

        −inf = impossible.  Raises BadInputError for a keypoint that is impossible everywhere, for NaN and for a wrong shape.
        """
        shape = (self.n_keypoints,) + (self.grid,) * 3
        if log_unary.shape != shape:
            raise BadInputError(f"pictorial structure: log_unary: expected shape {shape}, got {log_unary.shape}")
        peak = log_unary.max(axis=(1, 2, 3))
        if not np.isfinite(peak).all():
            raise BadInputError(f"pictorial structure: keypoints {np.flatnonzero(~np.isfinite(peak))} have no finite unary term")
        belief = np.empty(shape, dtype=self.dtype)
        for keypoint in range(self.n_keypoints):
            np.exp(log_unary[keypoint] - peak[keypoint], out=belief[keypoint])
        own = belief.copy() if self._message_floor is None and not self.echo else belief
        upward: list[npt.NDArray[Any]] = [np.empty(0)] * len(self.order)
        downward: dict[int, npt.NDArray[Any]] = {}
        for limb in reversed(range(len(self.order))):
            parent, child = self.order[limb]
            upward[limb] = self._message(limb, belief[child])
            _multiply(belief[parent], upward[limb])
        for limb, (parent, child) in enumerate(self.order):
            if self.echo:
                sent = belief[parent]
            elif self._message_floor is not None:
                sent = belief[parent] / upward[limb]
            else:  # a zero cannot be divided out
                others = [upward[other] for other, (keypoint, _) in enumerate(self.order) if keypoint == parent and other != limb]
                sent = own[parent].copy()
                for message in [*others, *([downward[parent]] if parent in downward else [])]:
                    _multiply(sent, message)
            downward[child] = self._message(limb, sent)
            _multiply(belief[child], downward[child])
        for keypoint_belief in belief:
            total = keypoint_belief.sum(dtype=np.float64)
            keypoint_belief /= total if total > 0 else np.nan
        return belief

    def _message(self, limb: int, field: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if self._message_floor is None:
            message = self._shells[limb].exact(field)
            return message / message.max() if message.max() > 0 else message
        message = self._shells[limb](field)
        message /= message.max()
        return np.asarray(np.maximum(message, self._message_floor, out=message))


@dataclass(frozen=True)
class PictorialPose:
    """Marginals in short; NaN where the box has no centre or no view says anything about any keypoint of the keypoint's tree.

    mean_world  (n, K, 3) world units
    covariance  (n, K, 3, 3) world units squared
    logdet      (n, K) log det(covariance + κ I) with κ = spacing² / 12, the uncertainty by which
                poses are kept (docs/methods.md §4.3)
    """

    mean_world: FloatArray
    covariance: FloatArray
    logdet: FloatArray


def infer_heatmaps(
    model: PictorialStructure,
    rig: Rig,
    heatmaps: Float32Array,
    heatmap_from_image: FloatArray,
    centre_world: FloatArray,
) -> PictorialPose:
    """Poses of n frames from heatmaps (n, V, K, h, w), see :func:`~ml_backend.geometry.pictorial_unary.heatmap_unary`.

    heatmap_from_image  (n, V, 2, 3) affine map image pixels → heatmap cells, NaN = view missing
    centre_world        (n, 3) middle of the box, NaN = skip the frame
    """

    def unary(frame: int, voxel_px: FloatArray) -> Unary:
        affine = heatmap_from_image[frame]
        return heatmap_unary(voxel_px, heatmaps[frame], affine, floor=model.floor, veto_unseen=model.veto_unseen)

    return _infer(model, rig, np.asarray(centre_world, dtype=np.float64), heatmaps.shape[:3], unary)


def infer_points(
    model: PictorialStructure,
    rig: Rig,
    xy_px: FloatArray,
    confidence: FloatArray | None,
    sigma_px: FloatArray | float,
    centre_world: FloatArray,
) -> PictorialPose:
    """Poses of n frames from points (n, V, K, 2), see :func:`~ml_backend.geometry.pictorial_unary.point_unary`.

    confidence    (n, V, K) in [0, 1], NaN = no point; None = 1 for all
    sigma_px      scalar or broadcastable to (n, V): how far off a good point may be, image pixels
    centre_world  (n, 3) middle of the box, NaN = skip the frame
    """
    xy_px = rig.check_points(xy_px)
    given = np.asarray(sigma_px, dtype=np.float64)
    if given.shape not in ((), xy_px.shape[1:2], xy_px.shape[:2], (*xy_px.shape[:1], 1)):
        raise BadInputError(f"pictorial structure: sigma_px: expected a number or shape {xy_px.shape[:2]}, got {given.shape}")
    sigma = np.broadcast_to(given, xy_px.shape[:2])
    if not (sigma > 0).all():
        raise BadInputError(f"pictorial structure: sigma_px: expected positive numbers, got {float(sigma.min())}")

    def unary(frame: int, voxel_px: FloatArray) -> Unary:
        weight = None if confidence is None else confidence[frame]
        options: dict[str, Any] = {"floor": model.floor, "veto_unseen": model.veto_unseen}
        return point_unary(voxel_px, xy_px[frame], weight, sigma[frame], rig.size_px, **options)

    return _infer(model, rig, np.asarray(centre_world, dtype=np.float64), xy_px.shape[:3], unary)


def _infer(
    model: PictorialStructure,
    rig: Rig,
    centre_world: FloatArray,
    shape: tuple[int, ...],
    unary: Callable[[int, FloatArray], Unary],
) -> PictorialPose:
    n, _, n_keypoints = shape
    if centre_world.shape != (n, 3):
        raise BadInputError(f"pictorial structure: centre_world: expected shape {(n, 3)}, got {centre_world.shape}")
    if n_keypoints != model.n_keypoints:
        raise BadInputError(f"pictorial structure: expected {model.n_keypoints} keypoints, got {n_keypoints}")
    mean = np.full((n, model.n_keypoints, 3), np.nan)
    covariance = np.full((n, model.n_keypoints, 3, 3), np.nan)
    for frame in np.flatnonzero(np.isfinite(centre_world).all(axis=1)):
        voxels = voxel_points(centre_world[frame], model.side_world, model.grid)
        log_unary = np.empty((n_keypoints, len(voxels)), dtype=np.float32)
        seen: BoolArray = np.zeros(n_keypoints, dtype=np.bool_)
        for start in range(0, len(voxels), _BLOCK):
            block = slice(start, start + _BLOCK)
            log_unary[:, block], seen = unary(int(frame), rig.project(voxels[block]))
        known = np.isin(model.component, model.component[seen])
        if not known.any():
            continue
        marginals = model.marginals(log_unary.reshape((-1,) + (model.grid,) * 3))[known]
        offset, covariance[frame, known] = moments(marginals, model.side_world)
        mean[frame, known] = centre_world[frame] + offset
    return PictorialPose(mean, covariance, log_determinant(covariance, model.spacing_world))


def moments(marginals: npt.NDArray[Any], side_world: float) -> tuple[FloatArray, FloatArray]:
    """Marginals (K, G, G, G) → means (K, 3) relative to the cube's middle and covariances (K, 3, 3), world units (squared)."""
    if marginals.ndim != 4 or len(set(marginals.shape[1:])) != 1:
        raise BadInputError(f"moments: expected marginals of shape (K, G, G, G), got {marginals.shape}")
    count, grid = marginals.shape[:2]
    axis = np.linspace(-side_world / 2, side_world / 2, grid)
    mean, covariance = np.empty((count, 3)), np.empty((count, 3, 3))
    for k in range(count):
        faces = {pair: marginals[k].sum(axis=3 - sum(pair), dtype=np.float64) for pair in ((0, 1), (0, 2), (1, 2))}
        lines = (faces[0, 1].sum(axis=1), faces[0, 1].sum(axis=0), faces[0, 2].sum(axis=0))
        mean[k] = [line @ axis for line in lines]
        centred = axis - mean[k][:, None]
        for i in range(3):
            covariance[k, i, i] = lines[i] @ centred[i] ** 2
        for (i, j), face in faces.items():
            covariance[k, i, j] = covariance[k, j, i] = centred[i] @ face @ centred[j]
    return mean, covariance


def log_determinant(covariance: FloatArray, spacing_world: float) -> FloatArray:
    """``log det(C + κ I)`` of (..., 3, 3), κ = spacing² / 12: what the grid itself leaves open.  NaN for NaN."""
    if covariance.shape[-2:] != (3, 3):
        raise BadInputError(f"log determinant: expected covariances of shape (..., 3, 3), got {covariance.shape}")
    padded = covariance + spacing_world**2 / 12 * np.eye(3)
    known = np.isfinite(padded).all(axis=(-2, -1))
    result = np.full(known.shape, np.nan)
    result[known] = np.linalg.slogdet(padded[known])[1]
    return result


def keep_best(logdet: FloatArray, fraction: float = 0.7) -> BoolArray:
    """(n, K) uncertainties → (n, K) True for the ``fraction`` of frames with the least uncertainty, separately for each keypoint.

    The count is rounded up, NaN is never kept and never counted, ties go to the earlier frame (docs/methods.md §4.3).
    """
    if not 0 <= fraction <= 1:
        raise BadInputError(f"keep_best: expected a fraction in [0, 1], got {fraction}")
    if logdet.ndim != 2:
        raise BadInputError(f"keep_best: expected uncertainties of shape (n, K), got {logdet.shape}")
    keep = np.zeros(logdet.shape, dtype=np.bool_)
    for keypoint, column in enumerate(logdet.T):
        count = int(np.ceil(round(fraction * int(np.isfinite(column).sum()), 9)))
        keep[np.argsort(column, kind="stable")[:count], keypoint] = True
    return keep


def _multiply(belief: npt.NDArray[Any], message: npt.NDArray[Any]) -> None:
    """``belief *= message`` in place, brought back to a maximum of 1 so that long trees do not underflow."""
    belief *= message
    top = belief.max()
    if top > 0:
        belief /= top
