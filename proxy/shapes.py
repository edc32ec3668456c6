"""The settings as values: what `settings.parse` returns and everybody else reads.

Layer 0 (pure). Neighbours: `declarations` says what each field means and may hold; `settings`
fills these. Times are seconds, sizes bytes, paths strings already joined to the base directory.
Secrets never show in a repr.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Literal, NamedTuple, TypeAlias

__all__ = [
    "Admin",
    "Agents",
    "Drain",
    "Endpoint",
    "Health",
    "Limits",
    "Listen",
    "Log",
    "Network",
    "Peer",
    "Platform",
    "Proxy",
    "Settings",
    "Timeouts",
    "TlsVersion",
    "Upstream",
    "Zone",
]

Network: TypeAlias = IPv4Network | IPv6Network
TlsVersion: TypeAlias = Literal["1.0", "1.1", "1.2", "1.3"]


class Endpoint(NamedTuple):
    """A host (name or address, IPv6 without brackets) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Proxy:
    id: str  # "" = not configured
    node: str
    secret: bytes = field(repr=False)  # b"" = none
    previous_secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Listen:
    addresses: tuple[str, ...]
    port: int
    certificate: str
    key: str
    min_tls: TlsVersion
    balancers: tuple[Network, ...]
    backlog: int


@dataclass(frozen=True, slots=True)
class Upstream:
    endpoints: tuple[Endpoint, ...]  # () = not configured
    verify: bool
    ca_file: str
    server_name: str  # "" = the host of the endpoint
    host: Literal["upstream", "preserve"]
    min_tls: TlsVersion
    http_proxy: str
    http_proxy_user: str
    http_proxy_password: str = field(repr=False)
    connections: int


@dataclass(frozen=True, slots=True)
class Platform:
    networks: tuple[Network, ...]
    client_ca: str
    routes: Literal["sealed", "any"]


@dataclass(frozen=True, slots=True)
class Agents:
    networks: tuple[Network, ...]
    ports: tuple[int, ...]
    deny: tuple[Network, ...]
    verify: Literal["no", "ca"]
    ca_file: str
    min_tls: TlsVersion
    allow_loopback: bool


@dataclass(frozen=True, slots=True)
class Zone:
    """Where agents live; addresses are unique inside one zone only."""

    name: str
    interface: str
    listen: str
    source: str
    networks: tuple[Network, ...]
    port: int
    network_id: str = ""  # what a balancer calls it; "" = nothing

    def __hash__(self) -> int:
        """By name alone: hashing networks took 2 us of each accepted connection (2026-11)."""
        return hash(self.name)


@dataclass(frozen=True, slots=True)
class Peer:
    """Another proxy. `certificate` is a SHA-256 in lower-case hex, `certificate_file` has it."""

    id: str
    role: Literal["nearer", "farther"]
    endpoint: Endpoint | None
    networks: tuple[Network, ...]
    certificate: str
    certificate_file: str = ""


@dataclass(frozen=True, slots=True)
class Timeouts:
    tls_handshake: float
    request_head: float
    connect: float
    resolve: float
    upstream_answer: float
    agent_answer: float
    body_idle: float
    keepalive_in: float
    keepalive_out: float
    tunnel_idle: float
    tcp_keepalive: float


@dataclass(frozen=True, slots=True)
class Limits:
    head_bytes: int
    fields: int
    request_line_bytes: int
    body_rate: int
    connections: int
    connections_per_source: int
    zone_share: int
    platform_share: int


@dataclass(frozen=True, slots=True)
class Drain:
    delay: float
    timeout: float


@dataclass(frozen=True, slots=True)
class Health:
    silent: float
    memory: int


@dataclass(frozen=True, slots=True)
class Admin:
    address: str
    port: int
    run_dir: str


@dataclass(frozen=True, slots=True)
class Log:
    format: Literal["plain", "json"]
    level: Literal["debug", "info", "warning", "error"]
    access: bool


@dataclass(frozen=True, slots=True)
class Settings:
    proxy: Proxy
    listen: Listen
    upstream: Upstream
    platform: Platform
    agents: Agents
    zones: tuple[Zone, ...]  # never empty
    peers: tuple[Peer, ...]
    timeouts: Timeouts
    limits: Limits
    drain: Drain
    health: Health
    admin: Admin
    log: Log
