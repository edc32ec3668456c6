"""Looks after the workers of this node: one process beside them, started by supervisord.

Shell. Neighbours: `health` decides, `handover` moves listening sockets, `admin` of each worker
is asked, and shows what was done here; `revival` starts what supervisord has given up.
docs/decisions/007-watchdog.md has what was rejected.

Every second each worker is asked over its UNIX socket whether it lives; the kernel says who
should answer (SO_PEERCRED), also of a process that cannot. While a worker answers, copies of its
listening sockets are kept. When it falls silent or dies, they go to a sibling: what waits in its
queues is served, not reset. Killed or drained workers are started again by supervisord.

    SIGHUP   read the configuration again
    SIGTERM  end; the workers go on without
"""

from __future__ import annotations

import contextlib
import glob
import http.client
import json
import logging
import os
import re
import signal
import socket
import struct
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import gevent
from gevent.event import Event

from proxy import configuration, handover, logs
from proxy.errors import ConfigurationProblems
from proxy.handover import Handover, Set
from proxy.health import Action, Health, Seen
from proxy.local import WATCHDOG_FILE, LocalConnection
from proxy.revival import Revival
from proxy.settings import Settings

_log = logging.getLogger(__name__)

_EVERY_S: Final = 1.0
_ANSWER_S: Final = 1.0
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def run(conf_path: str) -> int:
    """Look after the workers until SIGTERM; return the exit code: 0, or 2 for cannot start."""
    logs.start("info", "plain", "watchdog")
    logs.leave_no_core()
    try:
        watchdog = Watchdog(conf_path, configuration.load(conf_path))
        watchdog.open()
    except ConfigurationProblems as problems:
        for problem in problems.problems:
            _log.error("configuration: %s", problem)
        return 2
    except OSError as error:
        _log.error("cannot start: %s", error)
        return 2
    watchdog.serve()
    return 0


