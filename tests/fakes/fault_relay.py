"""A relay of TCP that goes wrong as it is told: on either side of the proxy.

It knows nothing of TLS or HTTP: bytes are held, cut, slowed or swallowed as a network would. What
is wrong is one word that may change at any time, for open connections as well as for new ones:

    pass       nothing is wrong
    refuse     new connections are reset, open ones too
    blackhole  connections are accepted and nothing goes through; later it does
    drop       what the target sends after `after` bytes is swallowed: it is half open
    reset      both sides get RST once `after` bytes of the target have passed
    truncate   both sides get FIN once `after` bytes of the target have passed
    garbage    what follows `after` bytes of the target is something else
    delay      each piece waits `seconds`
    throttle   at most `rate` bytes a second
    dribble    byte by byte

`drop` to `garbage` are about what the caller sends instead, where `forth` is set. `source` is
where the target sees the caller, whose address the proxy goes by.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from typing import Final, NamedTuple

_PIECE: Final = 65536
_LOOK_S: Final = 0.02


class Fault(NamedTuple):
    kind: str = "pass"
    after: int = 0
    seconds: float = 0.0
    rate: int = 0
    forth: bool = False


PASS: Final = Fault()


class FaultRelay:
    """Listens on `host` and relays to `target`, with a thread and an event loop of its own."""

    def __init__(self, host: str, target: tuple[str, int], source: str = "") -> None:
        self._target = target
        self._source = source
        self._fault = PASS
        self.accepted = 0
        self._listening = socket.create_server((host, 0), backlog=512)
        self._listening.setblocking(False)
        self.address: tuple[str, int] = self._listening.getsockname()[:2]
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return self.address[1]

    def inject(self, fault: Fault) -> None:
        self._fault = fault

    def heal(self) -> None:
        self._fault = PASS

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._cancel)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the relay does not end"

    def _cancel(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()

    def _run(self) -> None:
        try:
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._accept())
        finally:
            if self._tasks:
                self._loop.run_until_complete(asyncio.wait(self._tasks))
            self._listening.close()
            self._loop.close()

    async def _accept(self) -> None:
        while True:
            sock, _ = await self._loop.sock_accept(self._listening)
            self.accepted += 1
            task = self._loop.create_task(self._connection(sock))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connection(self, near: socket.socket) -> None:
        far = socket.socket()
        far.setblocking(False)
        pumps: list[asyncio.Task[None]] = []
        try:
            if self._fault.kind == "refuse":
                _reset(near)
                return
            if self._source:
                far.bind((self._source, 0))
            await self._loop.sock_connect(far, self._target)
            for sock in (near, far):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            forth = self._loop.create_task(self._pump(near, far, back=False))
            back = self._loop.create_task(self._pump(far, near, back=True))
            pumps = [forth, back]
            while not all(pump.done() for pump in pumps):
                await asyncio.wait(pumps, timeout=_LOOK_S)
                if self._fault.kind == "refuse":
                    raise ConnectionResetError
        except (ConnectionResetError, asyncio.CancelledError):
            _reset(near)
            _reset(far)
        except OSError:
            pass  # the target is not there: closing says so
        finally:
            for pump in pumps:
                pump.cancel()
            if pumps:
                await asyncio.wait(pumps)
            near.close()
            far.close()

    async def _pump(self, source: socket.socket, sink: socket.socket, *, back: bool) -> None:
        passed = 0
        try:
            while data := await self._loop.sock_recv(source, _PIECE):
                while self._fault.kind == "blackhole":
                    await asyncio.sleep(_LOOK_S)
                fault = self._fault
                here = back != fault.forth  # the direction in which it goes wrong
                if (
                    fault.kind in ("reset", "truncate")
                    and here
                    and passed + len(data) > fault.after
                ):
                    await self._loop.sock_sendall(sink, data[: max(0, fault.after - passed)])
                    await asyncio.sleep(_LOOK_S)  # or a reset overtakes what was sent
                    for sock in (source, sink):
                        _reset(sock) if fault.kind == "reset" else _finish(sock)
                    return
                if fault.kind == "garbage" and here and passed + len(data) > fault.after:
                    right = max(0, fault.after - passed)
                    data = data[:right] + bytes(byte ^ 0xA5 for byte in data[right:])
                passed += len(data)
                if fault.kind == "drop" and here and passed > fault.after:
                    left = fault.after - passed + len(data)
                    await self._loop.sock_sendall(sink, data[: max(0, left)])
                    while await self._loop.sock_recv(source, _PIECE):
                        pass
                    return  # half open: the sink is not told
                await self._send(sink, data, fault)
            _finish(sink)
        except OSError:
            for sock in (source, sink):
                _reset(sock)

    async def _send(self, sink: socket.socket, data: bytes, fault: Fault) -> None:
        if fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
        if fault.kind not in ("throttle", "dribble"):
            await self._loop.sock_sendall(sink, data)
            return
        size = 1 if fault.kind == "dribble" else max(1, fault.rate // 20)
        for begin in range(0, len(data), size):
            await self._loop.sock_sendall(sink, data[begin : begin + size])
            await asyncio.sleep(0 if fault.kind == "dribble" else size / fault.rate)


def _finish(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)


def _reset(sock: socket.socket) -> None:
    """RST: closing would do with SO_LINGER, but others may still wait on the descriptor."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.shutdown(socket.SHUT_RD)
