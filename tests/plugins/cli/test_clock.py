"""When the sync process ticks: on time, when asked, and slower and slower while something is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from label_config.values import ParallaxError
from ml_backend.store import presence, projects
from ml_backend.store.workspace import Workspace
from plugins.cli.processes import clock as clock_module
from plugins.cli.processes.clock import TickClock, back_off_s, describe
from plugins.label_studio_sync.tick import TickReport


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module, "POLL_S", 0.01)


class Ticks:
    """Counts ticks; ``failures`` of the first ones fail."""

    def __init__(self, workspace: Workspace, failures: int = 0) -> None:
        self.workspace, self.failures, self.count = workspace, failures, 0
        self.changed = threading.Condition()

    def __call__(self) -> TickReport:
        projects.take_flag(self.workspace.store, "pull_requested")
        with self.changed:
            self.count += 1
            self.changed.notify_all()
        if self.count <= self.failures:
            raise ParallaxError("Label Studio is away")
        return TickReport(led=True)

    def wait_for(self, count: int) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: self.count >= count, timeout=10)


def running(workspace: Workspace, ticks: Ticks, lines: list[str]) -> tuple[TickClock, Callable[[], None]]:
    clock = TickClock(workspace, ticks, "me", lines.append)
    thread = threading.Thread(target=clock.run)
    thread.start()

    def stop() -> None:
        clock.stop.set()
        thread.join(timeout=10)
        assert not thread.is_alive()

    return clock, stop


@pytest.mark.parametrize("flag", ["pull_requested", "train_requested", "select_requested"])
def test_a_flag_brings_the_next_tick_at_once(workspace: Workspace, flag: str) -> None:
    ticks = Ticks(workspace)
    _, stop = running(workspace, ticks, [])
    assert ticks.wait_for(1)
    projects.change(workspace.store, **{flag: True})
    assert ticks.wait_for(2)
    stop()


def test_a_flag_that_a_tick_leaves_standing_brings_no_storm(workspace: Workspace) -> None:
    """Training is busy, say: its flag stays, and must not make the loop run hot."""
    ticks = Ticks(workspace)
    clock = TickClock(workspace, ticks, "me", lambda line: None)
    clock._beat()
    projects.change(workspace.store, train_requested=True)
    assert clock._asked()
    assert not clock._asked()
    clock._beat()
    assert not clock._asked()
    projects.change(workspace.store, pull_requested=True)
    assert clock._asked()


def test_a_label_during_a_tick_is_not_forgotten(workspace: Workspace) -> None:
    """The flag is set after the tick has taken it: the tick's listing may not hold that label yet."""

    def tick() -> TickReport:
        projects.change(workspace.store, pull_requested=True)
        return TickReport(led=True)

    clock = TickClock(workspace, tick, "me", lambda line: None)
    clock._beat()
    assert clock._asked()


def test_the_pause_is_the_period_give_or_take(workspace: Workspace) -> None:
    clock = TickClock(workspace, Ticks(workspace), "me", lambda line: None)
    period = workspace.spec.sync.tick_seconds
    pauses = [clock._beat() for _ in range(50)]
    assert all(0.9 * period <= pause <= 1.1 * period for pause in pauses)
    assert len(set(pauses)) > 40


def test_failures_back_off_to_half_a_minute() -> None:
    assert [back_off_s(n) for n in range(1, 9)] == [1, 2, 4, 8, 16, 30, 30, 30]


def test_it_goes_on_after_failures_and_says_so(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module, "back_off_s", lambda failures: 0.01)
    ticks, lines = Ticks(workspace, failures=3), list[str]()
    _, stop = running(workspace, ticks, lines)
    assert ticks.wait_for(4)
    stop()
    assert [line for line in lines if "tick failed (Label Studio is away)" in line] == lines[:3]
    assert lines[3:] == ["works again after 3 attempts"]
    assert presence.list_events(workspace.store) == []  # the complaint is settled


def test_while_it_is_away_flags_do_not_hurry_it(workspace: Workspace) -> None:
    clock = TickClock(workspace, Ticks(workspace, failures=9), "me", lambda line: None)
    assert clock._beat() == 1.0
    projects.change(workspace.store, pull_requested=True)
    started = time.monotonic()
    clock._wait(0.3)
    assert time.monotonic() - started >= 0.3
    (event,) = presence.list_events(workspace.store)
    assert (event.level, event.text) == ("error", "sync: Label Studio is away")


def test_mistakes_of_ours_are_not_hidden(workspace: Workspace) -> None:
    def tick() -> TickReport:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        TickClock(workspace, tick, "me", lambda line: None).run()


def test_the_lease_is_given_back_at_the_end(workspace: Workspace) -> None:
    name = f"sync {workspace.store.project_id}"
    assert presence.acquire_lease(workspace.store, name, "me", 60)
    ticks = Ticks(workspace)
    _, stop = running(workspace, ticks, [])
    assert ticks.wait_for(1)
    assert not presence.acquire_lease(workspace.store, name, "another", 60)
    stop()
    assert presence.acquire_lease(workspace.store, name, "another", 60)


def test_a_tick_in_one_line() -> None:
    assert describe(TickReport(led=False)) == "another sync process leads"
    assert describe(TickReport(led=True)) == ""
    assert describe(TickReport(led=True, cleaned=3)) == "cleaned up 3 old predictions"
