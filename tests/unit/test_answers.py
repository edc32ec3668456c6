"""answers: everything that the proxy says in its own voice."""

from __future__ import annotations

import json

import pytest

from proxy.answers import Answer, answer_bytes, document, problem, terse
from proxy.errors import BadAnswer, ClientGone, Misdirected, NotReady, Unreachable


def test_document_is_json_that_nobody_stores() -> None:
    answer = document({"agentProxyId": "X"}, 503)
    assert answer.status == 503
    assert json.loads(answer.body) == {"agentProxyId": "X"}
    assert answer.body.endswith(b"}\n")
    assert answer.headers == [
        (b"Content-Type", b"application/json"),
        (b"Cache-Control", b"no-store"),
    ]
    assert document({}).status == 200


def test_problem_says_what_whose_fault_and_when_to_come_back() -> None:
    error = Unreachable("10.0.0.2:2003 refused", token="connection_refused", blame="agent")
    answer = problem(error, "45BCEBB32AA9", retry_after_s=7)
    assert answer.status == 503
    assert json.loads(answer.body) == {
        "type": "urn:agent-proxy:connection_refused",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "10.0.0.2:2003 refused",
        "blame": "agent",
    }
    assert answer.headers == [
        (b"Content-Type", b"application/problem+json"),
        (b"Cache-Control", b"no-store"),
        (
            b"Proxy-Status",
            b'"45BCEBB32AA9"; error=connection_refused; details="10.0.0.2:2003 refused"',
        ),
        (b"Retry-After", b"7"),
    ]


def test_problem_cannot_be_broken_out_of() -> None:
    """A detail may quote what a caller wrote; it never ends the string, the field or the head."""
    answer = problem(BadAnswer('a"b\\c\r\nSet-Cookie: x\x00\xe4'), "")
    assert answer.headers[2:] == [
        (b"Proxy-Status", b'agent-proxy; error=http_protocol_error; details="abcSet-Cookie: x"')
    ]
    assert json.loads(answer.body)["detail"] == 'a"b\\c\r\nSet-Cookie: x\x00\xe4'


def test_an_agent_learns_nothing_but_the_status() -> None:
    error = NotReady("the platform 10.9.9.9:3302 is away")
    assert terse(error) == Answer(
        503, [(b"Content-Type", b"text/plain")], b"503 Service Unavailable\n"
    )
    assert terse(error, retry_after_s=3).headers[1:] == [(b"Retry-After", b"3")]
    assert terse(Misdirected("x")).body == b"421 Misdirected Request\n"
    assert terse(ClientGone("x")).body == b"499 Error\n"


@pytest.mark.parametrize(
    ("method", "keep_alive", "minor", "expected"),
    [
        (b"GET", True, 1, b"Content-Length: 2\r\n\r\nhi"),
        (b"HEAD", True, 1, b"Content-Length: 2\r\n\r\n"),
        (b"GET", False, 1, b"Content-Length: 2\r\nConnection: close\r\n\r\nhi"),
        (b"GET", False, 0, b"Content-Length: 2\r\nConnection: close\r\n\r\nhi"),
        (b"GET", True, 0, b"Content-Length: 2\r\nConnection: keep-alive\r\n\r\nhi"),
    ],
)
def test_answer_on_the_wire(method: bytes, keep_alive: bool, minor: int, expected: bytes) -> None:
    answer = Answer(200, [(b"X", b"1")], b"hi")
    wire = answer_bytes(answer, method=method, keep_alive=keep_alive, client_minor=minor)
    assert wire == b"HTTP/1.1 200 OK\r\nX: 1\r\n" + expected


def test_peer_learns_why_and_its_agent_only_that() -> None:
    answer = terse(Unreachable("no route to 192.0.2.9"), "45BCEBB32AA9")
    assert dict(answer.headers)[b"Proxy-Status"].startswith(b'"45BCEBB32AA9"; error=')
    assert b"192.0.2.9" not in answer.body
