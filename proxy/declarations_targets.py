"""Every setting there is, continued: whom the proxy calls, and which zones and peers it knows.

Layer 0 (pure). Neighbour: `declarations`, which joins these to its own.
"""

from __future__ import annotations

from typing import Final

from proxy.declaration import LIST_RANGE, PATH_RANGE, TLS_RANGE, TLS_VERSIONS, Declaration

__all__ = ["AGENTS", "PEERS", "UPSTREAM", "ZONES"]

UPSTREAM: Final = (
    Declaration(
        "upstream",
        "endpoint",
        "endpoints",
        default="",
        range="host:port, several separated by commas",
        sense="The platform's dispatcher, such as provisioning.example.com:3302. Several are "
        "tried in turn.",
        wrong="Empty or not answering: agents get 503, and /ready says why.",
        attribute="endpoints",
    ),
    Declaration(
        "upstream",
        "verify",
        "flag",
        default="yes",
        range="yes or no",
        sense="Whether the platform's certificate and name are checked. The old "
        "disableUpstreamValidation = true is verify = no.",
        wrong="no: whoever sits between here and the platform can read and change everything.",
    ),
    Declaration(
        "upstream",
        "ca_file",
        "path",
        default="",
        range=PATH_RANGE,
        sense="The authorities the platform's certificate is checked against, PEM. Empty takes the "
        "system's.",
        wrong="Other authorities than its own: agents are answered 502, and `agent-proxy "
        "check` says FAIL.",
    ),
    Declaration(
        "upstream",
        "server_name",
        "name",
        default="",
        range="a host name",
        sense="The name the platform's certificate must carry, and that is asked for. Empty "
        "takes the endpoint's host.",
        wrong="A name that is not in the certificate: agents are answered 502.",
    ),
    Declaration(
        "upstream",
        "host",
        "choice",
        default="upstream",
        range="upstream or preserve",
        sense="What the platform sees as Host: its own name, or what the agent dialled.",
        wrong="preserve with a platform that looks at the name: it answers 404 or 421.",
        choices=("upstream", "preserve"),
    ),
    Declaration(
        "upstream",
        "min_tls",
        "choice",
        default="1.2",
        range=TLS_RANGE,
        sense="The oldest TLS accepted from the platform.",
        wrong="Newer than the platform speaks: agents are answered 502.",
        choices=TLS_VERSIONS,
    ),
    Declaration(
        "upstream",
        "http_proxy",
        "url",
        default="",
        range="http://host:port",
        sense="A forward proxy of your network, on the way to the platform. Empty dials directly.",
        wrong="Agents are answered 503. Credentials inside are refused; see the next two.",
    ),
    Declaration(
        "upstream",
        "http_proxy_user",
        "text",
        default="",
        range="up to 64 printable characters, no colon",
        high=64,
        sense="The user name for http_proxy.",
        wrong="The forward proxy answers 407, agents get 503.",
    ),
    Declaration(
        "upstream",
        "http_proxy_password",
        "password",
        default="",
        range="up to 1024 printable characters",
        high=1024,
        sense="The password for http_proxy. Better kept in a file: http_proxy_password_file.",
        wrong="The forward proxy answers 407, agents get 503.",
    ),
    Declaration(
        "upstream",
        "connections",
        "integer",
        default="64",
        range="1 to 4096",
        sense="How many idle connections each worker keeps for each address of the platform.",
        wrong="Too small: more TLS handshakes than needed. Too large: idle ones burden the "
        "platform.",
        unit="connections",
        low=1,
        high=4096,
    ),
)
AGENTS: Final = (
    Declaration(
        "agents",
        "networks",
        "networks",
        default="10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7",
        range=LIST_RANGE,
        sense="Where agents live: they may call from here and are called here only.",
        wrong="Too narrow: agents are cut off at once, calls to them get 403. Too wide: calls may "
        "reach what is no agent.",
    ),
    Declaration(
        "agents",
        "ports",
        "ports",
        default="2003",
        range="1 to 65535, several separated by commas",
        sense="The ports an agent may be called on; the first is what return routes name.",
        wrong="Another port than the agents listen on: calls end in 503.",
    ),
    Declaration(
        "agents",
        "deny",
        "networks",
        default="",
        range=LIST_RANGE,
        sense="Addresses inside the networks above that are never called.",
        wrong="Too wide: calls to agents there get 403.",
    ),
    Declaration(
        "agents",
        "verify",
        "choice",
        default="no",
        range="no or ca",
        sense="Whether an agent's certificate is checked. Agents sign what they say end to end and "
        "have self-signed certificates, so the platform's own rule is no.",
        wrong="ca with self-signed agents: every call ends in 502.",
        choices=("no", "ca"),
    ),
    Declaration(
        "agents",
        "ca_file",
        "path",
        default="",
        range=PATH_RANGE,
        sense="With verify = ca: the authorities agents' certificates are checked against, PEM.",
        wrong="Other authorities than its own: every call to an agent fails.",
    ),
    Declaration(
        "agents",
        "min_tls",
        "choice",
        default="1.2",
        range=TLS_RANGE,
        sense="The oldest TLS accepted from an agent that is called. 1.0 is for Java 6 and 7.",
        wrong="Too new: calls to old agents end in a failed handshake.",
        choices=TLS_VERSIONS,
    ),
    Declaration(
        "agents",
        "allow_loopback",
        "flag",
        default="no",
        range="yes or no",
        sense="Whether agents may live on this machine (127.0.0.0/8, ::1): for the demonstration.",
        wrong="yes in production: a call could reach services that listen for this machine only.",
    ),
)
ZONES: Final = (
    Declaration(
        "zones.*",
        "interface",
        "interface",
        default="",
        range="the name of a network interface or VRF",
        sense="The interface this zone's agents are behind. Needed where zones share addresses. "
        "Agents and peers are served there; the platform only with [platform] client_ca, since "
        "anybody behind it could take the platform's address.",
        wrong="An interface that does not exist: /status says so, and it is looked for every few "
        "seconds; other zones go on.",
    ),
    Declaration(
        "zones.*",
        "listen",
        "address",
        default="",
        range="an address of this machine",
        sense="Where agents of this zone arrive. Empty takes [listen] addresses.",
        wrong="Not this machine's: /status says so, and it is tried again every few seconds.",
    ),
    Declaration(
        "zones.*",
        "source",
        "address",
        default="",
        range="an address of this machine",
        sense="The address agents of this zone are called from. Empty leaves it to the system.",
        wrong="Not this machine's: every call into the zone ends in 503.",
    ),
    Declaration(
        "zones.*",
        "networks",
        "networks",
        default="",
        range=LIST_RANGE,
        sense="Where the agents of this zone live. Empty takes [agents] networks.",
        wrong="Too narrow: agents are cut off. Overlapping another zone without interfaces: "
        "refused.",
    ),
    Declaration(
        "zones.*",
        "port",
        "integer",
        default="2003",
        range="1 to 65535",
        sense="The port of this zone's agents. Left out, it is the first of [agents] ports.",
        wrong="Another port than the agents listen on: calls end in 503.",
        low=1,
        high=65535,
    ),
    Declaration(
        "zones.*",
        "network_id",
        "text",
        default="",
        range="netns:NAME, aws:ENDPOINT, azure:LINKID or gcp:CONNECTION",
        high=261,
        sense="What a balancer says in its PROXY header of callers from this zone. Where zones "
        "have one, callers whose balancer names another network are in no zone.",
        wrong="Not what the balancer says: agents behind it are cut off.",
    ),
)
PEERS: Final = (
    Declaration(
        "peers.*",
        "role",
        "choice",
        default="nearer",
        range="nearer or farther",
        sense="nearer (to the agents): it uses this proxy as its upstream. farther: it routes "
        "through this one.",
        wrong="The other way round: its traffic is refused.",
        choices=("nearer", "farther"),
    ),
    Declaration(
        "peers.*",
        "endpoint",
        "endpoint",
        default="",
        range="host:port",
        sense="Where the other proxy is called; a nearer one needs it.",
        wrong="Calls that are routed through it end in 503.",
    ),
    Declaration(
        "peers.*",
        "networks",
        "networks",
        default="",
        range=LIST_RANGE,
        sense="From where the other proxy calls; needed for it to be recognised.",
        wrong="Too wide: others may claim any agent's identity.",
    ),
    Declaration(
        "peers.*",
        "certificate",
        "fingerprint",
        default="",
        range="64 hexadecimal digits, colons allowed",
        sense="The SHA-256 of the other proxy's certificate, as `agent-proxy register-info` shows "
        "it there; only that one is accepted. Without it, or without certificate_file, its calls "
        "are refused.",
        wrong="Another certificate's: the other proxy is refused.",
    ),
    Declaration(
        "peers.*",
        "certificate_file",
        "path",
        default="",
        range=PATH_RANGE,
        sense="The other proxy's certificate itself, PEM (its [listen] certificate, copied here): "
        "what it must show when it calls.",
        wrong="Another's, or one that is not for TLS clients too: the other proxy is refused.",
    ),
)
