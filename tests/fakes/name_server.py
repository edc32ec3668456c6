"""A name server that answers as it is told: with addresses, with an error, or never.

`at(server, directory)` is a command prefix: what it starts sees this name server and no other,
in a mount namespace of its own, through the system's own resolver.
"""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path
from typing import Final

_A: Final = 1
_REFUSED: Final = {"servfail": 2, "nxdomain": 3}
_HEAD: Final = struct.Struct("!6H")


class NameServer:
    """Listens on port 53 of `host`; needs root. What it is told holds from the next question on."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.asked = 0
        self._names: dict[str, list[str] | str] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 53))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def tell(self, name: str, answer: list[str] | str) -> None:
        """`answer`: addresses in their order, "servfail", "nxdomain", or "silence"."""
        self._names[name] = answer

    def stop(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", (self.host, 53))
        self._thread.join(10)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            query, asker = self._socket.recvfrom(512)
            if not query:
                return
            self.asked += 1
            answer = self._answer(query)
            if answer is not None:
                self._socket.sendto(answer, asker)

    def _answer(self, query: bytes) -> bytes | None:
        number = struct.unpack("!H", query[:2])[0]
        end = query.index(b"\0", 12) + 5
        kind = struct.unpack("!H", query[end - 4 : end - 2])[0]
        told = self._names.get(_name(query[12:]), "nxdomain")
        if told == "silence":
            return None
        code = _REFUSED[told] if isinstance(told, str) else 0
        addresses = told if isinstance(told, list) and kind == _A else []
        head = _HEAD.pack(number, 0x8180 | code, 1, len(addresses), 0, 0)
        records = [b"\xc0\x0c" + struct.pack("!HHIH", _A, 1, 0, 4) + socket.inet_aton(one)
                   for one in addresses]  # fmt: skip
        return head + query[12:end] + b"".join(records)


def _name(labels: bytes) -> str:
    found = []
    while size := labels[0]:
        found.append(labels[1 : 1 + size].decode())
        labels = labels[1 + size :]
    return ".".join(found)


def at(server: NameServer, directory: Path) -> list[str]:
    """Return a command prefix for whoever is to ask `server`; a look-up may take half a minute."""
    (directory / "resolv.conf").write_text(
        f"nameserver {server.host}\noptions timeout:3 attempts:10\n"
    )
    (directory / "nsswitch.conf").write_text("hosts: files dns\n")
    script = (
        'mount --bind "$1/resolv.conf" /etc/resolv.conf\n'
        'mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf\n'
        'shift\nexec "$@"'
    )
    return ["unshare", "--mount", "sh", "-ec", script, "sh", str(directory)]
