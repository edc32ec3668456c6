"""Listening sockets outlive the worker that opened them.

Shell. Neighbours: `worker` gives when it drains and takes back when it starts; `watchdog` keeps
copies, for a worker that hangs or dies.

Closing one of several SO_REUSEPORT sockets resets the connections that wait in its queue, also
those half way through their handshake. So a draining worker passes its sockets to a sibling over
a UNIX socket (SCM_RIGHTS), which goes on accepting from them, and the worker that replaces it
takes them back, by its number. No request is lost, no privilege and no kernel setting is needed.
Only workers of the same user are listened to. docs/decisions/003-handover.md has what was
rejected.

    ["take", n]       -> a set that worker n gave, or an empty one
    ["give", n, set]  -> "ok"; anything else: not adopted
    ["copy"]          -> what the worker listens on itself; an empty set while it drains
A set is a JSON list of [address, device, port], with one descriptor each, in that order. The
kernel passes so many descriptors at once only: what is more goes in several sets.
"""

from __future__ import annotations

import glob
import json
import logging
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import gevent
from gevent import monkey

from proxy.zones import Key

Set: TypeAlias = dict[Key, socket.socket]

_log = logging.getLogger(__name__)
_TIMEOUT_S: Final = 2.0
_MESSAGE_BYTES: Final = 65536
_DESCRIPTORS: Final = 250
"""In one set: the kernel takes 253 at once."""
_Socket = monkey.get_original("socket", "socket")


