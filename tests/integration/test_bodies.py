"""Bodies larger than any buffer: streamed, with bounded memory, at the pace of the slower side."""

from __future__ import annotations

import contextlib
import hashlib
import select
import ssl
import threading
from collections.abc import Iterator

import pytest

from tests.integration.conftest import Dial
from tests.integration.nodes import AGENT, Node
from tests.integration.peers import TIMEOUT_S, Origin, Wire, stands_still

SIZE = 64 << 20
PIECE = bytes(range(256)) * 256
MEMORY = 8 << 20
"""What a worker may grow by while 64 MiB pass through it."""


def pieces() -> Iterator[bytes]:
    for _ in range(SIZE // len(PIECE)):
        yield PIECE


DIGEST = hashlib.sha256(PIECE * (SIZE // len(PIECE))).hexdigest()


def send_body(wire: Wire, *, chunked: bool) -> None:
    for piece in pieces():
        wire.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
    if chunked:
        wire.send(b"0\r\n\r\n")


def framing(chunked: bool) -> bytes:
    return b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % SIZE


def digest(wire: Wire, *, chunked: bool) -> str:
    """Return the SHA-256 of a body without ever holding it."""
    seen = hashlib.sha256()
    left = -1 if chunked else SIZE
    while left:
        size = int(wire.until(b"\r\n"), 16) if chunked else min(left, 1 << 20)
        seen.update(wire.exactly(size))
        if chunked:
            assert wire.exactly(2) == b"\r\n"
            left = size
        else:
            left -= size
    return seen.hexdigest()


@pytest.mark.parametrize("chunked", [False, True])
def test_large_request_body_is_streamed(
    node: Node, platform: Origin, dial: Dial, chunked: bool
) -> None:
    found: list[str] = []

    def script(wire: Wire) -> None:
        head = wire.head()
        found.append(digest(wire, chunked=bool(head.all(b"transfer-encoding"))))
        wire.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        wire.to_end()

    platform.use(script)
    before = node.worker.memory_bytes()
    wire = dial(node)
    wire.send(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % framing(chunked))
    send_body(wire, chunked=chunked)
    assert wire.response().status == 204
    assert found == [DIGEST]
    assert node.worker.memory_bytes() - before < MEMORY


@pytest.mark.parametrize("chunked", [False, True])
def test_large_response_body_is_streamed(
    node: Node, platform: Origin, dial: Dial, chunked: bool
) -> None:
    def script(wire: Wire) -> None:
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing(chunked))
        send_body(wire, chunked=chunked)
        wire.to_end()

    platform.use(script)
    before = node.worker.memory_bytes()
    since = node.written()
    wire = dial(node)
    wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    wire.head()
    assert digest(wire, chunked=chunked) == DIGEST
    assert node.worker.memory_bytes() - before < MEMORY
    assert node.next_line(since)["bytes_out"] == str(SIZE)


def test_both_bodies_at_once(node: Node, platform: Origin, dial: Dial) -> None:
    """An echo of any size: neither side may have to wait for the other's end."""

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing(False))
        for _ in pieces():
            wire.send(wire.exactly(len(PIECE)))
        wire.to_end()

    platform.use(script)
    before = node.worker.memory_bytes()
    wire = dial(node)
    wire.send(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % framing(False))
    wire.head()
    assert in_and_out(wire) == DIGEST
    assert node.worker.memory_bytes() - before < MEMORY


def in_and_out(wire: Wire) -> str:
    """Send the body and read it back, whichever is possible; return the digest of what came."""
    seen = hashlib.sha256()
    to_send, to_read = b"", SIZE
    source = pieces()
    sock = wire.sock
    sock.setblocking(False)
    try:
        while to_read:
            to_send = to_send or next(source, b"")
            assert any(select.select([sock], [sock] if to_send else [], [], TIMEOUT_S))
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if to_send:
                    to_send = to_send[sock.send(to_send) :]
            with contextlib.suppress(ssl.SSLWantReadError):
                while to_read:
                    data = sock.recv(65536)
                    assert data
                    seen.update(data)
                    to_read -= len(data)
    finally:
        sock.settimeout(TIMEOUT_S)
    return seen.hexdigest()


def test_caller_that_reads_slowly_slows_the_platform_down(
    node: Node, platform: Origin, dial: Dial
) -> None:
    sent = 0

    def script(wire: Wire) -> None:
        nonlocal sent
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing(False))
        for piece in pieces():
            wire.send(piece)
            sent += len(piece)
        wire.to_end()

    platform.use(script)
    before = node.worker.memory_bytes()
    wire = dial(node)
    wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    wire.head()
    assert stands_still(lambda: sent) < SIZE // 2, "the platform was read although nobody took it"
    assert node.worker.memory_bytes() - before < MEMORY
    assert digest(wire, chunked=False) == DIGEST


def test_platform_that_reads_slowly_slows_the_caller_down(
    node: Node, platform: Origin, dial: Dial
) -> None:
    go_on = threading.Event()
    found: list[str] = []
    sent = 0

    def script(wire: Wire) -> None:
        wire.head()
        go_on.wait(TIMEOUT_S)
        found.append(digest(wire, chunked=False))
        wire.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        wire.to_end()

    def send() -> None:
        nonlocal sent
        wire.send(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % framing(False))
        for piece in pieces():
            wire.send(piece)
            sent += len(piece)

    platform.use(script)
    before = node.worker.memory_bytes()
    wire = dial(node)
    writer = threading.Thread(target=send, daemon=True)
    writer.start()
    assert stands_still(lambda: sent) < SIZE // 2, "the caller was read although nobody took it"
    assert node.worker.memory_bytes() - before < MEMORY
    go_on.set()
    writer.join(TIMEOUT_S)
    assert wire.response().status == 204
    assert found == [DIGEST]


def test_answer_comes_while_the_body_is_still_being_sent(
    node: Node, platform: Origin, dial: Dial
) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.exactly(1000)
        wire.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nno!\n")
        wire.to_end()

    platform.use(script)
    wire = dial(node)
    wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n", b"x" * 1000)
    got = wire.response()
    assert (got.status, got.body, got.one(b"connection")) == (401, b"no!\n", b"close")
    assert wire.to_end() == b""


def test_answer_that_comes_in_pieces_is_passed_on_piece_by_piece(
    node: Node, platform: Origin, dial: Dial
) -> None:
    """Nothing is held back to fill a buffer."""
    go_on = threading.Event()

    def script(wire: Wire) -> None:
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        assert go_on.wait(TIMEOUT_S)
        wire.send(b"6\r\nsecond\r\n0\r\n\r\n")
        wire.to_end()

    platform.use(script)
    wire = dial(node, AGENT)
    wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    wire.head()
    assert wire.until(b"\r\n") == b"5"
    assert wire.exactly(7) == b"first\r\n"
    go_on.set()
    assert wire.chunked() == b"second"
