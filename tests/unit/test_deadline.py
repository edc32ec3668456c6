"""deadline: a wait ends in time, with the error that was set last, and never later than its cap."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import gevent
import pytest
from greenlet import getcurrent

from proxy import deadline
from proxy.deadline import SWEEP_S, Deadline, Deadlines, Expired
from proxy.errors import ClientGone, RelayError, RequestTimeout, TimedOut


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(deadline, "time", clock)
    return clock


def waiting(set_up: Callable[[Deadline], None], found: list[RelayError]) -> gevent.Greenlet:
    """Start a greenlet that waits for ever, and put what ends it into `found`."""

    def run() -> None:
        own = Deadline(getcurrent())
        set_up(own)
        greenlet.deadline = own
        try:
            gevent.sleep(3600)
        except Expired as expired:
            found.append(expired.error)

    greenlet = gevent.Greenlet(run)
    greenlet.start()
    gevent.sleep(0)
    return greenlet


def fire(own: Deadline) -> None:
    """As the sweep does it: in the hub."""
    gevent.get_hub().loop.run_callback(own.fire)
    gevent.sleep(0)


def test_new_deadline_never_ends(clock: Clock) -> None:
    assert Deadline(getcurrent()).expires_at == math.inf


def test_last_bound_counts(clock: Clock) -> None:
    own = Deadline(getcurrent())
    own.within(5, RequestTimeout, "a")
    assert own.expires_at == 1005
    own.within(50, RequestTimeout, "b")
    assert own.expires_at == 1050
    own.never()
    assert own.expires_at == math.inf


def test_cap_outlives_every_bound(clock: Clock) -> None:
    own = Deadline(getcurrent())
    own.within(50, RequestTimeout, "a")
    own.cap(10)
    assert own.expires_at == 1010
    own.within(5, RequestTimeout, "b")
    assert own.expires_at == 1005
    own.within(50, RequestTimeout, "c")
    assert own.expires_at == 1010
    own.never()
    assert own.expires_at == 1010


def test_cap_prolongs_nothing(clock: Clock) -> None:
    own = Deadline(getcurrent())
    own.within(5, RequestTimeout, "a")
    own.cap(10)
    assert own.expires_at == 1005


@pytest.mark.parametrize(("seconds", "expected"), [(2, 1002), (5, 1005), (9, 1005)])
def test_hurry_only_ever_shortens(clock: Clock, seconds: float, expected: float) -> None:
    own = Deadline(getcurrent())
    own.within(5, RequestTimeout, "a")
    own.hurry(seconds, ClientGone, "b")
    assert own.expires_at == expected


def test_fire_raises_what_was_set_last(clock: Clock) -> None:
    found: list[RelayError] = []

    def set_up(own: Deadline) -> None:
        own.within(9, RequestTimeout, "first")
        own.within(5, partial(TimedOut, blame="agent"), "second")

    greenlet = waiting(set_up, found)
    own: Deadline = greenlet.deadline
    fire(own)
    assert not greenlet.dead, "it is too early"
    clock.now += 5
    fire(own)
    gevent.joinall([greenlet], timeout=1)
    assert greenlet.dead
    (error,) = found
    assert (type(error), error.detail, error.blame) == (TimedOut, "second", "agent")
    assert own.expires_at == math.inf, "it fires once"


def test_fire_leaves_the_dead_alone(clock: Clock) -> None:
    greenlet = gevent.spawn(lambda: None)
    own = Deadline(greenlet)
    own.within(1, RequestTimeout, "a")
    greenlet.join()
    clock.now += 2
    fire(own)
    assert own.expires_at == 1001


def test_bound_set_anew_before_it_fires_wins(clock: Clock) -> None:
    """The sweep has seen it expired, but the greenlet went on before the hub came to it."""
    found: list[RelayError] = []
    greenlet = waiting(lambda own: own.within(5, RequestTimeout, "a"), found)
    clock.now += 6
    greenlet.deadline.within(5, RequestTimeout, "b")
    fire(greenlet.deadline)
    assert not greenlet.dead
    greenlet.kill()
    assert found == []


def test_no_library_eats_it() -> None:
    assert not issubclass(Expired, Exception)
    assert str(Expired(TimedOut("too late"))) == "too late"


def test_sweep_ends_what_is_late_and_nothing_else() -> None:
    found: list[RelayError] = []
    deadlines = Deadlines()
    late = waiting(lambda own: own.within(0.01, RequestTimeout, "late"), found)
    early = waiting(lambda own: own.within(60, RequestTimeout, "early"), found)
    gone = waiting(lambda own: own.within(0.01, RequestTimeout, "discarded"), found)
    for greenlet in (late, early, gone):
        deadlines.add(greenlet.deadline)
    deadlines.discard(gone.deadline)
    deadlines.discard(gone.deadline)  # twice does no harm
    sweep = gevent.spawn(deadlines.sweep_forever)
    try:
        late.join(timeout=SWEEP_S * 8)
        assert late.dead
        assert [error.detail for error in found] == ["late"]
        assert not early.dead
        assert not gone.dead
    finally:
        gevent.killall([sweep, early, gone])
