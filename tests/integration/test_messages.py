"""Messages of every framing, through the worker and back."""

from __future__ import annotations

import ssl

import pytest

from tests.integration.conftest import Dial
from tests.integration.nodes import AGENT, PLATFORM, PROXY_ID, Node
from tests.integration.peers import Aborted, Origin, Wire, answering, anybody, dial_raw

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_request_reaches_the_platform_with_what_the_proxy_adds(
    node: Node, platform: Origin, dial: Dial
) -> None:
    platform.use(answering(OK))
    answer = dial(node).ask(
        b"GET /a?b=%20c HTTP/1.1\r\nhOST: 10.1.2.3:2002\r\nX-Two: 1\r\nx-two: 2\r\n\r\n"
    )
    assert answer == (b"HTTP/1.1 200 OK", [(b"Content-Length", b"2")], b"ok")
    (request,) = platform.received
    assert request.line == b"GET /a?b=%20c HTTP/1.1"
    assert request.fields == [
        (b"hOST", b"%s:%d" % (PLATFORM.encode(), platform.port)),
        (b"X-Two", b"1"),
        (b"x-two", b"2"),
        (b"Agent-Proxy-Id", PROXY_ID.encode()),
        (b"Agent-Proxy-Zone", b"default"),
        (b"Agent-Proxy-Source", AGENT.encode()),
        (b"Agent-Route", node.route(AGENT, int(str(node.settings["agents"]["ports"])))),
        (b"Forwarded", b'for=127.0.1.1;by=_45BCEBB32AA9;host="10.1.2.3:2002";proto=https'),
        (b"Via", b"1.1 45BCEBB32AA9"),
    ]


@pytest.mark.parametrize(
    ("framing", "sent"),
    [
        (b"Content-Length: 5", b"hello"),
        (b"Content-Length: 0", b""),
        (b"Transfer-Encoding: chunked", b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: x\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"0\r\n\r\n"),
    ],
)
def test_request_bodies_arrive_byte_for_byte(
    node: Node, platform: Origin, dial: Dial, framing: bytes, sent: bytes
) -> None:
    wire = dial(node)
    for _ in range(2):
        answer = wire.ask(b"POST / HTTP/1.1\r\nHost: a\r\n", framing, b"\r\n\r\n", sent)
        expected = b"hello" if b"he" in sent else b""
        assert (answer.status, answer.body) == (200, expected)
    assert platform.used == 1
    for request in platform.received:
        name, _, value = framing.partition(b": ")
        assert request.all(name.lower()) == [value]


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3\r\nay!\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "answer", "body"),
    [
        ("GET", OK, b"ok"),
        ("GET", CHUNKED, b"okay!"),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", b""),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        ("DELETE", b"HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\n!", b"!"),
        ("GET", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    ],
)
def test_responses_of_every_framing(
    node: Node,
    platform: Origin,
    dial: Dial,
    method: str,
    answer: bytes,
    body: bytes,
) -> None:
    platform.use(answering(answer, answer))
    wire = dial(node)
    for _ in range(2):  # the second one finds whatever the first left behind
        got = wire.ask(method.encode(), b" / HTTP/1.1\r\nHost: a\r\n\r\n", method=method)
        assert got.status == int(answer[9:12])
        assert got.body == body
        assert not got.all(b"connection")


def test_response_until_close_ends_with_the_connection(
    node: Node, platform: Origin, dial: Dial
) -> None:
    def script(wire: Wire) -> None:
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")

    platform.use(script)
    wire = dial(node)
    got = wire.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (got.body, got.one(b"connection")) == (b"all of it", b"close")


def test_interim_responses_pass_before_the_final_one(
    node: Node, platform: Origin, dial: Dial
) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    platform.use(answering(early + early + OK, OK))
    wire = dial(node)
    wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [wire.response().status for _ in range(3)] == [103, 103, 200]
    assert wire.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 200


def test_interim_responses_are_kept_from_http_1_0(node: Node, platform: Origin, dial: Dial) -> None:
    platform.use(answering(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK))
    wire = dial(node)
    assert wire.ask(b"GET / HTTP/1.0\r\n\r\n").status == 200
    assert wire.to_end() == b""


EXPECTING = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"


def test_body_follows_after_100_continue(node: Node, platform: Origin, dial: Dial) -> None:
    def script(wire: Wire) -> None:
        head = wire.head()
        assert head.one(b"expect") == b"100-continue"
        assert wire.is_silent(0.2), "the body came before it was asked for"
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert wire.exactly(5) == b"hello"
        wire.send(OK)
        answering(OK)(wire)

    platform.use(script)
    wire = dial(node)
    assert wire.ask(EXPECTING).status == 100
    assert wire.ask(b"hello").status == 200
    assert wire.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 200


