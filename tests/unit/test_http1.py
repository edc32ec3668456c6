"""http1: bytes into events, the same wherever they were split; and httptools' opinion."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import BadAnswer, BadMessage, HeadTooLarge, RelayError, TargetTooLong
from proxy.heads import (
    CHUNKED,
    NO_BODY,
    UNTIL_CLOSE,
    Header,
    HeadLimits,
    RequestHead,
    ResponseHead,
)
from proxy.http1 import END, LAST_CHUNK, NEED_DATA, RequestReader, ResponseReader, chunk
from tests.corpus import LIMITS, Case, load

VALID_REQUESTS = load("requests/valid")
INVALID_REQUESTS = load("requests/invalid")
VALID_RESPONSES = load("responses/valid")
INVALID_RESPONSES = load("responses/invalid")
_FRAMINGS = {NO_BODY: "none", CHUNKED: "chunked", UNTIL_CLOSE: "close"}


def by_name(case: Case) -> str:
    return case.name


def shown_framing(framing: int) -> str:
    return _FRAMINGS.get(framing) or f"length {framing}"


class Transcript:
    """Events as the corpus writes them; pieces of body joined."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._body = b""

    def add(self, event: RequestHead | ResponseHead | bytes | object) -> None:
        if isinstance(event, bytes):
            assert event, "a piece of body is never empty"
            self._body += event
            return
        self.close()
        if isinstance(event, RequestHead):
            line = f"HEAD {event.method.decode()} {event.target.decode()}"
            self.lines.append(f"{line} {shown_framing(event.framing)}")
        elif isinstance(event, ResponseHead):
            self.lines.append(f"HEAD {event.status} {shown_framing(event.framing)}")
        else:
            self.lines.append(repr(event))

    def fail(self, error: RelayError) -> None:
        self.close()
        self.lines.append(f"{error.status} {type(error).__name__}")

    def close(self) -> None:
        if self._body:
            self.lines.append("BODY " + self._body.decode("latin-1"))
            self._body = b""


def replay_requests(pieces: Iterable[bytes], limits: HeadLimits = LIMITS) -> list[str]:
    reader, transcript = RequestReader(limits), Transcript()
    try:
        for piece in pieces:
            reader.feed(piece)
            while (event := reader.next_event()) is not NEED_DATA:
                transcript.add(event)
    except BadMessage as error:
        transcript.fail(error)
    transcript.close()
    return transcript.lines


def replay_responses(case: Case, pieces: Iterable[bytes]) -> list[str]:
    reader, transcript = ResponseReader(LIMITS), Transcript()
    requests = iter(case.requests)
    tunnel: bytes | None = None
    method, upgrade = next(requests)
    reader.expect(method, upgrade=upgrade)
    try:
        for piece in pieces:
            reader.feed(piece)
            while tunnel is None and (event := reader.next_event()) is not NEED_DATA:
                transcript.add(event)
                if isinstance(event, ResponseHead) and event.status == 101:
                    transcript.add(reader.next_event())
                    tunnel = b""
                elif event is END and (following := next(requests, None)):
                    reader.expect(following[0], upgrade=following[1])
            if tunnel is not None:
                tunnel += reader.take_rest()
        if case.eof:
            transcript.add(reader.eof())
    except BadAnswer as error:
        transcript.fail(error)
    transcript.close()
    if tunnel is not None:
        transcript.lines.append("REST " + tunnel.decode("latin-1"))
    return transcript.lines


def splits(wire: bytes) -> Iterator[list[bytes]]:
    """Whole, byte by byte, and in two pieces at every boundary."""
    yield [wire]
    yield [wire[at : at + 1] for at in range(len(wire))]
    yield [wire[at : at + 3] for at in range(0, len(wire), 3)]
    for at in range(1, len(wire)):
        yield [wire[:at], wire[at:]]


@pytest.mark.parametrize("case", VALID_REQUESTS, ids=by_name)
def test_valid_request(case: Case) -> None:
    for pieces in splits(case.wire):
        assert replay_requests(pieces) == case.expected, pieces


@pytest.mark.parametrize("case", INVALID_REQUESTS, ids=by_name)
def test_invalid_request(case: Case) -> None:
    whole = replay_requests([case.wire])
    assert whole == case.expected
    for pieces in splits(case.wire):
        assert replay_requests(pieces) == whole, pieces


@pytest.mark.parametrize("case", VALID_RESPONSES, ids=by_name)
def test_valid_response(case: Case) -> None:
    for pieces in splits(case.wire):
        assert replay_responses(case, pieces) == case.expected, pieces


