"""Header fields of HTTP/1.x messages: lines into names and values, and what they say of framing.

Layer 0 (pure). Neighbours: `errors` below; `heads`, `headers` and `reader` above.

Strict where two readers could differ, and nothing is ever repaired:

* a bare LF or CR, NUL, obs-fold, white space before a colon or an empty field name is refused
  (RFC 9112 2.2, 5.1, 5.2)
* `Content-Length` and `Transfer-Encoding` never together, never twice; the only coding is
  `chunked` (6.1, 6.3). Their spellings with `_` or another sign, which some back ends read
  alike, are refused too
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from proxy.errors import BadMessage, HeadTooLarge, RelayError

__all__ = [
    "SIGNS_AS_DASH",
    "Framed",
    "Header",
    "canonical",
    "connection_tokens",
    "read_framing",
    "split_fields",
]

Header: TypeAlias = tuple[bytes, bytes]

_LENGTH_DIGITS: Final = 18
# What callers choose is remembered below and in `headers`: bounded, or they fill our memory.
_NAME_LIMIT: Final = 1024
_REMEMBERED_VALUE: Final = 64
# Tied to the start of a line and never backtracking: 30 kB of hostile name took 5 s without.
_FIELDS: Final = re.compile(
    rb"(?m:^)([!#$%&'*+\-.^_`|~0-9A-Za-z]++):([^\x00-\x08\x0a-\x1f\x7f]*+)\r\n"
)
# What a field means to framing. 0: nothing, passes.
_OTHER, _LENGTH, _CODING, _CONNECTION, _UPGRADE, _HOST_FIELD, _EXPECT, _AMBIGUOUS = range(8)
_MEANING: Final = {
    b"content-length": _LENGTH,
    b"transfer-encoding": _CODING,
    b"connection": _CONNECTION,
    b"upgrade": _UPGRADE,
    b"host": _HOST_FIELD,
    b"expect": _EXPECT,
}
_AMBIGUOUS_NAMES: Final = frozenset((b"content-length", b"transfer-encoding"))
SIGNS_AS_DASH: Final = bytes.maketrans(b"!#$%&'*+._`|~", b"-" * 13)


@lru_cache(maxsize=1024)
def canonical(name: bytes) -> bytes:
    """Return `name` in lower case, every sign as `-`: how the most careless back end reads it.

    CGI variables know neither case nor signs: Apache and PHP once made `_` of all of them.
    """
    return name.lower().translate(SIGNS_AS_DASH)


@lru_cache(maxsize=1024)
def _meaning(name: bytes) -> int:
    meaning = _MEANING.get(name.lower(), _OTHER)
    if meaning == _OTHER and canonical(name) in _AMBIGUOUS_NAMES:
        return _AMBIGUOUS
    return meaning


def connection_tokens(value: bytes) -> frozenset[bytes]:
    """Return the lower-case options of a Connection field value (RFC 9110 7.6.1)."""
    if len(value) <= _REMEMBERED_VALUE:
        return _remembered_tokens(value)
    return _split_tokens(value)


def _split_tokens(value: bytes) -> frozenset[bytes]:
    return frozenset(token.strip(b" \t").lower() for token in value.split(b",")) - {b""}


_remembered_tokens = lru_cache(maxsize=256)(_split_tokens)


class Framed(NamedTuple):
    """What the fields of a head say about framing."""

    length: int
    chunked: bool
    options: frozenset[bytes]
    upgrade: bytes | None
    host: bytes | None
    expect: bytes | None


def split_fields(block: bytes, limit: int, error: type[RelayError]) -> list[Header]:
    """Return the fields of `block`, which is zero or more lines, each ended by CRLF."""
    found = _FIELDS.findall(block)
    # Matches never overlap, so equal sums mean that no byte stands between them.
    if sum([len(name) + len(value) for name, value in found]) + 3 * len(found) != len(block):
        raise error(_why_malformed(block))
    if len(found) > limit:
        detail = f"{len(found)} header fields, at most {limit} are taken"
        raise (HeadTooLarge(detail) if error is BadMessage else error(detail))
    if len(block) > _NAME_LIMIT and any(len(name) > _NAME_LIMIT for name, _ in found):
        raise error(f"a header field's name is longer than {_NAME_LIMIT} bytes")
    return [(name, value.strip(b" \t")) for name, value in found]


def _why_malformed(block: bytes) -> str:
    """Say which line is wrong and how, without quoting its value."""
    for number, line in enumerate(block.split(b"\r\n"), start=1):
        if _FIELDS.fullmatch(line + b"\r\n") or not line:
            continue
        name, colon, _ = line.partition(b":")
        if line[:1] in b" \t":
            why = "a folded line (RFC 9112 5.2)"
        elif not colon:
            why = "no colon"
        elif not name:
            why = "an empty name"
        elif name[-1:] in b" \t":
            why = "white space before the colon"
        elif _FIELDS.match(name + b":\r\n"):
            why = "a control character in its value"
        else:
            why = "a name that is not a token"
        return f"header field {number} has {why}"
    return "the header fields do not end where the head does"


def read_framing(headers: list[Header], error: type[RelayError]) -> Framed:
    """Collect what framing needs in one pass over `headers`.

    Raises: `error` where two readers could differ.
    """
    length = -1
    chunked = False
    options: frozenset[bytes] = frozenset()
    upgrade: bytes | None = None
    host: bytes | None = None
    expect: bytes | None = None
    for name, value in headers:
        meaning = _meaning(name)
        if meaning == _OTHER:
            continue
        if meaning == _LENGTH:
            if length >= 0:
                raise error("Content-Length is given twice")
            if not value.isdigit() or len(value) > _LENGTH_DIGITS:
                raise error("Content-Length is not a number of at most 18 digits")
            length = int(value)
        elif meaning == _CODING:
            if chunked or value.lower() != b"chunked":
                raise error("Transfer-Encoding is not exactly one chunked")
            chunked = True
        elif meaning == _CONNECTION:
            options |= connection_tokens(value)
        elif meaning == _UPGRADE:
            upgrade = value if upgrade is None else upgrade + b", " + value
        elif meaning == _HOST_FIELD:
            if host is not None:
                raise error("Host is given twice")
            host = value
        elif meaning == _EXPECT:
            expect = value if expect is None else expect + b", " + value
        else:
            raise error("a spelling of a framing field with another sign (Content_Length)")
    if chunked and length >= 0:
        raise error("Content-Length and Transfer-Encoding together (RFC 9112 6.1)")
    return Framed(length, chunked, options, upgrade, host, expect)
