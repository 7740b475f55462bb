"""Robust consensus of views: deterministic, and exhaustive only for the points that need it.

A *hypothesis* is a possible place of a point.  It is ranked by the number of views that agree with it (reprojection below the
threshold, point in front of the camera), then by the sum of truncated squared errors (MSAC, Torr & Zisserman 2000).  The
reference is the best of the points nearest to the rays of every pair of views: V(V−1)/2 hypotheses per point.  Most points can
do without:

1.  All views agree with the all-view solution.
2.  *Trimming.*  The view with the largest error is left out and the point solved again, until the kept views agree.  The point
    stands if the verdict is clear, every kept view within half a threshold and every other beyond two, and if s kept of n
    views are so many (2s ≥ n + 2) that any other set of s views shares two of them: it would have to contain two rays that
    meet here.
3.  *Pairs*, for the rest, in an order in which soon no large consensus can be hidden.  Views start in groups of one; each step
    merges the two smallest groups and tests all pairs between them.  After a step with g groups every set of more than g views
    has two members in one group, so one of its pairs has been tested (pigeonhole; Turán's theorem says that fewer pairs cannot
    do it).  Once the best hypothesis has more than g agreeing views, every other set as large has been represented in the
    ranking.  The search then goes two groups further and stops.  While few points are open several steps are taken at once.

Pairs whose rays meet at less than 5° or more than 175° say little about the point and count only where nothing else is left.
"""

from __future__ import annotations

from dataclasses import dataclass

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
#: Trimming decides where any other set as large shares this many views, and where no squared error over squared threshold lies
#: between these two.
_SHARED_VIEWS = 2
_CLEARLY_IN, _CLEARLY_OUT = 0.25, 4.0
_HYPOTHESES_AT_ONCE = 8192
_TINY = 1e-30


@dataclass(frozen=True)
class PairStep:
    """One merge of two groups.

    first, second  (P,) views of the pairs between them
    group          (g, V) membership of the groups afterwards, one row per group
    """

    first: IntArray
    second: IntArray
    group: FloatArray


def plan(rig: NormalisedRig) -> list[PairStep]:
    """The merges in order: smallest groups first, among those the pair of groups that look most nearly at right angles."""
    views = len(rig)
    towards = rig.centres / np.maximum(np.linalg.norm(rig.centres, axis=1, keepdims=True), _TINY)
    parallel = np.abs(towards @ towards.T)
    group = np.eye(views)
    steps: list[PairStep] = []
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
        steps.append(PairStep(first, second, group))
    return steps


@dataclass
class Observations:
    """Points of one tile as the search sees them, (V, M) each.

    uv         normalised image coordinates (2, V, M), NOWHERE where missing
    weight     scale², 0 where missing
    tightness  (scale / threshold)²: squared normalised errors times this are below 1 for agreeing views
    present    the view has the point
    """

    uv: FloatArray
    weight: FloatArray
    tightness: FloatArray
    present: BoolArray

    def take(self, columns: IntArray) -> Observations:
        """These points alone."""
        uv, weight, tightness = (array.take(columns, axis=-1) for array in (self.uv, self.weight, self.tightness))
        return Observations(uv, weight, tightness, self.present.take(columns, axis=1))


def squared_error(rig: NormalisedRig, x: FloatArray, seen: Observations) -> FloatArray:
    """(V, ..., M) squared reprojection error over squared threshold; below 1 = the view agrees with the point.

    ``x`` (3, M), or (3, P, M) several hypotheses for each point; NaN gives NaN.
    """
    uv, tightness = (seen.uv, seen.tightness) if x.ndim == 2 else (seen.uv[:, :, None], seen.tightness[:, None])
    out = rig.project(x)
    ab, depth = out[:2], out[2]
    np.maximum(depth, _TINY, out=depth)  # a point behind the camera lands far outside every threshold
    np.divide(1.0, depth, out=depth)
    ab *= depth
    ab -= uv
    ab *= ab
    error: FloatArray = np.add(ab[0], ab[1], out=depth)
    error *= tightness
    return error


def disagreement(rig: NormalisedRig, x: FloatArray, seen: Observations) -> FloatArray:
    """:func:`squared_error` truncated at 1, also where there is no hypothesis."""
    error = squared_error(rig, x, seen)
    return np.asarray(np.fmin(error, 1.0, out=error))


def rank(ratio: FloatArray) -> tuple[FloatArray, IntArray]:
    """Rank (M,) to be maximised and the number of agreeing views (M,) for truncated squared errors (V, ...)."""
    agreeing = (ratio < 1).sum(axis=0, dtype=np.int16)
    return agreeing - ratio.sum(axis=0) / (len(ratio) + 1), agreeing


@dataclass
class _Best:
    """Points that are still searched, and the best hypothesis of each so far.

    columns            (M,) their places among all points
    seen, rays         what the views show of them; (3, V, M) rays, see :meth:`NormalisedRig.rays`
    x, rank, agreeing  (3, M), (M,), (M,) the best hypothesis
    """

    columns: IntArray
    seen: Observations
    rays: FloatArray
    x: FloatArray
    rank: FloatArray
    agreeing: IntArray

    def take(self, which: IntArray) -> _Best:
        """These points alone."""
        rays, x = (array.take(which, axis=-1) for array in (self.rays, self.x))
        return _Best(self.columns[which], self.seen.take(which), rays, x, self.rank[which], self.agreeing[which])

    def improve(self, x: FloatArray, value: FloatArray, agreeing: IntArray, going: BoolArray) -> None:
        """Hypotheses (3, P, M), their ranks and numbers of agreeing views (P, M), for points that are still searched (M,)."""
        top = value.max(axis=0)
        better = np.flatnonzero((top > self.rank) & going)
        pair = (value.take(better, axis=1) == top[better]).argmax(axis=0)
        self.x[:, better] = x[:, pair, better]
        self.rank[better], self.agreeing[better] = top[better], agreeing[pair, better]

    def undecided(self, group: FloatArray) -> BoolArray:
        """(M,) a larger consensus may be hidden after a step that left these groups."""
        present = self.seen.present
        groups = (group @ present > 0).sum(axis=0)
        going: BoolArray = (self.agreeing <= groups + _SPARE_GROUPS) & (self.agreeing < present.sum(axis=0)) & (groups > 0)
        return going


