"""fields: header lines into names and values, and what they say of framing."""

from __future__ import annotations

import time

import pytest

from proxy import fields
from proxy.errors import BadAnswer, BadMessage, HeadTooLarge, RelayError
from proxy.fields import connection_tokens, read_framing, split_fields


def refusal(error: type[RelayError], *lines: bytes, as_: type[RelayError] = BadMessage) -> str:
    """Return why these field lines are refused by a reader whose error is `as_`."""
    block = b"".join(line + b"\r\n" for line in lines)
    with pytest.raises(error) as caught:
        read_framing(split_fields(block, 8, as_), as_)
    assert type(caught.value) is error
    return caught.value.detail


def test_long_connection_values_are_not_remembered() -> None:
    """256 of 30 kB each would stay in every worker for ever."""
    before = fields._remembered_tokens.cache_info().currsize
    assert connection_tokens(b"a," * 40) == {b"a"}
    assert fields._remembered_tokens.cache_info().currsize == before
    assert connection_tokens(b"never, seen, Before") == {b"never", b"seen", b"before"}
    assert fields._remembered_tokens.cache_info().currsize == before + 1


def test_long_field_names_are_refused() -> None:
    """Names are remembered too."""
    name = b"n" * 1024
    assert split_fields(name + b": 1\r\n", 1, BadMessage) == [(name, b"1")]
    detail = refusal(BadMessage, name + b"n: 1")
    assert "longer than 1024 bytes" in detail


@pytest.mark.parametrize(
    "block",
    [
        b"a" * 32000 + b"\r\n",
        b"a:" * 16000 + b"\x01\r\n",
        b"A: " + b"x" * 32000 + b"\x01\r\n",
        b"\n" * 32000 + b"\r\n",
        b"\r\n" * 16000 + b"x",
        b"a\n" * 16000,
    ],
)
def test_hostile_fields_cost_little(block: bytes) -> None:
    """A pattern that starts anew at every byte took 5 s of CPU for one such head."""
    began = time.process_time()
    with pytest.raises(BadMessage):
        split_fields(block, 100, BadMessage)
    assert time.process_time() - began < 0.5


def test_no_fields_at_all() -> None:
    assert split_fields(b"", 0, BadMessage) == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b" folded", "a folded line"),
        (b"\tfolded", "a folded line"),
        (b"no colon", "no colon"),
        (b": empty", "an empty name"),
        (b"Space : 1", "white space before the colon"),
        (b"Tab\t: 1", "white space before the colon"),
        (b"Na me: 1", "a name that is not a token"),
        (b"Na\x80me: 1", "a name that is not a token"),
        (b"(x): 1", "a name that is not a token"),
        (b"X: a\nY: b", "a control character in its value"),
        (b"X: a\rY: b", "a control character in its value"),
        (b"X: a\x00b", "a control character in its value"),
        (b"X: a\x7f", "a control character in its value"),
        (b"X: a\r", "a control character in its value"),
    ],
)
def test_malformed_field_is_refused_and_said(line: bytes, why: str) -> None:
    detail = refusal(BadMessage, b"Host: a", line)
    assert detail.startswith(f"header field 2 has {why}")
    assert refusal(BadAnswer, b"Server: a", line, as_=BadAnswer) == detail


def test_an_empty_line_inside_is_refused() -> None:
    detail = refusal(BadMessage, b"Host: a", b"", b"X: 1")
    assert detail == "the header fields do not end where the head does"


def test_too_many_fields() -> None:
    lines = [b"X-%d: 1" % number for number in range(9)]
    assert "9 header fields, at most 8" in refusal(HeadTooLarge, *lines)
    assert "9 header fields, at most 8" in refusal(BadAnswer, *lines, as_=BadAnswer)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([b"Content-Length: 1", b"Content-Length: 1"], "twice"),
        ([b"Content-Length: 1", b"Content-Length: 2"], "twice"),
        ([b"Content-Length: 1, 1"], "not a number"),
        ([b"Content-Length:"], "not a number"),
        ([b"Content-Length: +1"], "not a number"),
        ([b"Content-Length: -1"], "not a number"),
        ([b"Content-Length: 0x1"], "not a number"),
        ([b"Content-Length: 1_0"], "not a number"),
        ([b"Content-Length: 1 0"], "not a number"),
        ([b"Content-Length: \xb2"], "not a number"),
        ([b"Content-Length: 1000000000000000000"], "not a number"),
        ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"], "exactly one"),
        ([b"Transfer-Encoding: chunked, chunked"], "exactly one"),
        ([b"Transfer-Encoding: gzip, chunked"], "exactly one"),
        ([b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"], "exactly one"),
        ([b"Transfer-Encoding: identity"], "exactly one"),
        ([b"Transfer-Encoding: \x0bchunked"], "control character"),
        ([b"Transfer-Encoding:"], "exactly one"),
        ([b"Transfer-Encoding: chunked;q=1"], "exactly one"),
        ([b"Content-Length: 1", b"Transfer-Encoding: chunked"], "together"),
        ([b"Transfer-Encoding: chunked", b"Content-Length: 0"], "together"),
        ([b"Content_Length: 1"], "another sign"),
        ([b"TRANSFER_ENCODING: chunked"], "another sign"),
        ([b"Transfer.Encoding: chunked"], "another sign"),
    ],
)
def test_ambiguous_framing_is_refused(lines: list[bytes], why: str) -> None:
    assert why in refusal(BadMessage, *lines)
    assert why in refusal(BadAnswer, *lines, as_=BadAnswer)
