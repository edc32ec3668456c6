"""Settings that are each right but do not fit together, or are safe only in other company.

Layer 0 (pure). Neighbours: `shapes`; `settings` asks here after each value has been read.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import combinations
from typing import Final, NamedTuple

from proxy.shapes import Network, Settings, Zone

__all__ = ["Contradiction", "problems"]

_NETWORK_ID_KINDS: Final = ("netns", "aws", "azure", "gcp")
_LOOPBACK: Final = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


class Contradiction(NamedTuple):
    section: str  # "zones/NAME" for a zone
    key: str
    message: str
    remedy: str


def problems(settings: Settings) -> list[Contradiction]:
    """Return all that does not fit together."""
    return [
        *_access(settings),
        *_upstream(settings),
        *_agents(settings),
        *_zones(settings.zones),
        *_network_ids(settings.zones),
        *_peers(settings),
        *_sizes(settings),
        *_admin(settings),
    ]


def _access(settings: Settings) -> Iterator[Contradiction]:
    proxy, platform, listen = settings.proxy, settings.platform, settings.listen
    if proxy.previous_secret and not proxy.secret:
        message = "there is a previous secret but no present one"
        yield Contradiction("proxy", "previous_secret", message, "Set secret as well.")
    if proxy.previous_secret and proxy.previous_secret == proxy.secret:
        message = "the previous secret is the present one"
        yield Contradiction("proxy", "previous_secret", message, "Leave it out.")
    if proxy.id and platform.networks and platform.routes == "sealed" and not proxy.secret:
        message = "routes = sealed needs a secret, and there is none"
        remedy = "Set secret_file in [proxy], the same on all nodes of the group."
        yield Contradiction("proxy", "secret", message, remedy)
    if any(_is_everything(one) for one in platform.networks) and not platform.client_ca:
        message = "anybody would count as the platform and could command the agents"
        remedy = "Name the platform's own addresses, or set client_ca too."
        yield Contradiction("platform", "networks", message, remedy)
    if any(_is_everything(one) for one in listen.balancers):
        message = "anybody could claim any address"
        yield Contradiction("listen", "balancers", message, "Name the balancers' addresses.")
    if not listen.addresses:
        message = "at least one address is needed"
        yield Contradiction("listen", "addresses", message, "0.0.0.0 is every address.")
    for key in ("certificate", "key"):
        if not getattr(listen, key):
            message = "callers are served over TLS only, which needs this file"
            remedy = "Name the file, or leave the line out."
            yield Contradiction("listen", key, message, remedy)


def _is_everything(network: Network) -> bool:
    return network.prefixlen == 0


def _upstream(settings: Settings) -> Iterator[Contradiction]:
    upstream = settings.upstream
    if ":" in upstream.http_proxy_user:
        message = "a user name has no colon in it"
        yield Contradiction("upstream", "http_proxy_user", message, "Give the name alone.")
    if upstream.http_proxy_user and not upstream.http_proxy:
        message = "there is a user name but no forward proxy"
        yield Contradiction("upstream", "http_proxy_user", message, "Set http_proxy as well.")
    if upstream.http_proxy_password and not upstream.http_proxy_user:
        message = "there is a password but no user name"
        remedy = "Set http_proxy_user as well."
        yield Contradiction("upstream", "http_proxy_password", message, remedy)


def _agents(settings: Settings) -> Iterator[Contradiction]:
    agents = settings.agents
    if agents.verify == "ca" and not agents.ca_file:
        message = "verify = ca needs to know which authorities"
        yield Contradiction("agents", "ca_file", message, "Set ca_file, or verify = no.")
    places = [("agents", agents.networks)]
    places += [
        (f"zones/{zone.name}", zone.networks)
        for zone in settings.zones
        if zone.networks != agents.networks
    ]
    for section, networks in places:
        local = [one for one in networks if any(_inside(one, loop) for loop in _LOOPBACK)]
        if local and not agents.allow_loopback:
            message = f"{local[0]} is this machine itself"
            remedy = "Take it out, or set [agents] allow_loopback = yes for a demonstration."
            yield Contradiction(section, "networks", message, remedy)


def _inside(small: Network, large: Network) -> bool:
    if isinstance(small, IPv4Network) and isinstance(large, IPv4Network):
        return small.subnet_of(large)
    if isinstance(small, IPv6Network) and isinstance(large, IPv6Network):
        return small.subnet_of(large)
    return False


def _zones(zones: tuple[Zone, ...]) -> Iterator[Contradiction]:
    for one, other in combinations(zones, 2):
        if one.interface and other.interface and one.interface != other.interface:
            continue
        for network in one.networks:
            same = [theirs for theirs in other.networks if network.overlaps(theirs)]
            if same:
                message = f"{same[0]} overlaps {network} of the zone {one.name}"
                remedy = "Give each of the two zones its own interface, or separate networks."
                yield Contradiction(f"zones/{other.name}", "networks", message, remedy)
                break


def _network_ids(zones: tuple[Zone, ...]) -> Iterator[Contradiction]:
    seen: dict[str, str] = {}
    for zone in zones:
        section, told = f"zones/{zone.name}", zone.network_id
        kind, colon, name = told.partition(":")
        if told and (kind not in _NETWORK_ID_KINDS or not colon or not name):
            message = "this is no network that a balancer names"
            remedy = "Write netns:NAME, aws:ENDPOINT, azure:LINKID or gcp:CONNECTION."
            yield Contradiction(section, "network_id", message, remedy)
        elif told in seen:
            message = f"this is the network of the zone {seen[told]} already"
            yield Contradiction(section, "network_id", message, "Give each zone its own.")
        elif told:
            seen[told] = zone.name


def _peers(settings: Settings) -> Iterator[Contradiction]:
    for peer in settings.peers:
        section = f"peers/{peer.id}"
        if peer.id == settings.proxy.id:
            message = "this is the proxy's own ID"
            yield Contradiction(section, "id", message, "Name the other proxy by its ID.")
        if not peer.networks:
            message = "without networks this peer can never be recognised"
            yield Contradiction(section, "networks", message, "Say where it calls from.")
        if peer.role == "nearer" and peer.endpoint is None:
            message = "calls through a nearer peer need an address to go to"
            yield Contradiction(section, "endpoint", message, "Give its host:port.")


def _sizes(settings: Settings) -> Iterator[Contradiction]:
    limits = settings.limits
    if limits.request_line_bytes > limits.head_bytes:
        message = f"the request line is part of the head, which is {limits.head_bytes} at most"
        yield Contradiction("limits", "request_line_bytes", message, "Give less than head_bytes.")
    if limits.connections_per_source > limits.connections:
        message = f"one source cannot have more than all together, {limits.connections}"
        remedy = "Give connections at most."
        yield Contradiction("limits", "connections_per_source", message, remedy)


def _admin(settings: Settings) -> Iterator[Contradiction]:
    admin = settings.admin
    if not admin.address or not ip_address(admin.address).is_loopback:
        message = "others would reach the admin pages, which ask for no password"
        yield Contradiction("admin", "address", message, "Give 127.0.0.1 or ::1.")
    if admin.port == settings.listen.port:
        message = "this is the port of [listen]"
        yield Contradiction("admin", "port", message, "Give another port.")
