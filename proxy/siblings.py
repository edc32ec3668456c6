"""The workers of this node ask each other, by HTTP over the UNIX socket that each has.

Shell. Neighbours: `admin` answers; `admin` and `lookout` ask.
"""

from __future__ import annotations

import glob
import http.client
import json
import os
from collections.abc import Iterator
from typing import Any, Final

from proxy.local import LocalConnection

__all__ = ["ask", "own_path", "paths"]

_TIMEOUT_S: Final = 2.0


def own_path(run_dir: str, number: int) -> str:
    return os.path.join(run_dir, f"worker-{number}.sock")


def paths(run_dir: str, number: int = -1) -> Iterator[str]:
    """Yield the sockets of all workers but `number`; some may be left behind by dead ones."""
    own = own_path(run_dir, number)
    pattern = os.path.join(glob.escape(run_dir), "worker-*.sock")
    yield from (path for path in sorted(glob.glob(pattern)) if path != own)


def ask(path: str, target: str) -> Any:
    """Return the document of JSON that the worker at `path` has; None: it does not answer."""
    connection = LocalConnection(path, _TIMEOUT_S)
    try:
        connection.request("GET", target, headers={"Host": "worker"})
        answer = connection.getresponse()
        content = answer.read()
        return json.loads(content) if answer.status == 200 else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
