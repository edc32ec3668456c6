"""callers: PROTOCOL.md section 1, and what section 2 says of an agent."""

from __future__ import annotations

import ipaddress

import pytest

from proxy import callers
from proxy.callers import Caller
from proxy.errors import NotReady
from proxy.settings import parse
from tests.unit.example import KEYS, NO_SECRET, OWN, SETTINGS, settings_of

ZONE = SETTINGS.zones[0]
AGENT = Caller("agent", "10.0.0.2", "default")
BEHIND_INTERFACE = """
[platform]
networks = 192.0.2.1
[zones]
[[one]]
interface = e1
networks = 10.0.0.0/8, 192.0.2.0/24
"""


@pytest.mark.parametrize(
    ("source", "kind", "shown"),
    [
        ("192.0.2.1", "platform", "192.0.2.1"),
        ("2001:db8:1::5", "platform", "2001:db8:1::5"),
        ("::ffff:192.0.2.1", "platform", "192.0.2.1"),
        ("10.9.0.1", "peer", "10.9.0.1"),
        ("10.9.0.2", "peer", "10.9.0.2"),
        ("10.9.0.3", "agent", "10.9.0.3"),
        ("::ffff:10.0.0.2", "agent", "10.0.0.2"),
        ("fd00::2", "agent", "fd00::2"),
        ("198.51.100.7", "stranger", "198.51.100.7"),
        ("127.0.0.1", "stranger", "127.0.0.1"),
        ("::1", "stranger", "::1"),
        ("2001:db8:2::5", "stranger", "2001:db8:2::5"),
        # Whoever can send from these has not shown that the address inside is theirs.
        ("2002:c000:201::1", "stranger", "2002:c000:201::1"),
        ("64:ff9b::c000:201", "stranger", "64:ff9b::c000:201"),
        ("::192.0.2.1", "stranger", "::c000:201"),
    ],
)
def test_class_of_a_source(source: str, kind: str, shown: str) -> None:
    caller = callers.classify(SETTINGS, ipaddress.ip_address(source), ZONE)
    assert (caller.kind, caller.source, caller.zone) == (kind, shown, "default")
    assert (caller.peer is not None) == (kind == "peer")


def test_who_must_leave_room_for_the_platforms_calls() -> None:
    nearer, farther = SETTINGS.peers
    assert AGENT.is_below
    assert Caller("peer", "10.9.0.1", "-", nearer).is_below
    assert not Caller("peer", "10.9.0.2", "-", farther).is_below
    assert not Caller("platform", "192.0.2.1", "-").is_below


def test_no_configuration_means_no_access() -> None:
    bare = parse([])
    for source in ("192.0.2.1", "127.0.0.1", "8.8.8.8"):
        assert (
            callers.classify(bare, ipaddress.ip_address(source), bare.zones[0]).kind == "stranger"
        )


def test_identity_of_an_agent() -> None:
    fields, by = callers.identity(SETTINGS, AGENT, KEYS)
    lines = fields.split(b"\r\n")
    assert lines[:3] == [
        b"Agent-Proxy-Id: 45BCEBB32AA9",
        b"Agent-Proxy-Zone: default",
        b"Agent-Proxy-Source: 10.0.0.2",
    ]
    name, _, value = lines[3].partition(b": ")
    assert name == b"Agent-Route"
    assert value.startswith(
        b'"45BCEBB32AA9", agent;zone="default";host="10.0.0.2";port=2003;seal=:'
    )
    assert lines[4:] == [b""]
    assert by == b"for=10.0.0.2;by=_45BCEBB32AA9"


def test_ipv6_source_is_quoted_in_forwarded() -> None:
    identity = callers.identity(SETTINGS, Caller("agent", "fd00::2", "default"), KEYS)
    assert identity.by == b'for="[fd00::2]";by=_45BCEBB32AA9'
    assert b'host="fd00::2"' in identity.fields


@pytest.mark.parametrize(
    ("changes", "missing"), [([(f"id = {OWN}", "id =")], "id"), (NO_SECRET, "secret")]
)
def test_agents_that_cannot_be_named_are_not_let_through(
    changes: list[tuple[str, str]], missing: str
) -> None:
    settings = settings_of(*changes)
    with pytest.raises(NotReady, match=rf"\[proxy\] {missing} is not set"):
        callers.identity(settings, AGENT, callers.seal_keys(settings))


def test_platforms_address_behind_a_zones_interface_is_an_agents_there() -> None:
    address = ipaddress.ip_address("192.0.2.1")
    bare = parse(BEHIND_INTERFACE.splitlines())
    assert callers.classify(bare, address, bare.zones[0]).kind == "agent"
    safe = parse(BEHIND_INTERFACE.replace("[zones]", "client_ca = ca.pem\n[zones]").splitlines())
    assert callers.classify(safe, address, safe.zones[0]).kind == "platform"


@pytest.mark.parametrize("source", ["fe80::1", "fe80::1%e1", "169.254.1.1", "::ffff:169.254.1.1"])
def test_link_local_sources_are_strangers(source: str) -> None:
    for used in (SETTINGS, parse(BEHIND_INTERFACE.splitlines())):
        caller = callers.classify(used, ipaddress.ip_address(source), used.zones[0])
        assert caller.kind == "stranger"
