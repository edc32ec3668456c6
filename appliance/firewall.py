"""The firewall as nftables rules, made of the settings: what they name may come in, nothing else.

Pure. Neighbours: `model` and the proxy's settings are what it is made of. The unit
agent-proxy-firewall.service loads the file as one transaction, after nft has checked it, and fails
otherwise.

The proxy's port is open to the networks that the proxy itself would listen to: the platform's,
peers', balancers' and, zone by zone, the agents', through the interface and to the address that a
zone has. It is the same judgement as in proxy/zones.py and proxy/callers.py, made once more and
earlier: a stranger cannot even open a connection.

Zones on interfaces of their own may have the same addresses: two connections through two of them
can be equal in addresses and ports. So that connection tracking does not take them for one, each
such interface has its own conntrack zone.

Who is refused at the proxy's port is remembered for ten minutes in the sets refused4 and refused6:
"arrived, but is not allowed" and "never arrived" are different tickets.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from appliance.errors import Problem, Problems
from appliance.model import PATH as APPLIANCE_PATH
from appliance.model import Appliance
from appliance.plan import Action, Plan, Write, rendered
from proxy.settings import Network, Settings, Zone

__all__ = ["APPLY", "PATH", "TABLE", "plan", "render", "validate"]

PATH: Final = "/etc/agent-proxy/firewall.nft"
TABLE: Final = "agent_proxy"
APPLY: Final = Action(
    ("systemctl", "reload-or-restart", "agent-proxy-firewall.service"),
    "loading the firewall's rules",
)
_SSH: Final = 22
_CONNTRACK_ZONES: Final = 1000  # the first number; 0 is what everything else is in
_WORLD: Final = ("0.0.0.0/0", "::/0")

# Without these IPv6 does not work at all (RFC 4890), whatever `ping` says.
_ICMP6: Final = (
    "destination-unreachable, packet-too-big, time-exceeded, parameter-problem, "
    "nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query"
)


def validate(settings: Settings | None, appliance: Appliance) -> list[Problem]:
    """Return every opening that cannot be, or would be another one's."""
    problems = []
    taken = {_SSH: "SSH has its own switch: `ssh on`"}
    if settings is not None:
        taken[settings.listen.port] = "the proxy's port follows its own settings"
        taken[settings.admin.port] = "the admin pages are for this machine only"
    for number, opening in enumerate(appliance.firewall.openings):
        place = f"firewall.openings.{number}"
        if not 1 <= opening.port <= 65535:
            problems.append(
                Problem(f"{place}.port", str(opening.port), "no such port", "Give 1 to 65535.")
            )
        elif opening.protocol == "tcp" and opening.port in taken:
            message = taken[opening.port]
            problems.append(
                Problem(f"{place}.port", str(opening.port), message, "Take it out here.")
            )
        problems += _misspelt(f"{place}.networks", opening.networks)
    return problems + _misspelt("access.networks", appliance.access.networks)


def render(settings: Settings | None, appliance: Appliance) -> tuple[Write, ...]:
    """Return the file of rules. Without settings, before the first boot, the proxy's port is shut.

    Both must be without problems. Raises: Problems otherwise.
    """
    problems = validate(settings, appliance)
    if problems:
        raise Problems(problems)
    own = _own_interfaces(settings)
    lines = [
        f"# From {APPLIANCE_PATH} and proxy.ini. One transaction: the old table, then the new.",
        f"table inet {TABLE}",
        f"delete table inet {TABLE}",
        f"table inet {TABLE} {{",
        *_refused_sets(),
        *_conntrack(own),
        *_chain("input", "filter", "drop", _input(appliance, settings, own)),
        *_chain("forward", "filter", "drop", []),
        "}",
    ]
    return (Write(PATH, rendered(lines), mode=0o600),)


def plan(settings: Settings | None, appliance: Appliance) -> Plan:
    """Return what brings the rules in force in line with the settings."""
    return Plan("firewall", render(settings, appliance), (), (APPLY,))


def _own_interfaces(settings: Settings | None) -> list[str]:
    zones = settings.zones if settings is not None else ()
    return list(dict.fromkeys(zone.interface for zone in zones if zone.interface))


def _refused_sets() -> list[str]:
    lines = []
    for family, kind in (("4", "ipv4_addr"), ("6", "ipv6_addr")):
        lines += [
            f"  set refused{family} {{",
            f"    type {kind}",
            "    size 1024",
            "    flags dynamic, timeout",
            "    timeout 10m",
            "  }",
        ]
    return lines


