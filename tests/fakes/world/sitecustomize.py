"""What surrounds a worker under test: names that resolve as a test says, defects at a signal.

Python imports this by itself where this directory is in PYTHONPATH (nodes.world_environment).

    SIGUSR1   spin for ever, as a defect in a loop would
    SIGUSR2   hold 192 MiB more, as a leak would
    SIGRTMIN  write to $WORLD_GARBAGE how many objects of which types only the collector of
              cycles can free; where that is set, the collector never runs by itself

$WORLD_NAMES is a JSON file: {name: {"addresses": [...], "delay_s": 0, "error": "..."}}. It is
read at each look-up; names that it does not have go to the system. libc's part is not under test
here: what is, is what the proxy makes of an answer that is late, different, or none.
"""

from __future__ import annotations

import _socket
import collections
import gc
import json
import os
import signal
import time
from typing import Any

_system = _socket.getaddrinfo
_ballast: list[bytearray] = []


def _spin(*_: object) -> None:
    while True:
        pass


def _grow(*_: object) -> None:
    _ballast.append(bytearray(b"x") * (192 << 20))


def _types() -> collections.Counter[str]:
    return collections.Counter(str(type(one)) for one in gc.get_objects())


def _tell_garbage(*_: object) -> None:
    before = _types()
    gc.collect()
    path = os.environ["WORLD_GARBAGE"]
    with open(f"{path}.new", "w") as file:
        json.dump(before - _types(), file)
    os.replace(f"{path}.new", path)


def _getaddrinfo(host: Any, port: Any, *more: Any, **named: Any) -> list[Any]:
    with open(os.environ["WORLD_NAMES"]) as file:
        names = json.load(file)
    name = host.decode() if isinstance(host, bytes) else host
    entry = names.get(name)
    if entry is None:
        return _system(host, port, *more, **named)
    time.sleep(entry.get("delay_s", 0))
    if entry.get("error"):
        raise _socket.gaierror(_socket.EAI_AGAIN, entry["error"])
    found: list[Any] = []
    for address in entry["addresses"]:
        found += _system(address, port, *more, **named)
    return found


signal.signal(signal.SIGUSR1, _spin)
signal.signal(signal.SIGUSR2, _grow)
if "WORLD_NAMES" in os.environ:
    _socket.getaddrinfo = _getaddrinfo
if "WORLD_GARBAGE" in os.environ:
    gc.disable()
    signal.signal(signal.SIGRTMIN, _tell_garbage)
