"""Two nodes behind HAProxy: any of them answers, one dies, one is cut off, one is drained."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any  # documents of JSON

from tests.lab.cast import Lab, Proxy
from tests.lab.topologies import ROOT

SERVED_AGAIN_S = 6.0
CONF = ROOT / "conf" / "haproxy.cfg"


def balanced(lab: Lab) -> None:
    """two nodes behind HAProxy, one killed, one cut off, one drained, under load"""
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
    lab.spawn("haproxy", "/usr/sbin/haproxy", "-db", "-f", str(CONF))
    lab.agent("vm-1", "first", "10.1.2.7", "10.1.2.2:2002", "first-1")
    lab.agent("vm-2", "last", "10.1.2.8", "10.1.2.2:2002", "last-1")
    found = lab.shake_and_call("first-1", "last-1")
    assert [known["address"] for known in found.values()] == ["10.1.2.7", "10.1.2.8"]
    lab.proved("agents keep their addresses behind HAProxy")
    _any_node_answers(lab, nodes, found, "10.1.2.2:2002", ("10.1.2.3:2002", "10.1.2.4:2002"))
    _killed(lab, nodes[0])
    nodes[0].start()
    _until_up(lab, times=1)
    _cut_off(lab, nodes[0])
    nodes[0].until_ready(0)  # it looks for the platform every 15 s
    _until_up(lab, times=2)
    codes: list[int] = []
    report = _under_load(lab, lambda: codes.append(lab.end(nodes[1].process)))
    assert not report["failed"] and codes == [0], (report["failed"], codes)
    lab.proved(f"SIGTERM under load: none of {report['done']} lost, exit code 0")
    lab.until("last-1 is back", lambda: lab.call("last-1", lab.known("last-1")) is None)
    lab.proved("the last-generation agent came back through the other node")


def _any_node_answers(
    lab: Lab, nodes: list[Proxy], found: dict[str, Any], balancer: str, places: tuple[str, str]
) -> None:
    for node in nodes:  # an exchange is counted just after its answer went out
        lab.until("earlier calls are counted", lambda one=node: _is_quiet(one))
    before = [_calls(node) for node in nodes]
    answers = []
    for place in places:
        lab.order("POST", "/proxy", place)
        lab.call("first-1", found["first-1"])
        answers.append(lab.order("POST", "/register"))
    lab.order("POST", "/proxy", balancer)
    for node in nodes:
        lab.until("these calls are counted", lambda one=node: _is_quiet(one))
    calls = [_calls(node) - then for node, then in zip(nodes, before, strict=True)]
    assert calls == [1, 1], calls
    lab.proved("any node answers any call: one route was followed by each of them")
    assert len({answer["configDigest"] for answer in answers}) == 1, answers
    assert len({answer["certificateSha256"] for answer in answers}) == 2, "both nodes were asked"
    lab.proved("both nodes give one ID and one configDigest at registration")


def _is_quiet(node: Proxy) -> bool:
    now = node.snapshot()
    return bool(now["inFlight"] == now["tunnels"])


def _calls(node: Proxy) -> int:
    """Return how many calls to agents a node has carried."""
    exchanges = node.snapshot()["exchanges"]
    return sum(count for way, _, count in exchanges if way == "platform_to_agent")


def _until_up(lab: Lab, times: int) -> None:
    """Wait until HAProxy has said so often that node-1 is back."""
    log = lab.home / "haproxy.log"
    lab.until(
        "HAProxy sees node-1 again",
        lambda: log.read_text().count("Server nodes/node-1 is UP") >= times,
    )


def _killed(lab: Lab, node: Proxy) -> None:
    """Lost is at most what was in flight on the node between the signal and its death.

    The kernel closes a dying process's connections before its listener, so a client that redials
    within that millisecond may reach it once more.
    """
    moments: list[float] = []

    def kill() -> None:
        moments.append(time.monotonic())
        node.process.kill()
        node.process.wait()  # without a time limit: returns at once when it is dead
        moments.append(time.monotonic())

    report = _under_load(lab, kill)
    signal, death = moments
    lost = report["failed"]
    others = [one for one in lost if not (one[1] <= death and one[2] >= signal)]
    assert not others, f"lost without having been in flight: {others}"
    in_flight = sum(begun <= death and ended >= signal for begun, ended in report["requests"])
    assert report["slowest"] < SERVED_AGAIN_S, report["slowest"]
    lab.proved(
        f"kill -9 under load: {len(lost)} of {report['done']} lost, all of them among the "
        f"{in_flight} in flight in the {(death - signal) * 1000:.0f} ms until it was dead; what "
        f"began later was served, the slowest of all in {report['slowest']:.2f} s"
    )


def _cut_off(lab: Lab, node: Proxy) -> None:
    """As when its power fails: nothing answers any more, not even with a refusal."""
    moments: list[float] = []

    def cut() -> None:
        lab.net.ip(node.machine, "link", "set", "eth0", "down")
        moments.append(time.monotonic())  # somewhere between the two lines it happened

    report = _under_load(lab, cut)
    lab.net.ip(node.machine, "link", "set", "eth0", "up")
    lab.net.ip(node.machine, "route", "replace", "8.7.6.0/24", "dev", "eth0")
    (moment,) = moments
    lost = report["failed"]
    assert all(begun <= moment for _, begun, *_ in lost), (moment, lost)
    late = [end - begun for begun, end in report["requests"] if begun > moment]
    assert late and max(late) < SERVED_AGAIN_S, max(late, default=99.0)
    lab.proved(
        f"cut off under load: {len(lost)} of {report['done']} lost, those that were under way; new "
        f"requests were all served, within {max(late):.2f} s"
    )


def _under_load(lab: Lab, act: Callable[[], object]) -> dict[str, Any]:
    words = [sys.executable, "-m", "tests.lab.load", "10.1.2.2:2002", "10.1.2.7", "6"]
    with subprocess.Popen(lab.net.inside("vm-1", *words), cwd=ROOT, stdout=subprocess.PIPE) as load:
        time.sleep(2)
        act()
        out, _ = load.communicate(timeout=60)
    report: dict[str, Any] = json.loads(out)
    return report


def balanced_six(lab: Lab) -> None:
    """two nodes behind HAProxy by IPv6, with agents of both families"""
    net = lab.net
    net.switch("lan")
    net.machine("platform", "haproxy", "node-1", "node-2", "vm-1", "vm-2", "vm-3")
    for name, last in (("haproxy", 2), ("node-1", 3), ("node-2", 4), ("vm-1", 7), ("vm-2", 8)):
        net.attach(name, "eth0", "lan", f"fd00:12::{last}/64")
    net.address("haproxy", "eth0", "10.1.2.2/24")
    net.attach("vm-3", "eth0", "lan", "10.1.2.9/24")
    for name, last in (("node-1", 3), ("node-2", 4)):
        net.address(name, "eth0", f"10.1.2.{last}/24")
    net.attach("platform", "eth0", "lan", "2001:db8::10/64")
    for name in ("haproxy", "node-1", "node-2"):
        net.ip(name, "route", "add", "2001:db8::/64", "dev", "eth0")
    net.ip("platform", "route", "add", "fd00:12::/64", "dev", "eth0")
    lab.platform("platform", "[2001:db8::10]:3302", "[fd00:12::2]:2002")
    nodes = [lab.proxy(f"node-{number}", "balanced-six", "fd00:12::2").start() for number in (1, 2)]
    text = (
        CONF.read_text().replace("10.1.2.3:", "[fd00:12::3]:").replace("10.1.2.4:", "[fd00:12::4]:")
    )
    (lab.home / "haproxy.cfg").write_text(text)
    lab.spawn("haproxy", "/usr/sbin/haproxy", "-db", "-f", str(lab.home / "haproxy.cfg"))
    lab.agent("vm-1", "first", "fd00:12::7", "[fd00:12::2]:2002", "first-1")
    lab.agent("vm-2", "last", "fd00:12::8", "[fd00:12::2]:2002", "last-1")
    lab.agent("vm-3", "first", "10.1.2.9", "10.1.2.2:2002", "four-1")
    found = lab.shake_and_call("first-1", "last-1", "four-1")
    addresses = [known["address"] for known in found.values()]
    assert addresses == ["fd00:12::7", "fd00:12::8", "10.1.2.9"], addresses
    lab.proved("agents of both families keep their addresses behind HAProxy, and are called back")
    places = ("[fd00:12::3]:2002", "[fd00:12::4]:2002")
    _any_node_answers(lab, nodes, found, "[fd00:12::2]:2002", places)
    lab.end(nodes[0].process, kill=True)
    time.sleep(3)  # HAProxy must have noticed
    lab.until("last-1 is back", lambda: lab.call("last-1", lab.known("last-1")) is None)
    for name in ("first-1", "four-1"):
        lab.call(name, found[name])
    lab.proved("one node killed: agents of both families are called through the other")
