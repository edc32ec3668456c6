"""heads: what one head of a message means, and which heads mean nothing."""

from __future__ import annotations

import pytest

from proxy import heads
from proxy.errors import (
    BadAnswer,
    BadMessage,
    ExpectationFailed,
    HeadTooLarge,
    MethodRefused,
    RelayError,
    VersionRefused,
)
from proxy.heads import (
    CHUNKED,
    NO_BODY,
    UNTIL_CLOSE,
    HeadLimits,
    RequestHead,
    ResponseHead,
    parse_request,
    parse_response,
)

LIMITS = HeadLimits(head_bytes=32768, fields=8, line_bytes=8192)


def request(*lines: bytes) -> RequestHead:
    return parse_request(b"\r\n".join(lines) + b"\r\n", LIMITS)


def response(*lines: bytes, method: bytes = b"GET", upgrading: bool = False) -> ResponseHead:
    return parse_response(b"\r\n".join(lines) + b"\r\n", LIMITS, method, upgrading=upgrading)


def refusal(error: type[RelayError], *lines: bytes) -> str:
    with pytest.raises(error) as caught:
        request(*lines)
    assert type(caught.value) is error
    return caught.value.detail


def test_request_is_kept_in_wire_order_and_case() -> None:
    head = request(
        b"POST /a?b=%20c HTTP/1.1",
        b"hOST: 10.1.2.3:2002",
        b"X-A: 1",
        b"x-a:2",
        b"X-Empty:",
        b"X-Spaced: \t a b \t ",
        b"Content-Length: 12",
        b"X-Obs: \x80\xff",
    )
    assert head == RequestHead(
        method=b"POST",
        target=b"/a?b=%20c",
        minor=1,
        headers=[
            (b"hOST", b"10.1.2.3:2002"),
            (b"X-A", b"1"),
            (b"x-a", b"2"),
            (b"X-Empty", b""),
            (b"X-Spaced", b"a b"),
            (b"Content-Length", b"12"),
            (b"X-Obs", b"\x80\xff"),
        ],
        framing=12,
        keep_alive=True,
        options=frozenset(),
        upgrade=None,
        expects_continue=False,
        host=b"10.1.2.3:2002",
    )


@pytest.mark.parametrize(
    ("version", "connection", "expected"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"keep-alive", True),
        (b"1.1", b"Close", False),
        (b"1.1", b"x, close ,y", False),
        (b"1.0", b"", False),
        (b"1.0", b"Keep-Alive", True),
        (b"1.0", b"close", False),
        (b"1.0", b"close, keep-alive", False),
        (b"1.1", b"close, keep-alive", False),
    ],
)
def test_keep_alive(version: bytes, connection: bytes, expected: bool) -> None:
    """RFC 9112 9.3: close wins."""
    line = b"GET / HTTP/" + version
    assert request(line, b"Host: a", b"Connection: " + connection).keep_alive is expected
    status = b"HTTP/" + version + b" 204 No Content"
    assert response(status, b"Connection: " + connection).keep_alive is expected


def test_connection_options_of_several_fields_are_one_set() -> None:
    head = request(b"GET / HTTP/1.1", b"Host: a", b"Connection: X-A,,", b"Connection: \tx-B ,")
    assert head.options == {b"x-a", b"x-b"}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"GET",
        b"GET /",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"GET / a HTTP/1.1",
        b"GET / http/1.1",
        b"GET / HTTP/11",
        b"GET / HTTP/1.10",
        b"GET / HTTP/1",
        b"GET /\x80 HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /\x7f HTTP/1.1",
        b"G(T / HTTP/1.1",
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1\r",
        b"\x16\x03\x01\x02\x00\x01",
    ],
)
def test_malformed_request_line(line: bytes) -> None:
    assert "request line" in refusal(BadMessage, line, b"Host: a")


@pytest.mark.parametrize(
    "line", [b"PRI * HTTP/2.0", b"GET / HTTP/0.9", b"GET / HTTP/1.2", b"GET / HTTP/3.1"]
)
def test_other_versions(line: bytes) -> None:
    refusal(VersionRefused, line, b"Host: a")


@pytest.mark.parametrize("method", [b"CONNECT", b"TRACE"])
def test_methods_that_are_not_relayed(method: bytes) -> None:
    assert method.decode() in refusal(MethodRefused, method + b" / HTTP/1.1", b"Host: a")
    refusal(MethodRefused, method + b" a:443 HTTP/1.1", b"Host: a")


@pytest.mark.parametrize(
    "target",
    [b"http://a/", b"https://a/", b"a:443", b"*", b"a/b", b"?x", b"#"],
)
def test_targets_of_open_proxy_probes(target: bytes) -> None:
    assert "target" in refusal(BadMessage, b"GET " + target + b" HTTP/1.1", b"Host: a")


def test_asterisk_is_for_options_only() -> None:
    assert request(b"OPTIONS * HTTP/1.1", b"Host: a").target == b"*"
    refusal(BadMessage, b"options * HTTP/1.1", b"Host: a")


