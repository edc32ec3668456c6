"""One worker of the node compares what all of them have seen of agents' identities.

Shell. Neighbours: `duplicates` has the rules, `siblings` asks, `worker` owns one and warns.

Whoever holds the lock in the run directory looks; when that worker ends, however it ends, the
kernel gives the lock to the next one that tries.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

import gevent

from proxy import siblings
from proxy.duplicates import Comparison, Living, Sightings

__all__ = ["Lookout", "answer"]

LOOK_EVERY_S: Final = 3.0
_ASKED_AT_ONCE: Final = 50
_TOLD_AT_ONCE: Final = 10
"""Identities told of one by one in one look: a network full of them must not flood the log."""
_log = logging.getLogger(__name__)
_NEWS, _TUNNELS = "/sightings/news", "/sightings/tunnels"

Suspect = Callable[[str, str, str], None]


def answer(sightings: Sightings, path: str, query: str) -> Any:
    """Return what a sibling's lookout is told; None: that is no question of one."""
    words = parse_qs(query)
    try:
        if path == _NEWS:
            return sightings.news(words["run"][0], int(words["since"][0]))
        if path == _TUNNELS:
            asked = json.loads(words["of"][0])
            return sightings.living((str(zone), str(source)) for zone, source in asked)
    except (LookupError, ValueError, TypeError):
        return None
    return None


class Lookout:
    """Looks every few seconds, if no other worker of the node does."""

    def __init__(self, run_dir: str, number: int, sightings: Sightings, suspect: Suspect) -> None:
        self._run_dir = run_dir
        self._number = number
        self._sightings = sightings
        self._suspect = suspect
        self._comparison = Comparison()
        self._lock = -1
        self._asked = 0

    def look_forever(self) -> None:
        """Look until killed; the owner is the worker."""
        try:
            while True:
                gevent.sleep(LOOK_EVERY_S)
                if self._is_mine():
                    self.look()
        finally:
            self.close()

    def close(self) -> None:
        """Let another worker look."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _is_mine(self) -> bool:
        if self._lock >= 0:
            return True
        path = os.path.join(self._run_dir, "lookout.lock")
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def look(self) -> None:
        """Compare what the workers have seen since the last look."""
        comparison = self._comparison
        own = siblings.own_path(self._run_dir, self._number)
        comparison.add(own, self._sightings.news(*comparison.read(own)))
        alive = [own]
        for path in siblings.paths(self._run_dir, self._number):
            run, since = comparison.read(path)
            news = siblings.ask(path, f"{_NEWS}?{urlencode({'run': run or '-', 'since': since})}")
            if news is not None:
                comparison.add(path, news)
                alive.append(path)
        comparison.keep_only(alive)
        found = comparison.turns(time.monotonic())
        for (zone, source), differ in found[:_TOLD_AT_ONCE]:
            self._suspect(zone, source, f"two programs take turns, told apart by {differ}")
        if len(found) > _TOLD_AT_ONCE:
            more = len(found) - _TOLD_AT_ONCE
            _log.warning("%d more identities seem to be two agents each, as those before", more)
        self._look_at_tunnels(alive[1:])

    def _look_at_tunnels(self, paths: list[str]) -> None:
        crowded = self._comparison.crowded()
        if not crowded:
            return
        if self._asked >= len(crowded):
            self._asked = 0
        asked = crowded[self._asked : self._asked + _ASKED_AT_ONCE]
        self._asked += len(asked)
        living = self._sightings.living(asked)
        for path in paths:
            told = siblings.ask(path, f"{_TUNNELS}?{urlencode({'of': json.dumps(asked)})}")
            living += [Living(*tunnel) for tunnel in told or ()]
        for zone, source in self._comparison.living(living, time.monotonic()):
            self._suspect(zone, source, "two tunnels live at once")
