"""When to train, rescore, select and push."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_config.settings.spec import Spec
from ml_backend.jobs.policy import Situation, decide

SPEC = Spec.model_validate({"train": {"min_new_frames": 20, "max_wait_minutes": 10}, "sync": {"push_every_minutes": 5}})
NOW = 1_000_000.0
#: A model is live and has scored the pool, its order is served, and most of the window is open: nothing to do.
QUIET = Situation(
    now=NOW,
    n_frames=1000,
    n_labelled=50,
    new_frames=0,
    newest_label_at=None,
    train_requested=False,
    select_requested=False,
    halted=False,
    config_broken=False,
    has_model=True,
    live_is_scored=True,
    order_is_of_live=True,
    has_generation=True,
    open_in_window=450,
    window=500,
    outside=500,
    pushed_at=NOW - 3600,
    selection_waits=False,
    open_in_selection=0,
    selection_window=0,
    outside_selection=1000,
    selection_has_new_model=False,
    push_interrupted=False,
    busy=frozenset(),
    failed=frozenset(),
)
BEFORE_THE_FIRST_MODEL = replace(QUIET, has_model=False, live_is_scored=False, n_labelled=0)


def acts(situation: Situation) -> set[str]:
    decision = decide(situation, SPEC)
    return {name for name in ("train", "rescore", "select", "push") if getattr(decision, name)}


def test_nothing_to_do() -> None:
    assert acts(QUIET) == set()


def test_a_new_project_wants_an_order_before_anything_else() -> None:
    assert acts(replace(BEFORE_THE_FIRST_MODEL, has_generation=False, window=0, open_in_window=0, pushed_at=None)) == {"select"}
    assert acts(replace(BEFORE_THE_FIRST_MODEL, has_generation=False, n_frames=0)) == set(), "there is nothing to put in order"


@pytest.mark.parametrize(
    ("new", "waited_s", "train"),
    [(19, 0, False), (20, 0, True), (1, 599, False), (1, 600, True), (0, 10_000, False), (1, -3600, True)],
)
def test_training_waits_for_enough_frames_or_a_pause(new: int, waited_s: float, train: bool) -> None:
    newest = NOW - waited_s if new else None
    assert acts(replace(QUIET, new_frames=new, newest_label_at=newest)) == ({"train"} if train else set())


ENOUGH = replace(QUIET, new_frames=40, newest_label_at=NOW)


def test_what_keeps_training_from_starting() -> None:
    assert acts(ENOUGH) == {"train"}
    assert acts(replace(ENOUGH, halted=True)) == set()
    assert acts(replace(ENOUGH, config_broken=True)) == set()
    assert acts(replace(ENOUGH, busy=frozenset({"retrain"}))) == set()
    assert acts(replace(ENOUGH, failed=frozenset({"retrain"}))) == set(), "the same labels would fail again"
    manual = SPEC.model_copy(update={"train": SPEC.train.model_copy(update={"auto": False})})
    assert not decide(ENOUGH, manual).train


def test_asking_for_training_needs_labels_but_neither_news_nor_patience() -> None:
    asked = replace(QUIET, train_requested=True)
    assert acts(asked) == {"train"}
    assert acts(replace(asked, failed=frozenset({"retrain"}))) == {"train"}
    assert acts(replace(asked, n_labelled=0)) == set()
    assert acts(replace(asked, halted=True)) == set(), "a halt asks a person first"
    assert acts(replace(asked, busy=frozenset({"retrain"}))) == set(), "the flag stands until this one is done"


def test_asking_again_and_again_does_not_keep_orders_from_being_served() -> None:
    """A request with nothing new waits until the live model's order is pushed; one with new labels does not."""
    asked = replace(QUIET, train_requested=True)
    for unserved in (
        replace(asked, live_is_scored=False),
        replace(asked, busy=frozenset({"rescore"})),
        replace(asked, busy=frozenset({"select"})),
        replace(asked, selection_waits=True),
    ):
        assert not decide(unserved, SPEC).train
        assert decide(replace(unserved, new_frames=1), SPEC).train
        assert decide(replace(unserved, failed=frozenset({"rescore"})), SPEC).train, "it will not be served"
    assert decide(replace(asked, has_model=False, live_is_scored=False), SPEC).train


def test_a_new_model_scores_the_pool_once() -> None:
    fresh = replace(QUIET, live_is_scored=False, order_is_of_live=False)
    assert acts(fresh) == {"rescore"}
    assert acts(replace(fresh, busy=frozenset({"rescore"}))) == set()
    assert acts(replace(fresh, busy=frozenset({"select"}))) == set()
    assert acts(replace(fresh, failed=frozenset({"rescore"}))) == set(), "it failed for good; its error stands in the event log"
    assert acts(replace(fresh, select_requested=True)) == {"rescore"}, "rescoring ends in a selection"


