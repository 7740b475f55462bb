"""Which pictures of several cameras belong to the same instant: by their times, the numbers in their names, or their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from label_config.values import FloatArray, IntArray
from label_config.values.errors import RecordingError
from ml_backend.recordings.timing import match_frames, period, reference_view

Pairing = Literal["time", "index", "number"]
Numbers = tuple[tuple[int, ...], ...]

#: Rates that differ by less are one rate, said with other digits or kept by another clock.
_OTHER_RATE = 0.01
#: So small a share of the frames may be missing at an end of a recording that was triggered frame by frame.
_SAME_COUNT = 0.02


@dataclass(frozen=True)
class FrameClock:
    """What is known about when one camera's pictures were taken.

    times_s   (n,) seconds on the recording's clock; None when nothing says them
    numbers   (n) numbers that vary within the names of picture files; None without
    measured  True when the times are more than a rate in a header: a file of timestamps, a stated rate, uneven times
    """

    n_frames: int
    times_s: FloatArray | None = None
    numbers: Numbers | None = None
    measured: bool = False

    @property
    def fps(self) -> float:
        """Mean frames per second; 0 where that means nothing."""
        times = self.times_s
        return 0.0 if times is None or len(times) < 2 else float((len(times) - 1) / (times[-1] - times[0]))


@dataclass(frozen=True)
class Pairs:
    """matches  view → (n,) its picture at each instant, -1 for none;  reference  the view whose pictures are the instants"""

    reference: str
    matches: Mapping[str, IntArray]
    notes: tuple[str, ...] = ()


def pair(clocks: Mapping[str, FrameClock], pairing: Pairing | None, where: str) -> Pairs:
    """Pair by what was asked for, else by what the sources say.

    Raises BadInputError where they say nothing that holds for all, or contradict one another.
    """
    notes: tuple[str, ...] = ()
    if pairing is None:
        pairing, notes = _choose(clocks, where)
    match pairing:
        case "time":
            return Pairs(*_by_time(clocks, where), notes)
        case "number":
            return Pairs(*_by_number(clocks, where), notes)
        case "index":
            longest = max(clocks, key=lambda view: clocks[view].n_frames)
            numbers = np.arange(clocks[longest].n_frames)
            matches = {view: np.where(numbers < clock.n_frames, numbers, -1) for view, clock in clocks.items()}
            return Pairs(longest, matches, notes)


def _choose(clocks: Mapping[str, FrameClock], where: str) -> tuple[Pairing, tuple[str, ...]]:
    timed = [view for view, clock in clocks.items() if clock.times_s is not None]
    if len(clocks) == 1:
        return ("time" if timed else "index"), ()
    if len(timed) == len(clocks):
        _check_rates(clocks, where)
        return "time", _rate_notes(clocks, where)
    if timed:
        others = [view for view in clocks if view not in timed]
        raise RecordingError(
            f"{where}: the sources of {_names(timed)} say when their frames were taken, those of {_names(others)} do not. "
            "Give these views 'fps', or the recording 'pairing: index' when the n-th frames belong together"
        )
    numbers = {view: clock.numbers for view, clock in clocks.items()}
    counts = {clock.n_frames for clock in clocks.values()}
    if len(set(numbers.values())) == 1 and len(counts) == 1 and (None not in numbers.values() or counts == {1}):
        return "index", ()
    if all(held is not None for held in numbers.values()) and len({len(held[0]) for held in numbers.values() if held}) == 1:
        _check_shift(clocks, where)
        return "number", (f"{where}: the numbers in the names differ between the views; paired by these numbers",)
    if len(counts) == 1:
        return "index", (f"{where}: the names of the pictures do not say which belong together; paired by their place",)
    sizes = ", ".join(f"{view!r} {clock.n_frames}" for view, clock in clocks.items())
    raise RecordingError(
        f"{where}: the views have different numbers of pictures ({sizes}), and nothing says which belong together. "
        "Give the views 'fps', or the recording 'pairing: index' when the n-th pictures belong together"
    )


def _check_rates(clocks: Mapping[str, FrameClock], where: str) -> None:
    """As many frames, at rates that differ: either the rates are wrong, as with a trigger, or the cameras ran for other times."""
    plain = {view: clock for view, clock in clocks.items() if not clock.measured and clock.n_frames > 1}
    for view, clock in plain.items():
        for other, its in plain.items():
            same_count = abs(clock.n_frames - its.n_frames) <= _SAME_COUNT * its.n_frames
            if same_count and clock.fps > its.fps * (1 + _OTHER_RATE):
                raise RecordingError(
                    f"{where}: view {view!r} has {clock.n_frames} frames at {clock.fps:.5g} a second and {other!r} "
                    f"{its.n_frames} at {its.fps:.5g}: as many frames and other rates contradict each other. Say which holds: "
                    "'pairing: index' when one trigger took the n-th frames of all cameras together, "
                    "'pairing: time' when the rates are right"
                )


def _rate_notes(clocks: Mapping[str, FrameClock], where: str) -> tuple[str, ...]:
    rates = {view: clock.fps for view, clock in clocks.items() if clock.n_frames > 1 and not clock.measured}
    if not rates or max(rates.values()) <= min(rates.values()) * (1 + 1e-5):
        return ()
    drift = max(
        float(np.abs(clocks[a].fps / clocks[b].fps - 1) * min(clocks[a].n_frames, clocks[b].n_frames))
        for a in rates
        for b in rates
    )
    if drift < 0.5:
        return ()
    text = ", ".join(f"{view!r} {rate:.5g}" for view, rate in rates.items())
    return (
        f"{where}: different rates ({text} a second), paired by time: n-th frames come to lie {drift:.0f} apart. "
        "If one trigger took them together, say 'pairing: index'",
    )


def _check_shift(clocks: Mapping[str, FrameClock], where: str) -> None:
    """As many pictures with all numbers shifted alike, from 0 and from 1 say, may well belong together by place."""
    first, *others = [(view, clock.numbers) for view, clock in clocks.items() if clock.numbers]
    for view, numbers in others:
        assert first[1] is not None
        assert numbers is not None
        if len(numbers) != len(first[1]) or numbers == first[1]:
            continue
        shifts = {tuple(a - b for a, b in zip(mine, its, strict=True)) for mine, its in zip(numbers, first[1], strict=True)}
        if len(shifts) == 1:
            raise RecordingError(
                f"{where}: views {first[0]!r} and {view!r} have as many pictures, but the numbers in the names start at "
                f"{_number(first[1][0])} and {_number(numbers[0])}. Say which holds: 'pairing: index' when "
                "the n-th pictures belong together, 'pairing: number' when those with equal numbers do"
            )


def _by_time(clocks: Mapping[str, FrameClock], where: str) -> tuple[str, dict[str, IntArray]]:
    times = {view: clock.times_s for view, clock in clocks.items() if clock.times_s is not None}
    missing = [view for view in clocks if view not in times]
    if missing:
        raise RecordingError(
            f"{where}: 'pairing: time' needs to know when the frames of {_names(missing)} were taken; give 'fps', or a file of "
            "timestamps beside the source"
        )
    reference = reference_view(times)
    instants = times[reference]
    return reference, {view: match_frames(instants, own, _tolerance(instants, own)) for view, own in times.items()}


def _tolerance(instants_s: FloatArray, times_s: FloatArray) -> float:
    """Half the time between frames of the slower camera, and what containers round.

    No frame takes the place of a lost one: each belongs to one instant only.
    """
    longest = max((p for p in (period(instants_s), period(times_s)) if np.isfinite(p)), default=1.0)
    return 0.51 * longest


def _by_number(clocks: Mapping[str, FrameClock], where: str) -> tuple[str, dict[str, IntArray]]:
    places: dict[str, dict[tuple[int, ...], int]] = {}
    for view, clock in clocks.items():
        if clock.numbers is None:
            raise RecordingError(
                f"{where}: 'pairing: number' needs pictures whose names differ in numbers; view {view!r} has none"
            )
        places[view] = {number: i for i, number in enumerate(clock.numbers)}
    instants = sorted(set().union(*places.values()))
    matches = {view: np.array([place.get(number, -1) for number in instants]) for view, place in places.items()}
    return max(clocks, key=lambda view: clocks[view].n_frames), matches


def _names(views: list[str]) -> str:
    return " and ".join(repr(view) for view in views)


def _number(parts: tuple[int, ...]) -> str:
    return "-".join(map(str, parts))
