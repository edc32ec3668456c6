"""Every setting there is, continued: how workers are looked after, and what is said about them.

Layer 0 (pure). Neighbour: `declarations`, which joins these to its own.
"""

from __future__ import annotations

from typing import Final

from proxy.declaration import PATH_RANGE, Declaration, count, seconds

__all__ = ["RUNNING"]

_HEALTH: Final = (
    seconds(
        "health",
        "silent",
        "15",
        5,
        600,
        "How long a worker may give no answer before it is killed and started again. Its queues "
        "are served by another one long before.",
        "Too short: a worker that is only busy is killed, and its connections break. Too long: "
        "callers that it has accepted wait.",
    ),
    count(
        "health",
        "memory",
        1024,
        128,
        1048576,
        "MiB",
        "The memory a worker may grow to before it is drained and started again, one at a time. "
        "64 MiB and 0.06 MiB for each connection are normal.",
        "Too small: workers restart again and again, and tunnels connect again. Too large: the "
        "system kills a worker without draining it.",
    ),
)
_ADMIN: Final = (
    Declaration(
        "admin",
        "address",
        "address",
        default="127.0.0.1",
        range="127.0.0.1 to 127.255.255.254, or ::1",
        sense="Where /live, /ready, /metrics and /status answer, without TLS or password.",
        wrong="An address that others reach is refused.",
    ),
    Declaration(
        "admin",
        "port",
        "integer",
        default="2004",
        range="1 to 65535",
        sense="The port for them.",
        wrong="One that is taken: the workers do not start.",
        low=1,
        high=65535,
    ),
    Declaration(
        "admin",
        "run_dir",
        "path",
        default="var/run",
        range=PATH_RANGE,
        sense="Where the workers' sockets are, by which one answers for all.",
        wrong="Not writable, or too long for a socket's path (about 90 characters): /metrics shows "
        "one worker only.",
    ),
)
_LOG: Final = (
    Declaration(
        "log",
        "format",
        "choice",
        default="plain",
        range="plain or json",
        sense="How lines are written: key=value, or one JSON object each.",
        wrong="One that your log collector does not read: it files nothing.",
        choices=("plain", "json"),
    ),
    Declaration(
        "log",
        "level",
        "choice",
        default="info",
        range="debug, info, warning or error",
        sense="From which weight on events are logged.",
        wrong="error: degraded service goes unnoticed. debug: large files.",
        choices=("debug", "info", "warning", "error"),
    ),
    Declaration(
        "log",
        "access",
        "flag",
        default="yes",
        range="yes or no",
        sense="Whether each exchange and tunnel gets its line.",
        wrong="no: nobody can tell afterwards who called whom.",
    ),
)

RUNNING: Final[tuple[Declaration, ...]] = (
    *_HEALTH,
    *_ADMIN,
    *_LOG,
)
