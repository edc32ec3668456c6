"""What the lab proves, one function for each drawing of docs/topologies.md."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any  # documents of JSON

from tests.lab.cast import Lab, Proxy
from tests.lab.topologies import PAGE, ROOT

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
    lab.proved("both generations shake hands and are called back by those two rules alone")
    lab.cannot("platform", "10.1.2.7", 2003)
    lab.cannot("vm-1", "8.7.6.5", 3302)
    lab.cannot("stranger", "4.3.2.1", 2002)
    lab.cannot("stranger", "10.1.2.3", 2002)
    lab.proved("no way in, out, or for strangers, without the proxy")


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


def _isolated_networks(lab: Lab) -> None:
    net = lab.net
    for zone in ("1", "2"):
        net.switch(f"isolated-{zone}")
        net.machine(f"vm-{zone}a", f"vm-{zone}b")
        net.attach("proxy", f"e{zone}", f"isolated-{zone}", "10.0.0.1/24")
        net.attach(f"vm-{zone}a", "eth0", f"isolated-{zone}", "10.0.0.2/24")
        net.attach(f"vm-{zone}b", "eth0", f"isolated-{zone}", "10.0.0.3/24")


def isolated(lab: Lab) -> None:
    """two isolated networks with the same VM addresses on one node"""
    net = lab.net
    net.machine("platform", "proxy")
    net.cable("proxy", "eth0", "platform", "eth0")
    net.address("proxy", "eth0", "192.0.2.3/24")
    net.address("platform", "eth0", "192.0.2.10/24")
    _isolated_networks(lab)
    lab.platform("platform", "192.0.2.10:3302", "192.0.2.3:2002")
    proxy = lab.proxy("proxy", "isolated", "10.0.0.1").start()
    for zone in ("1", "2"):
        lab.agent(f"vm-{zone}a", "first", "10.0.0.2", "10.0.0.1:2002", f"first-{zone}", 0.5)
        lab.agent(f"vm-{zone}b", "last", "10.0.0.3", "10.0.0.1:2002", f"last-{zone}")
    found = lab.shake_and_call("first-1", "first-2", "last-1", "last-2")
    seen = {name: (known["zone"], known["address"]) for name, known in found.items()}
    assert seen == {
        "first-1": ("isolated-1", "10.0.0.2"),
        "first-2": ("isolated-2", "10.0.0.2"),
        "last-1": ("isolated-1", "10.0.0.3"),
        "last-2": ("isolated-2", "10.0.0.3"),
    }, seen
    lab.proved("10.0.0.2 twice and 10.0.0.3 twice: told apart by zone, each called back")
    swapped = found["first-1"]["route"].replace("isolated-1", "isolated-2")
    assert lab.order("POST", "/route", {"route": swapped})["status"] == 403
    lab.proved("a route moved to the other zone is refused: its seal is not right")
    net.address("vm-1a", "eth0", "192.0.2.10/32")  # the platform's address, taken by a VM
    net.ip("vm-1a", "route", "add", "192.0.2.3/32", "via", "10.0.0.1")
    lab.cannot("vm-1a", "192.0.2.3", 3302, "192.0.2.10")
    before = proxy.snapshot()["events"].get("refused_stranger", 0)
    _tries("vm-1a", lab, "10.0.0.1", "192.0.2.10")
    after = proxy.snapshot()["events"].get("refused_stranger", 0)
    assert after == before + 1, "a VM that takes the platform's address is a stranger"
    lab.proved("a VM that takes the platform's address in its network is a stranger")
    _interface_comes_and_goes(lab, proxy, found)


def _tries(machine: str, lab: Lab, host: str, source: str) -> None:
    code = (
        f"import socket; s = socket.create_connection(({host!r}, 2002), 2, ({source!r}, 0)); "
        "s.settimeout(2); s.recv(1)"
    )
    words = lab.net.inside(machine, sys.executable, "-c", code)
    subprocess.run(words, capture_output=True, check=False)


def _interface_comes_and_goes(lab: Lab, proxy: Proxy, found: dict[str, Any]) -> None:
    net = lab.net
    net.ip("proxy", "link", "del", "e2")
    lab.until("the loss of e2 is reported", lambda: proxy.zone("isolated-2")["problems"])
    lab.call("first-1", found["first-1"])
    lab.proved(f"e2 gone: {proxy.zone('isolated-2')['problems'][0]!r}; isolated-1 goes on")
    net.attach("proxy", "e2", "isolated-2", "10.0.0.1/24")
    lab.until("e2 is used again", lambda: not proxy.zone("isolated-2")["problems"])
    lab.until("first-2 is called again", lambda: lab.call("first-2", found["first-2"]) is None)
    lab.proved("e2 back: picked up without a restart")


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


def balanced(lab: Lab) -> None:
    """two nodes behind HAProxy, one killed, one drained, under load"""
    net = lab.net
    net.switch("lan")
    net.machine("platform", "haproxy", "node-1", "node-2", "vm-1", "vm-2")
    for name, last in (("haproxy", 2), ("node-1", 3), ("node-2", 4), ("vm-1", 7), ("vm-2", 8)):
        net.attach(name, "eth0", "lan", f"10.1.2.{last}/24")
        net.ip(name, "route", "add", "8.7.6.0/24", "dev", "eth0")
    net.attach("platform", "eth0", "lan", "8.7.6.5/24")
    net.ip("platform", "route", "add", "10.1.2.0/24", "dev", "eth0")
    lab.platform("platform", "8.7.6.5:3302", "10.1.2.2:2002")
    nodes = [lab.proxy(f"node-{number}", "balanced", "10.1.2.2").start() for number in (1, 2)]
    lab.spawn("haproxy", "/usr/sbin/haproxy", "-db", "-f", str(ROOT / "conf" / "haproxy.cfg"))
    lab.agent("vm-1", "first", "10.1.2.7", "10.1.2.2:2002", "first-1")
    lab.agent("vm-2", "last", "10.1.2.8", "10.1.2.2:2002", "last-1")
    found = lab.shake_and_call("first-1", "last-1")
    assert [known["address"] for known in found.values()] == ["10.1.2.7", "10.1.2.8"]
    lab.proved("agents keep their addresses behind HAProxy")
    answers = []
    for address in ("10.1.2.3:2002", "10.1.2.4:2002"):
        lab.order("POST", "/proxy", address)
        lab.call("first-1", found["first-1"])
        answers.append(lab.order("POST", "/register"))
    lab.order("POST", "/proxy", "10.1.2.2:2002")
    calls = [dict_of(node, "platform_to_agent") for node in nodes]
    assert all(calls), calls
    lab.proved(f"any node answers any call: {calls[0]} and {calls[1]} calls by one route")
    assert len({answer["configDigest"] for answer in answers}) == 1, answers
    assert len({answer["certificateSha256"] for answer in answers}) == 2, "both nodes were asked"
    lab.proved("both nodes give one ID and one configDigest at registration")
    report = _under_load(lab, lambda: lab.end(nodes[0].process, kill=True))
    # Four clients; one that fails may dial again while the dying node's queue still takes it.
    assert len(report["failed"]) <= 8 and report["gap"] < 6, report
    lab.proved(
        f"kill -9 under load: {len(report['failed'])} of {report['done']} lost, what was in "
        f"flight or in its queue; longest wait {report['gap']:.2f} s"
    )
    nodes[0].start()
    time.sleep(3)  # HAProxy must have seen it ready, twice
    codes: list[int] = []
    report = _under_load(lab, lambda: codes.append(lab.end(nodes[1].process)))
    assert not report["failed"] and codes == [0], (report, codes)
    lab.proved(f"SIGTERM under load: none of {report['done']} lost, exit code 0")
    lab.until("last-1 is back", lambda: lab.call("last-1", lab.known("last-1")) is None)
    lab.proved("the last-generation agent came back through the other node")


def dict_of(node: Proxy, direction: str) -> int:
    """Return how many exchanges of that direction a node has had."""
    return sum(count for way, _, count in node.snapshot()["exchanges"] if way == direction)


def _under_load(lab: Lab, act: Callable[[], object]) -> dict[str, Any]:
    words = [sys.executable, "-m", "tests.lab.load", "10.1.2.2:2002", "10.1.2.7", "8"]
    with subprocess.Popen(lab.net.inside("vm-1", *words), cwd=ROOT, stdout=subprocess.PIPE) as load:
        time.sleep(2)
        act()
        out, _ = load.communicate(timeout=60)
    report: dict[str, Any] = json.loads(out)
    return report


def chain(lab: Lab) -> None:
    """three proxies in a row"""
    net = lab.net
    net.machine("platform", "outer", "middle", "inner", "vm-1", "vm-2")
    net.switch("lan")
    for left, right, near, far in (
        ("platform", "outer", "192.0.2.10", "192.0.2.1"),
        ("outer", "middle", "10.9.0.1", "10.9.0.2"),
        ("middle", "inner", "10.8.0.1", "10.8.0.2"),
    ):
        net.cable(left, "below", right, "above")
        net.address(left, "below", f"{near}/24")
        net.address(right, "above", f"{far}/24")
    net.attach("inner", "eth0", "lan", "10.0.0.1/24")
    net.attach("vm-1", "eth0", "lan", "10.0.0.2/24")
    net.attach("vm-2", "eth0", "lan", "10.0.0.3/24")
    lab.platform("platform", "192.0.2.10:3302", "192.0.2.1:2002")
    outer = lab.proxy("outer", "outer", "10.9.0.1")
    middle = lab.proxy("middle", "middle", "10.8.0.1", "10.9.0.2")
    inner = lab.proxy("inner", "inner", "10.0.0.1", "10.8.0.2")
    outer.knows("middle", middle)
    middle.knows("outer", outer)
    middle.knows("inner", inner)
    inner.knows("middle", middle)
    for proxy in (outer, middle, inner):
        proxy.start()
    agent = lab.agent("vm-1", "first", "10.0.0.2", "10.0.0.1:2002", "first-1")
    lab.agent("vm-2", "last", "10.0.0.3", "10.0.0.1:2002", "last-1")
    found = lab.shake_and_call("first-1", "last-1")
    route = found["first-1"]["route"]
    assert route.startswith('"OUTER00001", "MIDDLE0001", "INNER00001", agent;'), route
    assert found["first-1"]["proxy_id"] == "INNER00001"
    lab.proved("identity kept over three hops, the return route has grown by each")
    lab.proved("calls and commands find their way down")
    lab.end(agent)
    _hop_fails(lab, route, "INNER00001")
    lab.end(inner.process)
    _hop_fails(lab, route, "MIDDLE0001")
    lab.end(middle.process)
    _hop_fails(lab, route, "OUTER00001")
    lab.proved("whichever hop fails, Proxy-Status names it: inner, middle, outer")
    unknown = route.replace("MIDDLE0001", "UNKNOWN001")
    assert lab.order("POST", "/route", {"route": unknown})["status"] == 400
    twice = route.replace("INNER00001", "OUTER00001")
    assert lab.order("POST", "/route", {"route": twice})["status"] == 400
    lab.proved("an unknown hop and a route with a loop are refused: 400")


def _hop_fails(lab: Lab, route: str, whose: str) -> None:
    answer = lab.order("POST", "/route", {"route": route})
    assert answer["status"] == 503, answer
    assert answer["proxy_status"].startswith(f"{whose}; error=connection_refused"), answer


def dual(lab: Lab) -> None:
    """IPv6 and dual stack, two isolated networks with the same addresses"""
    net = lab.net
    net.machine("platform", "proxy")
    net.cable("proxy", "eth0", "platform", "eth0")
    net.address("proxy", "eth0", "2001:db8::3/64")
    net.address("platform", "eth0", "2001:db8::10/64")
    for zone in ("1", "2"):
        net.switch(f"isolated-{zone}")
        net.machine(f"vm-{zone}a", f"vm-{zone}b")
        net.attach("proxy", f"e{zone}", f"isolated-{zone}", "fd00:6::1/64", "10.6.0.1/24")
        net.attach(f"vm-{zone}a", "eth0", f"isolated-{zone}", "fd00:6::2/64")
        net.attach(f"vm-{zone}b", "eth0", f"isolated-{zone}", "10.6.0.3/24", "fd00:6::3/64")
    lab.platform("platform", "[2001:db8::10]:3302", "[2001:db8::3]:2002")
    proxy = lab.proxy("proxy", "dual", "fd00:6::1").start()
    for zone in ("1", "2"):
        lab.agent(f"vm-{zone}a", "first", "fd00:6::2", "[fd00:6::1]:2002", f"six-{zone}")
        lab.agent(f"vm-{zone}b", "last", "fd00:6::3", "[fd00:6::1]:2002", f"last-six-{zone}")
        lab.agent(f"vm-{zone}b", "first", "10.6.0.3", "10.6.0.1:2002", f"four-{zone}")
    names = [f"{kind}-{zone}" for kind in ("six", "last-six", "four") for zone in ("1", "2")]
    found = lab.shake_and_call(*names)
    assert found["six-1"]["address"] == found["six-2"]["address"] == "fd00:6::2"
    assert (found["six-1"]["zone"], found["six-2"]["zone"]) == ("isolated-1", "isolated-2")
    lab.proved("fd00:6::2 twice and 10.6.0.3 twice, upstream by IPv6: each called back")
    local = found["six-1"]["route"].replace("fd00:6::2", "fe80::2")
    assert lab.order("POST", "/route", {"route": local})["status"] == 403
    assert not proxy.snapshot()["events"].get("defect")
    lab.proved("a link-local address in a route is refused")


SCENARIOS: dict[str, Scenario] = {
    "firewall": firewall,
    "no-way-out": no_way_out,
    "isolated": isolated,
    "clouds": clouds,
    "balanced": balanced,
    "chain": chain,
    "dual": dual,
}
