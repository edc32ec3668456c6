"""The corpus of requests through the real worker: what is invalid reaches nobody.

The files are written for small limits; the node has the smallest that can be set, so the few
cases about size get as many bytes more as that takes.
"""

from __future__ import annotations

import re

import pytest

from tests.corpus import Case, load
from tests.integration.conftest import Dial
from tests.integration.nodes import AGENT, PLATFORM, Node
from tests.integration.peers import Aborted, Origin, Wire

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
FORGED = (b"agent-proxy", b"agent_proxy", b"forwarded", b"x-real", b"x_real")


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


@pytest.mark.parametrize("case", INVALID, ids=name)
def test_invalid_request_reaches_nobody(
    node: Node, platform: Origin, dial: Dial, case: Case
) -> None:
    # Requests before the bad one count, and so may those whose body is what is bad.
    complete_before = case.expected.count("END")
    wire = dial(node)
    wire.send(wire_of(case))
    statuses = last_answers(wire)
    refused = [status for status in statuses if status != 200]
    expected = int(case.expected[-1].split(" ")[0])
    chunks_are_bad = case.name.startswith("chunk-")
    assert refused == [expected] or (chunks_are_bad and not refused) or refused == [408], statuses
    platform.disconnect()
    assert len(platform.received) <= max(complete_before, _complete(case)), platform.received


def _complete(case: Case) -> int:
    """Return how many whole requests go before what is wrong."""
    return {"second-request-malformed": 1, "body-shorter-than-what-follows": 1}.get(case.name, 0)


@pytest.mark.parametrize("case", INVALID, ids=name)
def test_invalid_request_of_the_platform_reaches_no_agent(
    node: Node, agent: Origin, dial: Dial, case: Case
) -> None:
    """The same reader serves both directions; no file names a route, so nothing may pass."""
    wire = dial(node, PLATFORM)
    wire.send(wire_of(case))
    statuses = last_answers(wire)
    assert all(status >= 400 for status in statuses)
    assert agent.used == 0


@pytest.mark.parametrize("case", VALID, ids=name)
def test_valid_requests_arrive_as_the_corpus_says(
    node: Node, platform: Origin, dial: Dial, case: Case
) -> None:
    wire = dial(node)
    wire.send(case.wire)
    heads = [line.split(" ") for line in case.expected if line.startswith("HEAD ")]
    for method in [words[1] for words in heads]:
        while (got := wire.response(method)).status == 100:
            pass
        assert got.status == 200
    platform.disconnect()
    assert [m.line.split(b" ")[:2] for m in platform.received] == [
        [words[1].encode(), words[2].encode()] for words in heads
    ]
    for request in platform.received:
        assert request.one(b"agent-proxy-source") == AGENT.encode()
        assert request.one(b"via") == b"1.%d 45BCEBB32AA9" % (0 if b"/1.0" in case.wire else 1)
        for key, _ in request.fields:
            assert b"_" not in key or not key.lower().startswith(FORGED), key
    if case.forwarded:
        first = platform.received[0]
        sent = [b"%b: %b" % item for item in first.fields]
        ours = (b"agent-proxy-", b"agent-route:", b"forwarded:", b"via:")
        passed = [line for line in sent if not line.lower().startswith(ours)]
        expected = [
            line.replace(b"up:3302", b"%b:%d" % (PLATFORM.encode(), platform.port))
            for line in case.forwarded[1:]
        ]
        assert passed == expected


@pytest.mark.parametrize(
    "field",
    [
        b"Agent-Proxy-Id", b"agent_proxy_id", b"AGENT-PROXY-SOURCE", b"Agent-Proxy-Whatever",
        b"Agent-Route", b"agent_route", b"Forwarded", b"X-Forwarded-For", b"x_forwarded_for",
        b"X-Forwarded-Anything", b"X-Real-IP", b"x_real_ip", b"Via", b"Proxy-Status",
        b"Proxy-Authorization", b"Proxy_Connection", b"Keep-Alive", b"TE", b"Trailer",
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