@pytest.mark.parametrize(
    ("fields", "framing"),
    [
        ([], NO_BODY),
        ([b"Content-Length: 0"], 0),
        ([b"content-LENGTH: 007"], 7),
        ([b"Content-Length: 999999999999999999"], 999999999999999999),
        ([b"Transfer-Encoding: chunked"], CHUNKED),
        ([b"transfer-encoding: Chunked "], CHUNKED),
    ],
)
def test_framing_of_a_request(fields: list[bytes], framing: int) -> None:
    assert request(b"POST / HTTP/1.1", b"Host: a", *fields).framing == framing


@pytest.mark.parametrize(
    "host",
    [b"", b"a", b"10.0.0.2:2003", b"a.b-c_d:", b"[::1]", b"[fe80::1%25eth0]:1", b"%41", b"a:080"],
)
def test_hosts_that_pass(host: bytes) -> None:
    assert request(b"GET / HTTP/1.1", b"Host: " + host).host == host


@pytest.mark.parametrize(
    "host", [b"a b", b"a@b", b"a/b", b"a:b", b"a:1:2", b"::1", b"[::1", b"a\\b", b"a?b", b"\x80"]
)
def test_hosts_that_do_not(host: bytes) -> None:
    assert "Host" in refusal(BadMessage, b"GET / HTTP/1.1", b"Host: " + host)
    assert "Host" in refusal(BadMessage, b"GET / HTTP/1.0", b"Host: " + host)


def test_exactly_one_host() -> None:
    assert "no Host" in refusal(BadMessage, b"GET / HTTP/1.1")
    assert "twice" in refusal(BadMessage, b"GET / HTTP/1.1", b"Host: a", b"Host: a")
    assert "twice" in refusal(BadMessage, b"GET / HTTP/1.0", b"Host: a", b"host: b")
    assert request(b"GET / HTTP/1.0").host == b""


def test_coding_in_http_1_0() -> None:
    coding = b"Transfer-Encoding: chunked"
    assert "HTTP/1.0" in refusal(BadMessage, b"POST / HTTP/1.0", b"Host: a", coding)
    with pytest.raises(BadAnswer, match=r"HTTP/1\.0"):
        response(b"HTTP/1.0 200 OK", coding)


def test_upgrade_needs_to_be_named_in_connection() -> None:
    fields = (b"Host: a", b"Upgrade: websocket")
    assert request(b"GET / HTTP/1.1", *fields).upgrade is None
    assert request(b"GET / HTTP/1.1", *fields, b"Connection: Upgrade").upgrade == b"websocket"
    assert request(b"GET / HTTP/1.0", *fields, b"Connection: Upgrade").upgrade is None
    assert request(b"GET / HTTP/1.1", b"Host: a", b"Connection: Upgrade").upgrade is None


def test_several_upgrade_fields_are_one_list() -> None:
    head = request(
        b"GET / HTTP/1.1", b"Host: a", b"Upgrade: a", b"Upgrade: b", b"Connection: upgrade"
    )
    assert head.upgrade == b"a, b"


@pytest.mark.parametrize("body", [b"Content-Length: 1", b"Transfer-Encoding: chunked"])
def test_upgrade_with_body_is_refused(body: bytes) -> None:
    fields = (b"Host: a", b"Upgrade: websocket", b"Connection: Upgrade")
    assert "with a body" in refusal(BadMessage, b"POST / HTTP/1.1", *fields, body)
    assert request(b"GET / HTTP/1.1", *fields, b"Content-Length: 0").framing == 0


@pytest.mark.parametrize("protocol", [b"h2c", b"H2C", b"websocket, h2c"])
def test_h2c_is_refused(protocol: bytes) -> None:
    fields = (b"Host: a", b"Upgrade: " + protocol, b"Connection: Upgrade, HTTP2-Settings")
    assert "h2c" in refusal(BadMessage, b"GET / HTTP/1.1", *fields)


def test_expectations() -> None:
    assert request(b"PUT / HTTP/1.1", b"Host: a", b"Expect: 100-Continue").expects_continue
    assert not request(b"PUT / HTTP/1.0", b"Expect: anything").expects_continue
    refusal(ExpectationFailed, b"PUT / HTTP/1.1", b"Host: a", b"Expect: 101")
    refusal(
        ExpectationFailed,
        b"PUT / HTTP/1.1",
        b"Host: a",
        b"Expect: 100-continue",
        b"Expect: 100-continue",
    )


