"""The corpus through the real worker, in both directions: exactly what crossed is asserted.

A recording peer reads with h11, a strict reader that is not ours. The files are written for small
limits; the node has the smallest that can be set, so the few cases about size get as many bytes
more as that takes.
"""

from __future__ import annotations

import re

import pytest

from tests.corpus import Case, load
from tests.integration.conftest import Dial
from tests.integration.nodes import AGENT, PLATFORM, ROUTED_AGENT, Node
from tests.integration.peers import Aborted, Origin, Wire
from tests.integration.recording import Recorder, Request

SETTINGS = {
    "limits": {"head_bytes": 1024, "fields": 12, "request_line_bytes": 256},
    "timeouts": {"request_head": 0.3, "body_idle": 1},
}
INVALID = load("requests/invalid")
VALID = load("requests/valid")
LONGER = {
    "chunk-trailer-too-large": 512,
    "head-endless": 512,
    "head-too-large": 512,
    "head-too-large-by-one": 512,
    "name-too-long-line": 512,
    "request-line-endless": 128,
    "request-line-too-long": 128,
}
"""By how many bytes each long run of one letter grows, as the limits have grown."""
FORGED = (b"agent-proxy", b"agent-route", b"forwarded", b"x-forwarded", b"x-real")
OURS = (b"agent-proxy-id", b"agent-proxy-zone", b"agent-proxy-source", b"agent-route", b"forwarded")


def name(case: Case) -> str:
    return case.name


def wire_of(case: Case) -> bytes:
    more = LONGER.get(case.name, 0)
    return re.sub(rb"(.)\1{99,}", lambda run: run[0] + run[1] * more, case.wire)


def last_answers(wire: Wire) -> list[int]:
    """Return the statuses of all that comes until the end."""
    statuses = []
    try:
        while True:
            statuses.append(wire.response().status)
    except (EOFError, Aborted):
        return statuses


def routed(node: Node, agent: Origin, case: Case) -> bytes:
    """Return the case's bytes with a route to `agent` in the head of every request."""
    line = b"Agent-Route: %b\r\n" % node.route(ROUTED_AGENT, agent.port)
    wire, position = wire_of(case), 0
    starts = [words[1:3] for words in _heads(case)] or [["", ""]]
    for method, target in starts:
        start = wire.find(f"{method} {target} HTTP/1.".encode(), position) if method else position
        end = wire.find(b"\r\n", max(start, position))
        if end < 0:
            break
        wire = wire[: end + 2] + line + wire[end + 2 :]
        position = end + 2 + len(line)
    return wire


def _heads(case: Case) -> list[list[str]]:
    return [line.split(" ") for line in case.expected if line.startswith("HEAD ")]


def _whole(case: Case) -> list[tuple[bytes, bytes, bytes]]:
    """Return method, target and body of the requests that are whole."""
    found = []
    method, target, body = b"", b"", b""
    for line in case.expected:
        if line.startswith("HEAD "):
            method, target, body = *[w.encode() for w in line.split(" ")[1:3]], b""
        elif line.startswith("BODY "):
            body = line[5:].encode("latin-1")
        elif line == "END":
            found.append((method, target, body))
    return found


def told(requests: list[Request]) -> list[tuple[bytes, bytes, bytes]]:
    return [(request.method, request.target, request.body) for request in requests]


def _assert_nothing_bad_crossed(case: Case, recorder: Recorder, statuses: list[int]) -> None:
    assert not recorder.faults, recorder.faults
    assert told(recorder.requests) == _whole(case)[: len(recorder.requests)]
    assert len(recorder.requests) <= len(_whole(case))
    # A body that turns out bad has a head that went before it, and never an end.
    assert recorder.begun - len(recorder.requests) <= case.name.startswith("chunk-")
    assert b"smuggled" not in b"".join(recorder.raw)
    refused = [status for status in statuses if status != 200]
    expected = int(case.expected[-1].split(" ")[0])
    assert refused in ([expected], [408]) or (case.name.startswith("chunk-") and not refused)


@pytest.mark.parametrize("case", INVALID, ids=name)
def test_invalid_request_reaches_nobody(
    node: Node, platform: Origin, dial: Dial, case: Case
) -> None:
    recorder = Recorder()
    platform.use(recorder.script)
    wire = dial(node)
    wire.send(wire_of(case))
    statuses = last_answers(wire)
    platform.disconnect()
    _assert_nothing_bad_crossed(case, recorder, statuses)


