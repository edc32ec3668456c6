"""When a worker is to be helped, and how: a function of what was seen, without clock or process.

Layer 0 (pure). Neighbour: `watchdog` looks at the workers and does what is decided here.

    lend    a worker is silent for a moment, or gone: a sibling accepts from its queues as well
    return  it answers again: its queues are its own again
    kill    it was silent for [health] silent: nothing else ends a hung or stopped process
    drain   it grew beyond [health] memory, or got no more: it drains, and is started again

Only one worker is replaced at a time, and the next one when that one answers. One that needs
it again and again waits longer each time: a defect that repeats must not become a restart storm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

__all__ = ["Action", "Health", "Kind", "Seen"]

Kind: TypeAlias = Literal["lend", "return", "kill", "drain", "wait"]

LEND_AFTER_S: Final = 3.0
START_S: Final = 30.0
"""A process that has just been started may be silent for so long."""
PAUSE_S: Final = 30.0
LONGEST_PAUSE_S: Final = 900.0
CALM_S: Final = 3600.0
"""After so long without trouble a worker's past is forgotten."""
_KILLED_S: Final = 30.0
"""How long the replacement of a killed worker may keep others waiting."""


class Seen(NamedTuple):
    """One look at one worker; `pid` 0: there is no process."""

    number: int
    pid: int
    answers: bool
    ready: bool = False
    draining: bool = False
    memory_bytes: int = 0
    starved: bool = False
    """It got no memory from the system lately."""


class Action(NamedTuple):
    """What to do; "wait" is only to be said. `why` is for operators."""

    kind: Kind
    number: int
    pid: int
    why: str


class _Replacement(NamedTuple):
    action: Action
    until: float


class _Ward:
    """What is remembered of one worker."""

    __slots__ = ("heard_at", "last_at", "lent", "not_before", "pid", "times", "waits")

    def __init__(self) -> None:
        self.pid = 0
        self.heard_at = 0.0
        self.lent = False
        self.times = 0
        self.last_at = 0.0
        self.not_before = 0.0
        self.waits = False


class Health:
    """Judges all workers of one node. Times are seconds of any clock that only goes forward."""

    def __init__(self, silent_s: float, memory_bytes: int, drain_s: float) -> None:
        self._wards: dict[int, _Ward] = {}
        self._replacement: _Replacement | None = None
        self.set_limits(silent_s, memory_bytes, drain_s)

    def set_limits(self, silent_s: float, memory_bytes: int, drain_s: float) -> None:
        self._silent_s = silent_s
        self._memory_bytes = memory_bytes
        self._drain_s = drain_s

    def judge(self, now: float, seen: Sequence[Seen]) -> list[Action]:
        """Return what is to be done after this look at all workers there are."""
        numbers = {one.number for one in seen}
        self._wards = {number: w for number, w in self._wards.items() if number in numbers}
        actions = [action for one in seen for action in self._queue(now, one)]
        self._note_end(now, seen)
        wanted = self._replace(now, seen)
        return actions + ([wanted] if wanted else [])

    def _queue(self, now: float, one: Seen) -> list[Action]:
        """Note what was seen; return what that means for the worker's queues."""
        ward = self._wards.setdefault(one.number, _Ward())
        if one.pid != ward.pid:
            ward.pid = one.pid
            ward.heard_at = now + START_S
        if one.answers:
            ward.heard_at = now
            if ward.lent:
                ward.lent = False
                return [Action("return", one.number, one.pid, "it answers")]
            return []
        silent_s = now - ward.heard_at
        if ward.lent or (one.pid and silent_s <= LEND_AFTER_S):
            return []
        ward.lent = True
        why = f"it has not answered for {silent_s:.0f} s" if one.pid else "its process is gone"
        return [Action("lend", one.number, one.pid, why)]

    def _note_end(self, now: float, seen: Sequence[Seen]) -> None:
        """Forget the replacement under way once it is through, or took too long."""
        if self._replacement is None:
            return
        action, until = self._replacement
        through = any(
            one.number == action.number and one.answers and one.pid != action.pid for one in seen
        )
        if through or now >= until:
            self._replacement = None

    def _replace(self, now: float, seen: Sequence[Seen]) -> Action | None:
        wanted = self._hung(now, seen) or self._grown(seen)
        if wanted is None:
            return None
        under_way = self._replacement
        if under_way is not None and not (
            # What was to drain may hang as well.
            under_way.action.kind == "drain"
            and wanted.kind == "kill"
            and under_way.action.number == wanted.number
        ):
            return None
        ward = self._wards[wanted.number]
        if ward.times and now - ward.last_at > CALM_S:
            ward.times = 0
        elif now < ward.not_before and under_way is None:
            return self._wait(ward, wanted, ward.not_before - now)
        return self._begin(now, ward, wanted)

    @staticmethod
    def _wait(ward: _Ward, wanted: Action, left_s: float) -> Action | None:
        if ward.waits:
            return None
        ward.waits = True
        why = f"{wanted.why}; replaced {ward.times} times lately, so not before {left_s:.0f} s"
        return wanted._replace(kind="wait", why=why)

    def _begin(self, now: float, ward: _Ward, wanted: Action) -> Action:
        ward.times += 1
        ward.last_at = now
        ward.not_before = now + min(PAUSE_S * 2 ** (ward.times - 1), LONGEST_PAUSE_S)
        ward.waits = False
        longest_s = _KILLED_S if wanted.kind == "kill" else self._drain_s + START_S
        self._replacement = _Replacement(wanted, now + longest_s)
        return wanted

    def _hung(self, now: float, seen: Sequence[Seen]) -> Action | None:
        """Return the kill of the worker that was silent for longest, if that is too long."""
        silent = [
            (now - self._wards[one.number].heard_at, one)
            for one in seen
            if one.pid and not one.answers
        ]
        silent_s, one = max(silent, default=(0.0, None))
        if one is None or silent_s < self._silent_s:
            return None
        return Action("kill", one.number, one.pid, f"it has not answered for {silent_s:.0f} s")

    def _grown(self, seen: Sequence[Seen]) -> Action | None:
        """Return the drain of the worker that needs it most, if all others serve."""
        one = max(seen, key=lambda one: (one.starved, one.memory_bytes), default=None)
        if one is None or not (one.starved or one.memory_bytes > self._memory_bytes):
            return None
        if one.draining or not all(other.ready for other in seen if other is not one):
            return None
        if one.starved:
            why = f"it got no memory from the system, at {one.memory_bytes >> 20} MiB"
            return Action("drain", one.number, one.pid, why)
        grown = f"it holds {one.memory_bytes >> 20} MiB of memory, above [health] memory"
        return Action("drain", one.number, one.pid, grown)
