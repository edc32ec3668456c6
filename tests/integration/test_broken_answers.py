"""Answers that break off or mean nothing: never passed off as complete."""

from __future__ import annotations

import pytest

from tests.integration.conftest import Dial
from tests.integration.nodes import PLATFORM, ROUTED_AGENT, Node
from tests.integration.peers import Aborted, Origin, Script, Wire

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HOW = ("close", "cut", "reset")


def breaking(sent: bytes, how: str) -> Script:
    def script(wire: Wire) -> None:
        wire.request()
        wire.send(sent)
        if sent:
            wire.is_silent(0.1)  # a reset would overtake what was sent
        getattr(wire, how)()

    return script


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 200 O",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
def test_answer_that_ends_in_its_head_is_502(
    node: Node, platform: Origin, dial: Dial, sent: bytes, how: str
) -> None:
    platform.use(breaking(sent, how))
    wire = dial(node)
    since = node.written()
    wire.send(GET)
    got = wire.response()
    while got.status == 100:
        got = wire.response()
    assert got.status == 502
    assert wire.to_end() == b""
    assert platform.used == 1, "a fresh connection is not tried again"
    assert node.next_line(since)["end"] == "bad_answer"


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\n",
    ],
)
def test_answer_that_ends_in_its_body_is_aborted(
    node: Node, platform: Origin, dial: Dial, sent: bytes, how: str
) -> None:
    platform.use(breaking(sent, how))
    wire = dial(node)
    since = node.written()
    with pytest.raises(Aborted):
        wire.ask(GET)
    line = node.next_line(since)
    assert (line["end"], line["status"]) == ("broke_off", "200")


@pytest.mark.parametrize("how", ["cut", "reset"])
def test_answer_until_close_needs_a_proper_end(
    node: Node, platform: Origin, dial: Dial, how: str
) -> None:
    platform.use(breaking(b"HTTP/1.1 200 OK\r\n\r\nhalf of", how))
    since = node.written()
    with pytest.raises(Aborted):
        dial(node).ask(GET)
    assert node.next_line(since)["end"] == "broke_off"


@pytest.mark.parametrize("how", HOW)
def test_http_1_0_caller_sees_the_break_too(
    node: Node, platform: Origin, dial: Dial, how: str
) -> None:
    """Its chunked answer became one until close: a clean end would look complete."""
    half = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    platform.use(breaking(half, how))
    wire = dial(node)
    wire.send(b"GET / HTTP/1.0\r\n\r\n")
    wire.head()
    with pytest.raises(Aborted):
        wire.to_end()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x01\x02 no HTTP at all\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 40000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    ],
)
def test_garbage_is_502_and_its_connection_is_not_kept(
    node: Node, platform: Origin, dial: Dial, garbage: bytes
) -> None:
    def script(wire: Wire) -> None:
        wire.request()
        wire.send(garbage)
        wire.to_end()

    platform.use(script)
    wire = dial(node)
    got = wire.ask(GET)
    assert got.status == 502
    assert got.body == b"502 Bad Gateway\n", "an agent is told nothing more"


def test_garbage_in_a_chunked_body_is_aborted(node: Node, platform: Origin, dial: Dial) -> None:
    def script(wire: Wire) -> None:
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n")
        wire.to_end()

    platform.use(script)
    with pytest.raises(Aborted):
        dial(node).ask(GET)


@pytest.mark.parametrize("how", HOW)
def test_agent_that_breaks_off_is_told_to_the_platform(
    node: Node, agent: Origin, dial: Dial, how: str
) -> None:
    agent.use(breaking(b"HTTP/1.1 200 OK\r\nConte", how))
    route = node.route(ROUTED_AGENT, agent.port)
    got = dial(node, PLATFORM).ask(
        b"GET / HTTP/1.1\r\nHost: a\r\nAgent-Route: ", route, b"\r\n\r\n"
    )
    assert got.status == 502
    assert b'"blame": "agent"' in got.body
    assert b"error=http_response_incomplete" in got.one(b"proxy-status")


def test_body_in_the_middle_of_which_the_platform_answers_and_leaves(
    node: Node, platform: Origin, dial: Dial
) -> None:
    """The answer counts even though the rest of the body could not be sent."""

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")

    platform.use(script)
    wire = dial(node)
    wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n", b"x" * 1000)
    got = wire.response()
    assert (got.status, got.one(b"connection")) == (413, b"close")
