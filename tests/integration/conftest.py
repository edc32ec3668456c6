"""What integration tests share. A module's SETTINGS are laid over those of its node.

After every test with the module's node: nothing is left open in the worker, and the scripts of
platform and agent found nothing wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.fakes.certificates import KeyPair, self_signed
from tests.integration import peers
from tests.integration.nodes import AGENT, PLATFORM, ROUTED_AGENT, Node, serving
from tests.integration.peers import Origin, Wire

MEMORY_GROWTH = 24 << 20
"""What a worker may grow by over a whole module, in bytes."""

Dial = Callable[..., Wire]


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, KeyPair]:
    """Return certificates by name: proxy, platform, agent, other (nobody's)."""
    home = tmp_path_factory.mktemp("tls")
    return {
        "proxy": self_signed(home, "proxy", ("127.0.0.1", "localhost")),
        "platform": self_signed(home, "platform", (PLATFORM, "127.0.2.2")),
        "agent": self_signed(home, "agent", (ROUTED_AGENT,)),
        "other": self_signed(home, "other", ("other.example.com",)),
    }


@pytest.fixture(scope="module")
def platform(pairs: dict[str, KeyPair]) -> Iterator[Origin]:
    origin = Origin(PLATFORM, pairs["platform"])
    yield origin
    origin.stop()


@pytest.fixture(scope="module")
def agent(pairs: dict[str, KeyPair]) -> Iterator[Origin]:
    origin = Origin(ROUTED_AGENT, pairs["agent"])
    yield origin
    origin.stop()


@pytest.fixture(scope="module")
def build(
    tmp_path_factory: pytest.TempPathFactory,
    pairs: dict[str, KeyPair],
    platform: Origin,
    agent: Origin,
) -> Callable[[Any], Node]:
    """Return what makes a node, not yet started, whose defaults fit platform and agent."""

    def make(settings: Any) -> Node:
        upstream = {
            "endpoint": f"{PLATFORM}:{platform.port}",
            "ca_file": pairs["platform"].certificate,
            **settings.get("upstream", {}),
        }
        agents = {"ports": agent.port, **settings.get("agents", {})}
        home = tmp_path_factory.mktemp("node")
        return Node(home, {**settings, "upstream": upstream, "agents": agents}, pairs["proxy"])

    return make


@pytest.fixture(scope="module")
def node(request: pytest.FixtureRequest, build: Callable[[Any], Node]) -> Iterator[Node]:
    node = build(getattr(request.module, "SETTINGS", {}))
    with serving(node):
        yield node


@pytest.fixture
def started(build: Callable[[Any], Node]) -> Iterator[Callable[[Any], Node]]:
    """Return what starts a node of a test's own; it is drained at the end."""
    nodes: list[Node] = []

    def start(settings: Any, *, ready: bool = True) -> Node:
        nodes.append(node := build(settings))
        node.start()
        if ready:
            node.wait_until_ready()
        return node

    yield start
    for node in nodes:
        node.stop()


@pytest.fixture
def dial() -> Iterator[Dial]:
    """Return `dial(node, source=AGENT, context=None)`; all connections are closed at the end."""
    wires: list[Wire] = []

    def connect(node: Node, source: str = AGENT, context: Any = None) -> Wire:
        wires.append(wire := peers.dial(node.address, source, context))
        return wire

    yield connect
    for wire in wires:
        wire.sock.close()


@pytest.fixture(autouse=True)
def settled(request: pytest.FixtureRequest) -> Iterator[None]:
    """The leak gate."""
    names = request.fixturenames
    found = [request.getfixturevalue(n) for n in ("platform", "agent") if n in names]
    origins = [peer for peer in found if isinstance(peer, Origin)]
    node = request.getfixturevalue("node") if "node" in names else None
    yield  # set up first, so torn down last: the test's own connections are closed by then
    for origin in origins:
        origin.reset()
    if node is not None:
        node.gate.check(MEMORY_GROWTH)
