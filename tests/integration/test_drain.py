"""SIGTERM: not ready at once, nothing that has begun is lost, and then an end."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

import pytest

from tests.integration.conftest import Dial
from tests.integration.nodes import Node, Settings
from tests.integration.peers import TIMEOUT_S, Aborted, Origin, Wire, eventually

Start = Callable[..., Node]
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
DELAY_S = 1.5
SLOW: Settings = {"drain": {"delay": DELAY_S, "timeout": 3}}


def test_not_ready_at_once_and_accepting_for_the_delay(
    started: Start, platform: Origin, dial: Dial
) -> None:
    node = started(SLOW)
    idle, kept = dial(node), dial(node)
    assert idle.ask(GET).status == 200
    assert kept.ask(GET).one(b"content-length") == b"0"
    began = time.monotonic()
    node.worker.signal(signal.SIGTERM)
    eventually(lambda: node.get("/ready")[0] == 503, "not ready", 0.5)
    assert b"draining" in node.get("/ready")[1]
    got = kept.ask(GET)
    assert (got.status, got.one(b"connection")) == (200, b"close")
    assert kept.to_end() == b""
    late = dial(node).ask(GET)
    assert (late.status, late.one(b"connection")) == (200, b"close")
    assert time.monotonic() - began < DELAY_S, "this machine is too slow for the test"
    assert idle.to_end() == b""
    node.worker.end()
    assert DELAY_S <= time.monotonic() - began < DELAY_S + 3
    with pytest.raises(OSError):
        dial(node)


def test_what_is_in_flight_finishes(started: Start, platform: Origin, dial: Dial) -> None:
    go_on = threading.Event()

    def script(wire: Wire) -> None:
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        assert go_on.wait(TIMEOUT_S)
        wire.send(b"world")
        wire.to_end()

    node = started({"drain": {"delay": 0, "timeout": 8}})
    platform.use(script)
    wire = dial(node)
    wire.send(GET)
    wire.head()
    assert wire.exactly(5) == b"hello"
    node.worker.signal(signal.SIGTERM)
    eventually(lambda: "drains" in node.worker.log, "it drains")
    assert node.worker.process.poll() is None
    go_on.set()
    assert wire.exactly(5) == b"world"
    assert wire.to_end() == b""
    began = time.monotonic()
    node.worker.end()
    assert time.monotonic() - began < 4, "it waited for nothing"


def test_nothing_lasts_beyond_the_drain(started: Start, platform: Origin, dial: Dial) -> None:
    def script(wire: Wire) -> None:
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        wire.to_end()

    node = started({"drain": {"delay": 0, "timeout": 1}})
    platform.use(script)
    wire = dial(node)
    wire.send(GET)
    wire.head()
    assert wire.exactly(5) == b"hello"
    began = time.monotonic()
    node.worker.signal(signal.SIGTERM)
    with pytest.raises(Aborted):
        wire.to_end()
    node.worker.end()
    assert time.monotonic() - began < 4


def test_tunnels_end_within_the_drain(started: Start, platform: Origin, dial: Dial) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        wire.to_end()

    node = started({"drain": {"delay": 0, "timeout": 2}})
    platform.use(script)
    wires = [dial(node) for _ in range(5)]
    for wire in wires:
        got = wire.ask(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        assert got.status == 101
    node.worker.signal(signal.SIGTERM)
    for wire in wires:
        assert wire.to_end() == b"", "a tunnel is closed properly: its agent may come back"
    node.worker.end()
    assert [line["end"] for line in node.access_lines(5)] == ["drain"] * 5


def test_second_signal_changes_nothing(started: Start, platform: Origin, dial: Dial) -> None:
    node = started(SLOW)
    node.worker.signal(signal.SIGTERM)
    node.worker.signal(signal.SIGTERM)
    assert dial(node).ask(GET).status == 200
    node.worker.end()


def test_worker_without_connections_ends_quickly(started: Start, platform: Origin) -> None:
    node = started({"drain": {"delay": 0, "timeout": 30}})
    began = time.monotonic()
    node.worker.end()
    assert time.monotonic() - began < 2
