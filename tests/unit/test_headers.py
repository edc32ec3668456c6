"""headers: what ends here, what passes and what is added, in each direction."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.fields import canonical
from proxy.headers import (
    FROM_AGENT,
    FROM_PEER,
    TO_AGENT,
    TO_PEER,
    Rewrite,
    field,
    request_head,
    response_head,
)
from proxy.heads import HeadLimits, RequestHead, ResponseHead, parse_request, parse_response
from tests.corpus import Case, load

LIMITS = HeadLimits()
AUTHORITY = b"up:3302"
_NOTHING = 0  # strips nothing by name


def request(*lines: bytes) -> RequestHead:
    return parse_request(b"\r\n".join(lines) + b"\r\n", LIMITS)


def response(*lines: bytes, method: bytes = b"GET") -> ResponseHead:
    return parse_response(b"\r\n".join(lines) + b"\r\n", LIMITS, method, upgrading=True)


def sent(head: RequestHead, strip: int, *, keep_host: bool = False, added: bytes = b"") -> bytes:
    return request_head(head, Rewrite(strip, keep_host, added), AUTHORITY)


def answered(
    head: ResponseHead, *, client_minor: int = 1, keep_alive: bool = True, keep_status: bool = False
) -> bytes:
    return response_head(
        head, client_minor=client_minor, keep_alive=keep_alive, keep_status=keep_status
    )


_CORPUS = [case for case in load("requests/valid") if case.forwarded]


@pytest.mark.parametrize("case", _CORPUS, ids=lambda case: case.name)
def test_corpus_goes_on_as_written(case: Case) -> None:
    end = case.wire.index(b"\r\n\r\n")
    head = parse_request(case.wire[: end + 2], LIMITS)
    assert sent(head, FROM_AGENT).split(b"\r\n") == [*case.forwarded, b"", b""]


def test_ours_are_added_last_and_not_stripped() -> None:
    head = request(
        b"GET / HTTP/1.1", b"Host: a", b"Connection: Agent-Proxy-Id", b"Agent-Proxy-Id: spoofed"
    )
    assert sent(head, FROM_AGENT, added=b"Agent-Proxy-Id: ours\r\nVia: 1.1 ours\r\n") == (
        b"GET / HTTP/1.1\r\nHost: up:3302\r\nAgent-Proxy-Id: ours\r\nVia: 1.1 ours\r\n\r\n"
    )


_ALL = (
    b"Agent-Proxy-Id: X",
    b'Agent-Route: "X"',
    b"Via: 1.1 X",
    b"Forwarded: for=x",
    b"Proxy-Status: x",
    b"Keep-Alive: 5",
    b"Accept: */*",
)


@pytest.mark.parametrize(
    ("strip", "kept"),
    [
        (FROM_AGENT, [b"Accept: */*"]),
        (FROM_PEER, [b"Agent-Proxy-Id: X", b"Via: 1.1 X", b"Forwarded: for=x", b"Accept: */*"]),
        (TO_AGENT, [b"Agent-Proxy-Id: X", b"Via: 1.1 X", b"Forwarded: for=x", b"Accept: */*"]),
        (
            TO_PEER,
            [
                b"Agent-Proxy-Id: X",
                b'Agent-Route: "X"',
                b"Via: 1.1 X",
                b"Forwarded: for=x",
                b"Accept: */*",
            ],
        ),
    ],
)
def test_each_direction_strips_its_own(strip: int, kept: list[bytes]) -> None:
    head = request(b"GET / HTTP/1.1", b"Host: a", *_ALL)
    expected = [b"GET / HTTP/1.1", b"Host: up:3302", *kept, b"", b""]
    assert sent(head, strip).split(b"\r\n") == expected


def test_a_route_on_its_way_down_cannot_be_nominated_away() -> None:
    head = request(
        b"GET / HTTP/1.1", b"Host: a", b'Agent-Route: "X", agent', b"Connection: Agent_Route"
    )
    assert b'Agent-Route: "X", agent\r\n' in sent(head, TO_PEER)
    assert b"Agent-Route" not in sent(head, TO_AGENT)


def test_underscores_in_nominations_count_as_dashes() -> None:
    """`Connection: X_Gone` once left X_Gone itself in the head."""
    head = request(b"GET / HTTP/1.1", b"Host: a", b"Connection: X_Gone", b"X_Gone: 1", b"X-Gone: 2")
    assert sent(head, TO_PEER) == b"GET / HTTP/1.1\r\nHost: up:3302\r\n\r\n"
    answer = response(b"HTTP/1.1 200 OK", b"Content-Length: 0", b"Connection: x_gone", b"X_Gone: 1")
    assert answered(answer) == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def test_host_is_kept_where_wanted() -> None:
    head = request(b"GET / HTTP/1.1", b"X: 1", b"hOst: a:1")
    assert sent(head, TO_PEER, keep_host=True) == b"GET / HTTP/1.1\r\nX: 1\r\nhOst: a:1\r\n\r\n"
    without = request(b"GET / HTTP/1.0")
    assert sent(without, TO_PEER, keep_host=True) == b"GET / HTTP/1.1\r\nHost: up:3302\r\n\r\n"


def test_fields_are_found_in_any_case() -> None:
    headers = [(b"Via", b"1"), (b"X", b"2"), (b"VIA", b"3")]
    assert field(headers, b"via") == [b"1", b"3"]
    assert canonical(b"X_a-B") == canonical(b"x.A!b") == b"x-a-b"


# --- responses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "options", "expected"),
    [
        (  # nothing added, nothing but hop-by-hop removed, order and case kept
            [b"200 OK", b"SERVER: x", b"set-cookie: a", b"Set-Cookie: b", b"Content-Length: 2"],
            {},
            [b"200 OK", b"SERVER: x", b"set-cookie: a", b"Set-Cookie: b", b"Content-Length: 2"],
        ),
        (
            [
                b"200 OK",
                b"Connection: close, X-Gone",
                b"X-Gone: 1",
                b"Keep-Alive: 5",
                b"Trailer: X",
                b"Proxy-Authenticate: Basic",
                b"Upgrade: h2c",
                b"Content-Length: 2",
            ],
            {},
            [b"200 OK", b"Content-Length: 2"],
        ),
        (  # framing stands where it stood
            [b"200 OK", b"A: 1", b"transfer-encoding: chunked", b"B: 2"],
            {},
            [b"200 OK", b"A: 1", b"Transfer-Encoding: chunked", b"B: 2"],
        ),
        (  # HTTP/1.0 knows no chunks: until close, whatever the caller of this function wishes
            [b"200 OK", b"A: 1", b"Transfer-Encoding: chunked"],
            {"client_minor": 0},
            [b"200 OK", b"A: 1", b"Connection: close"],
        ),
        ([b"200 OK", b"A: 1"], {}, [b"200 OK", b"A: 1", b"Connection: close"]),
        (
            [b"200 OK", b"Content-Length: 2"],
            {"keep_alive": False},
            [b"200 OK", b"Content-Length: 2", b"Connection: close"],
        ),
        (
            [b"200 OK", b"Content-Length: 2"],
            {"client_minor": 0},
            [b"200 OK", b"Content-Length: 2", b"Connection: keep-alive"],
        ),
        ([b"204 No Content", b"Content-Length: 0"], {}, [b"204 No Content"]),
        (
            [b"304 Not Modified", b"Content-Length: 9"],
            {},
            [b"304 Not Modified", b"Content-Length: 9"],
        ),
        (
            [b"304 Not Modified", b"Transfer-Encoding: chunked"],
            {},
            [b"304 Not Modified"],
        ),
        ([b"100 Continue", b"Content-Length: 9"], {}, [b"100 Continue"]),
        ([b"103 Early Hints", b"Link: x"], {"keep_alive": False}, [b"103 Early Hints", b"Link: x"]),
        (
            [b"200 OK", b"Proxy-Status: x", b"Content-Length: 0"],
            {},
            [b"200 OK", b"Content-Length: 0"],
        ),
        (
            [b"200 OK", b"Proxy-Status: x", b"Content-Length: 0"],
            {"keep_status": True},
            [b"200 OK", b"Proxy-Status: x", b"Content-Length: 0"],
        ),
        (
            [b"101 Switching Protocols", b"upgrade: websocket", b"connection: upgrade", b"A: 1"],
            {"keep_alive": False},
            [b"101 Switching Protocols", b"A: 1", b"Connection: Upgrade", b"Upgrade: websocket"],
        ),
        (
            [b"426 Upgrade Required", b"Upgrade: x", b"Connection: upgrade", b"Content-Length: 0"],
            {},
            [b"426 Upgrade Required", b"Content-Length: 0", b"Connection: Upgrade", b"Upgrade: x"],
        ),
        (
            [b"426 Upgrade Required", b"Upgrade: x", b"Content-Length: 0"],
            {"keep_alive": False},
            [
                b"426 Upgrade Required",
                b"Content-Length: 0",
                b"Connection: close, Upgrade",
                b"Upgrade: x",
            ],
        ),
        (
            [b"426 Upgrade Required", b"Upgrade: x"],
            {},
            [b"426 Upgrade Required", b"Connection: close, Upgrade", b"Upgrade: x"],
        ),
        (
            [b"426 Upgrade Required", b"Upgrade: x", b"Content-Length: 0"],
            {"client_minor": 0},
            [b"426 Upgrade Required", b"Content-Length: 0", b"Connection: keep-alive"],
        ),
        (
            [b"426 Upgrade Required", b"Content-Length: 0"],
            {},
            [b"426 Upgrade Required", b"Content-Length: 0"],
        ),
        ([b"404 ", b"Content-Length: 0"], {}, [b"404 ", b"Content-Length: 0"]),
    ],
)
def test_response_goes_back(
    lines: list[bytes], options: dict[str, bool], expected: list[bytes]
) -> None:
    head = response(b"HTTP/1.1 " + lines[0], *lines[1:])
    got = answered(head, **options).split(b"\r\n")  # type: ignore[arg-type]
    assert got == [b"HTTP/1.1 " + expected[0], *expected[1:], b"", b""]


# --- properties ---------------------------------------------------------------------------------

_TOKEN = "abcXYZ019!#$%&'*+-.^_`|~"
_FRAMING_NAMES = {
    "host", "content-length", "transfer-encoding", "connection", "upgrade", "expect",
    "content_length", "transfer_encoding",
}  # fmt: skip
_NAMES = st.one_of(
    st.sampled_from(["Accept", "X-A", "x-a", "Cookie", "Agent-Proxy-Id", "Via", "Authorization"]),
    st.text(_TOKEN, min_size=1, max_size=10),
).filter(lambda name: name.lower() not in _FRAMING_NAMES)
_VALUES = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20
)
_FIELDS = st.lists(st.tuples(_NAMES, _VALUES), max_size=12)


@settings(deadline=None)
@given(_FIELDS, st.sampled_from(["", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"]))
def test_relay_is_identity_but_for_what_is_stripped(
    fields: list[tuple[str, str]], framing: str
) -> None:
    wire = "PUT /a?b=%20 HTTP/1.1\r\nHost: a\r\n" + framing
    wire += "".join(f"{name}: {value}\r\n" for name, value in fields)
    first = parse_request(wire.encode("latin-1"), LIMITS)
    onward = request_head(first, Rewrite(_NOTHING, keep_host=True, added=b""), AUTHORITY)
    assert onward.endswith(b"\r\n\r\n")
    second = parse_request(onward[:-2], LIMITS)
    assert second == first


_SPOOFS = [
    "agent-proxy-id", "agent-proxy-zone", "agent-proxy-source", "agent-proxy-anything",
    "agent-route", "forwarded", "via", "x-real-ip", "x-forwarded-for", "x-forwarded-anything",
    "proxy-status", "proxy-authorization",
]  # fmt: skip


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """Return one name of _SPOOFS in some case and with some dashes as underscores."""
    name = draw(st.sampled_from(_SPOOFS))
    flips = draw(st.lists(st.booleans(), min_size=len(name), max_size=len(name)))
    spelt = [
        ("_" if letter == "-" else letter.upper()) if flip else letter
        for letter, flip in zip(name, flips, strict=True)
    ]
    return "".join(spelt)


@settings(deadline=None)
@given(
    st.lists(spellings(), min_size=1, max_size=6),
    st.lists(spellings(), max_size=3),
    st.permutations(range(3)),
    st.sampled_from(["1.0", "1.1"]),
)
def test_spoofed_identity_never_survives(
    spoofed: list[str], nominated: list[str], order: list[int], version: str
) -> None:
    groups = [
        [f"{name}: spoofed" for name in spoofed],
        ["Connection: " + ", ".join([*nominated, "keep-alive"])],
        ["Accept: */*"],
    ]
    lines = [f"GET / HTTP/{version}", "Host: a", *(line for at in order for line in groups[at])]
    head = request(*(line.encode() for line in lines))
    onward = sent(head, FROM_AGENT, added=b"Via: 1.1 ours\r\n")
    assert onward == (b"GET / HTTP/1.1\r\nHost: up:3302\r\nAccept: */*\r\nVia: 1.1 ours\r\n\r\n")


@settings(deadline=None)
@given(_FIELDS, st.sampled_from(["1.0", "1.1"]), st.booleans(), st.booleans())
def test_what_is_sent_on_is_always_a_head_that_we_would_take(
    fields: list[tuple[str, str]], version: str, keep_status: bool, keep_alive: bool
) -> None:
    wire = f"HTTP/{version} 200 OK\r\nContent-Length: 3\r\n"
    wire += "".join(f"{name}: {value}\r\n" for name, value in fields)
    head = parse_response(wire.encode("latin-1"), LIMITS, b"GET", upgrading=False)
    onward = answered(head, keep_alive=keep_alive, keep_status=keep_status)
    again = parse_response(onward[:-2], LIMITS, b"GET", upgrading=False)
    assert (again.status, again.framing) == (200, 3)
    assert again.keep_alive is keep_alive


def test_a_head_that_comes_again_is_rendered_for_each_next_hop_and_caller() -> None:
    """The rendering stays with the head, but what differs must not stick to it."""
    head = request(b"GET / HTTP/1.1", b"Host: a", b"Agent-Route: x", b"A: 1")
    for _ in range(2):
        for number in range(6):
            authority, added = b"up:%d" % number, b"Via: 1.1 %d\r\n" % number
            assert request_head(head, Rewrite(FROM_AGENT, False, added), authority) == (
                b"GET / HTTP/1.1\r\nHost: %b\r\nA: 1\r\n%b\r\n" % (authority, added)
            )
        assert request_head(head, Rewrite(FROM_AGENT, True, b""), b"up:0") == (
            b"GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\n\r\n"
        )
        assert b"Agent-Route: x\r\n" in request_head(head, Rewrite(TO_PEER, False, b""), b"up:0")
    assert len(head.rendered) <= 4
    answer = response(b"HTTP/1.1 200 OK", b"Content-Length: 0", b"Proxy-Status: p")
    for _ in range(2):
        assert b"Connection: close" in answered(answer, keep_alive=False)
        assert b"Connection: keep-alive" in answered(answer, client_minor=0)
        assert answered(answer, keep_status=True).count(b"Proxy-Status") == 1
        assert answered(answer).count(b"Proxy-Status") == 0
