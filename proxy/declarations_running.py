"""Every setting there is, continued: how long, how much, and what is said about it.

Layer 0 (pure). Neighbour: `declarations`, which joins these to its own.
"""

from __future__ import annotations

from typing import Final

from proxy.declaration import PATH_RANGE, Declaration

__all__ = ["RUNNING"]


def _time(
    section: str, key: str, default: str, low: float, high: float, sense: str, wrong: str
) -> Declaration:
    span = f"{low:g} to {high:.0f}"
    return Declaration(
        section,
        key,
        "seconds",
        default=default,
        range=span,
        sense=sense,
        wrong=wrong,
        unit="seconds",
        low=low,
        high=high,
    )


def _count(
    section: str, key: str, default: int, low: int, high: int, unit: str, sense: str, wrong: str
) -> Declaration:
    span = f"{low} to {high}"
    return Declaration(
        section,
        key,
        "integer",
        default=str(default),
        range=span,
        sense=sense,
        wrong=wrong,
        unit=unit,
        low=low,
        high=high,
    )


_TIMEOUTS: Final = (
    _time(
        "timeouts",
        "tls_handshake",
        "10",
        0.1,
        300,
        "For a whole TLS handshake, either side.",
        "Too short: slow agents never get in. Too long: silent callers hold places.",
    ),
    _time(
        "timeouts",
        "request_head",
        "15",
        0.1,
        300,
        "For the whole head of a request, from its first byte.",
        "Too short: slow agents get 408. Too long: slow senders hold places.",
    ),
    _time(
        "timeouts",
        "connect",
        "5",
        0.1,
        300,
        "For a TCP connection to the platform, an agent or another proxy, per address.",
        "Too short: distant machines get 504. Too long: a dead address delays the next one.",
    ),
    _time(
        "timeouts",
        "upstream_answer",
        "120",
        1,
        86400,
        "For the platform's answer to begin.",
        "Too short: 504 where the platform is busy. Too long: agents wait for a dead platform.",
    ),
    _time(
        "timeouts",
        "agent_answer",
        "600",
        1,
        86400,
        "For an agent's answer to begin; commands may take long.",
        "Too short: the platform gets 504 while the agent still works.",
    ),
    _time(
        "timeouts",
        "body_idle",
        "60",
        1,
        86400,
        "The longest silence inside a body, either side.",
        "Too short: slow lines break off. Too long: dead peers hold places.",
    ),
    _time(
        "timeouts",
        "keepalive_in",
        "75",
        0,
        3600,
        "How long an idle connection of a caller is kept for its next request.",
        "Too short: more TLS handshakes. Too long: idle connections hold places.",
    ),
    _time(
        "timeouts",
        "keepalive_out",
        "30",
        0,
        3600,
        "How long an idle connection to the platform is kept.",
        "Longer than the platform keeps it: requests meet a closed connection and go again.",
    ),
    _time(
        "timeouts",
        "tunnel_idle",
        "3600",
        10,
        604800,
        "The longest silence, in both directions, of a WebSocket.",
        "Too short: quiet agents are cut off and connect again.",
    ),
    _time(
        "timeouts",
        "tcp_keepalive",
        "30",
        1,
        7200,
        "How often the system probes whether a silent peer still lives.",
        "Too long: a firewall forgets the connection first, and nobody notices.",
    ),
)
_LIMITS: Final = (
    _count(
        "limits",
        "head_bytes",
        32768,
        1024,
        1048576,
        "bytes",
        "The largest head of a request or an answer.",
        "Too small: 431 to callers, 502 for answers. Too large: memory for each connection.",
    ),
    _count(
        "limits",
        "fields",
        100,
        8,
        10000,
        "header fields",
        "The most header fields in one head.",
        "Too small: 431 to callers, 502 for answers.",
    ),
    _count(
        "limits",
        "request_line_bytes",
        8192,
        256,
        65536,
        "bytes",
        "The longest request line; not more than head_bytes.",
        "Too small: 414 to callers.",
    ),
    _count(
        "limits",
        "connections",
        8192,
        16,
        1000000,
        "connections",
        "The most connections of callers each worker holds.",
        "Too small: agents are turned away. More than the system's file descriptors: the same, "
        "with errors in the log.",
    ),
    _count(
        "limits",
        "connections_per_source",
        256,
        1,
        1000000,
        "connections",
        "The most connections from one address, for each worker; the platform and balancers are "
        "not counted.",
        "Too small: agents behind one NAT address are turned away.",
    ),
    _count(
        "limits",
        "zone_share",
        70,
        1,
        100,
        "percent of connections",
        "What agents of one zone may take of these where there are several zones, so that a "
        "network full of compromised machines leaves room for the others.",
        "Too small: agents of a large zone are turned away. 100: one zone may shut out the others.",
    ),
    _count(
        "limits",
        "platform_share",
        10,
        0,
        90,
        "percent of connections",
        "What is kept free of agents, so that a storm of them never starves the platform.",
        "0: calls wait behind agents. Too large: fewer agents for each worker.",
    ),
)
_DRAIN: Final = (
    _time(
        "drain",
        "delay",
        "2",
        0,
        300,
        "How long a stopping worker still accepts, after /ready says 503.",
        "Shorter than the balancer's interval of checks: it still sends connections here.",
    ),
    _time(
        "drain",
        "timeout",
        "30",
        0,
        3600,
        "How long what is under way may then take. delay and this together must stay below "
        "stopwaitsecs in supervisord.conf.",
        "Too short: long answers break off at a restart, and are repeated.",
    ),
)
_HEALTH: Final = (
    _time(
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
    _count(
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
    *_TIMEOUTS,
    *_LIMITS,
    *_DRAIN,
    *_HEALTH,
    *_ADMIN,
    *_LOG,
)