def test_response_is_kept_in_wire_order_and_case() -> None:
    head = response(b"HTTP/1.1 404 Nicht da\xdf", b"SERVER: x", b"Set-Cookie: a", b"set-cookie:b")
    assert head == ResponseHead(
        status=404,
        reason=b"Nicht da\xdf",
        minor=1,
        headers=[(b"SERVER", b"x"), (b"Set-Cookie", b"a"), (b"set-cookie", b"b")],
        framing=UNTIL_CLOSE,
        keep_alive=False,
        options=frozenset(),
        upgrade=None,
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [(b"HTTP/1.1 200", b""), (b"HTTP/1.1 200 ", b""), (b"HTTP/1.0 200 a\tb", b"a\tb")],
)
def test_reasons(line: bytes, reason: bytes) -> None:
    assert response(line, b"Content-Length: 0").reason == reason


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"HTTP/1.1",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 099 No",
        b"HTTP/1.1 600 No",
        b"HTTP/1.1 2x0 No",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 200OK",
        b"HTTP/1.2 200 OK",
        b"HTTP/2.0 200 OK",
        b"http/1.1 200 OK",
        b"ICY 200 OK",
        b"HTTP/1.1 200 O\x00K",
        b"HTTP/1.1 200 O\nK",
    ],
)
def test_malformed_status_line(line: bytes) -> None:
    with pytest.raises(BadAnswer, match="status line"):
        response(line, b"Content-Length: 0")


@pytest.mark.parametrize(
    ("status", "method", "fields", "framing"),
    [
        (b"200 OK", b"GET", [b"Content-Length: 5"], 5),
        (b"200 OK", b"GET", [b"Transfer-Encoding: chunked"], CHUNKED),
        (b"200 OK", b"GET", [], UNTIL_CLOSE),
        (b"200 OK", b"HEAD", [b"Content-Length: 5"], NO_BODY),
        (b"200 OK", b"HEAD", [b"Transfer-Encoding: chunked"], NO_BODY),
        (b"200 OK", b"HEAD", [], NO_BODY),
        (b"204 No Content", b"GET", [b"Content-Length: 5"], NO_BODY),
        (b"304 Not Modified", b"GET", [b"Content-Length: 5"], NO_BODY),
        (b"304 Not Modified", b"GET", [b"Transfer-Encoding: chunked"], NO_BODY),
        (b"100 Continue", b"GET", [], NO_BODY),
        (b"103 Early Hints", b"GET", [b"Content-Length: 5"], NO_BODY),
    ],
)
def test_framing_of_a_response(
    status: bytes, method: bytes, fields: list[bytes], framing: int
) -> None:
    head = response(b"HTTP/1.1 " + status, *fields, method=method)
    assert head.framing == framing
    assert head.keep_alive is (framing != UNTIL_CLOSE)


def test_a_body_until_close_never_keeps_alive() -> None:
    assert not response(b"HTTP/1.0 200 OK", b"Connection: keep-alive").keep_alive


def test_switching_protocols_only_where_asked_and_to_something() -> None:
    line = b"HTTP/1.1 101 Switching Protocols"
    fields = (b"Upgrade: websocket", b"Connection: Upgrade")
    assert response(line, *fields, upgrading=True).upgrade == b"websocket"
    with pytest.raises(BadAnswer, match="asked for no upgrade"):
        response(line, *fields)
    with pytest.raises(BadAnswer, match="without Upgrade"):
        response(line, b"Connection: Upgrade", upgrading=True)


def test_two_hosts_in_a_response_are_not_ours_to_judge() -> None:
    """Only requests have a Host; a response that names one twice is still refused as odd."""
    with pytest.raises(BadAnswer, match="twice"):
        response(b"HTTP/1.1 200 OK", b"Host: a", b"Host: b")


@pytest.mark.parametrize("line", [b"Cookie: a=b", b"aUTHORIZATION: x", b"X: " + b"y" * 1024])
def test_head_with_credentials_or_a_large_one_is_not_remembered(line: bytes) -> None:
    limits = HeadLimits()
    before = [len(cache) for cache in _CACHES]
    for _ in range(2):
        request = heads.read_request(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % line, limits)
        response = heads.read_response(
            b"HTTP/1.1 200 OK\r\n%b\r\n" % line, limits, b"GET", upgrading=False
        )
        assert request.headers[1] == response.headers[0]
    assert [len(cache) for cache in _CACHES] == before


def test_remembered_head_is_the_same_value() -> None:
    head = b"GET /remembered HTTP/1.1\r\nHost: a\r\n"
    first = heads.read_request(head, HeadLimits())
    assert heads.read_request(head, HeadLimits()) is first
    assert first == heads.parse_request(head, HeadLimits())
    with pytest.raises(HeadTooLarge):
        heads.read_request(head + b"A: b\r\n", HeadLimits(fields=1))


def test_what_is_remembered_is_bounded_and_the_oldest_goes() -> None:
    first = heads.read_request(b"GET /first HTTP/1.1\r\nHost: a\r\n", HeadLimits())
    for number in range(128):
        heads.read_request(b"GET /%d HTTP/1.1\r\nHost: a\r\n" % number, HeadLimits())
    assert len(heads._requests) == 128
    again = heads.read_request(b"GET /first HTTP/1.1\r\nHost: a\r\n", HeadLimits())
    assert again == first
    assert again is not first


_CACHES = (heads._requests, heads._responses)
