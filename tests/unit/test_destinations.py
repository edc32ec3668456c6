"""destinations: PROTOCOL.md section 3, rule by rule."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import pytest

from proxy import callers, destinations, route
from proxy.callers import Caller, seal_keys
from proxy.destinations import Surroundings
from proxy.errors import BadRoute, NotReady, RelayError
from proxy.settings import Settings
from tests.unit.example import (
    KEYS,
    NO_SECRET,
    OWN,
    PREVIOUS,
    SECRET,
    SETTINGS,
    nothing_around,
    settings_of,
)

AGENT = Caller("agent", "10.0.0.2", "default")


def refusals(
    host: str,
    port: int = 2003,
    *,
    zone: str = "default",
    settings: Settings = SETTINGS,
    around: Callable[[], Surroundings] = nothing_around,
) -> list[str]:
    """Return the rules that refuse a rightly sealed route to `host`."""
    seal = route.seal(KEYS[0], OWN, zone, host, port)
    hop = route.AgentHop(zone, host, port, seal)
    keys = seal_keys(settings)
    return [
        decision.rule
        for decision in destinations.destination(settings, hop, around(), keys)
        if not decision.allowed
    ]


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "agent.example.com", "10.0.0", "10.0.2", "167772162", "0x0a000002",
        "012.0.0.2",
        "10.0.0.02", "010.0.0.2", "10.0.0.2.", "10.0.0.2 ", "", "[fd00::2]", "FD00::2",
        "fd00:0::2", "fd00:0:0:0:0:0:0:2", "fd00::0002", "fd00::2%eth0", "fd00::2/64",
        "::FFFF:a00:2", "0:0:0:0:0:ffff:10.0.0.2", "::ffff:0a00:0002", "\u0661\u0660.0.0.2",
    ],
)  # fmt: skip
def test_rule_1_only_literals_in_canonical_form(host: str) -> None:
    """Nothing else is asked of what has no canonical form."""
    assert refusals(host) == ["1 address"]


EVERYWHERE = settings_of(
    ("networks = 10.0.0.0/8, fc00::/7", "networks = 0.0.0.0/1, 128.0.0.0/1, ::/1, 8000::/1"),
    ("[[PEERNEARER]]", "[[PEERNEARER2]]"),
    ("ports = 2003, 2010", "ports = 2003, 2010\nallow_loopback = yes"),
)


@pytest.mark.parametrize(
    "host",
    [
        # loopback, in every spelling
        "127.0.0.1", "127.0.0.2", "127.255.255.254", "127.0.0.0", "::1",
        "::ffff:7f00:1", "::ffff:7fff:fffe", "::7f00:1", "2002:7f00:1::", "64:ff9b::7f00:1",
        "::ffff:0:7f00:1", "::ffff:0:a9fe:a9fe",
        # unspecified
        "0.0.0.0", "0.0.0.1", "0.255.255.255", "::", "::ffff:0:0", "::2", "64:ff9b::", "2002::",
        # link-local and metadata
        "169.254.0.1", "169.254.169.254", "fe80::1", "febf::1", "::ffff:a9fe:a9fe",
        "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "fd00:ec2::254", "100.100.100.200",
        "192.0.0.192", "::ffff:6464:64c8", "64:ff9b::6464:64c8",
        "::a9fe:a9fe", "::6464:64c8", "::a83f:8110", "::c000:c0",
        "fd00:ec2::253", "fd00:ec2::23", "fd20:ce::254", "fd00:42::42", "fd00:c1::a9fe:a9fe",
        "168.63.129.16", "::ffff:a83f:8110", "64:ff9b::a83f:8110",
        # what tunnels and translators turn into another address: local NAT64, Teredo, ISATAP
        "64:ff9b:1::a9fe:a9fe", "64:ff9b:1:7f00:0:100::", "2001:0:a00:1::f5ff:fffd",
        "2001:db8::5efe:a00:2", "fd00::200:5efe:a00:2",
        # multicast and broadcast
        "224.0.0.1", "239.255.255.255", "ff02::1", "::e000:1", "::ffff:e000:1", "64:ff9b::e000:1",
        "255.255.255.255", "::ffff:ffff:ffff", "64:ff9b::ffff:ffff",
        # denied
        "10.66.0.1", "::a42:1", "::ffff:a42:1", "64:ff9b::a42:1", "2002:a42:1::", "fd66::1",
    ],
)  # fmt: skip
def test_rule_2_never(host: str) -> None:
    assert "2 forbidden" in refusals(host)
    if not ipaddress.ip_address(destinations.agent_target(hop_to(host)).host).is_loopback:
        assert refusals(host, settings=EVERYWHERE) == ["2 forbidden"], "whatever the networks are"


def hop_to(host: str) -> route.AgentHop:
    return route.AgentHop("default", host, 2003)


@pytest.mark.parametrize(
    "host", ["10.0.0.9", "::a00:9", "::ffff:a00:9", "64:ff9b::a00:9", "2002:a00:9::"]
)
def test_rule_2_neither_the_upstream_nor_this_machine(host: str) -> None:
    inside = ipaddress.ip_address("10.0.0.9")

    def upstream() -> Surroundings:
        return Surroundings(lambda address, _: False, frozenset({"10.0.0.9"}))

    def own() -> Surroundings:
        return Surroundings(lambda address, _: address == inside, frozenset())

    assert refusals(host) == []
    assert refusals(host, around=upstream) == ["2 forbidden"]
    assert refusals(host, around=own) == ["2 forbidden"]


def test_rule_2_loopback_for_demonstrations_even_if_it_is_our_own() -> None:
    demonstration = settings_of(
        ("networks = 10.0.0.0/8, fc00::/7", "networks = 127.0.1.0/24\nallow_loopback = yes")
    )

    def own() -> Surroundings:
        return Surroundings(lambda address, _: True, frozenset({"127.0.1.9"}))

    assert refusals("127.0.1.1", settings=demonstration, around=own) == []
    assert refusals("127.0.1.9", settings=demonstration, around=own) == ["2 forbidden"]
    assert refusals("127.0.2.1", settings=demonstration, around=own) == ["3 zone"]


@pytest.mark.parametrize(
    ("host", "port", "zone", "rules"),
    [
        ("10.0.0.2", 2003, "default", []),
        ("10.255.255.254", 2010, "default", []),
        ("fd00::2", 2003, "default", []),
        ("::ffff:a00:2", 2003, "default", []),
        ("11.0.0.1", 2003, "default", ["3 zone"]),
        ("8.8.8.8", 2003, "default", ["3 zone"]),
        ("172.16.0.1", 2003, "default", ["3 zone"]),
        ("2001:db8::1", 2003, "default", ["3 zone"]),
        ("::ffff:808:808", 2003, "default", ["3 zone"]),
        ("64:ff9b::808:808", 2003, "default", ["3 zone"]),
        ("::a00:2", 2003, "default", []),
        ("::808:808", 2003, "default", ["3 zone"]),
        ("10.0.0.2", 22, "default", ["3 port"]),
        ("10.0.0.2", 2002, "default", ["3 port"]),
        ("10.0.0.2", 2003, "Default", ["3 zone"]),
        ("10.0.0.2", 2003, "other", ["3 zone"]),
        ("10.0.0.2", 22, "other", ["3 zone", "3 port"]),
    ],
)
def test_rule_3_inside_the_zone_and_its_ports(
    host: str, port: int, zone: str, rules: list[str]
) -> None:
    assert refusals(host, port, zone=zone) == rules


def sealed(seal: bytes | None, settings: Settings) -> bool:
    hop = route.AgentHop("default", "10.0.0.2", 2003, seal)
    *_, last = destinations.destination(settings, hop, nothing_around(), seal_keys(settings))
    assert last.rule == "4 seal"
    return last.allowed


@pytest.mark.parametrize(
    ("seal", "strict", "lax"),
    [
        (route.seal(KEYS[0], OWN, "default", "10.0.0.2", 2003), True, True),
        (None, False, True),
        (b"\0" * 16, False, False),
        (route.seal(KEYS[0], "OTHERPROXY", "default", "10.0.0.2", 2003), False, False),
        (route.seal(KEYS[0], OWN, "other", "10.0.0.2", 2003), False, False),
        (route.seal(KEYS[0], OWN, "default", "10.0.0.3", 2003), False, False),
        (route.seal(KEYS[0], OWN, "default", "10.0.0.2", 2004), False, False),
        (route.seal(route.seal_key(b"x" * 32), OWN, "default", "10.0.0.2", 2003), False, False),
    ],
)
def test_rule_4_seal(seal: bytes | None, strict: bool, lax: bool) -> None:
    assert sealed(seal, SETTINGS) is strict
    assert sealed(seal, settings_of(("[platform]", "[platform]\nroutes = any"))) is lax


def test_rule_4_seal_of_the_previous_secret_still_counts() -> None:
    both = settings_of((f"secret = {SECRET}", f"secret = {SECRET}\nprevious_secret = {PREVIOUS}"))
    old = route.seal(route.seal_key(PREVIOUS.encode()), OWN, "default", "10.0.0.2", 2003)
    assert sealed(old, both)
    assert not sealed(old, SETTINGS)
    assert len(seal_keys(both)) == 2
    minted = callers.identity(both, AGENT, seal_keys(both)).fields
    assert minted == callers.identity(SETTINGS, AGENT, KEYS).fields, "minted with the new one"


def test_rule_4_without_a_secret_no_seal_is_right() -> None:
    none = settings_of(*NO_SECRET)
    assert seal_keys(none) == ()
    assert not sealed(route.seal(KEYS[0], OWN, "default", "10.0.0.2", 2003), none)


@pytest.mark.parametrize(
    ("host", "dialled"),
    [
        ("10.0.0.2", "10.0.0.2"),
        ("fd00::2", "fd00::2"),
        ("::ffff:a00:2", "10.0.0.2"),
        ("::a00:2", "10.0.0.2"),
        ("64:ff9b::a00:2", "10.0.0.2"),
        ("2002:a00:2::", "10.0.0.2"),
    ],
)
def test_dialled_is_the_address_that_was_judged(host: str, dialled: str) -> None:
    assert destinations.agent_target(hop_to(host)).host == dialled


def test_peer_is_called_at_its_endpoint_with_its_certificate_pinned() -> None:
    target = destinations.peer_target(SETTINGS, "PEERNEARER")
    assert target == ("peer", "10.9.0.1", 2002, "PEERNEARER", b"\xab" * 32)


@pytest.mark.parametrize(
    ("peer_id", "changes", "error"),
    [
        ("UNKNOWN001", [], BadRoute),
        ("PEERFARTHER", [], BadRoute),
        ("PEERNEARER", [(f"certificate = {'ab' * 32}\n", "")], NotReady),
    ],
)
def test_peer_that_cannot_be_called(
    peer_id: str, changes: list[tuple[str, str]], error: type[RelayError]
) -> None:
    with pytest.raises(error):
        destinations.peer_target(settings_of(*changes), peer_id)
