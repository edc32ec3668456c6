"""The network: what is refused beside which field, what files follow, what is taken back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance import cli, commit, model, network
from appliance.model import Interface, Network, Route
from appliance.readings import Interface as There
from appliance.system import Completed
from tests.unit.appliance.machines import Machine, recorded

_THERE = (
    There("eth0", "up", mtu=1500, max_mtu=9000, addresses=("10.1.2.3/24",)),
    There("eth1", "up", mtu=1500, max_mtu=1500),
)
_STATIC = Interface(
    "eth0",
    dhcp4=False,
    ipv6="static",
    addresses=("10.1.2.3/24", "fd00::3/64"),
    gateway4="10.1.2.1",
    gateway6="fd00::1",
    routes=(Route("10.50.0.0/16", "10.1.2.254"), Route("10.60.0.0/16")),
    dns=("10.1.2.53",),
    mtu=1400,
    vlans=(100,),
)


def places(wanted: Network) -> list[tuple[str, str]]:
    return [(one.place, one.message) for one in network.validate(wanted, _THERE)]


def of(**fields: object) -> Network:
    return Network(interfaces=(Interface("eth0", **fields),))  # type: ignore[arg-type]


def test_what_is_right_has_no_problem() -> None:
    vlan = Interface("eth0.100", dhcp4=False, addresses=("10.1.2.3/24",))
    assert places(Network("node-1.example.com", (_STATIC, vlan), ("::1",), ("example.com",))) == []
    assert places(Network()) == []
    assert places(of(gateway6="fe80::1")) == []  # routers announce themselves like this


@pytest.mark.parametrize(
    ("wanted", "place", "message"),
    [
        (Network("-a"), "network.hostname", "is not a domain name"),
        (Network("a" * 65), "network.hostname", "is too long, or ends with a dot"),
        (Network("10.1"), "network.hostname", "is a number"),
        (Network("a\nb"), "network.hostname", "is not a domain name"),
        (Network(dns=("dns.example",)), "network.dns.1", "is not an IP address"),
        (Network(search=("a b",)), "network.search.1", "is not a domain name"),
        (Network("", (Interface("eth9"),)), "network.interfaces.eth9",
         "this machine has no such interface"),
        (Network("", (Interface("eth0"), Interface("eth0"))), "network.interfaces.eth0",
         "is given twice"),
        (Network("", (Interface("eth0"), Interface("eth0.7"))), "network.interfaces.eth0.7",
         "is no VLAN of eth0"),
        (of(addresses=("10.0.0.1",)), "network.interfaces.eth0.addresses",
         "has no prefix length"),
        (of(addresses=("10.0.0.0/24",)), "network.interfaces.eth0.addresses",
         "is the network's own address"),
        (of(addresses=("10.0.0.255/24",)), "network.interfaces.eth0.addresses",
         "is the network's broadcast address"),
        (of(addresses=("10.0.0.1/33",)), "network.interfaces.eth0.addresses",
         "has no valid prefix length"),
        (of(addresses=("127.0.0.1/8",)), "network.interfaces.eth0.addresses",
         "is not an address that a machine can have"),
        (of(addresses=("fe80::1/64",)), "network.interfaces.eth0.addresses",
         "is link-local: the system gives these by itself"),
        (of(addresses=("10.0.0.1/24\nGateway=1.2.3.4",)), "network.interfaces.eth0.addresses",
         "has no valid prefix length"),
        (of(addresses=("10.0.0.1/24", "10.0.0.1/24")), "network.interfaces.eth0.addresses",
         "the same address is given twice"),
        (of(ipv6="off", addresses=("fd00::1/64",)), "network.interfaces.eth0.addresses",
         "IPv6 is off here"),
        (of(dhcp4=False, addresses=("10.0.0.2/24",), gateway4="10.0.1.1"),
         "network.interfaces.eth0.gateway4", "cannot be reached directly"),
        (of(dhcp4=False, addresses=("10.0.0.2/24",), gateway4="10.0.0.2"),
         "network.interfaces.eth0.gateway4", "is this machine's own address"),
        (of(gateway4="fd00::1"), "network.interfaces.eth0.gateway4", "is not IPv4"),
        (of(gateway6="router"), "network.interfaces.eth0.gateway6", "is not an IP address"),
        (of(routes=(Route("10.50.0.1/16", ""),)), "network.interfaces.eth0.routes",
         "has bits behind its prefix; the network is 10.50.0.0/16"),
        (of(routes=(Route("everything", ""),)), "network.interfaces.eth0.routes",
         "is not a network"),
        (of(dhcp4=False, routes=(Route("10.50.0.0/16", "10.9.9.9"),), addresses=("10.0.0.2/24",)),
         "network.interfaces.eth0.routes", "cannot be reached directly"),
        (of(dns=("53",)), "network.interfaces.eth0.dns", "is not an IP address"),
        (of(mtu=1279), "network.interfaces.eth0.mtu", "does not fit this interface"),
        (of(mtu=9001), "network.interfaces.eth0.mtu", "does not fit this interface"),
        (of(vlans=(4095,)), "network.interfaces.eth0.vlans", "is no VLAN"),
        (of(vlans=(1, 1)), "network.interfaces.eth0.vlans", "a VLAN is given twice"),
        (Network("", (Interface("eth0", mtu=1400, vlans=(1,)), Interface("eth0.1", mtu=1500))),
         "network.interfaces.eth0.1.mtu", "does not fit this interface"),
        (Network("", (Interface("eth0", vlans=(1,)), Interface("eth0.1", vlans=(2,)))),
         "network.interfaces.eth0.1.vlans", "a VLAN inside a VLAN is not offered"),
        (Network("", (Interface("eth0", gateway4="10.0.0.1"),
                      Interface("eth1", gateway4="10.0.0.1"))),
         "network.interfaces.eth1.gateway4", "there is a default gateway on eth0 already"),
        (of(dhcp4=False, ipv6="off"), "network.interfaces",
         "no interface would have an address: nobody could reach this machine"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_beside_its_field(wanted: Network, place: str, message: str) -> None:
    found = network.validate(wanted, _THERE)
    assert (place, message) in [(one.place, one.message) for one in found]
    assert all(one.remedy for one in found)


def test_zones_may_have_the_same_addresses_on_two_interfaces() -> None:
    same = {"dhcp4": False, "addresses": ("10.0.0.1/24",)}
    both = (Interface("eth0", **same), Interface("eth1", **same))  # type: ignore[arg-type]
    assert places(Network("", both)) == []


def test_files_of_networkd() -> None:
    vlan = Interface("eth0.100", dhcp4=False, ipv6="off", addresses=("192.168.7.2/24",))
    wanted = Network("", (_STATIC, vlan), ("10.1.2.53", "10.1.2.54"), ("example.com",))
    files = {write.path: write.content.decode() for write in network.render(wanted)}
    assert sorted(files) == [
        "/etc/systemd/network/10-agent-proxy-eth0.100.netdev",
        "/etc/systemd/network/10-agent-proxy-eth0.100.network",
        "/etc/systemd/network/10-agent-proxy-eth0.network",
        "/etc/systemd/resolved.conf.d/50-agent-proxy.conf",
    ]
    assert files["/etc/systemd/network/10-agent-proxy-eth0.network"] == (
        "# Written by agent-proxy-appliance; changes are overwritten\n"
        "[Match]\nName=eth0\n\n"
        "[Network]\nDHCP=no\nIPv6AcceptRA=no\nLinkLocalAddressing=ipv6\n"
        "Address=10.1.2.3/24\nAddress=fd00::3/64\nDNS=10.1.2.53\nVLAN=eth0.100\n\n"
        "[Link]\nMTUBytes=1400\n\n"
        "[Route]\nGateway=10.1.2.1\n\n[Route]\nGateway=fd00::1\n\n"
        "[Route]\nDestination=10.50.0.0/16\nGateway=10.1.2.254\n\n"
        "[Route]\nDestination=10.60.0.0/16\nScope=link\n"
    )
    assert (
        "[NetDev]\nName=eth0.100\nKind=vlan\n\n[VLAN]\nId=100\n"
        in (files["/etc/systemd/network/10-agent-proxy-eth0.100.netdev"])
    )
    vlan_file = files["/etc/systemd/network/10-agent-proxy-eth0.100.network"]
    assert "LinkLocalAddressing=no" in vlan_file
    assert "MTU" not in vlan_file  # it has its parent's, which may be small
    assert (
        "[Resolve]\nDNS=10.1.2.53 10.1.2.54\nDomains=example.com\n"
        in (files["/etc/systemd/resolved.conf.d/50-agent-proxy.conf"])
    )


def test_dhcp_takes_the_mtu_that_the_network_says() -> None:
    content = network.render(of())[0].content.decode()
    assert "DHCP=ipv4\nIPv6AcceptRA=yes\n" in content
    assert "[DHCPv4]\nUseMTU=yes\n" in content and "MTUBytes" not in content


def test_a_vlan_goes_away_at_once_and_comes_back_when_that_is_taken_back() -> None:
    gone = ("systemctl", "start", "agent-proxy-vlan-gone@eth0.100.service")
    reload = ("networkctl", "reload")
    one = Network("", (Interface("eth0", vlans=(100,)), Interface("eth0.100")))
    none = Network("", (Interface("eth0"),))
    assert [(action.argv, action.undo) for action in network.plan(one, none, "").actions] == [
        (reload, reload),
        (gone, reload),
    ]
    assert [(action.argv, action.undo) for action in network.plan(none, one, "").actions] == [
        (reload, reload),
        ((), gone),
    ]
    assert network.plan(one, one, "").actions == ()


def test_a_plan_removes_what_is_no_longer_wanted_and_does_only_what_is_needed() -> None:
    now = Network("", (_STATIC, Interface("eth0.100")), ("10.1.2.53",))
    plan = network.plan(now, Network("new", (Interface("eth0"),)), "old")
    assert plan.removals == (
        "/etc/systemd/network/10-agent-proxy-eth0.100.netdev",
        "/etc/systemd/network/10-agent-proxy-eth0.100.network",
        "/etc/systemd/resolved.conf.d/50-agent-proxy.conf",
    )
    assert [(action.argv, action.undo) for action in plan.actions] == [
        (("networkctl", "reload"), ("networkctl", "reload")),
        (
            ("systemctl", "start", "agent-proxy-vlan-gone@eth0.100.service"),
            ("networkctl", "reload"),
        ),
        (("systemctl", "restart", "systemd-resolved.service"),) * 2,
        (("hostnamectl", "set-hostname", "new"), ("hostnamectl", "set-hostname", "old")),
    ]
    assert network.plan(now, now, "old").actions == ()
    named = Network("old", now.interfaces, now.dns)
    assert network.plan(now, named, "old").actions == ()


# -- as verbs


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return recorded(tmp_path)


def run(machine: Machine, *argv: str) -> int:
    return cli.main(list(argv), machine)


def kept(machine: Machine) -> Network:
    return model.from_json(machine.read(model.PATH)).network


def test_set_one_interface_step_by_step(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [
        "network set eth0 --address 10.1.2.9/24 --gateway4 10.1.2.1 --mtu 1400 --vlan 100",
        "network set eth0.100 --address 192.168.7.9/24 --ipv6 off",
        "network set eth0 --dns 10.1.2.53 --route 10.50.0.0/16,10.1.2.254",
        "network dns --search example.com",
        "hostname set node-9",
    ]
    for step in steps:
        words = [word.replace(",", " via ") for word in step.split()]
        assert run(machine, *words) == 0, capsys.readouterr().err
        assert run(machine, "confirm") == 0
    eth0, vlan = kept(machine).interfaces
    assert eth0 == Interface(
        "eth0",
        dhcp4=False,
        addresses=("10.1.2.9/24",),
        gateway4="10.1.2.1",
        routes=(Route("10.50.0.0/16", "10.1.2.254"),),
        dns=("10.1.2.53",),
        mtu=1400,
        vlans=(100,),
    )
    assert (vlan.name, vlan.addresses, vlan.ipv6) == ("eth0.100", ("192.168.7.9/24",), "off")
    assert "hostnamectl set-hostname node-9" in machine.ran
    assert run(machine, "network", "show") == 0
    shown = capsys.readouterr().out
    assert "set here    eth0, eth0.100" in shown and "(given by the network)" in shown
    assert run(machine, "network", "reset", "eth0.100") == 0
    assert [one.vlans for one in kept(machine).interfaces] == [()]
    assert machine.list("/etc/systemd/network") == ["10-agent-proxy-eth0.network"]


def test_a_network_change_that_nobody_confirms_is_taken_back(machine: Machine) -> None:
    before = machine.content()
    assert run(machine, "network", "set", "eth0", "--address", "10.1.2.9/24") == 0
    assert commit.waiting(machine) is not None
    machine.up_s += 121
    assert run(machine, "recover") == 0
    assert machine.content() == before
    assert machine.ran.count("networkctl reload") == 2


def test_a_network_that_networkd_refuses_is_taken_back(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.answers["networkctl reload"] = Completed(1, "", "Failed to reload: not running")
    before = machine.content()
    assert run(machine, "network", "set", "eth0", "--mtu", "1400") == 1
    assert "ROLLED BACK: networkctl reload failed with 1" in capsys.readouterr().out
    assert machine.content() == before


@pytest.mark.parametrize(
    ("argv", "place"),
    [
        ("network set eth7 --dhcp yes", "network.interfaces.eth7"),
        ("network set eth0 --address 10.1.2.3", "network.interfaces.eth0.addresses"),
        ("network set eth0 --mtu many", "--mtu"),
        ("network set eth0 --mtu 99999999", "--mtu"),
        ("network set eth0 --vlan one", "--vlan"),
        ("network set eth0 --route a,b,c", "--route"),
        ("network dns --server x", "network.dns.1"),
        ("network reset eth5", "INTERFACE"),
        ("hostname set a_b", "network.hostname"),
    ],
)
def test_bad_input_on_the_command_line(
    machine: Machine, capsys: pytest.CaptureFixture[str], argv: str, place: str
) -> None:
    before = machine.content()
    words = [word.replace(",", " ") for word in argv.split()]
    assert run(machine, *words, "--json") == 2
    found = json.loads(capsys.readouterr().out)["problems"]
    assert place in [one["place"] for one in found] and all(one["remedy"] for one in found)
    assert machine.content() == before