class Handover:
    """This worker's end: serves siblings, and asks them.

    `adopt(n, set)` takes over what worker n gives and says whether; `give_back(n)` returns such a
    set, forgotten; `copies()` returns what is listened on here. Whoever gets a set closes it.
    `number` is None for the watchdog, which is no worker.
    """

    def __init__(
        self,
        run_dir: str,
        number: int | None,
        adopt: Callable[[int, Set], bool],
        give_back: Callable[[int], Set],
        copies: Callable[[], Set],
    ) -> None:
        self._run_dir = run_dir
        self._number = number
        name = "watchdog" if number is None else str(number)
        self._path = os.path.join(run_dir, f"handover-{name}.sock")
        self._adopt = adopt
        self._give_back = give_back
        self._copies = copies
        self._adopting = True
        self._socket: socket.socket | None = None
        self._server: gevent.Greenlet[..., None] | None = None

    def open(self) -> None:
        """Serve siblings. Raises: OSError."""
        os.makedirs(self._run_dir, mode=0o700, exist_ok=True)
        if os.path.exists(self._path):
            os.unlink(self._path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(self._path)
        os.chmod(self._path, 0o600)
        self._socket.listen(8)
        self._server = gevent.spawn(self._serve)

    def close(self) -> None:
        if self._server is not None and self._socket is not None:
            self._server.kill()
            self._socket.close()
            if os.path.exists(self._path):
                os.unlink(self._path)

    def stop_adopting(self) -> None:
        """From now on this worker drains and takes nothing over."""
        self._adopting = False

    def give(self, listeners: Set, whose: int | None = None) -> Set:
        """Pass `listeners` to siblings; return those that are accepted from there, to be closed.

        `whose` they are, who may take them back; None: our own.
        """
        given: Set = {}
        items = list(listeners.items())
        for begin in range(0, len(items), _DESCRIPTORS):
            part = dict(items[begin : begin + _DESCRIPTORS])
            own = os.path.join(self._run_dir, f"handover-{whose}.sock")
            others = [path for path in self._siblings() if path != own]
            if any(self._give_to(path, part, whose) for path in others):
                given.update(part)
        return given

    def _give_to(self, path: str, listeners: Set, whose: int | None) -> bool:
        number = self._number if whose is None else whose
        message = json.dumps(["give", number, list(listeners)]).encode()
        try:
            with _dial(path) as peer:
                socket.send_fds(peer, [message], [sock.fileno() for sock in listeners.values()])
                peer.shutdown(socket.SHUT_WR)
                return peer.recv(16) == b"ok"
        except OSError:
            return False  # a worker that died leaves its socket file

    def take_back(self, whose: int | None = None) -> list[Set]:
        """Return what our predecessors, or those of worker `whose`, gave away, set by set."""
        number = self._number if whose is None else whose
        taken = []
        for path in self._siblings():
            while listeners := self._take_from(path, number):
                taken.append(listeners)
        return taken

    @staticmethod
    def _take_from(path: str, number: int | None) -> Set:
        try:
            return _ask(path, ["take", number])
        except (OSError, ValueError):
            return {}

    def _siblings(self) -> list[str]:
        pattern = os.path.join(glob.escape(self._run_dir), "handover-*.sock")
        return sorted(path for path in glob.glob(pattern) if path != self._path)

    def _serve(self) -> None:
        assert self._socket is not None
        while True:
            peer, _ = self._socket.accept()
            with peer:
                try:
                    self._answer(peer)
                except (OSError, ValueError) as error:
                    _log.warning("a sibling's hand-over failed: %s", error)

    def _answer(self, peer: socket.socket) -> None:
        peer.settimeout(_TIMEOUT_S)
        size = struct.calcsize("3i")
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        if struct.unpack("3i", credentials)[1] != os.getuid():
            raise ValueError("it runs as another user")
        words, descriptors = _receive(peer)
        match words:
            case ["take", int(number)] if not descriptors:
                _send(peer, self._give_back(number))
            case ["copy"] if not descriptors:
                _send(peer, self._copies())
            case ["give", int(number), list(names)]:
                listeners = _as_set(names, descriptors)
                if self._adopting and listeners and self._adopt(number, listeners):
                    peer.sendall(b"ok")
                else:
                    close(listeners)
            case _:
                for descriptor in descriptors:
                    os.close(descriptor)
                raise ValueError("neither take nor give nor copy")


def copies_of(run_dir: str, worker: int) -> Set:
    """Return what `worker` listens on, for the caller to close. Raises: OSError, ValueError."""
    return _ask(os.path.join(run_dir, f"handover-{worker}.sock"), ["copy"])


def duplicate(sock: socket.socket) -> socket.socket:
    """Return another descriptor of `sock`. Python's own dup() would make both of them blocking."""
    fd = os.dup(sock.fileno())
    twin: socket.socket = _Socket(sock.family, sock.type, sock.proto, fileno=fd)
    return twin


def close(listeners: Set) -> None:
    for sock in listeners.values():
        sock.close()


def _ask(path: str, question: list[object]) -> Set:
    """Raises: OSError, ValueError."""
    with _dial(path) as peer:
        peer.sendall(json.dumps(question).encode())
        peer.shutdown(socket.SHUT_WR)
        return _as_set(*_receive(peer))


def _dial(path: str) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.settimeout(_TIMEOUT_S)
    try:
        peer.connect(path)
    except OSError:
        peer.close()
        raise
    return peer


def _send(peer: socket.socket, listeners: Set) -> None:
    """Send `listeners`, which are closed here, also where that fails."""
    message = json.dumps(list(listeners)).encode()
    try:
        socket.send_fds(peer, [message], [sock.fileno() for sock in listeners.values()])
    finally:
        close(listeners)


def _receive(peer: socket.socket) -> tuple[Any, list[int]]:
    """Return a document of JSON and the descriptors that came with it.

    Raises: OSError, ValueError; no descriptor is left open then.
    """
    data, descriptors, _, _ = socket.recv_fds(peer, _MESSAGE_BYTES, _DESCRIPTORS)
    try:
        return json.loads(data or b"null"), list(descriptors)
    except ValueError:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def _as_set(names: Any, descriptors: list[int]) -> Set:
    """Return the sockets by key. Raises: ValueError; no descriptor is left open then."""
    try:
        keys: list[Key] = [(str(a), str(d), int(p)) for a, d, p in names]
        if len(keys) != len(descriptors):
            raise ValueError("its sockets and their names do not match")
    except (ValueError, TypeError) as error:
        for descriptor in descriptors:
            os.close(descriptor)
        raise ValueError(str(error)) from error
    taken = {key: _Socket(fileno=fd) for key, fd in zip(keys, descriptors, strict=True)}
    for sock in taken.values():
        sock.setblocking(False)  # the giver's dup() made the shared description blocking
    return taken
