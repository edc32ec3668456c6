"""HTTP/1.x framing: bytes into heads, body pieces and END, and back (RFC 9112).

Layer 0 (pure). Neighbours: `reader` below; `headers` and `relay` above.

The only reader of relayed messages.
"""

from __future__ import annotations

from typing import Final

from proxy.errors import BadAnswer, BadMessage, TargetTooLong
from proxy.heads import (
    NO_STATUS_LINE,
    HeadLimits,
    RequestHead,
    ResponseHead,
    read_request,
    read_response,
)
from proxy.reader import END, HEAD, NEED_DATA, OPEN, STRAY, STRAY_LINE_END, Mark, Reader

__all__ = [
    "END",
    "LAST_CHUNK",
    "NEED_DATA",
    "Mark",
    "RequestReader",
    "ResponseReader",
    "chunk",
]

LAST_CHUNK: Final = b"0\r\n\r\n"
_STATUS_LINE: Final = (b"H", b"T", b"T", b"P", b"/", b"1", b".", b"01", b" ", *[b"0123456789"] * 3)
INTERIM_LIMIT: Final = 8  # 1xx heads before a final one; a flood of them is an attack


def chunk(piece: bytes) -> bytes:
    """Frame `piece` (not empty) as one chunk."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


class RequestReader(Reader):
    """Requests of one connection, one after the other, pipelined ones included."""

    __slots__ = ()

    _error = BadMessage

    def next_event(self) -> RequestHead | bytes | Mark:
        """Return a head, a piece of body, END or NEED_DATA.

        Raises: BadMessage and its children. The connection is of no use afterwards.
        """
        if self._state != HEAD:
            return self._next_body_event()
        if self._position == len(self._buffer):
            return NEED_DATA
        # RFC 9112 2.2: an empty line before the request line is ignored; one, not a stream.
        head = self._take_head(2 if self._buffer.startswith(b"\r\n", self._position) else 0)
        if head is None:
            return NEED_DATA
        try:
            parsed = read_request(head, self._limits)
        except BadMessage as old:
            # Byte by byte this would have been found first: the same refusal either way.
            if STRAY_LINE_END.search(head):
                raise BadMessage(STRAY) from old
            raise
        self._begin_body(parsed.framing)
        return parsed

    def _refuse_line(self) -> None:
        raise TargetTooLong(f"the request line is longer than {self._limits.line_bytes} bytes")


class ResponseReader(Reader):
    """Responses of one connection, in the order of their requests."""

    __slots__ = ("_awaited", "_interim", "_method", "_upgrading")

    _error = BadAnswer

    def __init__(self, limits: HeadLimits) -> None:
        super().__init__(limits)
        self._method = b""
        self._awaited = False
        self._upgrading = False
        self._interim = 0

    def expect(self, method: bytes, *, upgrade: bool = False) -> None:
        """Say which request the next response answers; a HEAD's has no body."""
        self._method = method
        self._awaited = True
        self._upgrading = upgrade
        self._interim = 0

    def next_event(self) -> ResponseHead | bytes | Mark:
        """Return a head, a piece of body, END or NEED_DATA.

        Raises: BadAnswer. The connection is of no use afterwards.
        """
        if self._state != HEAD:
            return self._next_body_event()
        try:
            head = self._take_head()
        except BadAnswer as old:
            self._judge_begin(old)
            raise
        if head is None:
            self._judge_begin(None)
            return NEED_DATA
        parsed = read_response(head, self._limits, self._method, self._upgrading)
        if parsed.status < 200 and parsed.status != 101:
            self._interim += 1
            if self._interim > INTERIM_LIMIT:
                raise BadAnswer(f"more than {INTERIM_LIMIT} interim responses")
        else:
            self._awaited = False
            self._begin_body(parsed.framing)
        return parsed

    def _judge_begin(self, old: BadAnswer | None) -> None:
        """Refuse what can never become a status line, instead of waiting for its end.

        Garbage without an end of line would be waited for until the answer's deadline.
        """
        if not self._awaited:
            return  # nobody asked for these bytes: the connection is not used again
        begun = self._buffer[self._position : self._position + len(_STATUS_LINE)]
        for byte, allowed in zip(begun, _STATUS_LINE, strict=False):
            if byte not in allowed:
                raise BadAnswer(NO_STATUS_LINE) from old

    def eof(self) -> Mark:
        """The peer closed cleanly: END of a body that lasts until then.

        Raises: BadAnswer where the message is not whole.
        """
        if self._state != OPEN:
            raise BadAnswer(
                "the connection was closed before the response was complete",
                token="http_response_incomplete"
                if self._state != HEAD
                else "connection_terminated",
            )
        self._state = HEAD
        return END
