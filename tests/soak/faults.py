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
PAUSE_S: Final = 12.0
"""From one fault of the platform to the next; all kinds come round in a good minute."""
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
    lasts_s: float = FAULT_S


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
        Step(0.06 * seconds, "restart", 0),
        Step(0.14 * seconds, "kill", 1),
        Step(0.22 * seconds, "reload"),
    ]
    quiet = [
        (step.at - FAULT_S - SETTLE_S, step.at + QUIET_S[step.kind])
        for step in steps
        if step.kind in QUIET_S
    ]
    at, number = PAUSE_S / 3, 0
    while True:
        for begin, end in quiet:
            at = end if begin <= at < end else at
        if at >= seconds - FAULT_S - 2:
            break
        fault = PLATFORM_FAULTS[number % len(PLATFORM_FAULTS)]
        steps.append(Step(at, "platform", fault=fault))
        at, number = at + PAUSE_S, number + 1
    _lengthen_one(steps)
    return sorted(steps, key=lambda step: step.at)


def _lengthen_one(steps: list[Step]) -> None:
    """Make the first fault after the last change a silence twice as long as any.

    The heap's size is that of the highest pile so far: it is found while nothing is judged yet,
    not by a pile that chance makes a little higher later.
    """
    changed_at = max(step.at for step in steps if step.kind != "platform")
    for number, step in enumerate(steps):
        if step.kind == "platform" and step.at > changed_at:
            steps[number] = step._replace(fault=Fault("blackhole"), lasts_s=2 * FAULT_S)
            return


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
