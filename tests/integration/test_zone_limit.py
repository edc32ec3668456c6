"""One zone full of greedy agents: the other zone and the platform do not notice."""

from __future__ import annotations

from tests.integration.conftest import Dial
from tests.integration.nodes import PLATFORM, ROUTED_AGENT, Node
from tests.integration.peers import Origin, dial_raw, eventually

SETTINGS = {
    "limits": {"connections": 20, "connections_per_source": 20, "zone_share": 40},
    "agents": {"networks": "127.0.1.0/24, 127.0.4.0/24"},
    "zones": {},
    "[default]": {"networks": "127.0.1.0/24"},
    "[greedy]": {"networks": "127.0.4.0/24"},
}
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SHARE = 8
"""40 percent of 20."""


def test_one_zone_gets_no_more_than_its_share(
    node: Node, platform: Origin, agent: Origin, dial: Dial
) -> None:
    wires = [dial(node, f"127.0.4.{10 + number}") for number in range(SHARE)]
    for wire in wires:
        assert wire.ask(GET).status == 200
    for number in range(3):
        with dial_raw(node.address, f"127.0.4.{100 + number}") as raw:
            try:
                assert raw.recv(1) == b""
            except ConnectionResetError:
                pass
    snapshot = node.worker.snapshot()
    assert snapshot["events"]["refused_over_zone_limit"] == 3
    assert ["greedy", "refused", 3] in snapshot["zoneEvents"]
    metrics = node.get("/metrics")[1].decode()
    assert 'agent_proxy_zone_connections{worker="0",zone="greedy"} 8.0' in metrics
    assert 'agent_proxy_events_total{event="refused_over_zone_limit",worker="0"} 3.0' in metrics
    assert [zone["connections"] for zone in node.status()["zones"]] == [0, SHARE]

    assert dial(node, "127.0.1.20").ask(GET).status == 200, "the other zone suffers"
    route = node.route(ROUTED_AGENT, agent.port)
    call = b"GET / HTTP/1.1\r\nHost: a\r\nAgent-Route: %b\r\n\r\n" % route
    assert dial(node, PLATFORM).ask(call).status == 200
    wires[0].close()
    eventually(
        lambda: node.status()["zones"][1]["connections"] < SHARE, "a place of the zone is free"
    )
    assert dial(node, "127.0.4.200").ask(GET).status == 200
