"""Processes the benchmark starts: begin, end (by process id), CPU time and memory.

CPU and memory are read from /proc, summed over a program and all its descendants, so that
a master process or a helper counts for the proxy that needs it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG = 1
_LISTEN = "0A"  # state column of /proc/net/tcp
_libc = ctypes.CDLL(None, use_errno=True)


class BenchError(Exception):
    """Something did not work, so there is no result; the text says what and where to look."""


@dataclass(frozen=True)
class Memory:
    """Resident and proportional set size, in bytes."""

    rss: int
    pss: int


@dataclass
class Program:
    """A process we started; `log` is the file with what it said."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    def ids(self) -> list[int]:
        """Return the process ids of the program and of all its descendants."""
        parents = _parents()
        found = [self.popen.pid]
        for pid in found:
            found.extend(child for child, parent in parents.items() if parent == pid)
        return found

    def cpu_seconds(self) -> float:
        """Return user plus system time used so far by the whole tree."""
        return sum(_ticks(pid) for pid in self.ids()) / _TICKS_PER_SECOND

    def memory(self) -> Memory:
        """Return the memory of the whole tree now."""
        parts = [_rollup(pid) for pid in self.ids()]
        return Memory(rss=sum(part.rss for part in parts), pss=sum(part.pss for part in parts))

    def complaint(self) -> str:
        """Return the last lines of the log, for an error text."""
        lines = self.log.read_text(errors="replace").splitlines()[-15:]
        return "\n".join(f"  {self.name}: {line[:300]}" for line in lines)


@contextmanager
def running(name: str, argv: Sequence[str], log: Path, *, cwd: Path) -> Iterator[Program]:
    """Run `argv` until the block ends; standard output goes to `log`.out, errors to `log`."""
    with log.open("wb") as errors, log.with_suffix(".out").open("wb") as out:
        popen = subprocess.Popen(
            argv,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            start_new_session=True,  # Ctrl-C reaches us only; we then stop what we started
            preexec_fn=_die_with_parent,
        )
    program = Program(name, popen, log)
    try:
        yield program
    finally:
        _stop(program)


def wait_listening(port: int, program: Program, *, listeners: int = 1) -> None:
    """Wait until `listeners` sockets listen on the port, without connecting to it.

    Raises: BenchError when the program ends first, or after 20 s.
    """
    deadline = time.monotonic() + 20
    while _count_listeners(port) < listeners:
        if program.popen.poll() is not None:
            raise BenchError(f"{program.name} ended at its start\n{program.complaint()}")
        if time.monotonic() > deadline:
            raise BenchError(f"{program.name} does not listen on {port}\n{program.complaint()}")
        time.sleep(0.02)


def _die_with_parent() -> None:
    """Ask the kernel for SIGTERM should the benchmark itself be killed."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _stop(program: Program) -> None:
    ids = program.ids()
    if program.popen.poll() is None:
        program.popen.terminate()
        try:
            program.popen.wait(timeout=10)
        except subprocess.TimeoutExpired:
            program.popen.kill()
            program.popen.wait(timeout=10)
    parents = _parents()
    for pid in ids[1:]:  # orphans of a master that had to be killed
        if parents.get(pid) in (1, program.popen.pid):
            os.kill(pid, signal.SIGKILL)


def _parents() -> dict[int, int]:
    """Return process id -> parent's process id for all processes."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat(int(entry))
            if fields:
                found[int(entry)] = int(fields[1])
    return found


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third (state) on; empty if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text[text.rindex(")") + 2 :].split()


def _ticks(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[11]) + int(fields[12]) if fields else 0


def _rollup(pid: int) -> Memory:
    sizes = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_ = line.split()
        sizes[name.rstrip(":")] = int(value) * 1024
    return Memory(rss=sizes["Rss"], pss=sizes["Pss"])


def _count_listeners(port: int) -> int:
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    columns = (line.split() for line in lines)
    return sum(row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port for row in columns)
