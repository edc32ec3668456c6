"""Changes that a power cut, a mistake or a closed firewall cannot leave half done.

Shell. Neighbours: `plan` says what, `system` does it, `journal` keeps what was there, `self_test`
judges; verbs and the units `agent-proxy-recover.service` and `agent-proxy-rollback.timer` call from
above.

One change at a time, with one journal: a file that holds, for everything the change touches, what
was there before. It is on the disk before the first byte is changed and goes away as the last
step, so that at any moment either the old state can be restored or the new one is complete.

    state        written                         after a power cut, or a restart
    (none)                                       nothing to do
    applying     before the first change         the old state is restored
    unconfirmed  after the self-test             the old state is restored: nobody confirmed it
    reverting    before anything is taken back   taking back goes on

Time is that since the machine's start, which setting the clock does not move; the boot's own ID
tells a restart. A lock tells a change that is under way from one whose process has died.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from appliance.errors import Refusal, cause
from appliance.journal import FOLDER, Journal, forget, load, store, written_for
from appliance.plan import Action, Plan
from appliance.system import Busy, System
from proxy.outcome import Outcome

__all__ = [
    "FOLDER",
    "Applied",
    "Waiting",
    "apply",
    "confirm",
    "recover",
    "roll_back",
    "waiting",
]

_LOCK: Final = f"{FOLDER}/lock"
_CONFIRM_S: Final = 120.0
# Ticks while a change waits and runs `recover`: taking back needs no console and no session.
_TIMER: Final = "agent-proxy-rollback.timer"

_STOPPED: Final = "it was stopped by whoever waited"

SelfTest = Callable[[frozenset[str]], Iterable[Outcome]]
"""Given the names of what must pass, for which it is worth waiting a little."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a change. `rolled_back` is the reason why the old state is there again."""

    title: str
    outcomes: tuple[Outcome, ...] = ()
    rolled_back: str = ""
    confirm_within_s: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """A change that is not final: confirm it, or it is taken back in `left_s` seconds."""

    title: str
    state: str
    left_s: float


def apply(
    system: System,
    plan: Plan,
    *,
    confirm_s: float = _CONFIRM_S,
    self_test: SelfTest | None = None,
    progress: Callable[[str], None] = lambda line: None,
    stop: Callable[[], bool] = lambda: False,
) -> Applied:
    """Carry out a plan; with `confirm_s` it is taken back unless confirmed within that time.

    The self-test runs before the change and after it: what worked before and fails afterwards
    takes it back at once; what failed before may be what the change is meant to mend. Once `stop`
    is true what was done is taken back.

    Raises: Refusal: another change waits or is under way, it was stopped before it wrote, or the
    disk is full.
    """
    try:
        with system.lock(_LOCK):
            return _applied(system, plan, confirm_s, self_test, progress, stop)
    except Busy:
        raise Refusal("another change is under way. Try again in a minute") from None


def _applied(
    system: System,
    plan: Plan,
    confirm_s: float,
    self_test: SelfTest | None,
    progress: Callable[[str], None],
    stop: Callable[[], bool],
) -> Applied:
    pending = load(system)
    if pending is not None:
        raise Refusal(f"{pending.title!r} is not final yet. Confirm it or roll it back first")
    test = self_test if self_test is not None and not system.dry else None
    worked: frozenset[str] = frozenset()
    if test is not None:
        progress("testing what works before the change")
        worked = frozenset(one.name for one in test(worked) if one.verdict == "PASS")
    if stop():
        raise Refusal(f"{_STOPPED}; nothing was changed")
    journal = written_for(system, plan)
    if confirm_s:
        _arm(system)
    _begin(system, journal)
    begun: list[Action] = []

    def step(line: str) -> None:
        if stop():
            raise Refusal(_STOPPED)
        progress(line)

    try:
        _change(system, plan, step, begun)
    except (OSError, LookupError, Refusal) as error:
        undo = tuple(action.undo for action in begun if action.undo)
        reason = cause(error) if isinstance(error, OSError) else str(error)
        return _taken_back(system, dataclasses.replace(journal, undo=undo), plan, reason, ())
    outcomes: tuple[Outcome, ...] = ()
    if test is not None:
        progress("testing what works after the change")
        outcomes = tuple(test(worked))
        lost = [one for one in outcomes if one.verdict == "FAIL" and one.name in worked]
        if stop():
            return _taken_back(system, journal, plan, _STOPPED, outcomes)
        if lost:
            reason = f"{lost[0].name} worked before and does not now: {lost[0].detail}"
            return _taken_back(system, journal, plan, reason, outcomes)
    if not confirm_s:
        forget(system)
        return Applied(plan.title, outcomes)
    deadline = system.uptime() + confirm_s
    store(system, dataclasses.replace(journal, state="unconfirmed", deadline=deadline))
    return Applied(plan.title, outcomes, confirm_within_s=confirm_s)


def _begin(system: System, journal: Journal) -> None:
    """Keep the journal. Raises: Refusal; nothing was changed then."""
    try:
        store(system, journal)
    except OSError as error:
        with contextlib.suppress(OSError):
            forget(system)
        _disarm(system)
        raise Refusal(f"nothing was changed: its journal cannot be kept: {cause(error)}") from error