def search(rig: NormalisedRig, steps: list[PairStep], seen: Observations, start: FloatArray) -> tuple[FloatArray, BoolArray]:
    """(3, M) the best hypothesis per point, beginning with ``start`` (3, M), the all-view solution; (V, M) who agrees."""
    error = squared_error(rig, start, seen)
    best, agree = start.copy(), error < 1
    present = seen.present.sum(axis=0)
    disputed = np.flatnonzero((agree != seen.present).any(axis=0) & (present > 1))
    trimmable = disputed[_spare(present[disputed] - 1, present[disputed]) >= 0]
    if trimmable.size:
        part = seen.take(trimmable)
        best[:, trimmable], agree[:, trimmable], clear = _trim(rig, part, error.take(trimmable, axis=1), part.present)
        disputed = np.setdiff1d(disputed, trimmable[clear], assume_unique=True)
    if disputed.size:
        best[:, disputed], agree[:, disputed] = _try_pairs(rig, steps, seen.take(disputed), start[:, disputed])
    return best, agree


def _spare(kept: IntArray, present: IntArray) -> IntArray:
    """(M,) by how many views more than needed two sets of ``kept`` out of ``present`` views overlap."""
    return 2 * kept - present - _SHARED_VIEWS


def _trim(rig: NormalisedRig, seen: Observations, error: FloatArray, kept: BoolArray) -> tuple[FloatArray, BoolArray, BoolArray]:
    """Leave out the worst of the kept views and solve again, until the kept views agree or would be too few.

    error, kept  (V, M) squared error of the solution from the kept views; the errors are overwritten
    Returns the new solutions (3, M), the views that agree with them (V, M), and (M,) whether the verdict is clear.
    """
    error *= kept
    kept = kept & (error < error.max(axis=0))
    x = rig.solve_linear(seen.weight * kept, seen.uv)
    error = squared_error(rig, x, seen)
    agree = error < 1
    spare = _spare(kept.sum(axis=0), seen.present.sum(axis=0))
    clear = (spare >= 0) & np.where(kept, error < _CLEARLY_IN, error > _CLEARLY_OUT).all(axis=0)
    again = np.flatnonzero((kept > agree).any(axis=0) & (spare >= 2))
    if again.size:
        x[:, again], agree[:, again], clear[again] = _trim(
            rig, seen.take(again), error.take(again, axis=1), kept.take(again, axis=1)
        )
    return x, agree, clear


def _try_pairs(rig: NormalisedRig, steps: list[PairStep], seen: Observations, start: FloatArray) -> tuple[FloatArray, BoolArray]:
    """(3, M) the best hypothesis among ``start`` and the pairs, and (V, M) who agrees with it."""
    found = start.copy()
    best = _Best(np.arange(start.shape[1]), seen, rig.rays(seen.uv), start, *rank(disagreement(rig, start, seen)))
    taken = 0
    while taken < len(steps) and best.columns.size:
        together = _together(steps[taken:], best.columns.size)
        going = _test(rig, together, best)
        taken += len(together)
        if not going.all():
            found[:, best.columns] = best.x
            best = best.take(np.flatnonzero(going))
    found[:, best.columns] = best.x
    return found, squared_error(rig, found, seen) < 1


def _together(steps: list[PairStep], points: int) -> list[PairStep]:
    """The first step, and the next ones as long as the hypotheses stay few."""
    pairs = np.cumsum([step.first.size for step in steps])
    return steps[: max(1, int(np.searchsorted(pairs, _HYPOTHESES_AT_ONCE // points, side="right")))]


def _test(rig: NormalisedRig, steps: list[PairStep], best: _Best) -> BoolArray:
    """Try the pairs of these steps; (M,) which points are to be searched further.

    What a point is given depends on that point alone, however many are tried together: each stops after the step that decides it.
    """
    first, second = (np.concatenate([getattr(step, name) for step in steps]) for name in ("first", "second"))
    ends = np.cumsum([step.first.size for step in steps])
    at_once = max(1, _HYPOTHESES_AT_ONCE // best.columns.size)
    going = np.ones(best.columns.size, dtype=np.bool_)
    for begin in range(0, first.size, at_once):  # either one block or one step
        block = slice(begin, begin + at_once)
        x, value, agreeing = _ranked_pairs(rig, best, first[block], second[block])
        start = 0
        for step, end in zip(steps, ends, strict=True):
            pairs = slice(start, end)
            best.improve(x[:, pairs], value[pairs], agreeing[pairs], going)
            if end <= block.stop:
                going &= best.undecided(step.group)
            start = end
    return going


def _ranked_pairs(rig: NormalisedRig, best: _Best, a: IntArray, b: IntArray) -> tuple[FloatArray, FloatArray, IntArray]:
    """Hypotheses (3, P, M) of these pairs of views, their ranks and numbers of agreeing views (P, M)."""
    x, cosine = nearest_to_rays(rig, best.rays, a, b)
    value, agreeing = rank(disagreement(rig, x, best.seen))
    value -= (np.abs(cosine) > PARALLEL_COSINE) * (2.0 * len(rig))
    if not best.seen.present.all():
        value[~(best.seen.present[a] & best.seen.present[b])] = -np.inf
    return x, value, agreeing


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
