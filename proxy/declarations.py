"""Every setting there is, once: who may call, who is called, and with what proof.

Layer 0 (pure). Neighbours: `declarations_running` holds the settings of times, sizes and output;
`settings` reads files with these, `conf/proxy.ini` is the same as a manual (a test compares).
"""

from __future__ import annotations

from typing import Final

from proxy.declarations_running import RUNNING
from proxy.values import Declaration

__all__ = ["DECLARATIONS", "SECTIONS", "declaration"]

_ID_RANGE: Final = "4 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit"
_LIST: Final = "networks such as 10.0.0.0/8, separated by commas"
_TLS: Final = ("1.0", "1.1", "1.2", "1.3")
_TLS_RANGE: Final = "1.0, 1.1, 1.2 or 1.3"
_PATH: Final = "a path; a relative one begins at the folder above this file's"
_SECRET_RANGE: Final = "32 characters or more"

_PROXY: Final = (
    Declaration(
        "proxy",
        "id",
        "id",
        "",
        _ID_RANGE,
        "The name of this proxy towards the platform; the same on all nodes of a balanced group.",
        "Empty: registration and routed calls are answered 503. Another ID than the registered "
        "one: the platform refuses what is relayed.",
    ),
    Declaration(
        "proxy",
        "node",
        "text",
        "",
        "up to 64 printable characters",
        "The name of this machine inside the group, shown at registration and in the log. Empty "
        "takes the host name.",
        "Two nodes with one name cannot be told apart in the log.",
    ),
    Declaration(
        "proxy",
        "secret",
        "secret",
        "",
        _SECRET_RANGE,
        "Seals the return routes, so that nobody can make the proxy call an address of their "
        "choice. The same on all nodes of a group. Better kept in a file: secret_file.",
        "Different on two nodes: each refuses the other's routes with 403. Empty: no seals.",
    ),
    Declaration(
        "proxy",
        "previous_secret",
        "secret",
        "",
        _SECRET_RANGE,
        "The secret before the last change: routes sealed with it are still followed.",
        "Left empty at a change: platform calls get 403 until each agent has called again.",
    ),
)
_LISTEN: Final = (
    Declaration(
        "listen",
        "addresses",
        "addresses",
        "0.0.0.0",
        "one or more of this machine's addresses",
        "Where the proxy accepts connections, of agents and of the platform alike.",
        "An address this machine does not have: the workers do not start.",
    ),
    Declaration(
        "listen",
        "port",
        "integer",
        "2002",
        "1 to 65535",
        "The port for both directions.",
        "Another port than the agents and the firewall know: nobody arrives.",
        low=1,
        high=65535,
    ),
    Declaration(
        "listen",
        "certificate",
        "path",
        "var/tls/proxy.crt",
        _PATH,
        "The certificate shown to callers, PEM, followed by its intermediates.",
        "Missing or not fitting the key: the workers do not start. Self-signed: agents with "
        "environment=production refuse it unless they trust it.",
    ),
    Declaration(
        "listen",
        "key",
        "path",
        "var/tls/proxy.key",
        _PATH,
        "The private key of that certificate, PEM, without a passphrase.",
        "Missing or unreadable: the workers do not start.",
    ),
    Declaration(
        "listen",
        "min_tls",
        "choice",
        "1.2",
        _TLS_RANGE,
        "The oldest TLS accepted from callers. 1.0 is for agents on Java 6 and 7.",
        "Too new: old agents end in a failed handshake. Too old: weaker encryption for all.",
        choices=_TLS,
    ),
    Declaration(
        "listen",
        "balancers",
        "networks",
        "",
        _LIST,
        "The load balancers in front. They must send PROXY protocol v2, and are believed in it.",
        "Missing: all callers seem to be the balancer. Too wide: callers can forge an address.",
    ),
    Declaration(
        "listen",
        "backlog",
        "integer",
        "1024",
        "16 to 65535",
        "How many connections may wait to be accepted, for each worker.",
        "Too small: after an outage reconnecting agents are turned away and try again later.",
        unit="connections",
        low=16,
        high=65535,
    ),
)
_UPSTREAM: Final = (
    Declaration(
        "upstream",
        "endpoint",
        "endpoints",
        "",
        "host:port, several separated by commas",
        "The platform's dispatcher, such as provisioning.example.com:3302. Several are tried in "
        "turn.",
        "Empty: agents are answered 503. Wrong: 503 as well, and /ready says why.",
        attribute="endpoints",
    ),
    Declaration(
        "upstream",
        "verify",
        "flag",
        "yes",
        "yes or no",
        "Whether the platform's certificate and name are checked. The old "
        "disableUpstreamValidation = true is verify = no.",
        "no: whoever sits between here and the platform can read and change everything.",
    ),
    Declaration(
        "upstream",
        "ca_file",
        "path",
        "",
        _PATH,
        "The authorities the platform's certificate is checked against, PEM. Empty takes the "
        "system's.",
        "The wrong ones: agents are answered 503, and `agent-proxy check` says FAIL.",
    ),
    Declaration(
        "upstream",
        "server_name",
        "name",
        "",
        "a host name",
        "The name the platform's certificate must carry, and that is asked for. Empty takes the "
        "endpoint's host.",
        "A name that is not in the certificate: agents are answered 503.",
    ),
    Declaration(
        "upstream",
        "host",
        "choice",
        "upstream",
        "upstream or preserve",
        "What the platform sees as Host: its own name, or what the agent dialled.",
        "preserve with a platform that looks at the name: it answers 404 or 421.",
        choices=("upstream", "preserve"),
    ),
    Declaration(
        "upstream",
        "min_tls",
        "choice",
        "1.2",
        _TLS_RANGE,
        "The oldest TLS accepted from the platform.",
        "Newer than the platform speaks: agents are answered 503.",
        choices=_TLS,
    ),
    Declaration(
        "upstream",
        "http_proxy",
        "url",
        "",
        "http://host:port",
        "A forward proxy of your network, on the way to the platform. Empty dials directly.",
        "Wrong: agents are answered 503. Credentials inside are refused; see the next two.",
    ),
    Declaration(
        "upstream",
        "http_proxy_user",
        "text",
        "",
        "up to 64 printable characters, no colon",
        "The user name for http_proxy.",
        "Wrong: the forward proxy answers 407, agents get 503.",
    ),
    Declaration(
        "upstream",
        "http_proxy_password",
        "password",
        "",
        "up to 1024 printable characters",
        "The password for http_proxy. Better kept in a file: http_proxy_password_file.",
        "Wrong: the forward proxy answers 407, agents get 503.",
    ),
    Declaration(
        "upstream",
        "connections",
        "integer",
        "64",
        "1 to 4096",
        "How many idle connections each worker keeps for each address of the platform.",
        "Too small: more TLS handshakes than needed. Too large: idle ones burden the platform.",
        unit="connections",
        low=1,
        high=4096,
    ),
)
_PLATFORM: Final = (
    Declaration(
        "platform",
        "networks",
        "networks",
        "",
        _LIST,
        "From where the platform calls. Only from here routed calls and registration are served.",
        "Empty: every call of the platform is refused. Too wide: others may command the agents.",
    ),
    Declaration(
        "platform",
        "client_ca",
        "path",
        "",
        _PATH,
        "If set, the platform must also show a client certificate of these authorities, PEM.",
        "The wrong ones: every call of the platform is refused.",
    ),
    Declaration(
        "platform",
        "routes",
        "choice",
        "sealed",
        "sealed or any",
        "Whether a call must carry a return route sealed by this group, or may name any address "
        "inside the zone.",
        "any: the platform can reach addresses that no agent ever called from.",
        choices=("sealed", "any"),
    ),
)
_AGENTS: Final = (
    Declaration(
        "agents",
        "networks",
        "networks",
        "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7",
        _LIST,
        "Where agents live: they may call from here and are called here only.",
        "Too narrow: agents are cut off at once, calls to them get 403. Too wide: calls may "
        "reach what is no agent.",
    ),
    Declaration(
        "agents",
        "ports",
        "ports",
        "2003",
        "1 to 65535, several separated by commas",
        "The ports an agent may be called on; the first is what return routes name.",
        "Another port than the agents listen on: calls end in 503.",
    ),
    Declaration(
        "agents",
        "deny",
        "networks",
        "",
        _LIST,
        "Addresses inside the networks above that are never called.",
        "Too wide: calls to agents there get 403.",
    ),
    Declaration(
        "agents",
        "verify",
        "choice",
        "no",
        "no or ca",
        "Whether an agent's certificate is checked. Agents sign what they say end to end and "
        "have self-signed certificates, so the platform's own rule is no.",
        "ca with self-signed agents: every call ends in 502 or 503.",
        choices=("no", "ca"),
    ),
    Declaration(
        "agents",
        "ca_file",
        "path",
        "",
        _PATH,
        "With verify = ca: the authorities agents' certificates are checked against, PEM.",
        "The wrong ones: every call to an agent fails.",
    ),
    Declaration(
        "agents",
        "min_tls",
        "choice",
        "1.2",
        _TLS_RANGE,
        "The oldest TLS accepted from an agent that is called. 1.0 is for Java 6 and 7.",
        "Too new: calls to old agents end in a failed handshake.",
        choices=_TLS,
    ),
    Declaration(
        "agents",
        "allow_loopback",
        "flag",
        "no",
        "yes or no",
        "Whether agents may live on this machine (127.0.0.0/8, ::1): for the demonstration.",
        "yes in production: a call could reach services that listen for this machine only.",
    ),
)
_ZONES: Final = (
    Declaration(
        "zones.*",
        "interface",
        "interface",
        "",
        "the name of a network interface or VRF",
        "The interface this zone's agents are behind. Needed where zones share addresses.",
        "An interface that does not exist: the workers do not start.",
    ),
    Declaration(
        "zones.*",
        "listen",
        "address",
        "",
        "an address of this machine",
        "Where agents of this zone arrive. Empty takes [listen] addresses.",
        "Not this machine's: the workers do not start.",
    ),
    Declaration(
        "zones.*",
        "source",
        "address",
        "",
        "an address of this machine",
        "The address agents of this zone are called from. Empty leaves it to the system.",
        "Not this machine's: every call into the zone ends in 503.",
    ),
    Declaration(
        "zones.*",
        "networks",
        "networks",
        "",
        _LIST,
        "Where the agents of this zone live. Empty takes [agents] networks.",
        "Too narrow: agents are cut off. Overlapping another zone without interfaces: refused.",
    ),
    Declaration(
        "zones.*",
        "port",
        "integer",
        "2003",
        "1 to 65535",
        "The port of this zone's agents. Left out, it is the first of [agents] ports.",
        "Another port than the agents listen on: calls end in 503.",
        low=1,
        high=65535,
    ),
)
_PEERS: Final = (
    Declaration(
        "peers.*",
        "role",
        "choice",
        "nearer",
        "nearer or farther",
        "nearer (to the agents): it uses this proxy as its upstream. farther: it routes through "
        "this one.",
        "The wrong way round: its traffic is refused.",
        choices=("nearer", "farther"),
    ),
    Declaration(
        "peers.*",
        "endpoint",
        "endpoint",
        "",
        "host:port",
        "Where the other proxy is called; a nearer one needs it.",
        "Wrong: calls that are routed through it end in 503.",
    ),
    Declaration(
        "peers.*",
        "networks",
        "networks",
        "",
        _LIST,
        "From where the other proxy calls; needed for it to be recognised.",
        "Too wide: others may claim any agent's identity.",
    ),
    Declaration(
        "peers.*",
        "certificate",
        "fingerprint",
        "",
        "64 hexadecimal digits, colons allowed",
        "The SHA-256 of the other proxy's certificate; only that one is accepted.",
        "Another certificate's: the other proxy is refused.",
    ),
)

DECLARATIONS: Final[tuple[Declaration, ...]] = (
    *_PROXY,
    *_LISTEN,
    *_UPSTREAM,
    *_PLATFORM,
    *_AGENTS,
    *_ZONES,
    *_PEERS,
    *RUNNING,
)
_BY_KEY: Final = {(one.section, one.key): one for one in DECLARATIONS}
# In the order of the manual.
SECTIONS: Final[tuple[str, ...]] = tuple(dict.fromkeys(one.section for one in DECLARATIONS))


def declaration(section: str, key: str) -> Declaration:
    """Return the declaration of a setting that is known to exist."""
    return _BY_KEY[section, key]
