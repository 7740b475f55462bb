"""Robust consensus over view pairs: deterministic, and exhaustive only for the points that need it.

A *hypothesis* is the point nearest to the rays of one pair of views.  It is ranked by the number of views that agree with it
(reprojection below the threshold, point in front of the camera), then by the sum of truncated squared errors (MSAC, Torr &
Zisserman 2000).  Testing all pairs costs V(V−1)/2 hypotheses per point, most of them redundant: any pair of a consensus finds it.

The pairs are therefore tested in an order in which soon no large consensus can be hidden.  Views start in groups of one;
each step merges the two smallest groups and tests all pairs between them.  After a step with g groups every set of more than
g views has two members in one group, so one of its pairs has been tested (pigeonhole; Turán's theorem says that fewer pairs
cannot do it).  Once the best hypothesis has more than g agreeing views, every other set as large has been represented in the
ranking.  The search then goes two groups further and stops: with eight views and two wrong ones after 5 of 28 pairs.

Pairs whose rays meet at less than 5° or more than 175° say little about the point and count only where nothing else is left.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from label_config.values import BoolArray, FloatArray, IntArray
from ml_backend.geometry.normalised import NormalisedRig

#: |cos| above which two rays are too parallel to fix a point (5° and 175°).
PARALLEL_COSINE = float(np.cos(np.radians(5.0)))
#: With more than 16 views not more than this many pairs are tested; at 31 views every consensus of 5 still contains one of them.
MAX_PAIRS = 128
_UNCAPPED_VIEWS = 16
#: With noise not every pair finds every member of its consensus, so the search goes on until two pairs more than needed are in.
_SPARE_GROUPS = 2
_HYPOTHESES_AT_ONCE = 2048
_TINY = 1e-30


@dataclass(frozen=True)
class Step:
    """One merge of two groups.

    first, second  (P,) views of the pairs between them
    group          (g, V) membership of the groups afterwards, one row per group
    """

    first: IntArray
    second: IntArray
    group: FloatArray


def plan(rig: NormalisedRig) -> list[Step]:
    """The merges in order: smallest groups first, among those the pair of groups that look most nearly at right angles."""
    views = len(rig)
    towards = rig.centres / np.maximum(np.linalg.norm(rig.centres, axis=1, keepdims=True), _TINY)
    parallel = np.abs(towards @ towards.T)
    group = np.eye(views)
    steps: list[Step] = []
    tested = 0
    while len(group) > 1:
        size = group.sum(axis=1)
        i, j = np.triu_indices(len(group), 1)
        mean_parallel = (group @ parallel @ group.T)[i, j] / (size[i] * size[j])
        chosen = np.lexsort((mean_parallel, size[i] + size[j], np.maximum(size[i], size[j])))[0]
        one, other = group[i[chosen]], group[j[chosen]]
        first, second = np.nonzero(np.outer(one, other))
        tested += first.size
        if views > _UNCAPPED_VIEWS and tested > MAX_PAIRS:
            break
        group = np.vstack((np.delete(group, (i[chosen], j[chosen]), axis=0), one + other))
        steps.append(Step(first, second, group))
    return steps


@dataclass
class Observations:
    """Points of one tile as the search sees them, (V, M) each.

    u, v       normalised image coordinates, NOWHERE where missing
    tightness  (scale / threshold)²: squared normalised errors times this are below 1 for agreeing views
    present    the view has the point
    """

    u: FloatArray
    v: FloatArray
    tightness: FloatArray
    present: BoolArray

    def take(self, columns: IntArray) -> Observations:
        u, v, tightness = (array.take(columns, axis=1) for array in (self.u, self.v, self.tightness))
        return Observations(u, v, tightness, self.present.take(columns, axis=1))


def disagreement(rig: NormalisedRig, x: FloatArray, seen: Observations) -> FloatArray:
    """(V, ..., M) squared error over squared threshold, truncated at 1; below 1 = the view agrees with the point.

    ``x`` (3, M), or (3, P, M) several hypotheses for each point.
    """
    u, v, tightness = (array if x.ndim == 2 else array[:, None] for array in (seen.u, seen.v, seen.tightness))
    a, b, c = rig.project(x)
    np.maximum(c, _TINY, out=c)  # a point behind the camera lands far outside every threshold
    np.divide(1.0, c, out=c)
    a *= c
    b *= c
    a -= u
    b -= v
    a *= a
    b *= b
    a += b
    a *= tightness
    return np.asarray(np.fmin(a, 1.0, out=a))  # NaN, no hypothesis, becomes 1


def rank(ratio: FloatArray) -> tuple[FloatArray, IntArray]:
    """Rank (M,) to be maximised and the number of agreeing views (M,) for truncated squared errors (V, ...)."""
    agreeing = (ratio < 1).sum(axis=0, dtype=np.int16)
    return agreeing - ratio.sum(axis=0) / (len(ratio) + 1), agreeing


@dataclass
class _Best:
    """The best hypothesis of every point so far."""

    x: FloatArray
    rank: FloatArray
    agreeing: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def improve(self, columns: IntArray, x: FloatArray, value: FloatArray, agreeing: IntArray) -> None:
        better = value > self.rank[columns]
        at = columns[better]
        self.x[:, at], self.rank[at], self.agreeing[at] = x[:, better], value[better], agreeing[better]


def search(rig: NormalisedRig, steps: list[Step], seen: Observations, start: FloatArray) -> tuple[FloatArray, BoolArray]:
    """(3, M) the best hypothesis per point, beginning with ``start`` (3, M), the all-view solution; (V, M) who agrees."""
    ratio = disagreement(rig, start, seen)
    value, agreeing = rank(ratio)
    best = _Best(start.copy(), value, agreeing)
    agree = ratio < 1
    present = seen.present.sum(axis=0)
    disputed = np.flatnonzero((agreeing < present) & (present > 1))
    if disputed.size == 0 or not steps:
        return best.x, agree
    open_, rest = disputed, seen.take(disputed)
    rays = rig.rays(rest.u, rest.v)
    for step in steps:
        _test(rig, step, rest, rays, open_, best)
        groups = (step.group @ rest.present > 0).sum(axis=0)
        going = (best.agreeing[open_] <= groups + _SPARE_GROUPS) & (best.agreeing[open_] < present[open_]) & (groups > 0)
        if not going.all():
            keep = np.flatnonzero(going)
            open_, rest, rays = open_[keep], rest.take(keep), rays.take(keep, axis=2)
        if open_.size == 0:
            break
    agree[:, disputed] = disagreement(rig, best.x.take(disputed, axis=1), seen.take(disputed)) < 1
    return best.x, agree


def _test(rig: NormalisedRig, step: Step, seen: Observations, rays: FloatArray, columns: IntArray, best: _Best) -> None:
    """Try the step's pairs on the open points, a bounded number of hypotheses at a time."""
    at_once = max(1, _HYPOTHESES_AT_ONCE // max(1, columns.size))
    point = np.arange(columns.size)
    for begin in range(0, step.first.size, at_once):
        a, b = step.first[begin : begin + at_once], step.second[begin : begin + at_once]
        x, cosine = nearest_to_rays(rig, rays, a, b)
        value, agreeing = rank(disagreement(rig, x, seen))
        value[np.abs(cosine) > PARALLEL_COSINE] -= 2.0 * len(rig)
        value[~(seen.present[a] & seen.present[b])] = -np.inf
        winner = value.argmax(axis=0)
        best.improve(columns, x[:, winner, point], value[winner, point], agreeing[winner, point])


def nearest_to_rays(rig: NormalisedRig, rays: FloatArray, a: IntArray, b: IntArray) -> tuple[FloatArray, FloatArray]:
    """For pairs of views (P,): the point nearest to both rays, (3, P, M), and the cosine between them, (P, M).

    The nearest points on the two rays are averaged with weights that make equal *image* errors, not equal lengths.
    """
    da, db = rays.take(a, axis=1), rays.take(b, axis=1)
    baseline = (rig.centres[b] - rig.centres[a]).T[:, :, None]
    cosine = da[0] * db[0] + da[1] * db[1] + da[2] * db[2]
    p = da[0] * baseline[0] + da[1] * baseline[1] + da[2] * baseline[2]
    q = db[0] * baseline[0] + db[1] * baseline[1] + db[2] * baseline[2]
    denominator = 1 / np.maximum(1 - cosine * cosine, _TINY)
    along_a, along_b = (p - cosine * q) * denominator, (cosine * p - q) * denominator
    sharp_a, sharp_b = (rig.focal[a] / rig.depth[a]) ** 2, (rig.focal[b] / rig.depth[b]) ** 2
    share = sharp_a / (sharp_a + sharp_b)
    start = rig.centres[a].T[:, :, None]
    x = start + da * (share * along_a) + baseline * (1 - share) + db * ((1 - share) * along_b)
    return x, cosine
