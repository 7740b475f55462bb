"""Learning rates as pure functions of how far training has come.

Nothing here has a state that a checkpoint would have to carry; the one history-dependent rule, the plateau,
is a function of the validation errors seen so far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ml_backend.pose.config import TrainConfig

#: OneCycle (Smith & Topin 2019): share of the run spent warming up, and how far below the peak it starts and ends.
WARM_UP_SHARE = 0.3
START_DIVISOR = 25.0
END_DIVISOR = 2.5e5


def learning_rate(config: TrainConfig, progress: float, epochs_done: float, validation_errors: Sequence[float]) -> float:
    """The rate for the next step.  ``progress`` in [0, 1] is the share of the run that is done."""
    if config.schedule == "onecycle":
        return config.lr * one_cycle(progress)
    if config.schedule == "exponential":
        return config.lr * config.decay ** math.floor(epochs_done)
    if config.schedule == "steps":
        return config.lr * config.decay ** sum(progress >= drop for drop in config.drops)
    if config.schedule == "plateau":
        return config.lr * config.decay ** plateau_drops(validation_errors, config.patience)
    return config.lr


def one_cycle(progress: float) -> float:
    """Factor on the peak rate: cosine up from 1/25 during the first 30 %, cosine down to nearly nothing after."""
    progress = min(max(progress, 0.0), 1.0)
    if progress < WARM_UP_SHARE:
        return _cosine(1 / START_DIVISOR, 1.0, progress / WARM_UP_SHARE)
    return _cosine(1.0, 1 / END_DIVISOR, (progress - WARM_UP_SHARE) / (1 - WARM_UP_SHARE))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))


def plateau_drops(errors: Sequence[float], patience: int) -> int:
    """How often more than ``patience`` validations in a row brought no new best; the count restarts at each drop."""
    best, waited, drops = math.inf, 0, 0
    for error in errors:
        if error < best:
            best, waited = error, 0
        else:
            waited += 1
        if waited > patience:
            drops, waited = drops + 1, 0
    return drops


def since_best(errors: Sequence[float]) -> int:
    """Validations since the best one."""
    if not errors:
        return 0
    return len(errors) - 1 - min(range(len(errors)), key=lambda i: errors[i])
