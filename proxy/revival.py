"""Starts again what supervisord has given up: whatever it lacked may be there by now.

Shell. Neighbours: `watchdog` calls it in each round, `local` connects. supervisord tries a process
that does not start five times, for about 15 s, and then leaves it (FATAL) until somebody says
start. At three in the morning that is nobody; a disk or a log directory that was away is back in a
while.
"""

from __future__ import annotations

import http.client
import logging
import os
import time
from collections.abc import Iterable
from typing import Any, Final

import gevent

from proxy.local import LocalConnection

__all__ = ["Revival"]

_log = logging.getLogger(__name__)

EVERY_S: Final = 30.0
_ANSWER_S: Final = 5.0
_SCHEME: Final = "unix://"


class Revival:
    """Knows where supervisord is: of those it started it is in their environment."""

    def __init__(self) -> None:
        url = os.environ.get("SUPERVISOR_SERVER_URL", "")
        self._path = url.removeprefix(_SCHEME) if url.startswith(_SCHEME) else ""
        self._group = os.environ.get("SUPERVISOR_GROUP_NAME", "")
        count = os.environ.get("AGENT_PROXY_WORKERS", "")
        self._wanted = set(range(int(count))) if count.isdigit() else set()
        self._next_at = time.monotonic() + EVERY_S

    def attend(self, there: Iterable[int]) -> None:
        """Twice a minute, while a worker is missing from `there`, start what was given up.

        Nothing where no supervisord started this.
        """
        now = time.monotonic()
        if not self._path or now < self._next_at or self._wanted <= set(there):
            return
        self._next_at = now + EVERY_S
        import xmlrpc.client  # 2 MB, which nobody needs while all is well

        try:
            for one in self._call("getAllProcessInfo"):
                if one["statename"] == "FATAL" and one["group"] == self._group:
                    why = one["spawnerr"] or "it ended again and again"
                    _log.error("%s was given up: %s; it is started again", one["name"], why)
                    self._call("startProcess", f"{one['group']}:{one['name']}", False)
        except (OSError, ValueError, LookupError, TypeError, gevent.Timeout) as error:
            _log.warning("supervisord does not say what it has given up: %s", error)
        except (http.client.HTTPException, xmlrpc.client.Error) as error:
            _log.warning("supervisord does not start what it has given up: %s", error)

    def _call(self, method: str, *arguments: str | bool) -> Any:  # Any: what XML-RPC can say
        """Raises: OSError, ValueError, HTTPException, xmlrpc's Error, gevent.Timeout."""
        import xmlrpc.client

        body = xmlrpc.client.dumps(arguments, f"supervisor.{method}").encode()
        connection = LocalConnection(self._path, _ANSWER_S)
        try:
            with gevent.Timeout(_ANSWER_S):
                connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
                said = connection.getresponse().read().decode()
            return xmlrpc.client.loads(said)[0][0]
        finally:
            connection.close()
