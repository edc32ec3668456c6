"""The firewall's rules, from settings; what they let in on a real machine: tests/appliance."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from appliance import firewall
from appliance.errors import Problems
from appliance.model import Access, Appliance, Firewall, Opening
from proxy import settings
from proxy.settings import Settings

_HEAD = """[proxy]
id = 45BCEBB32AA9
secret = 0123456789012345678901234567890123456789
[platform]
networks = 8.7.6.5, 2001:db8::/32
"""


def parsed(text: str = "") -> Settings:
    return settings.parse((_HEAD + text).splitlines())


def rules(text: str | None = "", appliance: Appliance = Appliance()) -> list[str]:  # noqa: B008
    """Return the rules that let something in or refuse it."""
    (write,) = firewall.render(None if text is None else parsed(text), appliance)
    return [line.strip() for line in write.content.decode().splitlines()]


def at_port(lines: list[str], port: int = 2002) -> list[str]:
    return [line for line in lines if f"tcp dport {port} " in line]


def test_before_the_first_boot_the_port_is_shut() -> None:
    lines = rules(None)
    assert at_port(lines) == []
    assert "type filter hook input priority filter; policy drop;" in lines


def test_the_platform_and_private_networks_may_come_in() -> None:
    assert at_port(rules()) == [
        'ip saddr { 8.7.6.5/32 } tcp dport 2002 counter accept comment "platform"',
        'ip6 saddr { 2001:db8::/32 } tcp dport 2002 counter accept comment "platform"',
        "ip saddr { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 } tcp dport 2002 counter accept "
        'comment "zone default"',
        'ip6 saddr { fc00::/7 } tcp dport 2002 counter accept comment "zone default"',
        "tcp dport 2002 ip saddr != 0.0.0.0 update @refused4 { ip saddr } counter drop",
        "tcp dport 2002 ip6 saddr != :: update @refused6 { ip6 saddr } counter drop",
    ]


def test_another_port_is_opened_instead() -> None:
    lines = rules("[listen]\nport = 443\n")
    assert at_port(lines) == []
    assert len(at_port(lines, 443)) == 6


_TWO_CLOUDS = """[zones]
[[one]]
interface = eth1
networks = 10.0.0.0/8
[[two]]
interface = eth2
networks = 10.0.0.0/8
[[three]]
networks = 192.168.0.0/16
"""


def test_zones_with_the_same_addresses_are_told_apart_by_interface() -> None:
    lines = rules(_TWO_CLOUDS)
    for number, name in ((1, "one"), (2, "two")):
        assert (
            f'iifname "eth{number}" ip saddr {{ 10.0.0.0/8 }} tcp dport 2002 counter accept '
            f'comment "zone {name}"'
        ) in lines
    assert 'iifname "eth1" ct zone set 1000' in lines
    assert 'oifname "eth2" ct zone set 1001' in lines


def test_who_has_no_interface_cannot_come_in_by_that_of_another_zone() -> None:
    lines = at_port(rules(_TWO_CLOUDS))
    elsewhere = [line for line in lines if "platform" in line or "zone three" in line]
    assert len(elsewhere) == 3
    assert all(line.startswith('iifname != { "eth1", "eth2" } ') for line in elsewhere)


def test_with_a_certificate_the_platform_may_be_anywhere() -> None:
    text = "client_ca = /etc/ssl/ca.pem\n" + _TWO_CLOUDS
    platform = [line for line in at_port(rules(text)) if "platform" in line]
    assert platform and not [line for line in platform if "iifname" in line]


def test_a_zone_with_an_address_is_open_at_that_address_only() -> None:
    lines = rules("[zones]\n[[one]]\nlisten = 10.1.2.3\nnetworks = 10.1.0.0/16\n")
    assert (
        "ip daddr 10.1.2.3 ip saddr { 10.1.0.0/16 } tcp dport 2002 counter accept "
        'comment "zone one"'
    ) in lines


def test_a_zone_that_only_a_balancer_tells_of_is_not_open_itself() -> None:
    text = (
        "[listen]\nbalancers = 10.9.0.0/24\n[zones]\n[[one]]\nnetwork_id = netns:v1\n"
        "networks = 10.1.0.0/16\n"
    )
    lines = at_port(rules(text))
    assert 'ip saddr { 10.9.0.0/24 } tcp dport 2002 counter accept comment "balancers"' in lines
    assert not [line for line in lines if "zone one" in line]


def test_peers_may_come_in() -> None:
    text = f"""[peers]
