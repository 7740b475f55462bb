"""From the table of results to learning curves, paired comparisons and what they promise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from label_config.values import BoolArray, FloatArray, IntArray
from label_config.values.masked import masked_mean
from ml_backend.metrics.bootstrap import Comparison, paired_bootstrap
from ml_backend.metrics.curve_summaries import area_under_learning_curve
from ml_backend.simulation.experiments.arms import FULL, RANDOM, REFERENCES, Arm
from ml_backend.simulation.experiments.results_table import Row

RESAMPLES = 2000


@dataclass(frozen=True)
class Curve:
    """One strategy over its rounds; draws of one seed are averaged first.

    labels  (R,) labelled frames;  value  (S, R) one row per seed, NaN = not run
    """

    kind: str
    seeds: tuple[int, ...]
    labels: FloatArray
    value: FloatArray

    @property
    def mean(self) -> FloatArray:
        """(R,) over seeds; NaN for a round without one."""
        return masked_mean(self.value, axis=0)[0]

    def of(self, seeds: Sequence[int]) -> FloatArray:
        """(len(seeds), R) rows of these seeds."""
        return self.value[[self.seeds.index(seed) for seed in seeds]]

    def interval(self, seed: int = 0) -> tuple[FloatArray, FloatArray]:
        """(R,) 95 % percentile bootstrap of the mean over seeds, low and high; NaN with a single seed."""
        if len(self.seeds) < 2:
            nothing = np.full(len(self.labels), np.nan)
            return nothing, nothing
        drawn = np.stack([masked_mean(self.value[pick], axis=0)[0] for pick in _resamples(len(self.seeds), seed)])
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        return low, high


def kinds_of(rows: Sequence[Row]) -> list[str]:
    """Strategies in the order in which they appear, random first, without the references."""
    arms = dict.fromkeys(str(row["strategy"]) for row in rows)
    found = dict.fromkeys(arm.kind for arm in map(Arm.parse, arms) if arm.whole not in REFERENCES)
    return sorted(found, key=lambda kind: kind != chance_of(rows))


def chance_of(rows: Iterable[Row]) -> str:
    """The strategy with which all others are compared: random, with the fewest words of training beside it; "" without any."""
    arms = map(Arm.parse, dict.fromkeys(str(row["strategy"]) for row in rows))
    return min((arm.kind for arm in arms if arm.whole == RANDOM), key=len, default="")


def complete_cells(rows: Sequence[Row], rounds: int) -> list[Row]:
    """Without the runs that are still under way: their last round is not the last round of the others."""
    last_round = {(row["strategy"], row["seed"]): 0 for row in rows}
    for row in rows:
        where = row["strategy"], row["seed"]
        last_round[where] = max(last_round[where], int(row["round"]))
    return [r for r in rows if r["strategy"] == FULL or last_round[r["strategy"], r["seed"]] == rounds]


def curve_of(rows: Iterable[Row], kind: str, figure: str = "error") -> Curve:
    """The curve of one figure of one strategy."""
    cells: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for row in rows:
        if Arm.parse(str(row["strategy"])).kind == kind:
            where = int(row["seed"]), int(row["round"])
            cells.setdefault(where, []).append((float(row["labels"]), float(row[figure])))
    seeds = tuple(sorted({seed for seed, _ in cells}))
    rounds = sorted({round_ for _, round_ in cells})
    value = np.full((len(seeds), len(rounds)), np.nan)
    labels = np.zeros(len(rounds))
    for (seed, round_), found in cells.items():
        value[seeds.index(seed), rounds.index(round_)] = masked_mean(np.array([v for _, v in found]), axis=0)[0]
        labels[rounds.index(round_)] = found[0][0]
    return Curve(kind, seeds, labels, value)


def full_error(rows: Sequence[Row], figure: str = "error") -> dict[int, float]:
    """Seed → the figure of the model that learnt every label of the pool."""
    return {int(row["seed"]): float(row[figure]) for row in rows if row["strategy"] == FULL}


def complete_seeds(*curves: Curve) -> list[int]:
    """Seeds for which every curve has all its rounds: only these are compared."""
    return [s for s in curves[0].seeds if all(s in c.seeds and np.isfinite(c.value[c.seeds.index(s)]).all() for c in curves)]


def against_random(rows: Sequence[Row], kind: str, figure: str, summary: Callable[[FloatArray, FloatArray], float]) -> Comparison:
    """Paired over seeds: ``summary(labels, values)`` of the strategy minus that of the mean of the random draws."""
    mine, chance = curve_of(rows, kind, figure), curve_of(rows, chance_of(rows), figure)
    seeds = complete_seeds(mine, chance)
    old = np.array([summary(chance.labels, values) for values in chance.of(seeds)])
    new = np.array([summary(mine.labels, values) for values in mine.of(seeds)])
    return paired_bootstrap(old, new, 0, resamples=RESAMPLES)


def last(labels: FloatArray, values: FloatArray) -> float:
    """The figure after the last round."""
    return float(values[-1])


def area(labels: FloatArray, values: FloatArray) -> float:
    """ALC over the budget: the mean of the curve between its first and last number of labels."""
    return area_under_learning_curve(labels / labels[-1], values)


def labels_needed(labels: FloatArray, values: FloatArray, target: float) -> float:
    """Where a curve (R,) of errors first reaches ``target``, between rounds on a straight line; inf when it never does."""
    reached: IntArray = np.flatnonzero(values <= target)
    if not len(reached):
        return math.inf
    i = int(reached[0])
    if i == 0:
        return float(labels[0])
    share = (values[i - 1] - target) / (values[i - 1] - values[i])
    return float(labels[i - 1] + share * (labels[i] - labels[i - 1]))


@dataclass(frozen=True)
class LabelRatio:
    """Labels that a strategy needs to reach a target, divided by those that random picks need.

    mine, chance  labels on the mean curves, inf = not within the budget
    ratio         NaN when random never gets there; lo, hi  95 % bootstrap over seeds, NaN below two seeds
    """

    target: float
    mine: float
    chance: float
    ratio: float
    lo: float
    hi: float
    seeds: int


def label_ratio(
    rows: Sequence[Row], kind: str, target_of: Callable[[Sequence[int], FloatArray], float], figure: str = "error"
) -> LabelRatio:
    """``target_of(seeds, mean random curve)`` → the error that counts as reached; it is drawn anew with the seeds."""
    mine, chance = curve_of(rows, kind, figure), curve_of(rows, chance_of(rows), figure)
    seeds = complete_seeds(mine, chance)

    def needed(chosen: Sequence[int]) -> tuple[float, float, float]:
        random_mean = masked_mean(chance.of(chosen), axis=0)[0]
        target = target_of(chosen, random_mean)
        return (
            target,
            labels_needed(mine.labels, masked_mean(mine.of(chosen), axis=0)[0], target),
            labels_needed(chance.labels, random_mean, target),
        )

    if not seeds:
        nan = math.nan
        return LabelRatio(nan, nan, nan, nan, nan, nan, 0)
    target, own, other = needed(seeds)
    low = high = math.nan
    if len(seeds) > 1 and math.isfinite(other):
        drawn = [needed([seeds[i] for i in pick]) for pick in _resamples(len(seeds), 0)]
        ratios = np.sort([a / b if math.isfinite(b) else math.nan for _, a, b in drawn])
        known = ratios[~np.isnan(ratios)]
        # Order statistics instead of interpolation: some ratios may be infinite.
        low, high = known[int(0.025 * (len(known) - 1))], known[math.ceil(0.975 * (len(known) - 1))]
    ratio = own / other if math.isfinite(other) else math.nan
    return LabelRatio(target, own, other, ratio, float(low), float(high), len(seeds))


@dataclass(frozen=True)
class StopRound:
    """When a rule would have stopped, means over the seeds in which it did.

    labels  frames labelled then;  excess  error then, relative to the error at the end of the budget, minus 1
    """

    rule: str
    threshold: float
    stopped: int
    seeds: int
    labels: float
    excess: float


#: Rule → the figure of the table that must exceed the threshold.
STOP_RULES = {"SC_Min": "batch_oks", "SC_All": "seen_oks_min", "SC_quantile": "val_oks_q05"}


def stopping(rows: Sequence[Row], kind: str, thresholds: Sequence[float] = (0.5, 0.6, 0.7, 0.8)) -> list[StopRound]:
    """The table of VATL4Pose, §3.3, for one strategy."""
    error = curve_of(rows, kind)
    found = []
    for rule, figure in STOP_RULES.items():
        value = curve_of(rows, kind, figure).value
        for threshold in thresholds:
            met: BoolArray = np.nan_to_num(value, nan=-1.0) > threshold
            which = np.flatnonzero(met.any(axis=1))
            at = met[which].argmax(axis=1)
            labels = error.labels[at].mean() if len(which) else math.nan
            excess = (error.value[which, at] / error.value[which, -1] - 1).mean() if len(which) else math.nan
            found.append(StopRound(rule, threshold, len(which), len(error.seeds), float(labels), float(excess)))
    return found


def _resamples(count: int, seed: int) -> Iterable[IntArray]:
    rng = np.random.default_rng(seed)
    return (rng.integers(count, size=count) for _ in range(RESAMPLES))
