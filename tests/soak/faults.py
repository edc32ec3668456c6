"""What goes wrong when, and whose losses that excuses.

While the platform is broken, agents cannot get its answers; the platform's own calls to agents
pass the relay nowhere, so none of them is excused. A worker killed with -9 takes along what it
holds, and no more than that: `most`. A restart and a reload excuse nothing.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tests.fakes.fault_relay import Fault

PLATFORM_FAULTS: Final = (
    Fault("reset"),
    Fault("delay", seconds=0.2),
    Fault("blackhole"),
    Fault("truncate", after=200),
    Fault("refuse"),
    Fault("throttle", rate=20_000),
)
FAULT_S: Final = 2.0
SETTLE_S: Final = 4.0
"""After a platform's fault: until its last error has been told and its address is tried again."""
QUIET_S: Final = {"restart": 8.0, "reload": 4.0}
"""So long after these, and FAULT_S + SETTLE_S before, the platform is well: nothing is excused."""
KEPT_S: Final = 22.0
"""After a kill: a caller finds its kept connections broken when it uses them, at most so late."""


class Step(NamedTuple):
    """`kind` is platform, restart, reload or kill; `fault` is of the platform."""

    at: float
    kind: str
    worker: int = 0
    fault: Fault = Fault()


class Excuse(NamedTuple):
    """Losses of these loads between two times; at most so many, or any number."""

    name: str
    begin: float
    end: float
    loads: tuple[str, ...]
    most: int | None = None


class Loss(NamedTuple):
    """Seen at a look at `at`, since the look before at `since`."""

    load: str
    since: float
    at: float
    number: int
    examples: tuple[str, ...]


def schedule(seconds: float) -> list[Step]:
    """Return each of the workers' steps once, early, and a fault of the platform ever again.

    Early, so that what is left of the run is one piece for the memory's slope.
    """
    steps = [
        Step(0.15 * seconds, "restart", 0),
        Step(0.30 * seconds, "kill", 1),
        Step(0.50 * seconds, "reload"),
    ]
    pause = max(FAULT_S + SETTLE_S + 2, seconds / 24)
    quiet = [
        (step.at - FAULT_S - SETTLE_S, step.at + QUIET_S[step.kind])
        for step in steps
        if step.kind in QUIET_S
    ]
    at, number = 0.4 * pause, 0
    while True:
        for begin, end in quiet:
            at = end if begin <= at < end else at
        if at >= seconds - FAULT_S - 2:
            break
        fault = PLATFORM_FAULTS[number % len(PLATFORM_FAULTS)]
        steps.append(Step(at, "platform", fault=fault))
        at, number = at + pause, number + 1
    return sorted(steps, key=lambda step: step.at)


def unexcused(losses: list[Loss], excuses: list[Excuse]) -> list[str]:
    """Return what was lost without an excuse, in words."""
    ordered = sorted(excuses, key=lambda one: one.most is not None)  # a count is spent last
    left = {excuse: excuse.most for excuse in ordered}
    found = []
    for loss in losses:
        count = loss.number
        for excuse in ordered:
            inside = loss.since <= excuse.end and loss.at >= excuse.begin
            if not inside or loss.load not in excuse.loads:
                continue
            most = left[excuse]
            taken = count if most is None else min(count, most)
            left[excuse] = None if most is None else most - taken
            count -= taken
        if count:
            found.append(f"{loss.load} lost {count} by {loss.at:.0f} s: {loss.examples[:3]}")
    return found