[[FARTHER-PROXY]]
role = farther
endpoint = 10.5.0.2:2002
networks = 10.5.0.0/24
certificate = {"ab" * 32}
certificate_file = var/tls/peer.crt
"""
    assert (
        'ip saddr { 10.5.0.0/24 } tcp dport 2002 counter accept comment "peer FARTHER-PROXY"'
    ) in rules(text)


def test_ssh_is_shut_until_it_is_on() -> None:
    assert at_port(rules(), 22) == []
    everywhere = at_port(rules("", Appliance(access=Access(ssh=True))), 22)
    assert everywhere == [
        'meta nfproto ipv4 tcp dport 22 counter accept comment "ssh"',
        'meta nfproto ipv6 tcp dport 22 counter accept comment "ssh"',
    ]
    some = Appliance(access=Access(ssh=True, networks=("10.1.0.0/16", "10.1.2.0/24")))
    assert at_port(rules("", some), 22) == [
        'ip saddr { 10.1.0.0/16 } tcp dport 22 counter accept comment "ssh"'
    ]


def test_an_opening_of_the_operators_own() -> None:
    wanted = Appliance(firewall=Firewall((Opening(9100, "tcp", ("10.2.0.5",)),)))
    assert at_port(rules("", wanted), 9100) == [
        'ip saddr { 10.2.0.5/32 } tcp dport 9100 counter accept comment "opening 9100"'
    ]


@pytest.mark.parametrize(
    ("opening", "place"),
    [
        (Opening(22), "firewall.openings.0.port"),
        (Opening(2002), "firewall.openings.0.port"),
        (Opening(2004), "firewall.openings.0.port"),
        (Opening(0), "firewall.openings.0.port"),
        (Opening(9100, "tcp", ("10.2.0.5/8",)), "firewall.openings.0.networks"),
    ],
)
def test_an_opening_that_cannot_be_is_refused(opening: Opening, place: str) -> None:
    wanted = Appliance(firewall=Firewall((opening,)))
    with pytest.raises(Problems) as caught:
        firewall.render(parsed(), wanted)
    assert [one.place for one in caught.value.problems] == [place]


def test_ping_can_be_switched_off() -> None:
    assert [line for line in rules() if "echo-request" in line]
    quiet = Appliance(firewall=Firewall(ping=False))
    assert not [line for line in rules("", quiet) if "echo-request" in line]


def test_loading_is_one_action_that_can_fail() -> None:
    plan = firewall.plan(parsed(), Appliance())
    assert [action.argv for action in plan.actions] == [
        ("systemctl", "reload-or-restart", "agent-proxy-firewall.service")
    ]
    assert plan.writes[0].mode == 0o600


_NFT = shutil.which("nft") or shutil.which("nft", path="/usr/sbin")


@pytest.mark.skipif(_NFT is None or os.geteuid() != 0, reason="needs root and nft")
@pytest.mark.parametrize("text", ["", _TWO_CLOUDS, "[agents]\nnetworks = 0.0.0.0/0, ::/0\n", None])
def test_nft_takes_the_rules(text: str | None) -> None:
    own = Appliance(access=Access(ssh=True), firewall=Firewall((Opening(53, "udp"),)))
    (write,) = firewall.render(None if text is None else parsed(text), own)
    command = ["unshare", "--net", str(_NFT), "--check", "--file", "-"]
    done = subprocess.run(command, input=write.content, capture_output=True, check=False)
    if b"unshare failed" in done.stderr:
        pytest.skip(f"no network namespaces here: {done.stderr.decode().strip()}")
    assert done.returncode == 0, done.stderr.decode()
