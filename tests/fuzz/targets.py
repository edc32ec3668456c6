"""One function of bytes for each reader; it raises AssertionError where an invariant fails.

Only the error that a reader documents may leave it; anything else is a finding by itself.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import h11

from proxy import headers, proxyproto, route, settings
from proxy.errors import (
    BadAnswer,
    BadMessage,
    BadProxyHeader,
    BadRoute,
    ConfigurationProblems,
    Misdirected,
    RelayError,
)
from proxy.headers import FROM_AGENT, Rewrite
from proxy.heads import CHUNKED, NO_BODY, HeadLimits, RequestHead, ResponseHead
from proxy.http1 import END, NEED_DATA, RequestReader, ResponseReader
from tests.corpus import load
from tests.unit.test_http1 import assert_read_alike

LIMITS = HeadLimits(head_bytes=512, fields=12, line_bytes=128)
CORPUS = Path(__file__).parents[1] / "corpus"
_METHODS = (b"GET", b"HEAD", b"POST", b"GET")
_ADDED = b"Agent-Proxy-Id: ours\r\nVia: 1.1 ours\r\n"


def _splits(wire: bytes) -> Iterable[list[bytes]]:
    """The whole, single bytes, and pieces whose sizes follow from the bytes themselves."""
    yield [wire]
    yield [wire[at : at + 1] for at in range(len(wire))]
    seed, pieces, at = zlib.crc32(wire), [], 0
    while at < len(wire):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        size = 1 + (seed >> 16) % 17
        pieces.append(wire[at : at + size])
        at += size
    yield pieces


def _read(
    reader: RequestReader | ResponseReader, pieces: Iterable[bytes]
) -> tuple[list[object], RelayError | None]:
    """Return the events, bodies joined, and the refusal if there was one."""
    events: list[object] = []
    body = b""
    try:
        for piece in pieces:
            reader.feed(piece)
            while (event := reader.next_event()) is not NEED_DATA:
                if isinstance(event, bytes):
                    assert event, "a piece of body is never empty"
                    body += event
                    continue
                if body:
                    events.append(body)
                    body = b""
                events.append(event)
                if isinstance(event, ResponseHead) and event.status == 101:
                    assert reader.next_event() is END
                    return events, None  # what follows is a tunnel's
    except (BadMessage, BadAnswer) as error:
        return [*events, *([body] if body else [])], error
    return [*events, *([body] if body else [])], None


def _same(one: RelayError | None, other: RelayError | None) -> bool:
    return (type(one), one and one.status) == (type(other), other and other.status)


def request(data: bytes) -> None:
    """The same events however it arrives; llhttp reads it alike, h11 what we make of it."""
    told = [_read(RequestReader(LIMITS), pieces) for pieces in _splits(data)]
    events, refusal = told[0]
    for other, error in told[1:]:
        assert other == events, (other, events)
        assert _same(error, refusal), (error, refusal)
    assert_read_alike(data)
    for event in events:
        if isinstance(event, RequestHead):
            _assert_request_head(event)


def _assert_request_head(head: RequestHead) -> None:
    sent = headers.request_head(head, Rewrite(FROM_AGENT, False, _ADDED), b"up:3302")
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(sent)
    event = reader.next_event()
    assert isinstance(event, h11.Request), event
    assert (event.method, event.target) == (head.method, head.target)
    fields = [(bytes(name), bytes(value)) for name, value in event.headers]
    for name in (b"host", b"via", b"agent-proxy-id"):
        assert len([value for key, value in fields if key == name]) == 1, name
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    assert codings == ([b"chunked"] if head.framing == CHUNKED else [])
    assert lengths == ([b"%d" % head.framing] if head.framing >= 0 else [])


def response(data: bytes) -> None:
    """The same events however it arrives; h11 reads what we make of its head alike."""
    if not data:
        return
    method, upgrade = _METHODS[data[0] & 3], bool(data[0] & 4)
    told = []
    for pieces in _splits(data[1:]):
        reader = ResponseReader(LIMITS)
        reader.expect(method, upgrade=upgrade)
        told.append(_read(reader, pieces))
    events, refusal = told[0]
    for other, error in told[1:]:
        assert other == events, (other, events)
        assert _same(error, refusal), (error, refusal)
    for event in events:
        if isinstance(event, ResponseHead) and event.status != 101:
            _assert_response_head(event, method)


def _assert_response_head(head: ResponseHead, method: bytes) -> None:
    sent = headers.response_head(head, client_minor=1, keep_alive=True, keep_status=False)
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(sent)
    event = reader.next_event()
    assert isinstance(event, h11.Response | h11.InformationalResponse), event
    assert event.status_code == head.status
    if head.framing == NO_BODY and head.status >= 200:
        assert isinstance(reader.next_event(), h11.EndOfMessage)


def routes(data: bytes) -> None:
    """What can be read is written again and means the same; what cannot is BadRoute."""
    try:
        read = route.parse(data)
    except BadRoute:
        return
    written = route.serialize(read)
    assert route.parse(written) == read
    assert route.serialize(route.parse(written)) == written
    assert len(data) <= route.MAX_BYTES
    assert len(read.ids) <= route.MAX_HOPS
    for own_id in {*read.ids, "45BCEBB32AA9"}:
        try:
            hop = route.next_hop(read, own_id)
            assert hop is read.agent or hop in read.ids
        except (BadRoute, Misdirected):
            pass
    key = route.seal_key(b"some secret")
    assert not route.seal_is_right(read.agent, "45BCEBB32AA9", (key,)), "a seal was guessed"
    try:
        longer = route.parse(route.prepend("45BCEBB32AA9", data))
        assert longer == route.Route(("45BCEBB32AA9", *read.ids), read.agent)
    except BadRoute:
        pass


def proxy_header(data: bytes) -> None:
    """Bytes only add: a prefix is unfinished, refused as the whole is, or the same header."""
    verdicts = []
    for end in {0, 1, 11, 12, 13, 15, 16, len(data) // 2, len(data) - 1, len(data)}:
        if 0 <= end <= len(data):
            try:
                verdicts.append((end, proxyproto.parse(data[:end])))
            except BadProxyHeader:
                verdicts.append((end, None))
                try:
                    proxyproto.parse(data)
                except BadProxyHeader:
                    continue
                raise AssertionError(f"refused after {end} bytes, taken whole") from None
    whole = dict(verdicts)[len(data)] if data else None
    for end, header in verdicts:
        assert header is None or header == whole, (end, header, whole)
    if whole is not None:
        assert whole.consumed <= len(data)
        assert (whole.source is None) == (whole.command == "LOCAL")


def ini(data: bytes) -> None:
    """A file is Settings or problems with a line and a remedy; a secret is never shown."""
    text = data.decode("utf-8", "replace")
    try:
        read = settings.parse(text.splitlines(), node="node-1")
    except ConfigurationProblems as error:
        assert error.problems
        for problem in error.problems:
            assert problem.message and problem.remedy, problem
        return
    shown = "\n".join(settings.show(read))
    secret = read.proxy.secret
    if len(secret) >= 16:
        assert secret.decode("utf-8", "replace") not in shown
    assert settings.digest(read) == settings.digest(
        settings.parse(text.splitlines(), node="node-1")
    )


def _lines(folder: str, pattern: str) -> list[bytes]:
    files = sorted((CORPUS / folder).rglob(pattern))
    return [path.read_bytes().partition(b"\n")[2] for path in files]


def seeds(name: str) -> list[bytes]:
    """Return what fuzzing of the target begins with: the corpus that the tests replay."""
    if name == "request":
        return [case.wire for kind in ("valid", "invalid") for case in load(f"requests/{kind}")]
    if name == "response":
        found = []
        for kind in ("valid", "invalid"):
            for case in load(f"responses/{kind}"):
                method, upgrade = case.requests[0]
                first = (1 if method == b"HEAD" else 0) + (4 if upgrade else 0)
                found.append(bytes([first]) + case.wire)
        return found
    if name == "routes":
        return [value.removesuffix(b"\n") for value in _lines("routes", "*.txt")]
    if name == "proxy_header":
        return [bytes.fromhex(value.decode()) for value in _lines("proxyproto", "*.hex")]
    return [(Path(__file__).parents[2] / "conf" / "proxy.ini").read_bytes()]


TARGETS: dict[str, Callable[[bytes], None]] = {
    "request": request,
    "response": response,
    "routes": routes,
    "proxy_header": proxy_header,
    "ini": ini,
}
