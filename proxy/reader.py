"""What requests and responses have in common: bytes into a head, pieces of body and END.

Layer 0 (pure). Neighbours: `heads` below; `http1` has the two readers.

A reader is fed whatever arrived and asked for the next event; where the bytes were split never
changes the events. Chunk extensions and trailers are read, bounded, and dropped (RFC 9112 7.1.1,
7.1.2). Body pieces are as large as what one feed brought; nothing is copied twice.
"""

from __future__ import annotations

import re
from typing import Final

from proxy.errors import BadMessage, HeadTooLarge, RelayError
from proxy.fields import split_fields
from proxy.heads import CHUNKED, NO_BODY, Framing, HeadLimits

__all__ = ["END", "HEAD", "NEED_DATA", "OPEN", "STRAY", "STRAY_LINE_END", "Mark", "Reader"]

_CHUNK_LINE_LIMIT: Final = 1024


class Mark:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


END: Final = Mark("END")
NEED_DATA: Final = Mark("NEED_DATA")


# RFC 9112 7.1.1 without its "bad" white space: llhttp refuses that too, and readers differ on it.
_CHUNK_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,15})"
    rb"(?:;[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
    rb"(?:=(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
    rb'|"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*+"))?)*+'
)
STRAY_LINE_END: Final = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|\x00")
STRAY: Final = "a line that does not end with CRLF, or a NUL (RFC 9112 2.2)"


HEAD, _COUNTED, _CHUNK_HEAD, _CHUNK_END, _TRAILER, OPEN, _ENDED = range(7)


