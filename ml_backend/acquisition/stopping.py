"""May we stop labelling?  Criteria, an advice that says how sure it is, and what the next labels are likely to buy.

Nothing here stops anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import stats

from label_config.values import BadInputError, BoolArray, FloatArray


class Rule(StrEnum):
    """Criteria on the OKS of predictions against labels that the model had not seen.

    MIN and ALL are those of VATL4Pose, section 3.3; MIN, despite its name, takes the mean.  One frame that nobody can
    learn blocks ALL for ever, hence QUANTILE.
    """

    MIN = "sc_min"  #: mean OKS of the last labelled batch above the threshold
    ALL = "sc_all"  #: OKS of every labelled frame, old and new, above the threshold
    QUANTILE = "sc_quantile"  #: OKS above the threshold in at least a share q of the randomly drawn frames


def sc_min(oks: FloatArray, threshold: float) -> bool:
    """The mean of oks (m,) exceeds the threshold.  NaN is left out; no frame at all is never enough."""
    known = oks[np.isfinite(oks)]
    return bool(len(known)) and bool(known.mean() > threshold)


def sc_quantile(oks: FloatArray, threshold: float, q: float = 0.95) -> bool:
    """At least the share q of oks (m,) exceeds the threshold.  NaN is left out; no frame at all is never enough."""
    if not 0 < q <= 1:
        raise BadInputError(f"sc_quantile: expected a share q in (0, 1], got {q}")
    known = oks[np.isfinite(oks)]
    return bool(len(known)) and bool((known > threshold).sum() >= q * len(known) - 1e-9)


@dataclass(frozen=True)
class StopAdvice:
    """Whether the criterion is met, and on how much that rests.

    met         the criterion held in each of the last ``patience`` rounds
    rounds_met  rounds in a row, counted from the last, in which it held
    figure      mean OKS (MIN), else the share of frames above the threshold; NaN without frames
    lo, hi      95 % interval of the figure
    frames      frames behind the last figure
    text        all of this in words
    """

    rule: Rule
    met: bool
    rounds_met: int
    figure: float
    lo: float
    hi: float
    frames: int
    text: str


def advise(
    rounds: Sequence[FloatArray],
    *,
    rule: Rule = Rule.QUANTILE,
    threshold: float = 0.8,
    q: float = 0.95,
    patience: int = 2,
    min_frames: int = 0,
    seed: int = 0,
) -> StopAdvice:
    """Evaluate the rounds so far.

    rounds  for each round, oldest first, the OKS (m,) of the frames that the rule uses, predicted by the model that
            had not been trained on them: the batch for MIN, batch and labelled for ALL, random picks for QUANTILE

    min_frames  no advice to stop rests on fewer frames; those of all the rounds in a row that met the criterion count

    The interval is a seeded bootstrap over frames for a mean and Wilson's for a share, because the bootstrap of "6 of 6"
    would claim certainty.
    """
    if patience < 1 or not 0 < q <= 1:
        raise BadInputError(f"stop advice: expected patience >= 1 and q in (0, 1], got {patience} and {q}")
    share = 1.0 if rule is Rule.ALL else q
    holds = [sc_min(oks, threshold) if rule is Rule.MIN else sc_quantile(oks, threshold, share) for oks in rounds]
    rounds_met = next((count for count, held in enumerate(reversed(holds)) if not held), len(holds))
    # The figure rests on every round that met the criterion in a row: one round alone has few random picks.
    recent = np.concatenate(rounds[-max(rounds_met, 1) :]) if rounds else np.zeros(0)
    last = recent[np.isfinite(recent)]
    if rule is Rule.MIN:
        figure, lo, hi = _mean_interval(last, seed)
        what = "mean OKS"
    else:
        figure, lo, hi = _share_interval(last > threshold)
        what = f"share of frames with OKS above {threshold:g}"
    enough = len(last) >= min_frames
    met = rounds_met >= patience and enough
    text = _advice(what, met, rounds_met, figure, lo, hi, len(last))
    if not met:
        text += f"; to stop, it must be met in {patience} in a row, on at least {max(min_frames, 1)} frames in all"
    if len(last) and rounds_met >= patience and not enough:
        text = f"not enough frames to say yet, {len(last)} of {min_frames}: {text.partition(': ')[2]}"
    return StopAdvice(rule, met, rounds_met, figure, lo, hi, len(last), text)


def _advice(what: str, met: bool, rounds_met: int, figure: float, lo: float, hi: float, frames: int) -> str:
    if not frames:
        return "no advice yet: no frame was both predicted unseen and labelled"
    verdict = "you may stop" if met else "labelling still pays"
    basis = f"{what} is {figure:.2f} ({lo:.2f} to {hi:.2f}) on {frames} frames"
    return f"{verdict}: {basis}; criterion met in {rounds_met} rounds in a row"


def _mean_interval(values: FloatArray, seed: int, resamples: int = 2000) -> tuple[float, float, float]:
    if not len(values):
        return np.nan, np.nan, np.nan
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(resamples)]
    lo, hi = np.quantile(means, [0.025, 0.975])
    return float(values.mean()), float(lo), float(hi)


def _share_interval(passed: BoolArray) -> tuple[float, float, float]:
    """Share of True and Wilson's 95 % interval."""
    if not len(passed):
        return np.nan, np.nan, np.nan
    interval = stats.binomtest(int(passed.sum()), len(passed)).proportion_ci(0.95, method="wilson")
    return float(passed.mean()), float(interval.low), float(interval.high)