def _change(
    system: System, plan: Plan, progress: Callable[[str], None], begun: list[Action]
) -> None:
    """Note in `begun` what was run. Raises: OSError, LookupError, Refusal, at the first failure."""
    for write in plan.writes:
        if not _is_there(system, write.path, write.content, write.mode, write.owner):
            system.write(write.path, write.content, mode=write.mode, owner=write.owner)
    for path in plan.removals:
        system.remove(path)
    for action in plan.actions:
        progress(action.why)
        begun.append(action)
        if not action.argv:
            continue
        done = system.run(action.argv, timeout_s=action.timeout_s)
        if done.code:
            why = _journal(system, action.argv) or done.said
            raise Refusal(f"{' '.join(action.argv)} failed with {done.code}: {why}")


def _journal(system: System, argv: tuple[str, ...]) -> str:
    """Return what a unit said last: systemctl only says to look there, which a console cannot."""
    if argv[0] != "systemctl" or not argv[-1].endswith(".service"):
        return ""
    words = ("--no-pager", "--output=cat", "--lines=4", f"--unit={argv[-1]}")
    said = system.ask(("journalctl", *words)).out.split("\n")
    return "; ".join(one.strip() for one in said if one.strip())


def _is_there(system: System, path: str, content: bytes, mode: int, owner: str) -> bool:
    entry = system.entry(path)
    if entry is None or entry.kind != "file" or entry.mode != mode or entry.owner != owner:
        return False
    return system.read(path) == content


def _taken_back(
    system: System, journal: Journal, plan: Plan, reason: str, outcomes: tuple[Outcome, ...]
) -> Applied:
    try:
        notes = _revert(system, journal, actions=True)
    except OSError as error:
        _arm(system)
        why = f"It cannot be taken back yet: {cause(error)}. That goes on by itself"
        raise Refusal(f"{reason}. {why}; make room on the disk") from error
    return Applied(plan.title, outcomes, rolled_back=reason, notes=tuple(notes))


def confirm(system: System) -> str:
    """Make the waiting change final; return its title. Raises: Refusal if there is none."""
    try:
        with system.lock(_LOCK):
            journal = load(system)
            if journal is None:
                raise Refusal("no change waits to be confirmed")
            if journal.state != "unconfirmed" or journal.boot_id != system.boot_id():
                raise Refusal(f"{journal.title!r} can no longer be confirmed: it is taken back")
            if system.uptime() > journal.deadline:
                raise Refusal(f"{journal.title!r} was not confirmed in time: it is taken back")
            forget(system)
            _disarm(system)
            return journal.title
    except Busy:
        raise Refusal("a change is under way. Try again when it has ended") from None


def roll_back(system: System) -> tuple[str, list[str]]:
    """Take the waiting change back; return its title and what went wrong on the way.

    Raises: Refusal if there is none.
    """
    try:
        with system.lock(_LOCK):
            journal = load(system)
            if journal is None:
                raise Refusal("no change waits: there is nothing to roll back")
            return journal.title, _revert(system, journal, actions=True)
    except Busy:
        raise Refusal("a change is under way. Try again when it has ended") from None


def recover(system: System, *, boot: bool = False) -> tuple[str, list[str]] | None:
    """Take back what was cut off, or not confirmed in time; None if there is nothing to do.

    `boot`: the services have not started yet and will find the old files: no action is run.
    """
    try:
        with system.lock(_LOCK):
            journal = load(system)
            if journal is None:
                return None
            same_boot = journal.boot_id == system.boot_id()
            if journal.state == "unconfirmed" and same_boot:
                if system.uptime() <= journal.deadline:
                    return None
            return journal.title, _revert(system, journal, actions=not boot)
    except Busy:
        return None  # its process lives and brings it to an end


def waiting(system: System) -> Waiting | None:
    """Return the change that is not final, if there is one."""
    journal = load(system)
    if journal is None:
        return None
    same_boot = journal.boot_id == system.boot_id()
    left_s = journal.deadline - system.uptime() if same_boot else 0.0
    return Waiting(journal.title, journal.state, max(0.0, round(left_s, 1)))


def _revert(system: System, journal: Journal, *, actions: bool) -> list[str]:
    """Put everything back as it was. Going on after an interruption ends the same."""
    store(system, dataclasses.replace(journal, state="reverting"))
    for one in journal.before:
        if one.by_action and actions:
            continue
        if one.link:
            system.link(one.path, one.link)
        elif (content := one.held) is None:
            system.remove(one.path)
        elif not _is_there(system, one.path, content, one.mode, one.owner):
            system.write(one.path, content, mode=one.mode, owner=one.owner)
    notes = []
    for argv in journal.undo if actions else ():
        done = system.run(argv)
        if done.code:  # the old files are there: the rest is worth trying all the same
            notes.append(f"{' '.join(argv)} failed with {done.code}: {done.said}")
    forget(system)
    if actions:
        _disarm(system)
    return notes


def _arm(system: System) -> None:
    """Raises: Refusal: without the timer nothing would take the change back."""
    done = system.run(("systemctl", "start", _TIMER))
    if done.code:
        raise Refusal(f"{_TIMER} cannot be started, nothing was changed: {done.said}")


def _disarm(system: System) -> None:
    system.run(("systemctl", "stop", _TIMER))  # one that goes on finds nothing to do
