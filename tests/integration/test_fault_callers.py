"""Every fault of the network between callers and the proxy: agents and the platform, both ways.

test_fault_matrix has the other side. For each: nothing that was cut reaches the other side as a
whole request, what the caller held is free again within the deadlines, others are served
meanwhile, and the next call over the same network, healed, is well at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from tests.fakes.fault_relay import Fault, FaultRelay
from tests.integration import peers
from tests.integration.conftest import Dial
from tests.integration.nodes import AGENT, PLATFORM, ROUTED_AGENT, Node
from tests.integration.peers import Aborted, Origin, Wire, eventually
from tests.integration.test_fault_matrix import tunnelled

pytestmark = pytest.mark.deadline(120)
OTHER_AGENT = "127.0.1.2"
BODY = b"0123456789abcdef" * 2048
DEADLINE_S = 2.5
SLACK_S = 6.0
TIMEOUTS = {
    "tls_handshake": DEADLINE_S,
    "request_head": DEADLINE_S,
    "body_idle": DEADLINE_S,
    "keepalive_in": DEADLINE_S,
    "tunnel_idle": 10,
}
KINDS = ["agent", "platform"]


class Row(NamedTuple):
    """`ends`: how the access log may call it; none where no head came, "" where that depends.

    `events` are counted then.
    """

    name: str
    fault: Fault
    ends: set[str]
    events: frozenset[str] = frozenset()


FAILED = frozenset({"tls_handshake_failed"})
LATE = frozenset({"tls_handshake_timeout"})
# A client hello is 300 to 1,600 bytes, a client's part of a handshake ends before 2,500.
ROWS = [
    Row("reset in TLS", Fault("reset", after=100, forth=True), set(), FAILED),
    Row("closed in TLS", Fault("truncate", after=100, forth=True), set(), FAILED),
    Row("garbage in TLS", Fault("garbage", after=100, forth=True), set(), FAILED),
    Row("half open in TLS", Fault("drop", forth=True), set(), LATE),
    Row("reset in the head", Fault("reset", after=2800, forth=True), set()),
    Row("closed in the head", Fault("truncate", after=2800, forth=True), set()),
    Row("half open in the head", Fault("drop", after=2800, forth=True), {"bad_request"}),
    Row("half open in the body", Fault("drop", after=9000, forth=True), {"bad_request"}),
    Row("reset in the body", Fault("reset", after=9000, forth=True), {"client_gone"}),
    Row("closed in the body", Fault("truncate", after=9000, forth=True), {"client_gone"}),
    Row("garbage in the body", Fault("garbage", after=9000, forth=True), {"client_gone", ""}),
    Row("reset in the answer", Fault("reset", after=9000), {"client_gone", "complete"}),
    Row("delay", Fault("delay", seconds=0.05), {"complete"}),
    Row("throttle", Fault("throttle", rate=60000), {"complete"}),
    Row("byte by byte", Fault("dribble"), {"complete"}),
]


class Way:
    """One kind of caller behind a relay, and one of the same kind that is not."""

    def __init__(self, node: Node, kind: str, route: bytes) -> None:
        self.node = node
        self.source = AGENT if kind == "agent" else PLATFORM
        self.fields = b"Agent-Route: %b\r\n" % route if kind == "platform" else b""
        self.relay = FaultRelay(self.source, node.address, self.source)
        self.beside = OTHER_AGENT if kind == "agent" else PLATFORM

    def dial(self) -> Wire:
        wire = peers.dial(self.relay.address, self.source)
        wire.sock.settimeout(40)
        return wire

    def ask(self, wire: Wire, number: int) -> tuple[int, bytes]:
        """Return status and body of one numbered call."""
        size = len(BODY)  # each piece is a TLS record: the head ends between 4,000 and 6,000
        wire.send(b"POST /%d HTTP/1.1\r\nHost: a\r\n%b" % (number, self.fields))
        wire.send(b"X-Long: %b\r\n" % (b"x" * 3400))
        wire.send(b"Content-Length: %d\r\n\r\n" % size)
        for begin in range(0, size, 2048):
            wire.send(BODY[begin : begin + 2048])
        got = wire.response()
        return got.status, got.body

    def attempt(self, number: int) -> int:
        """Return the status of a call through the relay; 0: it failed."""
        try:
            wire = self.dial()
        except (OSError, Aborted):
            return 0
        try:
            status, body = self.ask(wire, number)
            assert status != 200 or body == BODY, "an answer that was cut looked whole"
            return status
        except (OSError, Aborted, EOFError):
            return 0
        finally:
            wire.sock.close()

    def beside_is_served(self, dial: Dial) -> None:
        assert self.ask(dial(self.node, self.beside), 0) == (200, BODY), "others are served"

    def upgrade(self) -> Wire:
        wire = self.dial()
        wire.send(b"GET /ws HTTP/1.1\r\nHost: a\r\n%b" % self.fields)
        wire.send(b"Connection: Upgrade\r\nUpgrade: x\r\n\r\n")
        assert wire.response().status == 101
        return wire


@pytest.fixture(scope="module")
def ways(build: Callable[[Any], Node], platform: Origin, agent: Origin) -> Iterator[dict[str, Way]]:
    node = build({"timeouts": TIMEOUTS})
    node.start()
    ways: dict[str, Way] = {}
    try:
        node.wait_until_ready()
        route = node.route(ROUTED_AGENT, agent.port)
        ways = {kind: Way(node, kind, route) for kind in KINDS}
        yield ways
    finally:
        for way in ways.values():
            way.relay.heal()
        node.stop()
        for way in ways.values():
            way.relay.stop()


@pytest.fixture
def way(request: pytest.FixtureRequest, ways: dict[str, Way]) -> Iterator[Way]:
    way = ways[request.param]
    yield way
    way.relay.heal()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("way", KINDS, indirect=True)
def test_exchange(way: Way, dial: Dial, platform: Origin, agent: Origin, row: Row) -> None:
    node = way.node
    assert way.attempt(1) == 200
    since, events = node.written(), node.worker.snapshot()["events"]
    way.relay.inject(row.fault)
    began = time.monotonic()
    status = way.attempt(2)
    took_s = time.monotonic() - began
    way.beside_is_served(dial)

    def is_free() -> bool:
        now = node.worker.snapshot()
        return not now["inFlight"] and now["connections"] - now["idleConnections"] == 0

    eventually(is_free, "what the caller held is free again", DEADLINE_S + SLACK_S)
    free_s = time.monotonic() - began
    lines = (node.home / "out-0").read_text().splitlines()[since : node.written()]
    ends = [line.rpartition("end=")[2] for line in lines][:-1]  # the last one was beside it
    assert set(ends) <= row.ends and (bool(ends) == bool(row.ends) or "" in row.ends)
    assert (status == 200) == (ends == ["complete"]) or row.name == "reset in the answer"
    now = node.worker.snapshot()["events"]
    told = {name for name in FAILED | LATE if now.get(name, 0) > events.get(name, 0)}
    assert told == row.events, "the operator is told"
    way.relay.heal()
    assert way.attempt(3) == 200, "well at once"
    target = platform if way.source == AGENT else agent
    seen = [message.line.split(b" ")[1] for message in target.received]
    assert seen.count(b"/2") == (1 if "complete" in row.ends else 0), "no part passes for a whole"
    print(f"{way.source} {row.name}: {status} after {took_s:.2f} s, free after {free_s:.2f} s, "
          f"{ends or sorted(told)}")  # fmt: skip


TUNNELS = [
    (Fault("reset", forth=True), "client_reset"),
    (Fault("truncate", forth=True), "client_reset"),
    (Fault("garbage", forth=True), "client_reset"),
    (Fault("drop", forth=True), "idle"),
    (Fault("refuse"), "client_reset"),
    (Fault("delay", seconds=0.05), ""),
    (Fault("dribble"), ""),
]


@pytest.mark.parametrize(("fault", "end"), TUNNELS, ids=lambda value: getattr(value, "kind", ""))
@pytest.mark.parametrize("way", KINDS, indirect=True)
def test_tunnel(
    way: Way, dial: Dial, platform: Origin, agent: Origin, fault: Fault, end: str
) -> None:
    (platform if way.source == AGENT else agent).use(tunnelled)
    wire = way.upgrade()
    wire.send(b"before")
    assert wire.exactly(6) == b"before"
    since = way.node.written_so_far()
    way.relay.inject(fault)
    wire.send(b"during")
    if end:
        line = way.node.home / "out-0"

        def ended() -> bool:
            return any(f"end={end}" in one for one in line.read_text().splitlines()[since:])

        eventually(ended, f"the tunnel ends as {end}", 10 + SLACK_S)
    else:
        assert wire.exactly(6) == b"during", "nothing is lost where the network lost nothing"
    wire.sock.close()
    way.relay.heal()
    again = way.upgrade()
    again.send(b"after")
    assert again.exactly(5) == b"after"
    again.close()