@pytest.mark.parametrize("case", INVALID_RESPONSES, ids=by_name)
def test_invalid_response(case: Case) -> None:
    for pieces in splits(case.wire):
        assert replay_responses(case, pieces) == case.expected, pieces


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_mutation_at_any_split_is_judged_alike(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(VALID_REQUESTS + INVALID_REQUESTS))
    wire = bytearray(case.wire)
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(wire)))
        wire[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from(
                [b"", b"\r", b"\n", b"\r\n", b"\0", b" ", b":", b"a", b"0", b";", b"\t"]
            )
        )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=5)))
    bounds = [0, *cuts, len(wire)]
    pieces = [bytes(wire[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)]
    whole = replay_requests([bytes(wire)])
    assert replay_requests(pieces) == whole
    assert replay_requests(bytes([byte]) for byte in wire) == whole


def test_sizes_are_exact_wherever_they_are_split() -> None:
    """Half of a line end once counted against the limit: 8192 bytes and a CR were one too many."""
    limits = HeadLimits(head_bytes=40, fields=5, line_bytes=20)
    for length in range(15, 26):
        target = b"/" + b"a" * (length - 14)
        line = b"GET " + target + b" HTTP/1.1"
        expected = (
            [f"HEAD GET {target.decode()} none", "END"] if length <= 20 else ["414 TargetTooLong"]
        )
        for pieces in splits(line + b"\r\nHost: a\r\n\r\n"):
            assert replay_requests(pieces, limits) == expected
    for padding in range(6, 14):
        head = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * padding
        expected = ["HEAD GET / none", "END"] if len(head) <= 40 else ["431 HeadTooLarge"]
        for pieces in splits(head + b"\r\n\r\n"):
            assert replay_requests(pieces, limits) == expected


def test_a_line_feed_after_a_body_that_ends_with_cr_is_no_line_end() -> None:
    wire = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n\r\nGET /"
    for pieces in splits(wire):
        assert replay_requests(pieces)[-1] == "400 BadMessage"


def test_oversize_heads_are_refused_without_their_end() -> None:
    reader = RequestReader(LIMITS)
    reader.feed(b"GET /" + b"a" * 200)
    with pytest.raises(TargetTooLong, match="longer than 128 bytes"):
        reader.next_event()
    reader = RequestReader(LIMITS)
    reader.feed(b"GET / HTTP/1.1\r\nX: " + b"a" * 600)
    with pytest.raises(HeadTooLarge, match="larger than 512 bytes"):
        reader.next_event()


def test_a_slow_head_costs_little() -> None:
    limits = HeadLimits()
    wire = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 16000 + b"\r\n\r\n"
    began = time.process_time()
    assert replay_requests((wire[at : at + 1] for at in range(len(wire))), limits)[-1] == "END"
    assert time.process_time() - began < 2


def test_what_is_fed_is_counted_and_can_be_taken() -> None:
    reader = RequestReader(LIMITS)
    assert reader.buffered == 0
    assert reader.next_event() is NEED_DATA
    reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\ntunnel")
    assert reader.buffered == 33
    assert isinstance(reader.next_event(), RequestHead)
    assert reader.next_event() is END
    assert reader.buffered == 6
    reader.feed(b"led")
    assert reader.take_rest() == b"tunnelled"
    assert reader.buffered == 0
    assert reader.take_rest() == b""


def test_a_piece_that_is_all_body_is_not_copied() -> None:
    reader = RequestReader(LIMITS)
    reader.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
    assert isinstance(reader.next_event(), RequestHead)
    assert reader.next_event() is NEED_DATA
    piece = b"x" * 1000
    reader.feed(piece)
    assert reader.next_event() is piece
    assert reader.next_event() is END


@pytest.mark.parametrize(
    ("wire", "token"),
    [
        (b"", "connection_terminated"),
        (b"HTTP/1.1 20", "connection_terminated"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", "http_response_incomplete"),
    ],
)
def test_an_early_close_says_how_far_it_came(wire: bytes, token: str) -> None:
    reader = ResponseReader(LIMITS)
    reader.expect(b"GET")
    reader.feed(wire)
    while reader.next_event() is not NEED_DATA:
        pass
    with pytest.raises(BadAnswer) as caught:
        reader.eof()
    assert caught.value.token == token


def test_marks_say_their_name() -> None:
    assert (repr(END), repr(NEED_DATA)) == ("END", "NEED_DATA")


def test_chunk_is_written_in_hexadecimal() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


@given(st.lists(st.binary(min_size=1, max_size=64), max_size=8), st.integers(1, 40))
def test_a_chunked_body_arrives_as_it_was_sent(body: list[bytes], step: int) -> None:
    wire = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    wire += b"".join(map(chunk, body)) + LAST_CHUNK
    lines = replay_requests(wire[at : at + step] for at in range(0, len(wire), step))
    joined = b"".join(body).decode("latin-1")
    assert lines == ["HEAD POST / chunked", *(["BODY " + joined] if joined else []), "END"]


# --- what we accept, httptools (llhttp) accepts, and reads alike --------------------------------


class Message:
    """One request as either reader tells it."""

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.fields: list[Header] = []
        self.body = b""
        self.complete = False

    def told(self) -> tuple[bytes, bytes, list[Header], bytes, bool]:
        return self.method, self.target, self.fields, self.body, self.complete


class Theirs(Message):
    """httptools' callbacks; a trailer's fields are left out as ours are."""

    def __init__(self) -> None:
        super().__init__()
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            self.fields.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self._in_head = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


def read_ours(wire: bytes) -> tuple[list[Message], list[int]]:
    """Return the requests that are whole, and where each of them ends."""
    reader = RequestReader(LIMITS)
    reader.feed(wire)
    found: list[Message] = []
    ends: list[int] = []
    try:
        while (event := reader.next_event()) is not NEED_DATA:
            if isinstance(event, RequestHead):
                message = Message()
                message.method, message.target = event.method, event.target
                message.fields = event.headers
            elif isinstance(event, bytes):
                message.body += event
            else:
                message.complete = True
                found.append(message)
                ends.append(len(wire) - reader.buffered)
    except BadMessage:
        pass
    return found, ends


def read_theirs(wire: bytes) -> Message:
    message = Theirs()
    parser = httptools.HttpRequestParser(message)
    try:
        parser.feed_data(wire)
    except httptools.HttpParserUpgrade:
        pass
    message.method = parser.get_method()
    return message


_KNOWN = frozenset(b"GET HEAD POST PUT DELETE OPTIONS PATCH PROPFIND".split())


def assert_read_alike(wire: bytes) -> None:
    messages, ends = read_ours(wire)
    for message, start, end in zip(messages, [0, *ends], ends, strict=False):
        if message.method not in _KNOWN:
            continue  # llhttp knows a list of methods; RFC 9110 9.1 lets any token be one
        assert read_theirs(wire[start:end]).told() == message.told()


@pytest.mark.parametrize("case", VALID_REQUESTS + INVALID_REQUESTS, ids=by_name)
def test_httptools_reads_the_corpus_alike(case: Case) -> None:
    assert_read_alike(case.wire)


_NAMES = st.one_of(
    st.sampled_from(["Accept", "X-A", "x-a", "Connection", "TE", "Upgrade", "Expect", "Cookie"]),
    st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=8),
)
_VALUES = st.one_of(
    st.sampled_from(["close", "keep-alive", "Upgrade", "100-continue", "websocket", "a, b", ""]),
    st.text(
        st.characters(min_codepoint=9, max_codepoint=255, exclude_characters="\r\n"), max_size=12
    ),
)
_BODIES = st.sampled_from(
    [
        "\r\n",
        "Content-Length: 0\r\n\r\n",
        "Content-Length: 5\r\n\r\nhello",
        "Content-Length: 5\r\n\r\nhello!",
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n05;a=b\r\nhello\r\n0\r\nX: 1\r\n\r\n",
        "Transfer-Encoding: CHUNKED\r\n\r\nA;a\r\n0123456789\r\n0;b\r\n\r\n",
        'Transfer-Encoding: chunked\r\n\r\n1;a="b;\\"c"\r\nx\r\n0\r\n\r\n',
    ]
)


@settings(deadline=None, max_examples=500)
@given(
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12),
    st.sampled_from(["1.0", "1.1"]),
    st.lists(st.tuples(_NAMES, _VALUES, st.sampled_from(["", " ", " \t"])), max_size=5),
    _BODIES,
)
def test_httptools_reads_generated_requests_alike(
    method: str, target: str, version: str, fields: list[tuple[str, str, str]], rest: str
) -> None:
    lines = [f"{method} /{target} HTTP/{version}", "Host: a"]
    lines += [f"{name}:{space}{value}{space}" for name, value, space in fields]
    assert_read_alike(("\r\n".join(lines) + "\r\n" + rest).encode("latin-1"))


