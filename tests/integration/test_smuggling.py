"""Answers that would become somebody else's: the corpus of responses, in both directions.

The worker keeps at most two connections to the platform and all tests share it, so an answer that
was left on a kept connection would reach the next request. Every case is followed by one whose
answer is known.
"""

from __future__ import annotations

import re

import pytest

from tests.corpus import Case, load
from tests.integration.conftest import Dial
from tests.integration.nodes import PLATFORM, ROUTED_AGENT, Node
from tests.integration.peers import Aborted, Message, Origin, Script, Wire, eventually
from tests.integration.recording import Recorder

SETTINGS = {
    "limits": {"head_bytes": 1024, "fields": 12, "request_line_bytes": 256},
    "timeouts": {"upstream_answer": 1, "agent_answer": 1, "keepalive_in": 5},
}
LONGER = {
    "chunk-trailer-too-large": 512,
    "head-endless": 512,
    "head-too-large": 512,
    "status-line-too-long": 128,
}
"""By how many bytes each long run of one letter grows: the node's limits are above the files'."""
NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"


def _one_request(case: Case) -> bool:
    return len(case.requests) == 1 and not any(line.startswith("REST") for line in case.expected)


INVALID = [case for case in load("responses/invalid") if _one_request(case)]
VALID = [case for case in load("responses/valid") if _one_request(case)]


def name(case: Case) -> str:
    return case.name


def wire_of(case: Case) -> bytes:
    more = LONGER.get(case.name, 0)
    return re.sub(rb"(.)\1{99,}", lambda run: run[0] + run[1] * more, case.wire)


def answers_with(case: Case, connections: list[int]) -> Script:
    """Return a script whose first connection gets the case's bytes, all others a known answer.

    `connections` gets the number of requests that each connection carried.
    """

    def script(wire: Wire) -> None:
        wire.head()
        number = len(connections)
        connections.append(1)
        wire.send(wire_of(case) if number == 0 else NEXT)
        if number == 0 and case.eof:
            return
        while wire.head():
            connections[number] += 1
            wire.send(NEXT)

    return script


def asked(node: Node, agent: Origin | None, case: Case) -> bytes:
    method, upgrading = case.requests[0]
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n" if upgrading else b""
    return b"%b / HTTP/1.1\r\nHost: a\r\n%b%b\r\n" % (method, upgrade, route_line(node, agent))


def route_line(node: Node, agent: Origin | None) -> bytes:
    if agent is None:
        return b""
    return b"Agent-Route: %b\r\n" % node.route(ROUTED_AGENT, agent.port)


def _expected(case: Case) -> tuple[list[int], int, bytes, bool]:
    """Return the interim statuses, the final one, its body, and whether it is whole."""
    interim: list[int] = []
    final, body = 502, b""
    for line in case.expected:
        word, _, rest = line.partition(" ")
        if word == "HEAD":
            status = int(rest.split(" ")[0])
            if status >= 200:
                final = status
            else:
                interim.append(status)
        elif word == "BODY":
            body = rest.encode("latin-1")
        elif word == "END":
            return interim, final, body, True
        elif final != 502:
            return interim, final, body, False
    return interim, 502, b"", True


def _read(wire: Wire, method: str) -> tuple[list[int], Message]:
    interim = []
    while (got := wire.response(method)).status < 200:
        interim.append(got.status)
    return interim, got


def _assert_answer(node: Node, wire: Wire, case: Case, *, to_agent: bool) -> None:
    interim, status, body, whole = _expected(case)
    method = case.requests[0][0].decode()
    if not whole:
        with pytest.raises((Aborted, EOFError)):
            _read(wire, method)
        return
    told, got = _read(wire, method)
    assert got.status == status
    if status != 502:
        assert (told, got.body) == (interim, body)
    else:  # what came before it in one piece may be lost
        assert told == interim[: len(told)]
        assert not to_agent or got.body in (b"", b"502 Bad Gateway\n")
    assert b"evil" not in b"".join(value for _, value in got.fields)


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("case", INVALID + VALID, ids=name)
def test_answer_is_what_the_corpus_says_and_the_next_is_its_own(
    node: Node, platform: Origin, agent: Origin, dial: Dial, case: Case, direction: str
) -> None:
    connections: list[int] = []
    down = agent if direction == "down" else None
    source = {"source": PLATFORM} if down else {}
    (down or platform).use(answers_with(case, connections))
    wire = dial(node, **source)
    wire.send(asked(node, down, case))
    _assert_answer(node, wire, case, to_agent=down is None)
    other = dial(node, **source)
    got = other.ask(b"GET /next HTTP/1.1\r\nHost: a\r\n", route_line(node, down), b"\r\n")
    assert (got.status, got.body) == (200, b"next")
    kept = down is None and not case.eof and _is_clean(case)
    assert connections == ([2] if kept else [1, 1])


def _is_clean(case: Case) -> bool:
    """Whether an answer proves that its connection can carry another."""
    ends = case.expected.count("END")
    closing = re.search(rb"(?i)connection:[^\r]*close|HTTP/1\.0", case.wire)
    return case.expected[-1] == "END" and ends == 1 and not closing