class Watchdog:
    """Holds the copies of all workers' listening sockets."""

    def __init__(self, conf_path: str, settings: Settings) -> None:
        self._conf_path = conf_path
        self._run_dir = settings.admin.run_dir
        self._copies: dict[int, Set] = {}
        self._deaths: dict[int, tuple[int, Any]] = {}
        self._look = Event()
        self._ending = False
        self._counts: Counter[tuple[int, str]] = Counter()
        self._last: list[dict[str, Any]] = []
        self._health = Health(*_limits(settings))
        self._revival = Revival()
        self._handover = Handover(self._run_dir, None, self._decline, self._release, lambda: {})
        logs.start(settings.log.level, settings.log.format, "watchdog")

    def open(self) -> None:
        """Raises: OSError."""
        self._handover.open()
        gevent.signal_handler(signal.SIGTERM, self._on_term)
        gevent.signal_handler(signal.SIGHUP, self._on_hup)

    def serve(self) -> None:
        _log.info("the watchdog is up")
        while not self._ending:
            self._look.clear()
            self._revival.attend(self._round())
            logs.flush()
            self._look.wait(_EVERY_S)
        self._handover.close()
        _log.info("the watchdog has ended")

    def _on_term(self) -> None:
        self._ending = True
        self._look.set()

    def _on_hup(self) -> None:
        gevent.spawn(self._reload)

    def _reload(self) -> None:
        try:
            settings = configuration.load(self._conf_path)
        except ConfigurationProblems as problems:
            _log.error("reload changed nothing: %s", problems.problems[0])
            return
        self._health.set_limits(*_limits(settings))
        logs.start(settings.log.level, settings.log.format, "watchdog")
        _log.info("the watchdog has read its configuration again")

    def _round(self) -> list[int]:
        """Look at all workers at once, and help those that need it; return which answer."""
        numbers = _numbers(self._run_dir)
        looks = [gevent.spawn(self._see, number) for number in numbers]
        gevent.joinall(looks)
        seen = [look.value for look in looks if look.value is not None]
        for number in [number for number in self._copies if number not in numbers]:
            self._release_and_close(number)  # it has ended in order
        for action in self._health.judge(time.monotonic(), seen):
            self._act(action)
        self._write_state(seen)
        return [one.number for one in seen if one.answers]

    def _see(self, number: int) -> Seen:
        path = os.path.join(self._run_dir, f"worker-{number}.sock")
        pid, said = _ask(path)
        if said is None:
            return Seen(number, pid, answers=False, memory_bytes=_memory_bytes(pid))
        self._await_death(number, pid)
        try:
            copies = handover.copies_of(self._run_dir, number)
        except (OSError, ValueError):
            copies = {}
        handover.close(self._copies.pop(number, {}))
        self._copies[number] = copies
        return Seen(
            number,
            pid,
            True,
            said["ready"],
            said["draining"],
            _memory_bytes(pid),
            said.get("starved", False),  # not said by a worker of the version before
        )

    def _await_death(self, number: int, pid: int) -> None:
        """Look again at once when process `pid` ends: its queues wait for that."""
        known, watcher = self._deaths.get(number, (0, None))
        if known == pid:
            return
        if watcher is not None:
            watcher.close()
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            return  # it has just ended: the next look is soon enough
        self._deaths[number] = (pid, watcher := _Death(descriptor, self._look.set))

    def _act(self, action: Action) -> None:
        kind, number, pid, why = action
        if kind == "lend":
            self._lend(number, pid, why)
        elif kind == "return":
            for lent in self._handover.take_back(number):
                handover.close(lent)
            _log.info("worker %d answers (process %d)", number, pid)
        elif kind == "wait":
            _log.error("worker %d should be replaced: %s", number, why)
        else:
            text = "is killed" if kind == "kill" else "drains, to be started again"
            _log.error("worker %d (process %d) %s: %s", number, pid, text, why)
            self._note(number, "killed" if kind == "kill" else "drained", why)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if kind == "kill" else signal.SIGTERM)

    def _lend(self, number: int, pid: int, why: str) -> None:
        copies = self._copies.get(number)
        if not copies:
            return
        given = self._handover.give(copies, number)
        if given:
            self._release_and_close(number)  # the sibling keeps them, or the successor got two
        served = "a sibling serves its queue" if given else "no sibling can serve its queue"
        _log.warning("worker %d (process %d) is not there: %s; %s", number, pid, why, served)
        self._note(number, "lent", why)

    def _note(self, number: int, what: str, why: str) -> None:
        self._counts[number, what] += 1
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._last = [*self._last, {"time": when, "worker": number, "done": what, "why": why}][-20:]

    def _decline(self, of: int, given: Set) -> bool:
        """A worker closes and looks for a sibling: not us, and our copies must not keep it open."""
        self._release_and_close(of)
        return False

    def _release(self, of: int) -> Set:
        """The successor of worker `of` starts, and no sibling has its sockets."""
        return self._copies.pop(of, {})

    def _release_and_close(self, of: int) -> None:
        handover.close(self._copies.pop(of, {}))

    def _write_state(self, seen: Sequence[Seen]) -> None:
        """Let the workers show, in /status and /metrics, what was done here."""
        counts: dict[str, dict[str, int]] = {}
        for (number, what), count in sorted(self._counts.items()):
            counts.setdefault(str(number), {})[what] = count
        watched = {str(one.number): one.pid for one in seen if one.answers}
        content = {"watched": watched, "counts": counts, "last": self._last}
        path = os.path.join(self._run_dir, WATCHDOG_FILE)
        try:
            with open(path + ".new", "w") as file:
                json.dump(content, file)
            os.replace(path + ".new", path)
        except OSError as error:
            _log.debug("%s: %s", path, error.strerror)  # a full disk stops no rescue


class _Death:
    """Calls `tell` once when the process behind a pidfd ends; owns the descriptor."""

    def __init__(self, descriptor: int, tell: Any) -> None:
        self._descriptor = descriptor
        self._tell = tell
        self._watcher: Any = gevent.get_hub().loop.io(descriptor, 1)
        self._watcher.start(self._ended)

    def _ended(self) -> None:
        self.close()
        self._tell()

    def close(self) -> None:
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
            os.close(self._descriptor)


def _limits(settings: Settings) -> tuple[float, int, float]:
    drain = settings.drain
    return settings.health.silent, settings.health.memory << 20, drain.delay + drain.timeout


def _numbers(run_dir: str) -> list[int]:
    """Return the workers that have started and not ended in order."""
    names = glob.glob(os.path.join(glob.escape(run_dir), "worker-*.sock"))
    matches = (re.fullmatch(r"worker-(\d+)\.sock", os.path.basename(name)) for name in names)
    return sorted(int(match[1]) for match in matches if match)


def _ask(path: str) -> tuple[int, dict[str, Any] | None]:
    """Return the pid behind a worker's socket, 0 for none, and what it says, None for nothing."""
    connection = LocalConnection(path, _ANSWER_S)
    pid = 0
    try:
        with gevent.Timeout(_ANSWER_S):
            connection.connect()
            size = struct.calcsize("3i")
            found = connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            pid = struct.unpack("3i", found)[0]
            connection.request("GET", "/live", headers={"Host": "worker"})
            said: dict[str, Any] = json.loads(connection.getresponse().read())
            return pid, said
    except (OSError, ValueError, http.client.HTTPException, gevent.Timeout):
        return pid, None
    finally:
        connection.close()


def _memory_bytes(pid: int) -> int:
    """Return what is resident of process `pid`; 0 where there is none."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0
