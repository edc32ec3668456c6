"""Every setting there is, continued: how long anything may take, and how much it may be.

Layer 0 (pure). Neighbour: `declarations`, which joins these to its own.
"""

from __future__ import annotations

from typing import Final

from proxy.declaration import Declaration, count, seconds

__all__ = ["BOUNDS"]

_TIMEOUTS: Final = (
    seconds(
        "timeouts",
        "tls_handshake",
        "10",
        0.1,
        300,
        "For a whole TLS handshake, either side.",
        "Too short: slow agents never get in. Too long: silent callers hold places.",
    ),
    seconds(
        "timeouts",
        "request_head",
        "15",
        0.1,
        300,
        "For the whole head of a request, from its first byte.",
        "Too short: slow agents get 408. Too long: slow senders hold places.",
    ),
    seconds(
        "timeouts",
        "connect",
        "5",
        0.1,
        300,
        "For a TCP connection to the platform, an agent or another proxy, per address.",
        "Too short: distant machines get 504. Too long: a dead address delays the next one.",
    ),
    seconds(
        "timeouts",
        "resolve",
        "5",
        0.1,
        300,
        "For the look-up of a name: of the platform, another proxy or a forward proxy. Addresses "
        "that worked are used meanwhile.",
        "Too short: 504 where the name server is slow. Too long: callers wait for a dead one.",
    ),
    seconds(
        "timeouts",
        "upstream_answer",
        "120",
        1,
        86400,
        "For the platform's answer to begin.",
        "Too short: 504 where the platform is busy. Too long: agents wait for a dead platform.",
    ),
    seconds(
        "timeouts",
        "agent_answer",
        "600",
        1,
        86400,
        "For an agent's answer to begin; commands may take long.",
        "Too short: the platform gets 504 while the agent still works.",
    ),
    seconds(
        "timeouts",
        "body_idle",
        "60",
        1,
        86400,
        "The longest silence inside a body, either side.",
        "Too short: slow lines break off. Too long: dead peers hold places.",
    ),
    seconds(
        "timeouts",
        "keepalive_in",
        "75",
        0,
        3600,
        "How long an idle connection of a caller is kept for its next request.",
        "Too short: more TLS handshakes. Too long: idle connections hold places.",
    ),
    seconds(
        "timeouts",
        "keepalive_out",
        "30",
        0,
        3600,
        "How long an idle connection to the platform is kept.",
        "Longer than the platform keeps it: requests meet a closed connection and go again.",
    ),
    seconds(
        "timeouts",
        "tunnel_idle",
        "3600",
        10,
        604800,
        "The longest silence, in both directions, of a WebSocket.",
        "Too short: quiet agents are cut off and connect again.",
    ),
    seconds(
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
    count(
        "limits",
        "head_bytes",
        32768,
        1024,
        1048576,
        "bytes",
        "The largest head of a request or an answer.",
        "Too small: 431 to callers, 502 for answers. Too large: memory for each connection.",
    ),
    count(
        "limits",
        "fields",
        100,
        8,
        10000,
        "header fields",
        "The most header fields in one head.",
        "Too small: 431 to callers, 502 for answers.",
    ),
    count(
        "limits",
        "request_line_bytes",
        8192,
        256,
        65536,
        "bytes",
        "The longest request line; not more than head_bytes.",
        "Too small: 414 to callers.",
    ),
    count(
        "limits",
        "body_rate",
        240,
        0,
        1000000,
        "bytes a second",
        "The slowest a request's body may come, beyond the silence that body_idle allows. Bodies "
        "of any size may take as long as they need at this rate. 0: only silence is bounded.",
        "Too large: slow lines get 408. 0: a byte now and then holds a place for ever.",
    ),
    count(
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
    count(
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
    count(
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
    count(
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
    seconds(
        "drain",
        "delay",
        "2",
        0,
        300,
        "How long a stopping worker still accepts, after /ready says 503.",
        "Shorter than the balancer's interval of checks: it still sends connections here.",
    ),
    seconds(
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

BOUNDS: Final[tuple[Declaration, ...]] = (
    *_TIMEOUTS,
    *_LIMITS,
    *_DRAIN,
)
