"""Whoever is slow is let go, in time, whatever it is slow with."""

from __future__ import annotations

import time

import pytest

from tests.integration.conftest import Dial
from tests.integration.nodes import AGENT, PLATFORM, ROUTED_AGENT, Node
from tests.integration.peers import Aborted, Origin, Wire, dial_raw, eventually

SETTINGS = {
    "timeouts": {
        "tls_handshake": 0.6,
        "request_head": 0.8,
        "body_idle": 1,
        "keepalive_in": 1,
        "upstream_answer": 2,
    }
}
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SWEEP = 0.6
"""How late a deadline may be: a sweep, and a busy machine."""


class Stopwatch:
    def __init__(self) -> None:
        self._began = time.monotonic()

    def shows(self, seconds: float) -> bool:
        passed = time.monotonic() - self._began
        return seconds - 0.1 <= passed <= seconds + SWEEP


def test_silent_handshake_ends(node: Node, platform: Origin) -> None:
    watch = Stopwatch()
    with dial_raw(node.address, AGENT) as raw:
        try:
            assert raw.recv(100) == b""
        except ConnectionResetError:
            pass
    assert watch.shows(0.6)
    events = node.worker.snapshot()["events"]
    assert events["tls_handshake_timeout"] == 1


def test_handshake_deadline_is_a_total(node: Node, platform: Origin) -> None:
    """A byte now and then does not prolong it."""
    watch = Stopwatch()
    with dial_raw(node.address, AGENT) as raw:
        raw.settimeout(0.1)
        ended = False
        for byte in b"\x16\x03\x01\x02\x00" + b"\x01" * 100:
            try:
                raw.sendall(bytes([byte]))
                ended = raw.recv(100) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                ended = True
            if ended:
                break
    assert ended
    assert watch.shows(0.6)


def test_silence_after_the_handshake_ends_properly(
    node: Node, platform: Origin, dial: Dial
) -> None:
    watch = Stopwatch()
    said = dial(node).to_end()
    assert watch.shows(0.8)
    assert not said or said.startswith(b"HTTP/1.1 408 ")


def test_slow_head_is_408_within_a_total(node: Node, platform: Origin, dial: Dial) -> None:
    wire = dial(node)
    watch = Stopwatch()
    wire.sock.settimeout(0.1)
    answer = b""
    for byte in b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: " + b"a" * 100:
        wire.send(bytes([byte]))
        try:
            answer = wire.some()
        except TimeoutError:
            continue
        break
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert watch.shows(0.8)
    assert platform.used == 0


def test_slow_second_head_is_408(node: Node, platform: Origin, dial: Dial) -> None:
    """Its time counts from its first byte, not from the end of the request before."""
    wire = dial(node)
    assert wire.ask(GET).status == 200
    assert wire.is_silent(0.5)
    watch = Stopwatch()
    wire.send(b"GET / HT")
    assert wire.response().status == 408
    assert watch.shows(0.8)


def test_idle_connection_ends_cleanly(node: Node, platform: Origin, dial: Dial) -> None:
    wire = dial(node)
    assert wire.ask(GET).status == 200
    watch = Stopwatch()
    assert wire.to_end() == b""
    assert watch.shows(1)


def test_body_that_stops_is_408(node: Node, platform: Origin, dial: Dial) -> None:
    wire = dial(node)
    since = node.written()
    watch = Stopwatch()
    wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
    assert wire.response().status == 408
    assert watch.shows(1)
    assert node.next_line(since)["end"] == "bad_request"
    platform.disconnect()
    assert platform.received == [], "half a body was taken for a whole one"


def call(node: Node, direction: str, agent: Origin, dial: Dial, framing: bytes) -> Wire:
    """Begin a request whose body is still to come."""
    wire = dial(node, AGENT if direction == "agent_to_platform" else PLATFORM)
    route = b"Agent-Route: %b\r\n" % node.route(ROUTED_AGENT, agent.port)
    fields = route if direction == "platform_to_agent" else b""
    wire.send(b"POST / HTTP/1.1\r\nHost: a\r\n", fields, framing, b"\r\n\r\n")
    return wire


DIRECTIONS = ["agent_to_platform", "platform_to_agent"]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_body_that_keeps_coming_is_not_late(
    node: Node, platform: Origin, agent: Origin, dial: Dial, direction: str
) -> None:
    """Three times as long as any silence may be, at twice the rate that is asked for."""
    wire = call(node, direction, agent, dial, b"Content-Length: 3000")
    for _ in range(15):
        assert wire.is_silent(0.2)
        wire.send(b"x" * 200)
    assert wire.response().body == b"x" * 3000


@pytest.mark.parametrize("framing", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_body_that_trickles_is_408(
    node: Node, platform: Origin, agent: Origin, dial: Dial, direction: str, framing: bytes
) -> None:
    """Issue 4: a byte now and then, never silent for long, held its place for ever."""
    wire = call(node, direction, agent, dial, framing)
    since = node.written_so_far()
    watch = Stopwatch()
    piece = b"1\r\nx\r\n" if b"chunked" in framing else b"x"
    for _ in range(60):
        wire.send(piece)
        if not wire.is_silent(0.1):
            break
    assert wire.response().status == 408
    assert watch.shows(1.1)
    assert node.next_line(since)["end"] == "bad_request"
    said = node.status()["lastErrors"][-1]["detail"]
    assert said == "the body stopped arriving, or came slower than [limits] body_rate"
    for peer in (platform, agent):
        peer.disconnect()
        assert peer.received == [], "part of a body was taken for a whole one"


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_answer_that_stops_is_cut_off(
    node: Node, platform: Origin, agent: Origin, dial: Dial, direction: str
) -> None:
    """Silence inside an answer's body is bounded like that of a request's."""

    def script(wire: Wire) -> None:
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        wire.to_end()

    (platform if direction == "agent_to_platform" else agent).use(script)
    wire = call(node, direction, agent, dial, b"Content-Length: 0")
    since = node.written_so_far()
    watch = Stopwatch()
    assert wire.head().status == 200
    with pytest.raises(Aborted):
        wire.to_end()
    assert watch.shows(1)
    assert node.next_line(since)["end"] == "broke_off"


@pytest.mark.parametrize("pause_s", [0, 0.05], ids=["not at all", "a byte now and then"])
def test_caller_that_does_not_read_is_let_go(
    node: Node, platform: Origin, dial: Dial, pause_s: float
) -> None:
    """The kernel tells of room only when a third of what it holds is gone: a byte is none."""

    def script(wire: Wire) -> None:
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while True:
            wire.send(b"x" * 65536)

    platform.use(script)
    since = node.written()
    wire = dial(node)
    wire.send(GET)
    wire.head()
    until = time.monotonic() + 20
    while node.worker.snapshot()["inFlight"] > 0:
        assert time.monotonic() < until, "it is let go"
        if pause_s:
            wire.sock.recv(1)
        time.sleep(pause_s or 0.05)
    assert node.next_line(since)["end"] == "client_gone"


def test_refused_caller_that_keeps_sending_is_let_go(
    node: Node, platform: Origin, dial: Dial
) -> None:
    wire = dial(node)
    wire.send(b"BAD\r\n\r\n")
    assert wire.response().status == 400
    watch = Stopwatch()
    try:
        while True:
            wire.send(b"x")
            if not wire.is_silent(0.05):
                break
    except (OSError, Aborted):
        pass
    eventually(lambda: node.worker.snapshot()["connections"] == 0, "it is let go", 4)
    assert watch.shows(2) or watch.shows(0.1)
