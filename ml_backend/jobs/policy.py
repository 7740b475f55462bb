"""When to train, rescore, select and push: a pure function of what the store holds and the time.

Nothing here acts.  The sync process asks on every tick and does what is due, so a lost event, a wiped queue or a
killed worker only ever costs one tick.
"""

from __future__ import annotations

from dataclasses import dataclass

from label_config.settings.spec import Spec
from ml_backend.store.statuses import JobKind


@dataclass(frozen=True)
class Situation:
    """What a tick sees.  Times are seconds since the epoch.

    new_frames        frames whose first label came in the current round, so that the last snapshot does not hold it
    newest_label_at   when the newest of those labels was seen, None without any
    halted            training stopped and asks
    config_broken     the labelling config no longer fits: neither training nor pushing makes sense
    live_is_scored    the live model has scored the pool and led to an order
    order_is_of_live  the newest order comes from the live model, or there is no order or no model
    open_in_window    frames of the window of the current generation that still want a label
    window            size of that window when it was pushed; what follows the window is not of it
    outside           frames that an order could hold and the current generation does not
    open_in_selection, selection_window, outside_selection  the same of the order that waits to be pushed
    busy, failed      kinds of jobs that are pending or running, and those whose newest one failed for good
    """

    now: float
    n_frames: int
    n_labelled: int
    new_frames: int
    newest_label_at: float | None
    train_requested: bool
    select_requested: bool
    halted: bool
    config_broken: bool
    has_model: bool
    live_is_scored: bool
    order_is_of_live: bool
    has_generation: bool
    open_in_window: int
    window: int
    outside: int
    pushed_at: float | None
    selection_waits: bool
    open_in_selection: int
    selection_window: int
    outside_selection: int
    selection_has_new_model: bool
    push_interrupted: bool
    busy: frozenset[str]
    failed: frozenset[str]


@dataclass(frozen=True)
class Decision:
    """What to do now; ``reasons`` says why, for the event log."""

    train: bool = False
    rescore: bool = False
    select: bool = False
    push: bool = False
    reasons: tuple[str, ...] = ()


def decide(situation: Situation, spec: Spec) -> Decision:
    """The decision of one tick."""
    train, why_train = _train(situation, spec)
    rescore = _rescore(situation)
    select, why_select = _select(situation, spec)
    # What is selected now takes the place of an order that people have overtaken.
    renewed = _overtaken(situation, spec) and (select or JobKind.SELECT in situation.busy)
    push = situation.selection_waits and not situation.config_broken and not renewed and _may_push(situation, spec)
    reasons = [why for flag, why in ((train, why_train), (select, why_select)) if flag]
    if rescore:
        reasons.append("the live model has not scored the pool yet")
    return Decision(train, rescore, select, push, tuple(reasons))


def _train(situation: Situation, spec: Spec) -> tuple[bool, str]:
    if situation.halted or situation.config_broken or situation.n_labelled == 0 or JobKind.RETRAIN in situation.busy:
        return False, ""
    if situation.train_requested and (situation.new_frames > 0 or not _still_unserved(situation)):
        return True, "training was asked for"
    if not spec.train.auto or situation.new_frames == 0 or JobKind.RETRAIN in situation.failed:
        return False, ""
    if situation.new_frames >= spec.train.min_new_frames:
        return True, f"{situation.new_frames} new labelled frames"
    # A label from the future is one from before the clock was set back.
    waited = abs(situation.now - (situation.newest_label_at or situation.now))
    if waited >= spec.train.max_wait_minutes * 60:
        return True, f"{situation.new_frames} new labelled frames and none for {waited / 60:.0f} min"
    return False, ""


def _still_unserved(situation: Situation) -> bool:
    """The live model has yet to score the pool or its order to be pushed.

    A request with nothing new to learn waits for that: whoever asks again and again would else keep all orders from being served.
    """
    if not situation.has_model or situation.failed & {JobKind.RESCORE, JobKind.SELECT}:
        return False
    return not situation.live_is_scored or situation.selection_waits or bool(situation.busy & {JobKind.RESCORE, JobKind.SELECT})


def _rescore(situation: Situation) -> bool:
    if not situation.has_model or situation.live_is_scored:
        return False
    return not (situation.busy | situation.failed) & {JobKind.RESCORE, JobKind.SELECT}


def _select(situation: Situation, spec: Spec) -> tuple[bool, str]:
    overtaken = _overtaken(situation, spec)
    if situation.n_frames == 0 or situation.config_broken or (situation.selection_waits and not overtaken):
        return False, ""
    if situation.busy & {JobKind.SELECT, JobKind.RESCORE}:
        return False, ""
    if situation.has_model and not situation.live_is_scored and JobKind.RESCORE not in situation.failed:
        return False, ""  # rescoring ends in a selection
    if situation.select_requested:
        return True, "a new order was asked for"
    if JobKind.SELECT in situation.failed:
        return False, ""
    if overtaken:
        done = situation.selection_window - situation.open_in_selection
        return True, f"{done} of {situation.selection_window} tasks of the order that waits are labelled already"
    if not situation.has_generation:
        return True, "no order yet"
    if situation.live_is_scored and not situation.order_is_of_live:
        return True, "another model is live"
    # An order that covers the whole pool cannot be refilled.
    if _used_up(situation, spec) and situation.outside:
        return True, f"only {situation.open_in_window} of {situation.window} tasks of the window are left"
    return False, ""


def _used_up(situation: Situation, spec: Spec) -> bool:
    return situation.open_in_window < spec.selection.refill_below * situation.window


def _overtaken(situation: Situation, spec: Spec) -> bool:
    """People labelled most of the order that waits before it was pushed, and there are other frames.

    An interrupted push goes on, as some of it may be served.
    """
    if not situation.selection_waits or situation.push_interrupted or situation.outside_selection == 0:
        return False
    return situation.open_in_selection < spec.selection.refill_below * situation.selection_window


def _may_push(situation: Situation, spec: Spec) -> bool:
    if situation.pushed_at is None or situation.selection_has_new_model or situation.push_interrupted:
        return True
    if _used_up(situation, spec):
        return True
    # A clock that was set back must not keep it waiting.
    return abs(situation.now - situation.pushed_at) >= spec.sync.push_every_minutes * 60
