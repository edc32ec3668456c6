"""Listening sockets outlive the worker that opened them.

Shell. Neighbours: `worker` gives when it drains and takes back when it starts.

Closing one of several SO_REUSEPORT sockets resets the connections that wait in its queue, also
those half way through their handshake. So a draining worker passes its sockets to a sibling over
a UNIX socket (SCM_RIGHTS), which goes on accepting from them, and the worker that replaces it
takes them back. No request is lost, no privilege and no kernel setting is needed. Only workers of
the same user are listened to. docs/decisions/003-handover.md has what was rejected.

    "take"          -> the set that was given first, or an empty one
    "give" + a set  -> "ok"; anything else: not adopted
A set is a JSON list of [address, device, port], with one descriptor each, in that order.
"""

from __future__ import annotations

import glob
import json
import logging
import os
import socket
import struct
from collections.abc import Callable
from typing import Final, TypeAlias

import gevent
from gevent import monkey

from proxy.zones import Key

Set: TypeAlias = dict[Key, socket.socket]

_log = logging.getLogger(__name__)
_TIMEOUT_S: Final = 2.0
_MESSAGE_BYTES: Final = 65536
_DESCRIPTORS: Final = 250  # the kernel takes 253 at once
_Socket = monkey.get_original("socket", "socket")


class Handover:
    """This worker's end: serves siblings, and asks them.

    `adopt(set)` takes over sockets; `give_back()` returns a set and forgets it.
    """

    def __init__(
        self,
        run_dir: str,
        number: int,
        adopt: Callable[[Set], None],
        give_back: Callable[[], Set],
    ) -> None:
        self._run_dir = run_dir
        self._path = os.path.join(run_dir, f"handover-{number}.sock")
        self._adopt = adopt
        self._give_back = give_back
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

    def give(self, listeners: Set) -> bool:
        """Pass `listeners` to a sibling; True: it accepts from them, ours may be closed."""
        descriptors = [sock.fileno() for sock in listeners.values()]
        message = b"give" + json.dumps(list(listeners)).encode()
        for path in self._siblings():
            try:
                with self._dial(path) as peer:
                    socket.send_fds(peer, [message], descriptors)
                    peer.shutdown(socket.SHUT_WR)
                    if peer.recv(16) == b"ok":
                        return True
            except OSError:
                continue  # a worker that died leaves its socket file
        return False

    def take_back(self) -> Set:
        """Return the sockets that our predecessor gave to a sibling, if any."""
        for path in self._siblings():
            try:
                with self._dial(path) as peer:
                    peer.sendall(b"take")
                    peer.shutdown(socket.SHUT_WR)
                    taken = _as_set(*_receive(peer))
            except (OSError, ValueError):
                continue
            if taken:
                return taken
        return {}

    def _siblings(self) -> list[str]:
        pattern = os.path.join(glob.escape(self._run_dir), "handover-*.sock")
        return sorted(path for path in glob.glob(pattern) if path != self._path)

    @staticmethod
    def _dial(path: str) -> socket.socket:
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        peer.settimeout(_TIMEOUT_S)
        try:
            peer.connect(path)
        except OSError:
            peer.close()
            raise
        return peer

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
        data, descriptors = _receive(peer)
        if data == b"take":
            listeners = self._give_back()
            message = json.dumps(list(listeners)).encode()
            socket.send_fds(peer, [message], [sock.fileno() for sock in listeners.values()])
            for sock in listeners.values():
                sock.close()
            return
        listeners = _as_set(data[4:] if data[:4] == b"give" else b"", descriptors)
        if not self._adopting or not listeners:
            for sock in listeners.values():
                sock.close()
            return
        self._adopt(listeners)
        peer.sendall(b"ok")


def _receive(peer: socket.socket) -> tuple[bytes, list[int]]:
    data, descriptors, _, _ = socket.recv_fds(peer, _MESSAGE_BYTES, _DESCRIPTORS)
    return data, list(descriptors)


def _as_set(data: bytes, descriptors: list[int]) -> Set:
    """Return the sockets by key. Raises: ValueError; no descriptor is left open then."""
    try:
        keys: list[Key] = [(str(a), str(d), int(p)) for a, d, p in json.loads(data or b"[]")]
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