@dataclass(frozen=True)
class Forecast:
    """The learning curve error(n) = a * n**-b + c, and what it promises.

    now, then  error at the last number of labels and at ``ahead`` more
    gain       now - then; lo, hi its 95 % interval
    """

    a: float
    b: float
    c: float
    ahead: int
    now: float
    then: float
    gain: float
    lo: float
    hi: float

    def text(self, unit: str = "px") -> str:
        """In words."""
        return f"the next {self.ahead} frames buy about {self.gain:.2g} {unit} ({self.lo:.2g} to {self.hi:.2g} {unit})"


#: Exponents that are tried; learning curves of pose networks lie well inside.
_EXPONENTS = np.geomspace(0.02, 3.0, 160)
#: The floor c is only fitted from so many points on; with fewer it is 0.
_POINTS_FOR_FLOOR = 5


def forecast(labels: FloatArray, error: FloatArray, *, ahead: int = 100, seed: int = 0, resamples: int = 1000) -> Forecast | None:
    """Fit a power law to the error of each round, in relative error, with a, c >= 0; None with fewer than 3 rounds.

    labels (r,) number of labelled frames, error (r,) mean error of the model trained on them; rounds where either is not
    finite and positive are left out.  The interval is a seeded bootstrap of the relative residuals.
    """
    if labels.shape != error.shape or labels.ndim != 1:
        raise BadInputError(f"forecast: expected two arrays of shape (r,), got {labels.shape} and {error.shape}")
    known = np.isfinite(labels) & np.isfinite(error) & (labels > 0) & (error > 0)
    n, e = labels[known].astype(np.float64), error[known].astype(np.float64)
    if len(np.unique(n)) < 3:
        return None
    floor = len(np.unique(n)) >= _POINTS_FOR_FLOOR
    ends = np.array([n.max(), n.max() + ahead])
    (a,), (b,), (c,) = _fit(n, e[None], floor)
    fitted = a * n**-b + c
    now, then = a * ends**-b + c
    # Residuals of a fit are smaller than the errors it was drawn from by the degrees of freedom it used.
    residual = (e / fitted - 1.0) * np.sqrt(len(n) / (len(n) - (3 if floor else 2)))
    rng = np.random.default_rng(seed)
    drawn = fitted * np.maximum(1.0 + rng.choice(residual, size=(resamples, len(n))), 1e-3)
    many_a, many_b, many_c = _fit(n, drawn, floor)
    curve = many_a[:, None] * ends ** -many_b[:, None] + many_c[:, None]
    lo, hi = np.quantile(curve[:, 0] - curve[:, 1], [0.025, 0.975])
    return Forecast(float(a), float(b), float(c), ahead, float(now), float(then), float(now - then), float(lo), float(hi))


def _fit(n: FloatArray, error: FloatArray, floor: bool) -> tuple[FloatArray, FloatArray, FloatArray]:
    """a, b, c (R,) for R curves error (R, r): for every exponent the least squares in (a, c) are closed form."""
    x = n ** -_EXPONENTS[:, None]
    w = 1.0 / error
    sx, sxx = w @ x.T, (w * w) @ (x * x).T
    sc, scc, sxc = w.sum(axis=1, keepdims=True), (w * w).sum(axis=1, keepdims=True), (w * w) @ x.T
    a, c = sx / sxx, np.zeros_like(sx)
    if floor:
        determinant = sxx * scc - sxc * sxc
        both_a, both_c = (sx * scc - sc * sxc) / determinant, (sc * sxx - sx * sxc) / determinant
        inside = (both_a >= 0) & (both_c >= 0)
        flat = both_a < 0
        a = np.where(inside, both_a, np.where(flat, 0.0, a))
        c = np.where(inside, both_c, np.where(flat, sc / scc, 0.0))
    rss = len(n) - 2 * (a * sx + c * sc) + a * a * sxx + 2 * a * c * sxc + c * c * scc
    best = rss.argmin(axis=1)
    rows = np.arange(len(error))
    return a[rows, best], _EXPONENTS[best], c[rows, best]
