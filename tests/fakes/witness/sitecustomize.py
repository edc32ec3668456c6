"""A witness inside of a worker: whom the process dials and which names it asks for.

Python imports this by itself where this directory is in PYTHONPATH. An audit hook sees every
connect and every look-up that the interpreter makes, whoever asks for it, and cannot be removed.
$WITNESS is the file that gets a line of JSON for each: [event, host, port].
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

_ADDRESSED = frozenset(("socket.connect", "socket.sendto", "socket.sendmsg"))
_NAMED = frozenset(("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"))
_fd = os.open(os.environ["WITNESS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _ADDRESSED:
        said = arguments[1] if event != "socket.sendmsg" else arguments[-1]
    elif event in _NAMED:
        said = arguments[:2]
    else:
        return
    if isinstance(said, tuple):  # not a UNIX socket's path
        host = said[0].decode() if isinstance(said[0], bytes) else said[0]
        line = [event, str(host), said[1] if len(said) > 1 else None]
        os.write(_fd, json.dumps(line).encode() + b"\n")


sys.addaudithook(_note)