def test_refusal_instead_of_100_continue_ends_the_connection(
    node: Node, platform: Origin, dial: Dial
) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        assert wire.to_end() == b"", "a refused body was sent"

    platform.use(script)
    wire = dial(node)
    got = wire.ask(EXPECTING)
    assert (got.status, got.one(b"connection")) == (413, b"close")
    assert wire.to_end() == b""
    assert platform.used == 1


@pytest.mark.parametrize(
    ("request_head", "goes_on"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", False),
    ],
)
def test_http_1_0_and_close(
    node: Node, platform: Origin, dial: Dial, request_head: bytes, goes_on: bool
) -> None:
    wire = dial(node)
    got = wire.ask(request_head)
    assert got.one(b"connection") == (b"keep-alive" if goes_on else b"close")
    if goes_on:
        assert wire.ask(request_head).status == 200
    else:
        assert wire.to_end() == b""


def test_chunked_response_to_http_1_0_is_bare_and_ends_with_the_connection(
    node: Node, platform: Origin, dial: Dial
) -> None:
    platform.use(answering(CHUNKED))
    wire = dial(node)
    wire.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    got = wire.head()
    assert not got.all(b"transfer-encoding")
    assert got.one(b"connection") == b"close"
    assert wire.to_end() == b"okay!"


def test_keep_alive_reuses_both_sides(node: Node, platform: Origin, dial: Dial) -> None:
    wire = dial(node)
    for number in range(20):
        body = b"%d" % number
        got = wire.ask(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body), body
        )
        assert got.body == body
    assert platform.used == 1


def test_pipelined_requests_are_answered_in_order(node: Node, platform: Origin, dial: Dial) -> None:
    wire = dial(node)
    wire.send(
        *(
            b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n%02d" % (number, number)
            for number in range(50)
        )
    )
    for number in range(50):
        assert wire.response().body == b"%02d" % number
    assert [message.line for message in platform.received] == [
        b"POST /%d HTTP/1.1" % number for number in range(50)
    ]


def test_request_that_comes_with_the_end_of_the_handshake_is_served(node: Node, dial: Dial) -> None:
    """One TCP segment with Finished and a request: nothing makes the socket readable again."""
    raw = dial_raw(node.address, AGENT)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = anybody().wrap_bio(incoming, outgoing)
    try:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(outgoing.read())
                incoming.write(raw.recv(65536))
        tls.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        raw.sendall(outgoing.read())
        answer = b""
        while data := raw.recv(65536):
            incoming.write(data)
            try:
                while piece := tls.read(65536):
                    answer += piece
            except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                pass
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    finally:
        raw.close()


def test_slow_byte_by_byte_request_is_one_request(node: Node, platform: Origin, dial: Dial) -> None:
    wire = dial(node)
    for (
        byte
    ) in b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n":
        wire.send(bytes([byte]))
    assert wire.response().body == b"x"
    assert platform.received[0].body == b"x"


def test_slow_byte_by_byte_response_is_one_response(
    node: Node, platform: Origin, dial: Dial
) -> None:
    def script(wire: Wire) -> None:
        wire.request()
        for byte in CHUNKED:
            wire.send(bytes([byte]))
        wire.to_end()

    platform.use(script)
    assert dial(node).ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").body == b"okay!"


def test_bytes_after_a_response_end_the_upstream_connection(
    node: Node, platform: Origin, dial: Dial
) -> None:
    """What nobody asked for must never answer the next request."""
    platform.use(answering(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"))
    wire = dial(node)
    assert wire.ask(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").body == b"ok"
    platform.use(answering(OK))
    assert wire.ask(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").body == b"ok"
    assert platform.used == 2


def test_caller_that_leaves_while_it_waits_takes_its_upstream_connection_with_it(
    node: Node, platform: Origin, dial: Dial
) -> None:
    ended: list[str] = []

    def script(wire: Wire) -> None:
        wire.request()
        try:
            wire.to_end()
            ended.append("clean")
        except Aborted:
            ended.append("aborted")

    platform.use(script)
    since = node.written()
    wire = dial(node)
    wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    while not platform.received:
        assert wire.is_silent(0.01)
    wire.close()
    assert node.next_line(since)["end"] == "client_gone"
