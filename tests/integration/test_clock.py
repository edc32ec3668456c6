"""Nodes of one group whose clocks differ: routes do not care, and who must know is told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration import peers
from tests.integration.nodes import AGENT, PLATFORM, ROUTED_AGENT, Node
from tests.integration.peers import Origin, eventually

DAY_S = 86400.0
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
_WRONG_CLOCK = """
import time
_right, _shown = time.time, time.gmtime
time.time = lambda: _right() + {}
class Shown:  # no function: logging has it as an attribute of a class
    def __call__(self, seconds=None):
        return _shown(time.time() if seconds is None else seconds)
time.gmtime = Shown()
"""


@pytest.fixture
def wrong(build: Callable[[Any], Node], tmp_path: Path) -> Iterator[Callable[[float], Node]]:
    """Return what starts a node whose clock is so many seconds ahead."""
    nodes: list[Node] = []

    def start(seconds: float) -> Node:
        folder = tmp_path / f"clock{len(nodes)}"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(_WRONG_CLOCK.format(seconds))
        nodes.append(node := build({}))
        node.environment["PYTHONPATH"] = str(folder)
        node.start()
        return node

    yield start
    for node in nodes:
        node.stop()


def registration(node: Node) -> dict[str, Any]:
    wire = peers.dial(node.address, PLATFORM)
    got = wire.ask(b"GET /agent-proxy/v1/registration HTTP/1.1\r\nHost: a\r\n\r\n")
    wire.close()
    content: dict[str, Any] = json.loads(got.body)
    return content


@pytest.mark.parametrize("days", [-3, 3])
def test_route_of_a_node_with_a_wrong_clock_is_followed_by_another(
    node: Node, wrong: Callable[[float], Node], platform: Origin, agent: Origin, days: int
) -> None:
    other = wrong(days * DAY_S)
    wire = peers.dial(other.address, ROUTED_AGENT)
    assert wire.ask(GET).status == 200
    wire.close()
    (handshake,) = platform.received
    route = handshake.one(b"agent-route")
    for answering in (node, other):
        wire = peers.dial(answering.address, PLATFORM)
        got = wire.ask(b"GET / HTTP/1.1\r\nHost: a\r\nAgent-Route: ", route, b"\r\n\r\n")
        assert got.status == 200
        wire.close()
    assert agent.used == 2
    right, skewed = registration(node), registration(other)
    assert skewed["time"][:10] == time.strftime(
        "%Y-%m-%d", time.gmtime(time.time() + days * DAY_S)
    ), "the platform can see whose clock is wrong"
    assert {**skewed, "time": ""} == {**right, "time": ""}


def test_node_whose_clock_is_beyond_its_certificate_wants_no_traffic(
    wrong: Callable[[float], Node], platform: Origin
) -> None:
    node = wrong(5000 * DAY_S)
    eventually(lambda: node.get("/ready")[0] == 503, "it is not ready")
    said = json.loads(node.get("/ready")[1])["workers"]["0"]
    assert any("expired or is not valid yet" in problem for problem in said), said
    wire = peers.dial(node.address, AGENT)  # whoever comes all the same is served
    assert wire.ask(GET).status == 200
    wire.close()