def _conntrack(own: list[str]) -> list[str]:
    """Chains that give each zone's interface its own conntrack zone."""
    if not own:
        return []
    before, after = [], []
    for number, interface in enumerate(own, _CONNTRACK_ZONES):
        before.append(f'iifname "{interface}" ct zone set {number}')
        after.append(f'oifname "{interface}" ct zone set {number}')
    return [
        *_chain("prerouting", "raw", "accept", before),
        *_chain("output", "raw", "accept", after),
    ]


def _chain(hook: str, priority: str, policy: str, rules: list[str]) -> list[str]:
    return [
        f"  chain {hook} {{",
        f"    type filter hook {hook} priority {priority}; policy {policy};",
        *(f"    {rule}" for rule in rules),
        "  }",
    ]


def _input(appliance: Appliance, settings: Settings | None, own: list[str]) -> list[str]:
    rules = [
        'iifname "lo" accept',
        "ct state established,related accept",
        "ct state invalid drop",
        "icmpv6 type { " + _ICMP6 + " } accept",
        "udp sport 67 udp dport 68 accept",
        "ip6 saddr fe80::/10 udp dport 546 accept",
    ]
    if appliance.firewall.ping:
        rules.append("icmp type echo-request limit rate 50/second accept")
        rules.append("icmpv6 type echo-request limit rate 50/second accept")
    if settings is not None:
        rules += _proxy(settings, own)
    if appliance.access.ssh:
        rules += _open("tcp", _SSH, appliance.access.networks or _WORLD, "ssh")
    for opening in appliance.firewall.openings:
        networks = opening.networks or _WORLD
        rules += _open(opening.protocol, opening.port, networks, f"opening {opening.port}")
    return rules


def _proxy(settings: Settings, own: list[str]) -> list[str]:
    """Who may call the proxy's port; the rest of those who try is remembered, and dropped."""
    port = settings.listen.port
    elsewhere = f"iifname != {_set(_quoted(own))} " if own else ""
    # Behind a zone's own interface the platform is believed only with a certificate.
    platform = "" if settings.platform.client_ca else elsewhere
    rules = _open("tcp", port, settings.platform.networks, "platform", platform)
    for peer in settings.peers:
        rules += _open("tcp", port, peer.networks, f"peer {peer.id}")
    rules += _open("tcp", port, settings.listen.balancers, "balancers")
    for zone in settings.zones:
        rules += _zone(port, zone, elsewhere)
    rules.append(
        f"tcp dport {port} ip saddr != 0.0.0.0 update @refused4 {{ ip saddr }} counter drop"
    )
    rules.append(f"tcp dport {port} ip6 saddr != :: update @refused6 {{ ip6 saddr }} counter drop")
    return rules


def _zone(port: int, zone: Zone, elsewhere: str) -> list[str]:
    if zone.network_id and not zone.interface and not zone.listen:
        return []  # only a balancer can say that somebody is there
    where = f'iifname "{zone.interface}" ' if zone.interface else elsewhere
    if zone.listen:
        family = "ip6" if ":" in zone.listen else "ip"
        where += f"{family} daddr {zone.listen} "
    return _open("tcp", port, zone.networks, f"zone {zone.name}", where)


def _open(
    protocol: str, port: int, networks: Iterable[Network | str], name: str, where: str = ""
) -> list[str]:
    """Return a rule for each IP version that `networks` have."""
    rules = []
    parsed = [ipaddress.ip_network(one) for one in networks]
    four = ipaddress.collapse_addresses(n for n in parsed if isinstance(n, ipaddress.IPv4Network))
    six = ipaddress.collapse_addresses(n for n in parsed if isinstance(n, ipaddress.IPv6Network))
    for family, version, members in (("ip", "ipv4", list(four)), ("ip6", "ipv6", list(six))):
        if not members:
            continue
        whole = any(one.prefixlen == 0 for one in members)
        source = f"meta nfproto {version}" if whole else f"{family} saddr {_set(map(str, members))}"
        rules.append(f'{where}{source} {protocol} dport {port} counter accept comment "{name}"')
    return rules


def _set(members: Iterable[str]) -> str:
    return "{ " + ", ".join(members) + " }"


def _quoted(names: list[str]) -> list[str]:
    return [f'"{name}"' for name in names]


def _misspelt(place: str, networks: tuple[str, ...]) -> list[Problem]:
    problems = []
    for text in networks:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            remedy = "Write networks such as 10.1.0.0/16 or single addresses."
            problems.append(Problem(place, text, "this is no network", remedy))
    return problems
