"""Upgrades both ways: bytes pass only after a 101, and then untouched."""

from __future__ import annotations

import os
import threading
import time

import pytest

from tests.integration.conftest import Dial
from tests.integration.nodes import AGENT, PLATFORM, ROUTED_AGENT, Node
from tests.integration.peers import TIMEOUT_S, Aborted, Origin, Wire, stands_still

SETTINGS = {"timeouts": {"tunnel_idle": 10, "upstream_answer": 5, "agent_answer": 5}}
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def echoing(wire: Wire) -> None:
    head = wire.head()
    assert head.one(b"connection") == b"Upgrade"
    assert head.one(b"upgrade") == b"websocket"
    if wire.origin is not None:
        wire.origin.received.append(head)
    wire.send(SWITCHING)
    wire.sock.settimeout(30)  # longer than any idle limit that is tested
    while data := wire.some():
        wire.send(data)


def check_tunnel(wire: Wire) -> None:
    assert wire.response().status == 101
    noise = os.urandom(200_000)
    got: list[bytes] = []
    for begin in range(0, len(noise), 50_000):
        wire.send(noise[begin : begin + 50_000])
        got.append(wire.exactly(50_000))
    assert b"".join(got) == noise


def test_agent_upgrades_towards_the_platform(node: Node, platform: Origin, dial: Dial) -> None:
    platform.use(echoing)
    since = node.written()
    wire = dial(node)
    wire.send(UPGRADE, b"\r\n")
    check_tunnel(wire)
    assert node.status()["tunnels"] == 1
    (request,) = platform.received
    assert request.one(b"agent-proxy-source") == AGENT.encode()
    wire.close()
    line = node.next_line(since)
    assert (line["end"], line["status"]) == ("client_closed", "101")
    assert (line["bytes_in"], line["bytes_out"]) == ("200000", "200000")


def test_platform_upgrades_towards_an_agent(node: Node, agent: Origin, dial: Dial) -> None:
    agent.use(echoing)
    wire = dial(node, PLATFORM)
    route = node.route(ROUTED_AGENT, agent.port)
    wire.send(UPGRADE, b"Agent-Route: ", route, b"\r\n\r\n")
    check_tunnel(wire)
    (request,) = agent.received
    assert not request.all(b"agent-route")
    assert request.one(b"host") == b"%s:%d" % (ROUTED_AGENT.encode(), agent.port)


def test_bytes_before_the_101_wait_for_it(node: Node, platform: Origin, dial: Dial) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        assert wire.is_silent(0.2), "bytes passed before the upgrade was accepted"
        wire.send(SWITCHING, b"hello")
        assert wire.exactly(5) == b"early"
        wire.send(b"!")
        wire.to_end()

    platform.use(script)
    wire = dial(node)
    wire.send(UPGRADE, b"\r\nearly")
    assert wire.response().status == 101
    assert wire.exactly(6) == b"hello!"


def test_refused_upgrade_is_an_ordinary_response(node: Node, platform: Origin, dial: Dial) -> None:
    def script(wire: Wire) -> None:
        wire.request()
        wire.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n")
        assert wire.request().line.startswith(b"GET /next")
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        wire.to_end()

    platform.use(script)
    wire = dial(node)
    got = wire.ask(UPGRADE, b"\r\n")
    assert (got.status, got.body) == (403, b"no\n")
    assert not got.all(b"upgrade")
    assert wire.ask(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n").status == 200


def test_early_bytes_of_a_refused_upgrade_are_no_request(
    node: Node, platform: Origin, dial: Dial
) -> None:
    def script(wire: Wire) -> None:
        wire.request()
        wire.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n")
        assert wire.to_end() == b"", "smuggled"

    platform.use(script)
    wire = dial(node)
    got = wire.ask(UPGRADE, b"\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (got.status, got.one(b"connection")) == (403, b"close")
    assert wire.to_end() == b""
    platform.disconnect()
    assert len(platform.received) == 1


def test_426_tells_which_protocol(node: Node, platform: Origin, dial: Dial) -> None:
    def script(wire: Wire) -> None:
        wire.request()
        wire.send(
            b"HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Content-Length: 0\r\n\r\n"
        )
        wire.to_end()

    platform.use(script)
    got = dial(node).ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (got.status, got.one(b"upgrade")) == (426, b"websocket")


@pytest.mark.parametrize("how", ["close", "cut", "reset"])
def test_end_of_the_platform_ends_the_tunnel_alike(
    node: Node, platform: Origin, dial: Dial, how: str
) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(SWITCHING, b"last words")
        wire.is_silent(0.1)
        getattr(wire, how)()

    platform.use(script)
    since = node.written()
    wire = dial(node)
    assert wire.ask(UPGRADE, b"\r\n").status == 101
    assert wire.exactly(10) == b"last words"
    if how == "close":
        assert wire.to_end() == b""
    else:
        with pytest.raises(Aborted):
            wire.to_end()
    expected = "target_closed" if how == "close" else "target_reset"
    assert node.next_line(since)["end"] == expected


@pytest.mark.parametrize("how", ["close", "cut", "reset"])
def test_end_of_the_agent_ends_the_tunnel(
    node: Node, platform: Origin, dial: Dial, how: str
) -> None:
    ended = threading.Event()

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(SWITCHING)
        try:
            wire.to_end()
        except Aborted:
            pass
        ended.set()

    platform.use(script)
    since = node.written()
    wire = dial(node)
    assert wire.ask(UPGRADE, b"\r\n").status == 101
    getattr(wire, how)()
    assert ended.wait(TIMEOUT_S)
    # Issue 4: TCP that ends without the goodbye of TLS was logged as a close.
    expected = "client_closed" if how == "close" else "client_reset"
    assert node.next_line(since)["end"] == expected


def test_idle_tunnel_ends_after_its_limit(node: Node, platform: Origin, dial: Dial) -> None:
    """One that is used lives on: the limit counts from the last byte of either side."""
    platform.use(echoing)
    since = node.written()
    wire = dial(node)
    wire.send(UPGRADE, b"\r\n")
    check_tunnel(wire)
    wire.sock.settimeout(15)
    began = time.monotonic()
    assert wire.to_end() == b""
    assert 9 < time.monotonic() - began < 12
    assert node.next_line(since)["end"] == "idle"


def test_tunnel_whose_other_end_does_not_read_holds_little(
    node: Node, platform: Origin, dial: Dial
) -> None:
    sent = 0

    def script(wire: Wire) -> None:
        nonlocal sent
        wire.head()
        wire.send(SWITCHING)
        while True:
            wire.send(b"x" * 65536)
            sent += 65536

    platform.use(script)
    before = node.worker.memory_bytes()
    wire = dial(node)
    assert wire.ask(UPGRADE, b"\r\n").status == 101
    assert stands_still(lambda: sent) < 32 << 20
    assert node.worker.memory_bytes() - before < 8 << 20
    got = wire.exactly(sent)
    assert got == b"x" * len(got)


@pytest.mark.parametrize(
    "lines",
    [
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
    ],
)
def test_upgrade_that_hides_something_is_refused(
    node: Node, platform: Origin, dial: Dial, lines: bytes
) -> None:
    wire = dial(node)
    assert wire.ask(b"GET / HTTP/1.1\r\nHost: a\r\n", lines, b"\r\n").status == 400
    assert wire.to_end() == b""
    assert platform.used == 0


def test_unasked_101_is_a_bad_answer(node: Node, platform: Origin, dial: Dial) -> None:
    def script(wire: Wire) -> None:
        wire.request()
        wire.send(SWITCHING)
        wire.to_end()

    platform.use(script)
    assert dial(node).ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 502