def test_an_earlier_model_that_is_made_live_gives_an_order_again() -> None:
    assert acts(replace(QUIET, order_is_of_live=False)) == {"select"}
    assert acts(replace(QUIET, order_is_of_live=False, failed=frozenset({"select"}))) == set()


def test_the_window_is_refilled_when_less_than_half_is_left() -> None:
    assert acts(replace(QUIET, open_in_window=250)) == set()
    assert acts(replace(QUIET, open_in_window=249)) == {"select"}
    assert acts(replace(QUIET, open_in_window=249, outside=0)) == set(), "it holds all that is left of the pool"
    waits = replace(QUIET, open_in_window=249, selection_waits=True, pushed_at=NOW, open_in_selection=500, selection_window=500)
    assert acts(waits) == {"push"}, "one waits already, and pushing it does not wait"
    assert acts(replace(QUIET, open_in_window=249, config_broken=True)) == set()
    assert acts(replace(QUIET, open_in_window=249, failed=frozenset({"select"}))) == set()


def test_an_order_whose_tasks_were_labelled_before_it_was_pushed_is_renewed() -> None:
    waits = replace(QUIET, selection_waits=True, open_in_selection=20, selection_window=46)
    assert acts(waits) == {"select"}
    assert acts(replace(waits, busy=frozenset({"select"}))) == set(), "its successor is on the way"
    assert acts(replace(waits, open_in_selection=23)) == {"push"}
    assert acts(replace(waits, outside_selection=0)) == {"push"}, "no other order could hold more"
    assert acts(replace(waits, failed=frozenset({"select"}))) == {"push"}, "better than none"
    assert acts(replace(waits, push_interrupted=True)) == {"push"}


def test_asking_for_an_order() -> None:
    asked = replace(QUIET, select_requested=True)
    assert acts(asked) == {"select"}
    assert acts(replace(asked, failed=frozenset({"select", "rescore"}))) == {"select"}
    assert acts(replace(asked, busy=frozenset({"rescore"}))) == set()


@pytest.mark.parametrize(
    ("minutes_ago", "changes", "push"),
    [
        (None, {}, True),
        (5, {}, True),
        (4.9, {}, False),
        (0, {"selection_has_new_model": True}, True),
        (0, {"push_interrupted": True}, True),
        (None, {"config_broken": True}, False),
        (None, {"halted": True}, True),
    ],
)
def test_a_selection_is_pushed_at_most_every_five_minutes(minutes_ago: float | None, changes: dict[str, Any], push: bool) -> None:
    pushed_at = None if minutes_ago is None else NOW - 60 * minutes_ago
    assert acts(replace(QUIET, selection_waits=True, pushed_at=pushed_at, **changes)) == ({"push"} if push else set())


flags = st.booleans()
kinds = st.frozensets(st.sampled_from(["retrain", "rescore", "select"]))


@settings(max_examples=200, deadline=None)
@given(
    st.builds(
        replace,
        st.just(QUIET),
        n_labelled=st.integers(0, 1000),
        new_frames=st.integers(0, 100),
        newest_label_at=st.one_of(st.none(), st.floats(0, NOW)),
        train_requested=flags,
        select_requested=flags,
        halted=flags,
        config_broken=flags,
        has_model=flags,
        live_is_scored=flags,
        order_is_of_live=flags,
        has_generation=flags,
        open_in_window=st.integers(0, 500),
        outside=st.integers(0, 3),
        open_in_selection=st.integers(0, 500),
        selection_window=st.just(500),
        outside_selection=st.integers(0, 3),
        pushed_at=st.one_of(st.none(), st.floats(0, NOW)),
        selection_waits=flags,
        selection_has_new_model=flags,
        push_interrupted=flags,
        busy=kinds,
        failed=kinds,
    )
)
def test_in_every_situation(situation: Situation) -> None:
    decision = decide(situation, SPEC)
    assert not (decision.train and "retrain" in situation.busy), "one training at a time"
    assert not ((decision.rescore or decision.select) and situation.busy & {"rescore", "select"})
    assert not (decision.rescore and decision.select), "rescoring ends in a selection of its own"
    assert not (situation.config_broken and (decision.train or decision.select or decision.push))
    assert not (decision.push and not situation.selection_waits)
    assert not (decision.select and decision.push), "an order that waits is pushed before the next is made, or not at all"
    assert len(decision.reasons) == decision.train + decision.rescore + decision.select
