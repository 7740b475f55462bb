"""Optimal sub-pattern assignment: one distance between what is there and what was found (Schuhmacher et al. 2008).

JRDB-Pose takes 1 − OKS as the distance of two poses, with cut-off 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from label_config.values import BadInputError, FloatArray
from label_config.values.masked import mean_of
from ml_backend.metrics.oks import Detection, Truth, oks


def ospa(distance: FloatArray, *, cutoff: float = 1.0, order: float = 1.0) -> float:
    """OSPA of m subjects and n detections from their distances (m, n): ((Σ d^p + c^p · |m − n|) / max(m, n))^(1/p).

    Distances are cut off at c, the assignment is the cheapest; NaN counts as c.  0 where neither holds anything.
    """
    if distance.ndim != 2 or cutoff <= 0 or order < 1:
        raise BadInputError(
            f"OSPA: expected distances (m, n), a positive cut-off and an order of at least 1, got shape {distance.shape}, "
            f"{cutoff} and {order}"
        )
    size = max(distance.shape)
    if size == 0:
        return 0.0
    cost = np.minimum(np.nan_to_num(distance, nan=cutoff, posinf=cutoff), cutoff) ** order
    rows, columns = linear_sum_assignment(cost)
    unmatched = size - len(rows)
    return float(((cost[rows, columns].sum() + cutoff**order * unmatched) / size) ** (1 / order))


def mean_pose_ospa(truths: Sequence[Truth], detections: Sequence[Detection], sigmas: FloatArray) -> float:
    """OSPA of 1 − OKS, mean over the pictures that show a subject; NaN without any."""
    wanted: dict[str, list[Truth]] = {}
    found: dict[str, list[Detection]] = {truth.image: [] for truth in truths}
    for truth in truths:
        wanted.setdefault(truth.image, []).append(truth)
    for detection in detections:
        found.setdefault(detection.image, []).append(detection)
    values = []
    for image, there in wanted.items():
        table = [[1 - oks(d.xy_px, t.xy_px, t.visible, np.array(t.area_px2), sigmas) for d in found[image]] for t in there]
        values.append(ospa(np.array(table).reshape(len(there), len(found[image]))))
    return mean_of(np.array(values))
