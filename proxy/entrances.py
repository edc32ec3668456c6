"""The listeners of one worker: those of its zones, and those of siblings that are restarting.

Shell. Neighbours: `zones` says which there should be, `listener` opens one, `interfaces` looks at
its device; `worker` owns this and passes on what is accepted.

A zone's listener that cannot be opened, since its interface or address is missing, is reported
and tried again every few seconds; the others never wait for it. Only the addresses of [listen]
must be there from the start.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import gevent

from proxy import interfaces, zones
from proxy.handover import Set, duplicate
from proxy.listener import Listener, open_listener
from proxy.settings import Settings, Zone
from proxy.zones import Key

_log = logging.getLogger(__name__)

WATCH_EVERY_S: Final = 3.0
Accept: TypeAlias = Callable[[tuple[Zone, ...], socket.socket, Any], None]


class Entrances:
    """Opens, watches, hands over and closes listeners; `accept(zones, socket, address)` gets all
    that arrives."""

    def __init__(self, accept: Accept) -> None:
        self._accept = accept
        self._settings: Settings
        self._own: dict[Key, Listener] = {}
        self._adopted: list[tuple[int | None, dict[Key, Listener]]] = []
        self._problems: dict[Key, str] = {}
        self._closing = False

    def open(self, settings: Settings, sets: list[Set]) -> None:
        """Open all listeners, taking over `sets`. Raises: OSError where one must be there."""
        self._settings = settings
        inherited, *others = _without_repetition(sets)
        for key in self._wanted():
            sock = inherited.pop(key, None)
            if sock is not None and key[1] and not interfaces.is_bound_to(sock, key[1]):
                sock.close()  # of an interface that is gone
                sock = None
            self._start(key, sock)
        for sock in inherited.values():
            sock.close()  # of an address that is no longer configured
        for again in others:
            self.adopt(None, again)
        if not self._own:
            raise OSError(next(iter(self._problems.values()), "there is no interface to listen on"))

    def _wanted(self) -> dict[Key, tuple[Zone, ...]]:
        """Return all listeners there should be on the interfaces of this moment."""
        named = frozenset(zone.interface for zone in self._settings.zones if zone.interface)
        return zones.listeners(self._settings, interfaces.others(named) if named else ())

    def prepare(self, settings: Settings) -> Set:
        """Return new sockets for listeners that `settings` add and that must be there.

        Raises: OSError; nothing is left open then.
        """
        opened: Set = {}
        try:
            for key in zones.listeners(settings):
                if key not in self._own and not zones.is_optional(settings, key):
                    opened[key] = _open(settings, key)
        except OSError:
            for sock in opened.values():
                sock.close()
            raise
        return opened

    def change(self, settings: Settings, prepared: Set) -> None:
        """Listen as `settings` say; `prepared` came from `prepare`."""
        self._settings = settings
        wanted = self._wanted()
        self._forget_all_but(wanted)
        for key, served in wanted.items():
            if key in self._own:
                self._own[key].zones = served
            else:
                self._start(key, prepared.pop(key, None))
        for _, adopted in self._adopted:
            for key, listener in adopted.items():
                listener.zones = wanted.get(key, ())

    def watch_forever(self) -> None:
        """Look after zones' interfaces until killed or draining; the owner is the worker."""
        while True:
            gevent.sleep(WATCH_EVERY_S)
            if not self._closing:
                self.watch()

    def watch(self) -> None:
        """Close listeners whose interface is gone, open those that can be, note the others."""
        wanted = self._wanted()
        self._forget_all_but(wanted)
        for key in wanted:
            listener = self._own.get(key)
            device = key[1]
            if listener is None:
                self._start(key, None)
            elif device and not interfaces.is_bound_to(listener.socket, device):
                self._own.pop(key).finish()
                self._start(key, None)
            elif device and wanted[key]:
                self._note(key, _carries(device))

    def _forget_all_but(self, wanted: dict[Key, tuple[Zone, ...]]) -> None:
        for key in [key for key in self._own if key not in wanted]:
            self._own.pop(key).finish()
        self._problems = {key: text for key, text in self._problems.items() if key in wanted}

    def _start(self, key: Key, sock: socket.socket | None) -> None:
        """Listen at `key`. Raises: OSError where that must work."""
        served = self._wanted().get(key, ())
        try:
            sock = sock or _open(self._settings, key)
        except OSError as error:
            if not zones.is_optional(self._settings, key):
                raise
            self._note(key, _carries(key[1]) or error.strerror or str(error))
            return
        self._own[key] = listener = Listener(sock, served, self._accept)
        listener.start()
        address, device, port = key
        through = f" through {device}" if device else ""
        _log.info("listens on %s port %d%s", address, port, through)
        self._note(key, _carries(device) if served else "")

    def _note(self, key: Key, problem: str) -> None:
        if problem == self._problems.get(key, ""):
            return
        served = self._wanted().get(key, ())
        names = ", ".join(zone.name for zone in served) or "-"
        if problem:
            self._problems[key] = problem
            _log.warning("zone %s: %s", names, problem)
        else:
            del self._problems[key]
            _log.info("zone %s is there again", names)

    def report(self) -> list[dict[str, Any]]:
        """Return for each zone, as JSON can carry it, where its agents arrive and what is wrong."""
        wanted = self._wanted()
        report = []
        for zone in self._settings.zones:
            keys = [key for key, served in wanted.items() if zone in served]
            problems = {self._problems[key] for key in keys if key in self._problems}
            report.append(
                {
                    "name": zone.name,
                    "interface": zone.interface,
                    "listens": [f"{key[0]} port {key[2]}" for key in keys if key in self._own],
                    "problems": sorted(problems),
                }
            )
        return report

    # Handing over: see `handover`.

    def adopt(self, number: int | None, given: Set) -> bool:
        """Accept for sibling `number`, which is restarting; None: it is ours, a second one."""
        wanted = self._wanted()
        adopted = {
            # An address that our own settings do not know: only platform and peers arrive there.
            key: Listener(sock, wanted.get(key, ()), self._accept)
            for key, sock in given.items()
        }
        for listener in adopted.values():
            listener.start()
        self._adopted.append((number, adopted))
        return True

    def give_back(self, number: int) -> Set:
        """Return a set that sibling `number` gave, and accept from it no more."""
        for place, (giver, adopted) in enumerate(self._adopted):
            if giver == number:
                del self._adopted[place]
                given: Set = {}
                for key, listener in adopted.items():
                    given[key] = duplicate(listener.socket)
                    listener.close()
                return given
        return {}

    def copies(self) -> Set:
        """Return duplicates of this worker's own listeners; none once it closes."""
        if self._closing:
            return {}
        return {key: duplicate(listener.socket) for key, listener in self._own.items()}

    def hand_over(self, give: Callable[[Set, int | None], Set]) -> None:
        """Let siblings accept on, by `give`; what none takes is emptied and closed.

        What was adopted goes on its own: it has the same keys as what is ours.
        """
        self._closing = True
        for number, listeners in ((None, self._own), *self._adopted):
            given = give({key: listener.socket for key, listener in listeners.items()}, number)
            for key, listener in listeners.items():
                if key in given:
                    listener.close()
                else:
                    listener.finish()


def _without_repetition(sets: list[Set]) -> list[Set]:
    """Return one set with every key, and others with what is there again.

    A worker that could not take back what it had given has opened new sockets, and gives both.
    """
    found: list[Set] = [{}]
    for given in sets:
        for key, sock in given.items():
            place = next((one for one in found if key not in one), None)
            if place is None:
                found.append(place := {})
            place[key] = sock
    return found


def _carries(device: str) -> str:
    """Return what is wrong with the interface; "" for nothing, or where there is none."""
    state = interfaces.state(device) if device else "up"
    return "" if state == "up" else f"interface {device} is {state}"


def _open(settings: Settings, key: Key) -> socket.socket:
    address, device, port = key
    try:
        return open_listener(
            address,
            port,
            backlog=settings.listen.backlog,
            device=device,
            keepalive_s=int(settings.timeouts.tcp_keepalive),
        )
    except OSError as error:
        through = f" through {device}" if device else ""
        text = f"{address} port {port}{through}: {error.strerror}"
        raise OSError(error.errno, text) from error
