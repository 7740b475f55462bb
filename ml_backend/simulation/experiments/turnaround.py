"""How long until the model is good enough?  The clock of an annotation project (Feng et al. 2023, §4.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from label_config.values import BadInputError


@dataclass(frozen=True)
class TurnaroundClock:
    """What a minute of the project costs; the defaults are those of the paper.

    minutes_per_frame   to label one frame in all its views
    hours_per_training  one training run
    """

    minutes_per_frame: float = 1.0
    hours_per_training: float = 1.0

    def conventional_hours(self, frames: int) -> float:
        """Label everything, then train once; as printed, the training is not counted."""
        return frames * self.minutes_per_frame / 60

    def at_equal_accuracy(self, hours: float, frames: float) -> tuple[float, float]:
        """``hours`` relative to labelling ``frames`` frames at one go, the number by which random picks reach the same accuracy.

        As printed, without the one training at the end, and with it; above 1 the loop is slower.
        """
        labelling = frames * self.minutes_per_frame / 60
        return hours / labelling, hours / (labelling + self.hours_per_training)

    def sequential_hours(self, initial: int, batch: int, rounds: int) -> float:
        """Labelling and training take turns, as printed: t_label · (initial + rounds · batch) + t_train · (rounds + 1)."""
        return self.conventional_hours(initial + rounds * batch) + self.hours_per_training * (rounds + 1)

    def overlapped_hours(self, initial: int, batch: int, rounds: int) -> float:
        """People label the next batch while the network trains on the last: each round takes the longer of the two."""
        longer = max(self.conventional_hours(batch), self.hours_per_training)
        return self.conventional_hours(initial) + rounds * longer + self.hours_per_training


def rounds_for(labels: float, initial: int, batch: int) -> int:
    """Rounds until at least ``labels`` frames are labelled.  Raises BadInputError for a number that is not finite."""
    if not math.isfinite(labels):
        raise BadInputError(f"turn-around: expected a finite number of labels, got {labels}")
    return max(math.ceil((labels - initial) / batch - 1e-9), 0)
