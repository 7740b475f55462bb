"""Which maximum of each heatmap, when all limbs of the pose have their say: max-product over the skeleton's tree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from label_config.values import FloatArray, IntArray


def most_likely_peaks(
    peak_xy_hm: FloatArray,
    peak_value: FloatArray,
    length_hm: FloatArray,
    log_variance: FloatArray,
    limbs: Sequence[tuple[int, int]],
) -> IntArray:
    """Choose one maximum per keypoint so that ``Σ log p_a + Σ_limbs log q(‖y_a − y_b‖)`` is largest (Shukla et al. 2022, eq. 6).

    Exact: on a tree the best configuration follows from the best of every subtree, in O(limbs · maxima²).

    peak_xy_hm    (n, K, M, 2) heatmap pixels, strongest first, NaN = no maximum
    peak_value    (n, K, M) values of the maxima; p is their share of the keypoint's sum
    length_hm     (n, L) expected length of each limb, heatmap pixels; NaN = the limb has no say
    log_variance  (n, L) logarithm of the expected squared error of that length
    limbs         (parent, child) pairs, a forest

    Returns (n, K) numbers of maxima; 0 where a keypoint has none.  A limb with an end that has no maximum is left out.
    """
    found = np.isfinite(peak_xy_hm).all(axis=-1) & (peak_value > 0)
    some = np.asarray(found.any(axis=-1))
    share = np.where(found, peak_value, 0.0)
    total = share.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore"):
        belief = np.log(np.divide(share, total, out=np.zeros_like(share), where=total > 0))
    best_child: dict[int, IntArray] = {}
    upwards = _children_first(limbs)
    for limb in upwards:
        parent, child = limbs[limb]
        says = some[:, parent] & some[:, child] & np.isfinite(length_hm[:, limb]) & np.isfinite(log_variance[:, limb])
        length = np.linalg.norm(peak_xy_hm[:, parent, :, None] - peak_xy_hm[:, child, None], axis=-1)
        residual = length - length_hm[:, limb, None, None]
        log_density = -0.5 * (residual**2 * np.exp(-log_variance[:, limb, None, None]) + log_variance[:, limb, None, None])
        pairs = np.where(np.isfinite(log_density), log_density, -np.inf) + belief[:, child, None, :]
        pairs = np.where(says[:, None, None], pairs, belief[:, child, None, :])
        best_child[limb] = pairs.argmax(axis=-1)
        message = pairs.max(axis=-1)
        belief[:, parent] += np.where(says[:, None] & np.isfinite(message), message, 0.0)
    chosen = belief.argmax(axis=-1)
    for limb in reversed(upwards):
        parent, child = limbs[limb]
        chosen[:, child] = np.take_along_axis(best_child[limb], chosen[:, parent, None], axis=1)[:, 0]
    return np.asarray(np.where(some, chosen, 0))


def _children_first(limbs: Sequence[tuple[int, int]]) -> list[int]:
    """Numbers of the limbs, every one behind all that begin at its child."""
    below: dict[int, list[int]] = {}
    for number, (parent, _) in enumerate(limbs):
        below.setdefault(parent, []).append(number)
    children = {child for _, child in limbs}
    order: list[int] = []
    waiting = [limb for parent, of in below.items() if parent not in children for limb in of]
    while waiting:
        limb = waiting.pop()
        order.append(limb)
        waiting += below.get(limbs[limb][1], [])
    return order[::-1]
