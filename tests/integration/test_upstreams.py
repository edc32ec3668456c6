"""The way up when it is broken: down, late, somebody else, stale, or behind another proxy."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.fakes.certificates import KeyPair
from tests.integration.conftest import Dial
from tests.integration.nodes import PLATFORM, Node
from tests.integration.peers import (
    Aborted,
    Origin,
    Wire,
    answering,
    eventually,
    forward_proxy,
)

SETTINGS = {
    "timeouts": {
        "upstream_answer": 1,
        "connect": 1,
        "tls_handshake": 1,
        "body_idle": 1,
        "keepalive_out": 2,
    }
}
Start = Callable[..., Node]
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PASSWORD = "forward-proxy-canary"


def free_port(host: str) -> int:
    with socket.create_server((host, 0)) as sock:
        return int(sock.getsockname()[1])


@pytest.fixture
def second(pairs: dict[str, KeyPair]) -> Iterator[Origin]:
    origin = Origin("127.0.2.2", pairs["platform"])
    yield origin
    origin.stop()


def test_platform_that_is_down_is_503_with_a_time_to_come_back(
    started: Start, dial: Dial, platform: Origin
) -> None:
    node = started({"upstream": {"endpoint": f"{PLATFORM}:{free_port(PLATFORM)}"}}, ready=False)
    times = set()
    for _ in range(8):
        wire = dial(node)
        got = wire.ask(GET)
        assert (got.status, got.body) == (503, b"503 Service Unavailable\n")
        assert wire.to_end() == b""
        times.add(int(got.one(b"retry-after")))
    assert len(times) > 1, "a storm would come back as one"
    status, body = node.get("/ready")
    assert status == 503
    assert b"the upstream cannot be reached: the platform refused" in body
    assert node.status()["lastErrors"][-1]["error"] == "connection_refused"


def test_platform_that_does_not_answer_is_504(node: Node, platform: Origin, dial: Dial) -> None:
    def script(wire: Wire) -> None:
        wire.request()
        wire.to_end()

    platform.use(script)
    since = node.written()
    began = time.monotonic()
    got = dial(node).ask(GET)
    assert got.status == 504
    assert 0.9 < time.monotonic() - began < 3
    assert node.next_line(since)["end"] == "timed_out"


def test_answer_that_stops_in_its_middle_is_aborted(
    node: Node, platform: Origin, dial: Dial
) -> None:
    def script(wire: Wire) -> None:
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell")
        wire.to_end()

    platform.use(script)
    with pytest.raises(Aborted):
        dial(node).ask(GET)


def test_platform_that_never_shakes_hands_is_504(
    started: Start, platform: Origin, dial: Dial
) -> None:
    silent = socket.create_server((PLATFORM, 0))
    timeouts = {"connect": 0.5, "tls_handshake": 0.5}
    endpoint = f"{PLATFORM}:{silent.getsockname()[1]}"
    with silent:
        node = started({"upstream": {"endpoint": endpoint}, "timeouts": timeouts}, ready=False)
        got = dial(node).ask(GET)
    assert got.status == 504


@pytest.mark.parametrize(
    ("upstream", "error"),
    [
        ({"server_name": "elsewhere.example.com"}, "tls_certificate_error"),
        ({"ca_file": ""}, "tls_certificate_error"),
    ],
)
def test_platform_with_the_wrong_certificate_is_502(
    started: Start,
    platform: Origin,
    dial: Dial,
    upstream: dict[str, object],
    error: str,
) -> None:
    node = started({"upstream": upstream}, ready=False)
    assert dial(node).ask(GET).status == 502
    assert node.status()["lastErrors"][-1]["error"] == error
    assert platform.used == 0


def test_certificate_is_not_asked_for_only_on_purpose_and_loudly(
    started: Start, platform: Origin, dial: Dial
) -> None:
    node = started({"upstream": {"verify": "no", "server_name": "elsewhere.example.com"}})
    assert dial(node).ask(GET).status == 200
    assert "verify = no" in node.worker.log
    assert any("verify = no" in warning for warning in node.status()["warnings"])


def test_plain_text_platform_is_502(started: Start, dial: Dial, platform: Origin) -> None:
    plain = Origin(PLATFORM, None)
    try:
        node = started({"upstream": {"endpoint": f"{PLATFORM}:{plain.port}"}}, ready=False)
        plain.use(lambda wire: wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        assert dial(node).ask(GET).status == 502
    finally:
        plain.stop()


def test_endpoints_are_tried_in_turn(
    started: Start, platform: Origin, second: Origin, dial: Dial
) -> None:
    dead = f"{PLATFORM}:{free_port(PLATFORM)}"
    node = started({"upstream": {"endpoint": f"{dead}, 127.0.2.2:{second.port}"}})
    for _ in range(3):
        assert (
            dial(node).ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").body
            == b"hi"
        )
    healthy = {place["endpoint"]: place["healthy"] for place in node.status()["upstream"]}
    assert healthy == {dead: False, f"127.0.2.2:{second.port}": True}


def test_endpoint_that_dies_is_replaced_and_comes_back(
    started: Start, platform: Origin, second: Origin, pairs: dict[str, KeyPair], dial: Dial
) -> None:
    first = Origin(PLATFORM, pairs["platform"])
    port = first.port
    endpoint = f"{PLATFORM}:{port}, 127.0.2.2:{second.port}"
    node = started({"upstream": {"endpoint": endpoint}})
    wire = dial(node)
    assert wire.ask(GET).status == 200
    assert (first.used, second.used) == (1, 0)
    first.stop()
    assert wire.ask(GET).status == 200
    assert second.used == 1


@pytest.mark.parametrize(
    ("method", "status"), [("GET", 200), ("HEAD", 200), ("PUT", 200), ("POST", 502)]
)
def test_stale_kept_connection_is_retried_only_for_what_may_be_repeated(
    node: Node, platform: Origin, dial: Dial, method: str, status: int
) -> None:
    def first(wire: Wire) -> None:
        wire.request()
        wire.send(OK)
        wire.request()  # the second one is read, and nothing is said
        wire.cut()

    platform.use(first)
    wire = dial(node)
    assert wire.ask(GET).status == 200
    platform.use(answering(OK))
    extra = b"" if method != "POST" else b"Content-Length: 0\r\n"
    got = wire.ask(b"%b / HTTP/1.1\r\nHost: a\r\n%b\r\n" % (method.encode(), extra), method=method)
    assert got.status == status
    assert platform.used == (2 if status == 200 else 1)


def test_request_with_a_body_is_never_sent_twice(node: Node, platform: Origin, dial: Dial) -> None:
    def first(wire: Wire) -> None:
        wire.request()
        wire.send(OK)
        wire.request()
        wire.cut()

    platform.use(first)
    wire = dial(node)
    assert wire.ask(GET).status == 200
    platform.use(answering(OK))
    assert wire.ask(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").status == 502
    assert platform.used == 1


def test_connection_that_the_platform_closed_meanwhile_is_not_used(
    node: Node, platform: Origin, dial: Dial
) -> None:
    def once(wire: Wire) -> None:
        wire.request()
        wire.send(OK)

    platform.use(once)
    wire = dial(node)
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
    for _ in range(5):
        assert wire.ask(post).status == 200
        eventually(lambda: platform.open == 0, "the platform has closed")


def test_idle_connection_to_the_platform_is_not_kept_beyond_its_time(
    node: Node, platform: Origin, dial: Dial
) -> None:
    """[timeouts] keepalive_out: also when no request comes that would look at it."""
    ended = threading.Event()

    def script(wire: Wire) -> None:
        wire.request()
        wire.send(OK)
        wire.sock.settimeout(30)
        try:
            wire.some()
        finally:
            ended.set()

    platform.use(script)
    assert dial(node).ask(GET).status == 200
    assert not ended.wait(1)
    assert ended.wait(6)


@pytest.mark.parametrize("allow", [True, False])
def test_forward_proxy_with_credentials(
    started: Start, platform: Origin, dial: Dial, allow: bool
) -> None:
    credentials = base64.b64encode(f"user:{PASSWORD}".encode())
    corporate = Origin("127.0.2.3", None, forward_proxy(credentials, allow=allow))
    try:
        node = started(
            {
                "upstream": {
                    "http_proxy": f"http://127.0.2.3:{corporate.port}",
                    "http_proxy_user": "user",
                    "http_proxy_password": PASSWORD,
                }
            },
            ready=allow,
        )
        wire = dial(node)
        for _ in range(2 if allow else 1):
            got = wire.ask(GET)
            assert got.status == (200 if allow else 503)
        assert platform.used == (1 if allow else 0)
        assert corporate.received[0].line.startswith(f"CONNECT {PLATFORM}:".encode())
        if allow:
            (first, *_) = platform.received
            assert not first.all(b"proxy-authorization")
        else:
            detail = node.status()["lastErrors"][-1]["detail"]
            assert "forward proxy" in detail
        assert PASSWORD not in node.worker.log + str(node.status())
        assert credentials.decode() not in node.worker.log + str(node.status())
    finally:
        corporate.stop()
