"""Every test has a deadline of its own: a hang is a failure with a stack, not a silent run.

`@pytest.mark.deadline(seconds)` changes it; setup, call and teardown get it once each.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
from collections.abc import Iterator

import hypothesis
import pytest

DEFAULT_S = 60.0
END_TO_END_S = 300.0


# Its own deadline is 200 ms for one example: a busy machine is no failure.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "deadline(seconds): how long one test may take")


def _seconds(item: pytest.Item) -> float:
    marker = item.get_closest_marker("deadline")
    if marker is not None:
        return float(marker.args[0])
    return END_TO_END_S if item.get_closest_marker("e2e") else DEFAULT_S


def _bounded(item: pytest.Item, phase: str) -> Iterator[None]:
    seconds = _seconds(item)

    def expired(*_: object) -> None:
        faulthandler.dump_traceback(sys.__stderr__)
        raise TimeoutError(f"{phase} of {item.name} took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    yield from _bounded(item, "setup")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    yield from _bounded(item, "test")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    yield from _bounded(item, "teardown")
