"""Is the new model better than the old one?  Paired bootstrap on the same frames, and the decision to publish."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from label_config.values import BadInputError, BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Comparison:
    """New minus old mean error; negative = the new model is better.

    delta    in the unit of the errors
    lo, hi   95 % percentile interval of delta
    p_worse  share of resamples in which the new model is worse (ties count half)
    n        frames on which both have an error
    """

    delta: float
    lo: float
    hi: float
    p_worse: float
    n: int


def paired_bootstrap(
    old_err: FloatArray, new_err: FloatArray, seed: int, *, group: IntArray | None = None, resamples: int = 2000
) -> Comparison:
    """Compare two models by their errors (n,) in pixels on the same frames.

    Frames where either is NaN are left out.  ``group`` (n,) names what is drawn together, such as the time block of a
    frame: neighbours err alike, and drawing them one by one would promise too narrow an interval.  All NaN when no
    frame is left; lo, hi, p_worse are NaN for a single group.
    """
    old, new = np.asarray(old_err, dtype=np.float64), np.asarray(new_err, dtype=np.float64)
    if old.shape != new.shape or old.ndim != 1:
        raise BadInputError(f"paired bootstrap: expected two arrays of shape (n,), got {old.shape} and {new.shape}")
    if group is not None and group.shape != old.shape:
        raise BadInputError(f"paired bootstrap: expected a group of shape {old.shape}, got {group.shape}")
    known = np.isfinite(old) & np.isfinite(new)
    change = (new - old)[known]
    n = len(change)
    nan = float("nan")
    if n == 0:
        return Comparison(nan, nan, nan, nan, 0)
    member = np.arange(n) if group is None else np.unique(group[known], return_inverse=True)[1]
    total, count = np.bincount(member, change), np.bincount(member)
    delta = float(change.mean())
    if len(total) == 1:
        return Comparison(delta, nan, nan, nan, n)
    rng = np.random.default_rng(seed)
    drawn = np.empty(resamples)
    for i in range(resamples):
        pick = rng.integers(len(total), size=len(total))
        drawn[i] = total[pick].sum() / count[pick].sum()
    lo, hi = np.quantile(drawn, [0.025, 0.975])
    p_worse = (drawn > 0).mean() + 0.5 * (drawn == 0).mean()
    return Comparison(delta, float(lo), float(hi), float(p_worse), n)


@dataclass(frozen=True)
class GateDecision:
    """May the new model be published?

    passed      True also while the gate is off for want of frames
    status      one line for people
    comparison  None while the gate is off
    """

    passed: bool
    status: str
    comparison: Comparison | None


def gate(
    old_err: FloatArray,
    new_err: FloatArray,
    *,
    min_frames: int = 20,
    max_p_worse: float = 0.95,
    seed: int = 0,
    group: IntArray | None = None,
) -> GateDecision:
    """Refuse a new model that is worse than the live one with a probability above ``max_p_worse``.

    Errors (n,) are in pixels, of both models on the same frames.

    ``group`` as in :func:`paired_bootstrap`.  Below ``min_frames`` common frames, or where all of them are one group, the
    gate is off and says so.
    """
    common = np.isfinite(old_err) & np.isfinite(new_err)
    n = int(common.sum())
    if n < min_frames:
        return GateDecision(True, f"not enough yet: {n} of {min_frames} labelled validation frames", None)
    if group is not None and len(np.unique(group[common])) < 2:
        return GateDecision(True, f"not enough yet: the {n} frames lie in one block of time", None)
    comparison = paired_bootstrap(old_err, new_err, seed, group=group)
    passed = not comparison.p_worse > max_p_worse
    verdict = "passed" if passed else "rejected"
    spread = f"{comparison.delta:+.2f} px ({comparison.lo:+.2f} … {comparison.hi:+.2f}) on {_count(n, group, common)}"
    return GateDecision(passed, f"{verdict}: mean error {spread}", comparison)


def _count(n: int, group: IntArray | None, common: BoolArray) -> str:
    return f"{n} frames" if group is None else f"{n} frames in {len(np.unique(group[common]))} blocks of time"
