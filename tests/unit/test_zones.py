"""Zones: which listeners there are, and where a caller is."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_address

import pytest

from proxy import settings, zones
from proxy.settings import Settings, Zone

ISOLATED = """
[agents]
networks = 10.0.0.0/8, fd00::/8
[zones]
[[one]]
interface = e1
[[two]]
interface = e2
listen = 10.0.0.1
"""
APART = """
[listen]
addresses = 0.0.0.0, ::
[zones]
[[left]]
networks = 10.1.0.0/16
[[right]]
networks = 10.2.0.0/16, fd02::/16
[[cloud]]
networks = 10.3.0.0/16
network_id = aws:vpce-0a
[[own]]
networks = 10.4.0.0/16
listen = 10.4.0.1
"""


def read(text: str) -> Settings:
    return settings.parse(text.splitlines())


def names(text: str) -> dict[zones.Key, list[str]]:
    found = zones.listeners(read(text), ("lo", "eth0"))
    return {key: [zone.name for zone in served] for key, served in found.items()}


def test_without_zones_one_zone_is_served_at_every_address() -> None:
    assert names("[listen]\naddresses = 0.0.0.0, ::\n") == {
        ("0.0.0.0", "", 2002): ["default"],
        ("::", "", 2002): ["default"],
    }


def test_zones_with_an_interface_have_their_own_listener_and_the_platform_keeps_one() -> None:
    assert names(ISOLATED) == {
        ("0.0.0.0", "lo", 2002): [],
        ("0.0.0.0", "eth0", 2002): [],
        ("0.0.0.0", "e1", 2002): ["one"],
        ("10.0.0.1", "e2", 2002): ["two"],
    }


def test_only_the_addresses_of_listen_must_be_there() -> None:
    assert not zones.is_optional(read(APART), ("::", "", 2002))
    assert zones.is_optional(read(APART), ("10.4.0.1", "", 2002))
    assert zones.is_optional(read(ISOLATED), ("0.0.0.0", "e1", 2002))


def test_zones_without_an_interface_use_those_that_no_zone_has() -> None:
    mixed = names(
        "[zones]\n[[a]]\ninterface = e1\nnetworks = 10.1.0.0/16\n[[b]]\nnetworks = 10.2.0.0/16\n"
    )
    assert mixed["0.0.0.0", "eth0", 2002] == ["b"]
    assert mixed["0.0.0.0", "e1", 2002] == ["a"]


def test_zones_without_an_interface_share_listeners() -> None:
    assert names(APART) == {
        ("0.0.0.0", "", 2002): ["left", "right"],
        ("::", "", 2002): ["left", "right"],
        ("10.4.0.1", "", 2002): ["own"],
    }


@pytest.mark.parametrize(
    ("source", "zone"),
    [
        ("10.1.2.3", "left"),
        ("::ffff:10.1.2.3", "left"),
        ("10.2.2.3", "right"),
        ("fd02::1", "right"),
        ("10.3.0.1", "-"),
    ],
)
def test_a_caller_on_a_shared_listener_is_where_its_address_is(source: str, zone: str) -> None:
    served = zones.listeners(read(APART))["0.0.0.0", "", 2002]
    assert zones.zone_of(ip_address(source), served).name == zone


def test_a_caller_through_an_interface_is_in_its_zone_whatever_its_address() -> None:
    served = zones.listeners(read(ISOLATED))["0.0.0.0", "e1", 2002]
    assert zones.zone_of(ip_address("192.0.2.1"), served).name == "one"


def test_the_shared_listener_serves_nobody_where_all_zones_have_interfaces() -> None:
    served = zones.listeners(read(ISOLATED), ("eth0",))["0.0.0.0", "eth0", 2002]
    assert zones.zone_of(ip_address("10.0.0.2"), served) == zones.NOWHERE


@pytest.mark.parametrize(
    ("source", "told", "zone"),
    [
        ("10.1.0.1", (), "left"),
        ("10.3.0.1", ("aws:vpce-0a",), "cloud"),
        ("10.3.0.1", ("netns:red", "aws:vpce-0a"), "cloud"),
        ("10.1.0.1", ("aws:vpce-0b",), "-"),  # unknown falls to refusal
        ("10.3.0.1", (), "-"),
    ],
)
def test_a_balancer_may_tell_the_zone(source: str, told: tuple[str, ...], zone: str) -> None:
    parsed = read(APART)
    served = zones.listeners(parsed)["0.0.0.0", "", 2002]
    assert zones.zone_told(ip_address(source), served, parsed.zones, told).name == zone


def test_what_a_balancer_tells_means_nothing_where_no_zone_asks() -> None:
    parsed = read("")
    served = zones.listeners(parsed)["0.0.0.0", "", 2002]
    told = ("aws:vpce-0a",)
    assert zones.zone_told(ip_address("10.0.0.1"), served, parsed.zones, told).name == "default"


def test_zones_of_one_name_meet_in_a_table_and_are_still_told_apart() -> None:
    before = Zone("isolated-1", "eth1", "", "", (), 2003)
    after = dataclasses.replace(before, port=2004)
    assert hash(before) == hash(after)
    assert {before: "old", after: "new"}[after] == "new"
