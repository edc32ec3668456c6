"""Isolated networks with the same addresses on one node: by interface, by IPv6, by VRF."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any  # documents of JSON

from tests.lab.cast import Lab, Proxy
from tests.lab.network import Missing
from tests.lab.topologies import ROOT

ZONES = ("1", "2")


def _isolated_networks(lab: Lab) -> None:
    net = lab.net
    for zone in ("1", "2"):
        net.switch(f"isolated-{zone}")
        net.machine(f"vm-{zone}a", f"vm-{zone}b")
        net.attach("proxy", f"e{zone}", f"isolated-{zone}", "10.0.0.1/24")
        net.attach(f"vm-{zone}a", "eth0", f"isolated-{zone}", "10.0.0.2/24")
        net.attach(f"vm-{zone}b", "eth0", f"isolated-{zone}", "10.0.0.3/24")


def _platform(lab: Lab) -> None:
    net = lab.net
    net.machine("platform", "proxy")
    net.cable("proxy", "eth0", "platform", "eth0")
    net.address("proxy", "eth0", "192.0.2.3/24")
    net.address("platform", "eth0", "192.0.2.10/24")
    lab.platform("platform", "192.0.2.10:3302", "192.0.2.3:2002")


def isolated(lab: Lab) -> None:
    """two isolated networks with the same VM addresses on one node with two workers"""
    _platform(lab)
    _isolated_networks(lab)
    proxy = lab.proxy("proxy", "isolated", "10.0.0.1").start(workers=2)
    found = _both_generations_twice(lab)
    _one_port_twice(lab)
    _what_is_refused(lab, proxy, found)
    _rolling_restart(lab, proxy)
    _interface_goes_down(lab, proxy, found)
    _interface_comes_and_goes(lab, proxy, found)


def _both_generations_twice(lab: Lab) -> dict[str, Any]:
    for zone in ZONES:
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
    return found


def _one_port_twice(lab: Lab) -> None:
    """Same address and same source port, in both networks at once, kept open and used in turn."""
    for generation, vm, source, answer in (
        ("first", "a", "10.0.0.2", "200"),
        ("last", "b", "10.0.0.3", "pong"),
    ):
        with contextlib.ExitStack() as held:
            ends = [
                held.enter_context(_held(lab, f"vm-{zone}{vm}", generation, source))
                for zone in ZONES
            ]
            words = ["ss", "-tnH", "state", "established", "src", "10.0.0.1", "dst", source]
            listed = subprocess.run(
                lab.net.inside("proxy", *words), capture_output=True, text=True, check=True
            ).stdout
            pairs = [line.split()[2:4] for line in listed.splitlines() if ":40000" in line]
            assert len(pairs) == 2, listed
            assert len({end.rpartition(":")[2] for pair in pairs for end in pair}) == 2, listed
            for end in ends * 2:
                assert end.stdin is not None and end.stdout is not None
                end.stdin.write("again\n")
                end.stdin.flush()
                said = end.stdout.readline().strip()
                assert said == answer, said
        lab.proved(
            f"{source} port 40000 to 10.0.0.1 port 2002 in both networks at the same time, "
            f"{generation} generation: both served"
        )


@contextlib.contextmanager
def _held(lab: Lab, vm: str, generation: str, source: str) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-m", "tests.lab.hold", generation, "10.0.0.1:2002", source, "40000"]
    command = lab.net.inside(vm, *words)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process


def _what_is_refused(lab: Lab, proxy: Proxy, found: dict[str, Any]) -> None:
    net = lab.net
    swapped = found["first-1"]["route"].replace("isolated-1", "isolated-2")
    assert lab.order("POST", "/route", {"route": swapped})["status"] == 403
    lab.proved("a route moved to the other zone is refused: its seal is not right")
    net.address("vm-1a", "eth0", "192.0.2.10/32")  # the platform's address, taken by a VM
    net.ip("vm-1a", "route", "add", "192.0.2.3/32", "via", "10.0.0.1")
    lab.cannot("vm-1a", "192.0.2.3", 3302, "192.0.2.10")
    before = proxy.count("refused_stranger")
    _tries("vm-1a", lab, "10.0.0.1", "192.0.2.10")
    assert proxy.count("refused_stranger") == before + 1
    lab.proved("a VM that takes the platform's address in its network is a stranger")


def _tries(machine: str, lab: Lab, host: str, source: str) -> None:
    code = (
        f"import socket; s = socket.create_connection(({host!r}, 2002), 2, ({source!r}, 0)); "
        "s.settimeout(2); s.recv(1)"
    )
    words = lab.net.inside(machine, sys.executable, "-c", code)
    subprocess.run(words, capture_output=True, check=False)


def _rolling_restart(lab: Lab, proxy: Proxy) -> None:
    """Both zones' listeners go from worker to worker, under load from the same address in each."""
    words = [sys.executable, "-m", "tests.lab.load", "10.0.0.1:2002", "10.0.0.2", "8"]
    loads = [
        subprocess.Popen(
            lab.net.inside(f"vm-{zone}a", *words), cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for zone in ZONES
    ]
    try:
        before = proxy.count("accepted_agent")
        lab.until("the load is there", lambda: proxy.count("accepted_agent") > before + 20)
        codes = [proxy.restart(number) for number in range(2)]
        reports = [json.loads(load.communicate(timeout=60)[0]) for load in loads]
    finally:
        for load in loads:
            load.kill()
            load.wait()
    assert codes == [0, 0] and not any(report["failed"] for report in reports), (codes, reports)
    done = " and ".join(str(report["done"]) for report in reports)
    lab.proved(f"both workers restarted one after the other: {done} requests, none lost")


def _interface_goes_down(lab: Lab, proxy: Proxy, found: dict[str, Any]) -> None:
    lab.net.ip("proxy", "link", "set", "e2", "down")
    for number in range(2):
        lab.until("it is reported", lambda n=number: proxy.zone("isolated-2", n)["problems"])
    problem = proxy.zone("isolated-2")["problems"][0]
    assert problem == "interface e2 is down", problem
    _is_checked(lab, proxy)
    lab.call("first-1", found["first-1"])
    lab.call("last-1", found["last-1"])
    lab.net.ip("proxy", "link", "set", "e2", "up")
    for number in range(2):
        lab.until("it is up", lambda n=number: not proxy.zone("isolated-2", n)["problems"])
    lab.until("first-2 is called again", lambda: lab.call("first-2", found["first-2"]) is None)
    lab.proved(f"e2 down: {problem!r} by each worker; isolated-1 goes on; e2 up: used again")


def _is_checked(lab: Lab, proxy: Proxy) -> None:
    lab.net.sysctl("proxy", "net/ipv4/conf/e1/rp_filter", "1")
    lines = proxy.checked("zone isolated-1") + proxy.checked("zone isolated-2")
    lab.net.sysctl("proxy", "net/ipv4/conf/e1/rp_filter", "0")
    one, strict, two, _ = lines
    assert one.startswith("PASS") and "e1 is up with 10.0.0.1" in one, one
    assert "told apart by interface from isolated-2" in one, one
    assert strict.startswith("FAIL") and "sysctl -w net.ipv4.conf.e1.rp_filter=2" in strict, strict
    assert two.startswith("FAIL") and "`ip link set e2 up`" in two, two
    (listener,) = proxy.checked("listener")
    assert listener.startswith("PASS") and "2 of our workers" in listener, listener
    lab.proved("agent-proxy check: e1 up, its rp_filter strict, e2 down, the port our workers'")


def _interface_comes_and_goes(lab: Lab, proxy: Proxy, found: dict[str, Any]) -> None:
    net = lab.net
    net.ip("proxy", "link", "del", "e2")
    lab.until("the loss of e2 is reported", lambda: proxy.zone("isolated-2")["problems"])
    problem = proxy.zone("isolated-2")["problems"][0]
    assert problem == "interface e2 is missing", problem
    lab.call("first-1", found["first-1"])
    lab.call("last-1", found["last-1"])
    net.attach("proxy", "e2", "isolated-2", "10.0.0.1/24")
    lab.until("e2 is used again", lambda: not proxy.zone("isolated-2")["problems"])
    lab.until("first-2 is called again", lambda: lab.call("first-2", found["first-2"]) is None)
    lab.proved(f"e2 gone: {problem!r}; isolated-1 goes on; another e2: used without a restart")


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
    before = proxy.count("refused_stranger")
    link = json.loads(net.ip("proxy", "-j", "-6", "address", "show", "dev", "e1", "scope", "link"))
    here = next(item["local"] for item in link[0]["addr_info"] if "local" in item)
    _tries("vm-1a", lab, f"{here}%eth0", "")
    assert proxy.count("refused_stranger") == before + 1, "a link-local caller is a stranger"
    local = found["six-1"]["route"].replace("fd00:6::2", "fe80::2")
    assert lab.order("POST", "/route", {"route": local})["status"] == 403
    assert not proxy.count("defect")
    lab.proved("link-local is refused: as a caller, and in a route")


def vrf(lab: Lab) -> None:
    """two isolated networks with the same VM addresses, each in a VRF"""
    _platform(lab)
    _isolated_networks(lab)
    for zone, name in zip(ZONES, ("red", "blue"), strict=True):
        try:
            lab.net.ip("proxy", "link", "add", name, "type", "vrf", "table", f"10{zone}")
        except RuntimeError as fault:
            raise Missing(f"this kernel has no VRF devices: {fault}") from fault
        lab.net.ip("proxy", "link", "set", name, "up")
        lab.net.ip("proxy", "link", "set", f"e{zone}", "master", name)
    lab.proxy("proxy", "vrf", "10.0.0.1").start()
    for zone in ZONES:
        lab.agent(f"vm-{zone}a", "first", "10.0.0.2", "10.0.0.1:2002", f"first-{zone}", 0.5)
        lab.agent(f"vm-{zone}b", "last", "10.0.0.3", "10.0.0.1:2002", f"last-{zone}")
    found = lab.shake_and_call("first-1", "first-2", "last-1", "last-2")
    zones = [found[name]["zone"] for name in ("first-1", "first-2", "last-1", "last-2")]
    assert zones == ["isolated-1", "isolated-2"] * 2, zones
    lab.proved("10.0.0.2 twice and 10.0.0.3 twice, by VRF: told apart, each called back")