@pytest.mark.parametrize("case", INVALID, ids=name)
def test_invalid_request_of_the_platform_reaches_no_agent(
    node: Node, agent: Origin, dial: Dial, case: Case
) -> None:
    recorder = Recorder()
    agent.use(recorder.script)
    wire = dial(node, PLATFORM)
    wire.send(routed(node, agent, case))
    statuses = last_answers(wire)
    agent.disconnect()
    assert not recorder.faults
    assert b"smuggled" not in b"".join(recorder.raw)
    assert len(recorder.requests) <= len(_whole(case))
    assert [status for status in statuses if status != 200] or case.name.startswith("chunk-")


def _answered(wire: Wire, case: Case) -> None:
    for words in _heads(case):
        while (got := wire.response(words[1])).status == 100:
            pass
        assert got.status == 200
        if got.all(b"connection") == [b"close"]:
            break


def _assert_framing_is_plain(request: Request) -> None:
    lengths, codings = request.all(b"content-length"), request.all(b"transfer-encoding")
    assert len(lengths) + len(codings) <= 1
    assert codings in ([], [b"chunked"])
    assert not lengths or lengths == [b"%d" % len(request.body)]


@pytest.mark.parametrize("case", VALID, ids=name)
def test_valid_requests_arrive_as_the_corpus_says(
    node: Node, platform: Origin, dial: Dial, case: Case
) -> None:
    recorder = Recorder()
    platform.use(recorder.script)
    wire = dial(node)
    wire.send(case.wire)
    _answered(wire, case)
    platform.disconnect()
    assert told(recorder.requests) == _whole(case)
    assert recorder.begun == len(recorder.requests)
    assert not recorder.faults
    for request in recorder.requests:
        _assert_framing_is_plain(request)
        assert request.all(b"agent-proxy-source") == [AGENT.encode()]
        assert request.all(b"via") == [b"1.%d 45BCEBB32AA9" % (0 if b"/1.0" in case.wire else 1)]
        for key, _ in request.fields:
            assert key in OURS or not re.sub(rb"[^a-z0-9]", b"-", key).startswith(FORGED), key
    if case.forwarded:
        # What h11 gives is in lower case: the case of names is told by the bytes themselves.
        first = b"".join(recorder.raw).partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
        ours = (b"agent-proxy-", b"agent-route:", b"forwarded:", b"via:")
        passed = [line for line in first if not line.lower().startswith(ours)]
        expected = [
            line.replace(b"up:3302", b"%b:%d" % (PLATFORM.encode(), platform.port))
            for line in case.forwarded[1:]
        ]
        assert passed == expected


ROUTABLE = [
    case
    for case in VALID
    if not re.search(rb"(?i)agent[-_.]route", case.wire) and case.name != "fields-most"
]


@pytest.mark.parametrize("case", ROUTABLE, ids=name)
def test_valid_requests_of_the_platform_arrive_as_the_corpus_says(
    node: Node, agent: Origin, dial: Dial, case: Case
) -> None:
    recorder = Recorder()
    agent.use(recorder.script)
    wire = dial(node, PLATFORM)
    wire.send(routed(node, agent, case))
    _answered(wire, case)
    agent.disconnect()
    assert told(recorder.requests) == _whole(case)
    assert not recorder.faults
    for request in recorder.requests:
        _assert_framing_is_plain(request)
        assert not request.all(b"agent-route")
        assert request.all(b"host") == [f"{ROUTED_AGENT}:{agent.port}".encode()]


@pytest.mark.parametrize(
    "field",
    [
        b"Agent-Proxy-Id", b"agent_proxy_id", b"AGENT-PROXY-SOURCE", b"Agent-Proxy-Whatever",
        b"Agent-Route", b"agent_route", b"Agent.Route", b"agent!proxy!id", b"X.Real.IP",
        b"Forwarded", b"X-Forwarded-For", b"x_forwarded_for", b"X-Forwarded-Anything",
        b"X-Real-IP", b"x_real_ip", b"Via", b"Proxy-Status", b"Proxy-Authorization",
        b"Proxy_Connection", b"Keep-Alive", b"TE", b"Trailer",
    ],
)  # fmt: skip
@pytest.mark.parametrize("nominated", [False, True])
def test_spoofed_field_never_arrives(
    node: Node, platform: Origin, dial: Dial, field: bytes, nominated: bool
) -> None:
    connection = b"Connection: %b\r\n" % field if nominated else b""
    wire = dial(node)
    got = wire.ask(
        b"GET / HTTP/1.1\r\nHost: a\r\n", connection, field, b": canary-77\r\nX-A: 1\r\n\r\n"
    )
    assert got.status == 200
    (request,) = platform.received
    assert request.one(b"x-a") == b"1"
    assert not any(b"canary-77" in value for _, value in request.fields)
    assert len(request.all(b"agent-proxy-id")) == len(request.all(b"agent-route")) == 1