class Reader:
    """Bytes not yet turned into events, and how the current body ends."""

    __slots__ = (
        "_buffer",
        "_framing",
        "_limits",
        "_position",
        "_remaining",
        "_scanned",
        "_state",
        "_surely_fits",
    )

    _error: type[RelayError]

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self._surely_fits = min(limits.line_bytes, limits.head_bytes)
        self._buffer = b""
        self._position = 0
        self._framing: Framing = NO_BODY
        self._remaining = 0
        self._scanned = 0  # bytes after _position in which no end of a head was found
        self._state = HEAD

    @property
    def buffered(self) -> int:
        """Bytes that were fed and not yet handed out."""
        return len(self._buffer) - self._position

    def feed(self, data: bytes) -> None:
        """Take what arrived; `next_event` gives it back as events."""
        if self._position == len(self._buffer):
            self._buffer = data
        else:
            self._buffer = self._buffer[self._position :] + data
        self._position = 0

    def take_rest(self) -> bytes:
        """Hand out all buffered bytes as they are: after a 101 they are not HTTP."""
        rest = self._buffer[self._position :]
        self._buffer = b""
        self._position = 0
        return rest

    def _take_head(self, skip: int = 0) -> bytes | None:
        """Return the head up to and with its last CRLF, without the empty line; None: not whole.

        `skip` bytes before it are passed over once it is whole.
        """
        buffer, start, scanned = self._buffer, self._position + skip, self._scanned
        scan_from = start + scanned - 3 if scanned > 3 else start
        end = buffer.find(b"\r\n\r\n", scan_from)
        if end < 0:
            self._judge_part(start, scan_from)
            return None
        if end - start > self._surely_fits:
            self._check_size(start, buffer.find(b"\r\n", start), end)
        self._scanned = 0
        self._position = end + 4
        return buffer[start : end + 2]

    def _judge_part(self, start: int, scan_from: int) -> None:
        """Refuse at once what can never become a head instead of waiting for the deadline."""
        buffer = self._buffer
        reach = len(buffer)
        if start == reach:
            return
        line_end = buffer.find(b"\r\n", start)
        # Of a line end that is only half here nothing is counted, or the split would matter.
        self._check_size(start, line_end if line_end >= 0 else reach - 1, reach - 3)
        if self._strays(start, scan_from, reach):
            raise self._error(STRAY)
        self._scanned = reach - start

    def _check_size(self, start: int, line_end: int, end: int) -> None:
        """Refuse a first line or a head that is too long, unless it was malformed before that."""
        line_limit, head_limit = self._limits.line_bytes, self._limits.head_bytes
        if line_end - start > line_limit:
            if self._strays(start, start, start + line_limit + 1):
                raise self._error(STRAY)
            self._refuse_line()
        if end - start > head_limit:
            if self._strays(start, start, start + head_limit + 3):
                raise self._error(STRAY)
            detail = f"the head is larger than {head_limit} bytes"
            raise (HeadTooLarge(detail) if self._error is BadMessage else self._error(detail))

    def _strays(self, start: int, scan_from: int, reach: int) -> bool:
        """Whether a line of the head at `start` ends otherwise than with CRLF, or holds NUL."""
        buffer = self._buffer  # what stands before `start` is not ours to look back at
        return buffer.startswith(b"\n", start) or bool(
            STRAY_LINE_END.search(buffer, scan_from, reach)
        )

    def _refuse_line(self) -> None:
        raise self._error(f"the first line is longer than {self._limits.line_bytes} bytes")

    def _begin_body(self, framing: Framing) -> None:
        self._framing = framing
        if framing == NO_BODY or framing == 0:
            self._state = _ENDED
        elif framing > 0:
            self._remaining = framing
            self._state = _COUNTED
        elif framing == CHUNKED:
            self._state = _CHUNK_HEAD
        else:
            self._state = OPEN

    def _next_body_event(self) -> bytes | Mark:
        """Return a piece of body, END (once) or NEED_DATA."""
        state = self._state
        if state == _ENDED:
            self._state = HEAD
            return END
        if state == _COUNTED:
            return self._read_counted()
        if state == _CHUNK_HEAD:
            if not self._read_chunk_head():
                return NEED_DATA
            return self._read_trailer() if self._state == _TRAILER else self._read_counted()
        if state == _TRAILER:
            return self._read_trailer()
        if self._position == len(self._buffer):
            return NEED_DATA
        return self.take_rest() if state == OPEN else self._read_chunk_end()

    def _read_counted(self) -> bytes | Mark:
        buffer, start = self._buffer, self._position
        available = len(buffer) - start
        if not available:
            return NEED_DATA
        if available > self._remaining:
            self._position = start + self._remaining
            piece = buffer[start : self._position]
        else:
            piece = buffer[start:] if start else buffer
            self._buffer = b""
            self._position = 0
        self._remaining -= len(piece)
        if not self._remaining:
            self._state = _CHUNK_END if self._framing == CHUNKED else _ENDED
        return piece

    def _read_chunk_head(self) -> bool:
        line = self._take_line("a chunk's size line")
        if line is None:
            return False
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise self._error("a chunk's size is not up to 15 hexadecimal digits and extensions")
        self._remaining = int(match[1], 16)
        if self._remaining:
            self._state = _COUNTED
        else:
            self._state = _TRAILER
            self._remaining = self._limits.head_bytes
        return True

    def _read_chunk_end(self) -> bytes | Mark:
        if self.buffered < 2 and self._buffer[self._position :] == b"\r":
            return NEED_DATA
        if self._buffer[self._position : self._position + 2] != b"\r\n":
            raise self._error("a chunk is longer than its size says")
        self._position += 2
        self._state = _CHUNK_HEAD
        return self._next_body_event()

    def _read_trailer(self) -> Mark:
        """Read and drop trailer fields; they are hop-by-hop to us (RFC 9112 7.1.2)."""
        while True:
            line = self._take_line("a trailer field")
            if line is None:
                return NEED_DATA
            self._remaining -= len(line) + 2
            if self._remaining < 0:
                raise self._error("the trailer is larger than a head may be")
            if not line:
                self._state = HEAD
                return END
            for name, _ in split_fields(line + b"\r\n", 1, self._error):
                if name.lower() in (b"content-length", b"transfer-encoding"):
                    raise self._error("a framing field in a trailer (RFC 9110 6.5.1)")

    def _take_line(self, what: str) -> bytes | None:
        end = self._buffer.find(b"\r\n", self._position)
        reach = end if end >= 0 else len(self._buffer) - 1  # the last may be half a CRLF
        if reach - self._position > _CHUNK_LINE_LIMIT:
            raise self._error(f"{what} is longer than {_CHUNK_LINE_LIMIT} bytes")
        if end < 0:
            if STRAY_LINE_END.search(self._buffer, self._position):
                raise self._error(f"{what} does not end with CRLF (RFC 9112 7.1)")
            return None
        line = self._buffer[self._position : end]
        self._position = end + 2
        return line
