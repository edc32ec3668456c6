"""Every setting there is, once. Here: who the proxy is and who may call it.

Layer 0 (pure). Neighbours: `declarations_targets`, `declarations_bounds` and
`declarations_running` hold the other sections; `settings` reads files with these.
`conf/proxy.ini` says the same as a manual, and a test compares the two.
"""

from __future__ import annotations

from typing import Final

from proxy.declaration import LIST_RANGE, PATH_RANGE, TLS_RANGE, TLS_VERSIONS, Declaration
from proxy.declarations_bounds import BOUNDS
from proxy.declarations_running import RUNNING
from proxy.declarations_targets import AGENTS, PEERS, UPSTREAM, ZONES

__all__ = ["DECLARATIONS", "SECTIONS", "declaration"]

_ID_RANGE: Final = "4 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit"
_SECRET_RANGE: Final = "32 characters or more"

_PROXY: Final = (
    Declaration(
        "proxy",
        "id",
        "id",
        default="",
        range=_ID_RANGE,
        sense="The name of this proxy towards the platform; the same on all nodes of a balanced "
        "group.",
        wrong="Empty: registration and routed calls are answered 503. Another ID than the "
        "registered one: the platform refuses what is relayed.",
    ),
    Declaration(
        "proxy",
        "node",
        "text",
        default="",
        range="up to 64 printable characters",
        high=64,
        sense="The name of this machine inside the group, shown at registration and in the log. "
        "Empty takes the host name.",
        wrong="Two nodes with one name cannot be told apart in the log.",
    ),
    Declaration(
        "proxy",
        "secret",
        "secret",
        default="",
        range=_SECRET_RANGE,
        sense="Seals the return routes, so that nobody can make the proxy call an address of their "
        "choice. The same on all nodes of a group. Better kept in a file: secret_file.",
        wrong="Different on two nodes: each refuses the other's routes with 403. Empty: no seals.",
    ),
    Declaration(
        "proxy",
        "previous_secret",
        "secret",
        default="",
        range=_SECRET_RANGE,
        sense="The secret before the last change: routes sealed with it are still followed.",
        wrong="Left empty at a change: platform calls get 403 until each agent has called again.",
    ),
)
_LISTEN: Final = (
    Declaration(
        "listen",
        "addresses",
        "addresses",
        default="0.0.0.0",
        range="one or more of this machine's addresses",
        sense="Where the proxy accepts connections, of agents and of the platform alike.",
        wrong="An address this machine does not have: the workers do not start.",
    ),
    Declaration(
        "listen",
        "port",
        "integer",
        default="2002",
        range="1 to 65535",
        sense="The port for both directions.",
        wrong="Another port than the agents and the firewall know: nobody arrives.",
        low=1,
        high=65535,
    ),
    Declaration(
        "listen",
        "certificate",
        "path",
        default="var/tls/proxy.crt",
        range=PATH_RANGE,
        sense="The certificate shown to callers, PEM, followed by its intermediates.",
        wrong="Missing or not fitting the key: the workers do not start. Self-signed: agents with "
        "environment=production refuse it unless they trust it.",
    ),
    Declaration(
        "listen",
        "key",
        "path",
        default="var/tls/proxy.key",
        range=PATH_RANGE,
        sense="The private key of that certificate, PEM, without a passphrase.",
        wrong="Missing or unreadable: the workers do not start.",
    ),
    Declaration(
        "listen",
        "min_tls",
        "choice",
        default="1.2",
        range=TLS_RANGE,
        sense="The oldest TLS accepted from callers. 1.0 is for agents on Java 6 and 7.",
        wrong="Too new: old agents end in a failed handshake. Too old: weaker encryption for all.",
        choices=TLS_VERSIONS,
    ),
    Declaration(
        "listen",
        "balancers",
        "networks",
        default="",
        range=LIST_RANGE,
        sense="The load balancers in front. They must send PROXY protocol v2, and are believed "
        "in it.",
        wrong="Missing: all callers seem to be the balancer. Too wide: callers can forge an "
        "address.",
    ),
    Declaration(
        "listen",
        "backlog",
        "integer",
        default="1024",
        range="16 to 65535",
        sense="How many connections may wait to be accepted, for each worker.",
        wrong="Too small: after an outage reconnecting agents are turned away and try again later.",
        unit="connections",
        low=16,
        high=65535,
    ),
)
_PLATFORM: Final = (
    Declaration(
        "platform",
        "networks",
        "networks",
        default="",
        range=LIST_RANGE,
        sense="From where the platform calls. Only from here routed calls and registration are "
        "served.",
        wrong="Empty: every call of the platform is refused. Too wide: others may command the "
        "agents.",
    ),
    Declaration(
        "platform",
        "client_ca",
        "path",
        default="",
        range=PATH_RANGE,
        sense="If set, the platform must also show a client certificate of these authorities, PEM.",
        wrong="Other authorities than its own: every call of the platform is refused.",
    ),
    Declaration(
        "platform",
        "routes",
        "choice",
        default="sealed",
        range="sealed or any",
        sense="Whether a call must carry a return route sealed by this group, or may name any "
        "address inside the zone.",
        wrong="any: the platform can reach addresses that no agent ever called from.",
        choices=("sealed", "any"),
    ),
)

DECLARATIONS: Final[tuple[Declaration, ...]] = (
    *_PROXY,
    *_LISTEN,
    *UPSTREAM,
    *_PLATFORM,
    *AGENTS,
    *ZONES,
    *PEERS,
    *BOUNDS,
    *RUNNING,
)
_BY_KEY: Final = {(one.section, one.key): one for one in DECLARATIONS}
# In the order of the manual.
SECTIONS: Final[tuple[str, ...]] = tuple(dict.fromkeys(one.section for one in DECLARATIONS))


def declaration(section: str, key: str) -> Declaration:
    """Return the declaration of a setting that is known to exist."""
    return _BY_KEY[section, key]
