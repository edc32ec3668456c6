"""How many connections the file descriptors that the system grants suffice for.

Shell. Neighbour: `worker` asks at start and on reload.
"""

from __future__ import annotations

import logging
import resource
from typing import Final

from proxy.settings import Settings

_log = logging.getLogger(__name__)
_SPARE: Final = 64
"""Listeners, logs, idle connections to the platform."""


def fitting(settings: Settings) -> int:
    """Return how many of [limits] connections fit into the descriptors that the system grants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.limits.connections * 2 + _SPARE
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    most = min(settings.limits.connections, (soft - _SPARE) // 2)
    if most < settings.limits.connections:
        _log.warning(
            "only %d of [limits] connections = %d fit into %d descriptors; raise LimitNOFILE",
            most,
            settings.limits.connections,
            soft,
        )
    return most
