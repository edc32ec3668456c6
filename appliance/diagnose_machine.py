"""The part of a diagnosis that asks the machine: disk, memory, clock, processes, descriptors.

Shell. Neighbours: `diagnosis` says what is worked on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from appliance import overview, self_test
from appliance.diagnosis import Case
from appliance.system import System
from proxy.outcome import Outcome, failed, passed, skipped
from proxy.probe import OutOfTime

__all__ = ["outcomes"]

_DISK_SHARE: Final = 0.10
_INODES_MIN: Final = 1000
_MEMORY_SHARE: Final = 0.05
_DESCRIPTOR_SHARE: Final = 0.90
_PER_CONNECTION: Final = 2
_SPARE: Final = 512
# Soft and hard: a worker raises the first to the second where it needs that.
_LIMIT: Final = re.compile(r"^Max open files\s+\S+\s+(\d+|unlimited)", re.M)


def outcomes(case: Case) -> Iterator[Outcome]:
    """Yield one outcome per question."""
    yield _disk(case)
    yield _memory(case)
    yield _clock(case)
    yield _logs(case)
    yield _processes(case)
    yield self_test.ready(case.system, case.settings)
    yield self_test.in_force(case.system, case.settings)
    yield self_test.roomy(case.system, case.settings)
    yield _exchange(case)
    yield from _descriptors(case)
    yield from _zones(case)


def _disk(case: Case) -> Outcome:
    space = case.facts.disk
    if space is None:
        return skipped("disk", f"{case.places.var} cannot be asked")
    text = f"{overview.size(space.free_bytes)} of {overview.size(space.total_bytes)} are free"
    if space.free_bytes < _DISK_SHARE * space.total_bytes:
        remedy = "Remove old backups and bundles, or give the machine a larger disk."
        return failed("disk", text, remedy)
    if 0 < space.free_inodes < _INODES_MIN:
        return failed("disk", f"{space.free_inodes} files can still be made", "Remove some.")
    return passed("disk", text)


def _memory(case: Case) -> Outcome:
    memory = case.facts.memory
    if memory is None:
        return skipped("memory", "/proc/meminfo cannot be read")
    shown = overview.size(memory.available_bytes)
    text = f"{shown} of {overview.size(memory.total_bytes)} are available"
    if memory.available_bytes < _MEMORY_SHARE * memory.total_bytes:
        return failed("memory", text, "Give the machine more, or lower [limits] connections.")
    return passed("memory", text)


def _clock(case: Case) -> Outcome:
    name = "time synchronisation"
    if case.facts.synchronised is None:
        return skipped(name, "timedatectl does not say")
    if case.facts.synchronised:
        return passed(name, "the clock is synchronised")
    remedy = "Let UDP port 123 to the time servers pass, or set others: time set --server."
    return failed(name, "the clock follows no time server", remedy)


def _logs(case: Case) -> Outcome:
    if case.facts.logs_wrong:
        remedy = "`services start` makes it anew, and starts what was given up for want of it."
        return failed("logs", case.facts.logs_wrong, remedy)
    return passed("logs", f"{case.places.logs} can be written")


def _processes(case: Case) -> Outcome:
    found = case.facts.workers
    if not found:
        remedy = "Start it: `services start`. Why it ended: `services logs`."
        return failed("processes", "supervisor does not answer", remedy)
    down = [f"{one.name} is {one.state} {one.detail}" for one in found if not one.is_running]
    if down:
        remedy = "See `services logs`; what was given up is tried again twice a minute."
        return failed("processes", "; ".join(one.rstrip() for one in down), remedy)
    return passed("processes", f"{len(found)} run")


def _exchange(case: Case) -> Outcome:
    try:
        case.deadline.left()
    except OutOfTime as error:
        return skipped("loopback exchange", str(error))
    return self_test.exchange(case.system, case.settings)


def _descriptors(case: Case) -> Iterator[Outcome]:
    """Compare what each worker may open with what its limit of connections needs."""
    name = "file descriptors"
    workers = (case.facts.status or {}).get("workers") or ()
    if not workers:
        yield skipped(name, "no worker answers")
    needed = _PER_CONNECTION * case.settings.limits.connections + _SPARE
    for worker in workers:
        number, pid = worker.get("worker"), worker.get("pid")
        limit = _limit(case.system, pid)
        used = _PER_CONNECTION * int(worker.get("connections", 0))
        shown = f"worker {number}: about {used} in use, "
        if limit is None:
            yield skipped(name, f"{shown}its limit cannot be read")
        elif limit < needed:
            remedy = f"Set LimitNOFILE={needed} in the service, or lower [limits] connections."
            yield failed(name, f"{shown}{limit} allowed, {needed} are needed when full", remedy)
        elif used > _DESCRIPTOR_SHARE * limit:
            remedy = "More workers, more nodes, or higher limits."
            yield failed(name, f"{shown}{limit} allowed", remedy)
        else:
            yield passed(name, f"{shown}{limit} allowed")


def _limit(system: System, pid: object) -> int | None:
    content = system.read(f"/proc/{pid}/limits") if isinstance(pid, int) else None
    match = _LIMIT.search((content or b"").decode(errors="replace"))
    if match is None:
        return None
    return 1 << 30 if match[1] == "unlimited" else int(match[1])


def _zones(case: Case) -> Iterator[Outcome]:
    """Say of each zone where its agents arrive, and what keeps them from it."""
    for zone in (case.facts.status or {}).get("zones") or ():
        name = f"listening in {zone.get('name')}"
        wrong = zone.get("problems") or ()
        if wrong:
            remedy = "See `zones show`; an interface is looked for every few seconds."
            yield failed(name, "; ".join(map(str, wrong)), remedy)
        else:
            listens = ", ".join(zone.get("listens") or ())
            yield passed(name, f"listens on {listens or 'the shared addresses'}")
