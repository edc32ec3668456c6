"""What the lab proves, one function for each drawing of docs/topologies.md."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable

from tests.lab import balanced, chains, isolated
from tests.lab.cast import Lab
from tests.lab.topologies import PAGE

Scenario = Callable[[Lab], None]


def firewall(lab: Lab) -> None:
    """one ip:port rule in each direction, all else dropped"""
    net = lab.net
    net.switch("internet")
    net.switch("lan")
    net.machine("platform", "stranger", "firewall", "proxy", "vm-1", "vm-2")
    net.attach("platform", "eth0", "internet", "8.7.6.5/24")
    net.attach("stranger", "eth0", "internet", "8.7.6.66/24")
    net.attach("firewall", "eth0", "internet", "8.7.6.1/24", "4.3.2.1/32")
    net.attach("firewall", "eth1", "lan", "10.1.2.1/24")
    for name, address in (("proxy", 3), ("vm-1", 7), ("vm-2", 8)):
        net.attach(name, "eth0", "lan", f"10.1.2.{address}/24")
        net.ip(name, "route", "add", "default", "via", "10.1.2.1")
    for name in ("platform", "stranger"):
        net.ip(name, "route", "add", "4.3.2.1/32", "via", "8.7.6.1")
        net.ip(name, "route", "add", "10.1.2.0/24", "via", "8.7.6.1")
    net.sysctl("firewall", "net/ipv4/ip_forward", "1")
    rules = re.search(r"<!-- nft: firewall -->\n```\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert rules is not None
    net.filter("firewall", rules[1])
    lab.platform("platform", "8.7.6.5:3302", "4.3.2.1:2002")
    lab.proxy("proxy", "firewall", "10.1.2.3").start()
    lab.agent("vm-1", "first", "10.1.2.7", "10.1.2.3:2002", "first-1")
    lab.agent("vm-2", "last", "10.1.2.8", "10.1.2.3:2002", "last-1")
    registered = lab.order("POST", "/register")
    assert registered["agentProxyId"] == "45BCEBB32AA9"
    lab.proved("registration by 4.3.2.1:2002 through the firewall")
    lab.shake_and_call("first-1", "last-1")
    out, back, dropped = _packets(lab)
    assert out and back and not dropped, (out, back, dropped)
    lab.proved(
        f"both generations shake hands and are called back by those two rules alone: {out} "
        f"connections out, {back} in, nothing else was even tried ({dropped} packets dropped)"
    )
    lab.cannot("platform", "10.1.2.7", 2003)
    lab.cannot("platform", "10.1.2.3", 22)
    lab.cannot("vm-1", "8.7.6.5", 3302)
    lab.cannot("proxy", "8.7.6.5", 443)
    lab.cannot("stranger", "4.3.2.1", 2002)
    lab.cannot("stranger", "10.1.2.3", 2002)
    assert _packets(lab)[2] >= 6
    lab.proved(f"no other way in or out, nor for strangers: {_packets(lab)[2]} packets dropped")


def _packets(lab: Lab) -> tuple[int, int, int]:
    """Return what the firewall has counted: connections out, connections in, packets dropped."""
    words = lab.net.inside("firewall", "nft", "-j", "list", "chain", "inet", "filter", "forward")
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    rules = [item["rule"]["expr"] for item in json.loads(told)["nftables"] if "rule" in item]
    counts = [one["counter"]["packets"] for rule in rules for one in rule if "counter" in one]
    out, back, dropped = counts
    return out, back, dropped


def no_way_out(lab: Lab) -> None:
    """a network without any route out but the proxy"""
    net = lab.net
    net.switch("lan")
    net.machine("platform", "proxy", "vm-1", "vm-2")
    net.cable("proxy", "eth1", "platform", "eth0")
    net.address("proxy", "eth1", "192.0.2.3/24")
    net.address("platform", "eth0", "192.0.2.10/24")
    net.attach("proxy", "eth0", "lan", "10.5.0.3/24")
    net.attach("vm-1", "eth0", "lan", "10.5.0.2/24")
    net.attach("vm-2", "eth0", "lan", "10.5.0.4/24")
    lab.platform("platform", "192.0.2.10:3302", "192.0.2.3:2002")
    lab.proxy("proxy", "no-way-out", "10.5.0.3").start()
    lab.agent("vm-1", "first", "10.5.0.2", "10.5.0.3:2002", "first-1")
    lab.agent("vm-2", "last", "10.5.0.4", "10.5.0.3:2002", "last-1")
    lab.cannot("vm-1", "192.0.2.10", 3302)
    lab.cannot("platform", "10.5.0.2", 2003)
    lab.shake_and_call("first-1", "last-1")
    lab.proved("agents without a default route shake hands and are called back")


def clouds(lab: Lab) -> None:
    """two clouds with the same address space and two proxy IDs"""
    net = lab.net
    net.switch("internet")
    net.machine("platform")
    net.attach("platform", "eth0", "internet", "192.0.2.10/24")
    lab.platform("platform", "192.0.2.10:3302", "192.0.2.21:2002")
    for cloud, last in (("a", 21), ("b", 22)):
        net.machine(f"proxy-{cloud}", f"vm-{cloud}")
        net.attach(f"proxy-{cloud}", "eth0", "internet", f"192.0.2.{last}/24")
        net.cable(f"proxy-{cloud}", "eth1", f"vm-{cloud}", "eth0")
        net.address(f"proxy-{cloud}", "eth1", "10.0.0.1/24")
        net.address(f"vm-{cloud}", "eth0", "10.0.0.2/24")
        lab.proxy(f"proxy-{cloud}", f"cloud-{cloud}", "10.0.0.1").start()
        lab.agent(f"vm-{cloud}", "first", "10.0.0.2", "10.0.0.1:2002", f"vm-{cloud}")
    for cloud, last in (("a", 21), ("b", 22)):
        known = lab.known(f"vm-{cloud}")
        assert known["proxy_id"] == f"CLOUD{cloud.upper()}0001"
        lab.order("POST", "/proxy", f"192.0.2.{last}:2002")
        lab.call(f"vm-{cloud}", known)
        other = lab.known("vm-b" if cloud == "a" else "vm-a")
        assert lab.order("POST", "/route", {"route": other["route"]})["status"] == 421
    lab.proved("10.0.0.2 in both clouds: told apart by proxy ID, each called through its own")
    lab.proved("a route of the other cloud is refused: 421")


SCENARIOS: dict[str, Scenario] = {
    "firewall": firewall,
    "no-way-out": no_way_out,
    "isolated": isolated.isolated,
    "vrf": isolated.vrf,
    "clouds": clouds,
    "balanced": balanced.balanced,
    "balanced-six": balanced.balanced_six,
    "chain": chains.chain,
    "chain-six": chains.chain_six,
    "dual": isolated.dual,
}