_EXTENSIONS = st.text(' \t;="\\,ab\x00\x7f\x80\r\n', max_size=8)


@settings(deadline=None, max_examples=500)
@given(_EXTENSIONS)
def test_httptools_reads_chunk_extensions_alike(extension: str) -> None:
    wire = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert_read_alike(wire + b"5" + extension.encode("latin-1") + b"\r\nhello\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "begun", [b"\x00\x01\x02", b"S", b"HTTP/2", b"HTTP/1.2", b"HTTP/1.1 2x", b"HTTP/1.1\t", b"http"]
)
def test_garbage_is_refused_before_its_line_ends(begun: bytes) -> None:
    """Issue 2: without an empty line it was waited for until the answer's deadline."""
    responses = ResponseReader(HeadLimits())
    responses.expect(b"GET")
    responses.feed(begun)
    with pytest.raises(BadAnswer, match="the status line is not"):
        responses.next_event()


@pytest.mark.parametrize(
    "begun", [b"", b"H", b"HTTP/1.", b"HTTP/1.0 ", b"HTTP/1.1 404", b"HTTP/1.1 200 O"]
)
def test_what_may_become_a_status_line_is_waited_for(begun: bytes) -> None:
    responses = ResponseReader(HeadLimits())
    responses.expect(b"GET")
    responses.feed(begun)
    assert responses.next_event() is NEED_DATA
