"""Who tries to reach a port of this machine, seen on the wire, before any firewall of our own.

Shell. Neighbour: `diagnose_arrivals` asks. A packet socket with a filter in the kernel sees the
first packet of each TCP connection (SYN without ACK) and nothing else; of that only the source
address is kept. It needs CAP_NET_RAW. So "nothing arrived" is about the network outside, and
"arrived, but refused" about the settings here: two different tickets.
"""

from __future__ import annotations

import ctypes
import ipaddress
import select
import socket
import struct
import threading
from collections import Counter
from typing import Final

__all__ = ["Arrivals"]

_ETH_P_ALL: Final = 0x0003
_SO_ATTACH_FILTER: Final = 26
_OUTGOING: Final = 4
_KEPT_BYTES: Final = 96
# Instructions of classic BPF (linux/filter.h, bpf_common.h).
_BYTE, _WORD, _BYTE_BEHIND, _WORD_BEHIND, _HEADER_LENGTH = 0x30, 0x28, 0x50, 0x48, 0xB1
_AND, _IS, _HAS, _GO, _TAKE = 0x54, 0x15, 0x45, 0x05, 0x06
_TCP: Final = 6
_WAKE_S: Final = 0.2
_SOURCES_MAX: Final = 4096  # a scan with forged addresses must not fill the memory


class Arrivals:
    """Watches a port from `start` to `stop`; `seen` is how often each address has tried."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._counts: Counter[str] = Counter()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch. Raises: OSError without CAP_NET_RAW."""
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        try:
            _attach(sock, _program(self._port))
            _drain(sock)  # what came before the filter was there
        except BaseException:
            sock.close()
            raise
        self._thread = threading.Thread(target=self._watch, args=(sock,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    @property
    def seen(self) -> dict[str, int]:
        return dict(self._counts)

    def _watch(self, sock: socket.socket) -> None:
        with sock:
            while not self._ended.is_set():
                ready, _, _ = select.select([sock], [], [], _WAKE_S)
                if not ready:
                    continue
                packet, place = sock.recvfrom(_KEPT_BYTES)
                source = _source(packet)
                known = source in self._counts or len(self._counts) < _SOURCES_MAX
                if place[2] != _OUTGOING and source and known:
                    self._counts[source] += 1


def _source(packet: bytes) -> str:
    if packet[:1] and packet[0] >> 4 == 4 and len(packet) >= 20:
        return str(ipaddress.IPv4Address(packet[12:16]))
    if packet[:1] and packet[0] >> 4 == 6 and len(packet) >= 40:
        return str(ipaddress.IPv6Address(packet[8:24]))
    return ""


def _program(port: int) -> list[tuple[int, int, int, int]]:
    """Return classic BPF: code, lines to skip if true, if false, value. Offset 0: the IP header."""
    return [
        (_BYTE, 0, 0, 0),  # 0: version
        (_AND, 0, 0, 0xF0),
        (_IS, 1, 0, 0x40),  # IPv4: to 4
        (_IS, 9, 17, 0x60),  # IPv6: to 13
        (_BYTE, 0, 0, 9),  # 4: protocol
        (_IS, 0, 15, _TCP),
        (_WORD, 0, 0, 6),
        (_HAS, 13, 0, 0x1FFF),  # a later fragment has no ports
        (_HEADER_LENGTH, 0, 0, 0),
        (_WORD_BEHIND, 0, 0, 2),  # destination port
        (_IS, 0, 10, port),
        (_BYTE_BEHIND, 0, 0, 13),  # flags
        (_GO, 0, 0, 5),  # to 18
        (_BYTE, 0, 0, 6),  # 13: next header; others in front are not looked into
        (_IS, 0, 6, _TCP),
        (_WORD, 0, 0, 42),
        (_IS, 0, 4, port),
        (_BYTE, 0, 0, 53),
        (_AND, 0, 0, 0x12),  # 18: SYN and ACK
        (_IS, 0, 1, 0x02),
        (_TAKE, 0, 0, _KEPT_BYTES),
        (_TAKE, 0, 0, 0),  # 21: nothing
    ]


def _attach(sock: socket.socket, program: list[tuple[int, int, int, int]]) -> None:
    packed = b"".join(struct.pack("=HBBI", *one) for one in program)
    buffer = ctypes.create_string_buffer(packed)
    fprog = struct.pack("HL", len(program), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)


def _drain(sock: socket.socket) -> None:
    sock.setblocking(False)
    try:
        while True:
            sock.recv(1)
    except BlockingIOError:
        pass
