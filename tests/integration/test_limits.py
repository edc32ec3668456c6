"""How many at once: per source, per worker, and the share that is kept for the platform."""

from __future__ import annotations

import time

from tests.integration.conftest import Dial
from tests.integration.nodes import PLATFORM, ROUTED_AGENT, Node
from tests.integration.peers import Aborted, Origin, Wire, dial_raw, eventually

SETTINGS = {"limits": {"connections": 20, "connections_per_source": 6, "platform_share": 20}}
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
AGENTS = 16
"""20 connections, less 20 percent."""


def is_refused(node: Node, source: str) -> bool:
    """Whether a connection is closed before a byte of TLS."""
    with dial_raw(node.address, source) as raw:
        try:
            return raw.recv(1) == b""
        except ConnectionResetError:
            return True


def test_one_source_gets_no_more_than_its_share(node: Node, platform: Origin, dial: Dial) -> None:
    wires = [dial(node, "127.0.1.20") for _ in range(6)]
    assert is_refused(node, "127.0.1.20")
    assert dial(node, "127.0.1.21").ask(GET).status == 200, "another source suffers"
    assert node.worker.snapshot()["events"]["refused_over_source_limit"] == 1
    wires.pop().close()
    eventually(lambda: node.worker.snapshot()["connections"] == 6, "its place is free again")
    assert dial(node, "127.0.1.20").ask(GET).status == 200


def test_platform_is_served_when_agents_fill_the_worker(
    node: Node, platform: Origin, agent: Origin, dial: Dial
) -> None:
    wires = [dial(node, f"127.0.1.{30 + number}") for number in range(AGENTS)]
    for wire in wires:
        assert wire.ask(GET).status == 200
    assert is_refused(node, "127.0.1.60")
    assert node.get("/ready")[0] == 503
    route = node.route(ROUTED_AGENT, agent.port)
    call = b"GET / HTTP/1.1\r\nHost: a\r\nAgent-Route: %b\r\n\r\n" % route
    for _ in range(4):  # connections: what is left after the agents
        began = time.monotonic()
        assert dial(node, PLATFORM).ask(call).status == 200
        assert time.monotonic() - began < 2
    assert is_refused(node, PLATFORM)
    wires[0].close()
    eventually(lambda: node.worker.snapshot()["connections"] < 20, "a place is free")


def test_storm_of_handshakes_leaves_commands_alone(
    node: Node, platform: Origin, agent: Origin, dial: Dial
) -> None:
    """Agents that connect and go, all the time, and a platform in between."""
    route = node.route(ROUTED_AGENT, agent.port)
    call = b"GET / HTTP/1.1\r\nHost: a\r\nAgent-Route: %b\r\n\r\n" % route
    command: Wire = dial(node, PLATFORM)
    for round_ in range(10):
        storm = []
        for number in range(20):
            try:
                storm.append(dial(node, f"127.0.1.{100 + number}"))
            except (OSError, Aborted):
                continue  # refused, as it should be
        assert command.ask(call).status == 200, round_
        for wire in storm:
            wire.reset()


def test_ready_again_when_the_agents_are_gone(node: Node, platform: Origin) -> None:
    node.wait_until_ready()
