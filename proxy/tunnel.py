"""After a 101: bytes both ways, untouched, until an end, the idle limit, or drain.

Shell. Neighbours: `stream` moves the bytes, `connection` calls `run` after `relay` saw the 101.

One greenlet serves both directions, which is what makes an idle tunnel small. A side is read
only while the other has room, so each direction holds one read at most.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from proxy.accepted import AcceptedStream
from proxy.deadline import Deadline
from proxy.dialled import DialledStream
from proxy.errors import ClientGone, TimedOut
from proxy.stream import BrokenStream, Stream, flush, wait
from proxy.telemetry import Record

_LAST_FLUSH_S: Final = 5.0

TunnelEnd: TypeAlias = Literal["client_closed", "target_closed", "client_reset", "target_reset"]


class _SideEnded(Exception):
    """`clean`: with a close_notify, so that what came before it is complete."""

    def __init__(self, side: Stream, *, clean: bool) -> None:
        self.side = side
        self.clean = clean


def run(
    client: AcceptedStream,
    target: DialledStream,
    deadline: Deadline,
    idle_s: float,
    record: Record,
) -> TunnelEnd:
    """Relay until either side ends; return which and how. Neither stream is closed here.

    Raises: Expired after `idle_s` without a byte from either side.
    """
    try:
        while True:
            deadline.within(idle_s, TimedOut, "no byte came through the tunnel for its idle limit")
            ready = wait(
                target.writable if target.unsent else client.readable,
                client.writable if client.unsent else target.readable,
            )
            if ready is client.readable:
                record.bytes_in += _read(client, target)
            elif ready is target.readable:
                record.bytes_out += _read(target, client)
            _send(target if ready in (client.readable, target.writable) else client)
    except _SideEnded as ended:
        by_client = ended.side is client
        _last_words(target if by_client else client, deadline)
        if by_client:
            return "client_closed" if ended.clean else "client_reset"
        return "target_closed" if ended.clean else "target_reset"


def _read(source: Stream, sink: Stream) -> int:
    """Take what `source` has and queue it for `sink`; return how many bytes."""
    try:
        data = source.recv()
    except BrokenStream:
        raise _SideEnded(source, clean=False) from None
    if data is None:
        return 0
    if not data:
        raise _SideEnded(source, clean=not source.cut)
    sink.queue(data)
    return len(data)


def _send(sink: Stream) -> None:
    try:
        sink.flush()
    except BrokenStream:
        raise _SideEnded(sink, clean=False) from None


def _last_words(sink: Stream, deadline: Deadline) -> None:
    """Let what is queued for the side that is still there go, but not for long."""
    deadline.within(_LAST_FLUSH_S, ClientGone, "the other side of an ended tunnel does not read")
    try:
        flush(sink)
    except BrokenStream:
        pass  # it ended as well; the first end is the one that is reported
