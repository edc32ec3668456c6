"""What the proxy and supervisord say of themselves, each over its own local listener.

Shell; `system` is the door to it. supervisorctl would say the same, but it is one more Python to
start: the console's first screen asks every few seconds.
"""

from __future__ import annotations

import http.client
import xmlrpc.client
from typing import Any, Final, NamedTuple
from xml.parsers.expat import ExpatError

from appliance.readings import Worker
from proxy.local import LocalConnection

__all__ = ["Fetched", "fetch", "processes"]

_LIMIT_BYTES: Final = 16 << 20
_ASKED: Final = xmlrpc.client.dumps((), "supervisor.getAllProcessInfo").encode()
_FORM: Final = {"Content-Type": "text/xml", "Connection": "close"}


class Fetched(NamedTuple):
    """An answer of the proxy's own pages."""

    status: int
    body: bytes


def fetch(address: str, port: int, path: str, timeout_s: float) -> Fetched | None:
    """Return what a page of the proxy's [admin] listener says; None if nothing answers."""
    connection = http.client.HTTPConnection(address, port, timeout=timeout_s)
    return _answer(connection, "GET", path, {"Connection": "close"}, None)


def processes(socket: str, timeout_s: float) -> tuple[Worker, ...]:
    """Return the processes that supervisord keeps; none where none answers at this socket."""
    connection = LocalConnection(socket, timeout_s)
    answer = _answer(connection, "POST", "/RPC2", _FORM, _ASKED)
    if answer is None or answer.status != http.HTTPStatus.OK:
        return ()
    found: Any  # what supervisord writes as XML
    try:
        (found,), _ = xmlrpc.client.loads(answer.body.decode())
        return tuple(_worker(one) for one in found)
    except (xmlrpc.client.Error, ExpatError, ValueError, KeyError, TypeError):
        return ()


def _worker(one: dict[str, Any]) -> Worker:
    """Return a process by the name that supervisorctl takes: GROUP:NAME, or NAME of its own."""
    group, name = str(one["group"]), str(one["name"])
    whole = name if group == name else f"{group}:{name}"
    return Worker(whole, str(one["statename"]), str(one["description"]))


def _answer(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes | None,
) -> Fetched | None:
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return Fetched(answer.status, answer.read(_LIMIT_BYTES))
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
