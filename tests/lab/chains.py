"""Proxies in a row."""

from __future__ import annotations

from tests.lab.cast import Lab


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
    lines = [line for proxy in (outer, middle, inner) for line in proxy.checked("peer")]
    assert [line[:4] for line in lines] == ["PASS", "SKIP", "PASS", "SKIP"], lines
    lab.proved("agent-proxy check: each nearer peer is there and shows the right certificate")
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
    lab.end(inner.process, kill=True)
    _hop_fails(lab, route, "MIDDLE0001")
    lab.end(middle.process, kill=True)
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


def chain_six(lab: Lab) -> None:
    """two proxies in a row, by IPv6"""
    net = lab.net
    net.machine("platform", "outer", "inner", "vm-1", "vm-2")
    net.switch("lan")
    net.cable("platform", "below", "outer", "above")
    net.address("platform", "below", "2001:db8::10/64")
    net.address("outer", "above", "2001:db8::1/64")
    net.cable("outer", "below", "inner", "above")
    net.address("outer", "below", "fd00:9::1/64")
    net.address("inner", "above", "fd00:9::2/64")
    net.attach("inner", "eth0", "lan", "fd00:7::1/64")
    net.attach("vm-1", "eth0", "lan", "fd00:7::2/64")
    net.attach("vm-2", "eth0", "lan", "fd00:7::3/64")
    lab.platform("platform", "[2001:db8::10]:3302", "[2001:db8::1]:2002")
    outer = lab.proxy("outer", "outer-six", "fd00:9::1")
    inner = lab.proxy("inner", "inner-six", "fd00:7::1", "fd00:9::2")
    outer.knows("inner", inner)
    inner.knows("outer", outer)
    for proxy in (outer, inner):
        proxy.start()
    lab.agent("vm-1", "first", "fd00:7::2", "[fd00:7::1]:2002", "first-1")
    lab.agent("vm-2", "last", "fd00:7::3", "[fd00:7::1]:2002", "last-1")
    found = lab.shake_and_call("first-1", "last-1")
    route = found["first-1"]["route"]
    assert route.startswith('"OUTER00001", "INNER00001", agent;'), route
    assert 'host="fd00:7::2"' in route, route
    assert found["last-1"]["address"] == "fd00:7::3"
    lab.proved("IPv6 from the VM to the platform over two proxies; calls and commands down again")
    lab.end(inner.process, kill=True)
    _hop_fails(lab, route, "OUTER00001")
    lab.proved("inner ended: Proxy-Status of outer says so")