@pytest.mark.parametrize(
    "late",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"x",
        b"\r\n",
    ],
)
def test_bytes_that_come_after_the_answer_are_nobodys(
    node: Node, platform: Origin, dial: Dial, late: bytes
) -> None:
    """Response queue poisoning with a pause: the connection is idle in the pool by then."""
    connections: list[int] = []

    def script(wire: Wire) -> None:
        wire.head()
        connections.append(1)
        wire.send(NEXT)
        if len(connections) == 1:
            wire.is_silent(0.05)
            wire.send(late)
        while wire.head():
            connections[-1] += 1
            wire.send(NEXT)

    platform.use(script)
    wire = dial(node)
    assert wire.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").body == b"next"
    assert wire.is_silent(0.3)
    got = wire.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (got.status, got.body) == (200, b"next")
    assert connections == [1, 1]


@pytest.mark.parametrize(
    "expect", [b"100-continue", b"100-Continue", b"\t100-continue\t", b"100-CONTINUE"]
)
@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_expectation_answered_early_ends_the_connection_before_the_body_is_a_request(
    node: Node, platform: Origin, dial: Dial, expect: bytes, interim: bytes
) -> None:
    """0.CL by Expect (2025): the platform answers without reading the body, which is a request."""
    heads: list[bytes] = []

    def script(wire: Wire) -> None:
        while True:
            heads.append(wire.head().line)
            wire.send(interim, b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")

    platform.use(script)
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    wire = dial(node)
    wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: %b\r\nContent-Length: 35\r\n\r\n" % expect)
    told, got = _read(wire, "POST")
    assert (told, got.status) == ([100] if interim else [], 417)
    assert got.one(b"connection") == b"close"
    try:
        wire.send(smuggled)
        assert wire.to_end() == b""
    except (Aborted, OSError):
        pass  # reset, which says it as well
    assert heads == [b"POST / HTTP/1.1"]
    other = dial(node)
    other.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert _read(other, "GET")[1].status == 417
    assert heads == [b"POST / HTTP/1.1", b"GET / HTTP/1.1"], "on a connection of its own"


def test_answer_before_the_body_is_paused_for_ends_both_connections(
    node: Node, platform: Origin, dial: Dial
) -> None:
    """Pause-based desync (2022): what comes after the pause is body, never a request."""
    heads: list[bytes] = []

    def script(wire: Wire) -> None:
        while True:
            heads.append(wire.head().line)
            wire.send(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")

    platform.use(script)
    wire = dial(node)
    wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n23\r\n")
    assert wire.response().one(b"connection") == b"close"
    try:
        wire.send(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        assert wire.to_end() == b""
    except (Aborted, OSError):
        pass
    eventually(lambda: node.worker.snapshot()["inFlight"] == 0, "the exchange is over")
    assert heads == [b"POST / HTTP/1.1"]


@pytest.mark.parametrize("status", [b"200 OK", b"400 Bad Request", b"426 Upgrade Required"])
def test_early_tunnel_bytes_of_a_refused_upgrade_are_no_request(
    node: Node, platform: Origin, dial: Dial, status: bytes
) -> None:
    """The upgrade that fails (websocket smuggling): what was meant for the tunnel goes nowhere."""
    heads: list[bytes] = []

    def script(wire: Wire) -> None:
        while True:
            heads.append(wire.head().line)
            wire.send(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status)

    platform.use(script)
    wire = dial(node)
    wire.send(
        b"GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    )
    assert wire.response().one(b"connection") == b"close"
    assert wire.to_end() == b""
    assert heads == [b"GET /socket HTTP/1.1"]


def test_fifty_pipelined_requests_are_fifty_in_order(
    node: Node, platform: Origin, dial: Dial
) -> None:
    recorder = Recorder()
    platform.use(recorder.script)
    wire = dial(node)
    wire.send(*[b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(50)])
    for _ in range(50):
        assert wire.response().status == 200
    platform.disconnect()
    assert [r.target for r in recorder.requests] == [b"/%d" % number for number in range(50)]


@pytest.mark.parametrize(
    "named",
    [
        b"Agent-Proxy-Id", b"agent-proxy-source", b"Agent_Route", b"agent.route", b"Forwarded",
        b"Via", b"Host", b"Content-Length", b"close, Agent-Proxy-Zone, Via", b"Transfer-Encoding",
    ],
)  # fmt: skip
def test_connection_cannot_name_away_what_we_add(
    node: Node, platform: Origin, dial: Dial, named: bytes
) -> None:
    recorder = Recorder()
    platform.use(recorder.script)
    wire = dial(node)
    wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: %b\r\n" % named)
    assert wire.ask(b"Content-Length: 5\r\n\r\nhello").status == 200
    platform.disconnect()
    (request,) = recorder.requests
    assert request.body == b"hello"
    for ours in (b"agent-proxy-id", b"agent-proxy-zone", b"agent-proxy-source", b"agent-route"):
        assert len(request.all(ours)) == 1
    assert len(request.all(b"host")) == len(request.all(b"via")) == 1
    assert not request.all(b"connection")
