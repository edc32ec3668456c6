"""One exchange: the request out on a leased socket, the response back, both streamed.

Shell. Neighbours: `stream` moves bytes, `http1` says what they are, `headers` rewrites heads;
`connection` calls `exchange`, `tunnel` takes over after a 101.

One greenlet serves both sides: it sleeps until either has something to say, so an early answer,
a 100 (Continue), an echo longer than any buffer and a caller that went away need no second one.
At most stream.BUFFER_BYTES are held per direction. Nothing of a request is sent before the
decision was made; a lease is reusable only after a clean END with nothing left over.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from proxy.accepted import AcceptedStream
from proxy.deadline import Deadline
from proxy.destinations import Target
from proxy.errors import BadAnswer, Blame, ClientGone, RelayError, RequestTimeout, TimedOut
from proxy.headers import Rewrite, request_head, response_head
from proxy.heads import CHUNKED, NO_BODY, UNTIL_CLOSE, RequestHead, ResponseHead
from proxy.http1 import END, LAST_CHUNK, NEED_DATA, Mark, RequestReader, chunk
from proxy.lease import Lease
from proxy.patience import Patience
from proxy.stream import BUFFER_BYTES, BrokenStream, Readiness, flush, wait
from proxy.telemetry import Record

_LATE: Final[dict[Blame, Callable[[str], RelayError]]] = {
    whom: partial(TimedOut, blame=whom) for whom in ("platform", "agent", "peer")
}
_IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))


_CLEANLY: Final = "cleanly"
_TRICKLES: Final = "the body stopped arriving, or came slower than [limits] body_rate"
_NOTHING, _MORE, _DONE = range(3)
_PIECES: Final = 64
"""Of a body in one go: 5,000 chunks of one byte cost 14 ms, and others wait for them (2026-11)."""


class _Stale(Exception):
    """A kept connection failed before the first byte of the response: the peer had closed it."""


class Exchange:
    """One request and its response between an accepted and a leased connection."""

    __slots__ = (
        "_arrived",
        "_awaits_continue",
        "_client",
        "_closed",
        "_credit_s",
        "_cut_short",
        "_deadline",
        "_head",
        "_keep",
        "_keep_status",
        "_lease",
        "_patience",
        "_rechunk",
        "_record",
        "_requests",
        "_response",
        "_write_failed",
        "sending",
        "upgraded",
    )

    def __init__(
        self,
        client: AcceptedStream,
        requests: RequestReader,
        head: RequestHead,
        deadline: Deadline,
        patience: Patience,
        record: Record,
        *,
        keep_alive: bool,
        keep_status: bool,
    ) -> None:
        self._client = client
        self._requests = requests
        self._head = head
        self._deadline = deadline
        self._patience = patience
        self._record = record
        # What is left of the time that the caller may keep us waiting for its body.
        self._credit_s = patience.body_idle
        self._keep = keep_alive
        self._keep_status = keep_status
        self._awaits_continue = head.expects_continue
        self._response: ResponseHead | None = None
        self._closed = ""  # how the leased connection ended: _CLEANLY, a reason, or not yet
        self._rechunk = False
        self._cut_short = False  # part of the request's body was never read
        self._write_failed = False
        self._arrived = False  # something of the response that was not looked at yet
        self.sending = head.framing != NO_BODY
        self.upgraded = False
        if not self.sending:
            requests.next_event()  # END

    def run(
        self, connect: Callable[[Target, bool], Lease], target: Target, rewrite: Rewrite
    ) -> Lease:
        """Relay the exchange and give the lease back; `connect(target, fresh)` makes one.

        After a 101 `upgraded` is true: the lease is still open, for a tunnel, and the caller's.
        Raises: RelayError; `record.responded` tells whether a response had begun by then.
        """
        lease = connect(target, False)
        try:
            self._relay(lease, rewrite)
        except _Stale:
            lease.close()
            lease = connect(target, True)  # never reused, so it cannot be stale again
            self._relay(lease, rewrite)
        finally:
            if not self.upgraded:
                lease.give_back()
        return lease

    @property
    def keep_alive(self) -> bool:
        """Whether the accepted connection can carry another request."""
        return self._keep and not self._cut_short and not self.sending

    def _relay(self, lease: Lease, rewrite: Rewrite) -> None:
        head, upstream, client = self._head, lease.stream, self._client
        self._lease = lease
        self._closed = ""
        self._arrived = False
        self._record.reused = lease.reused
        self._record.address = lease.address
        lease.responses.expect(head.method, upgrade=head.upgrade is not None)
        upstream.queue(request_head(head, rewrite, lease.authority))
        progress = _NOTHING
        while True:
            more_is_there = self.sending and self._send_body()
            if upstream.unsent:
                self._flush_upstream()
            if not client.unsent and (self._arrived or self._closed or progress == _MORE):
                progress = self._take_response()
                if progress == _DONE:
                    break
                if client.unsent:
                    client.flush()
            self._sleep(more_up=more_is_there, more_down=progress == _MORE)
        self._finish()

    def _send_body(self) -> bool:
        """Queue what has arrived of the request's body; True: more is there, for another turn."""
        upstream = self._lease.stream
        chunked = self._head.framing == CHUNKED
        for _ in range(_PIECES):
            if upstream.unsent >= BUFFER_BYTES:
                break
            event = self._requests.next_event()
            if event is NEED_DATA:
                return False
            if event is END:
                if chunked:
                    upstream.queue(LAST_CHUNK)
                self.sending = False
                return False
            assert isinstance(event, bytes)
            self._awaits_continue = False
            self._record.bytes_in += len(event)
            upstream.queue(chunk(event) if chunked else event)
        return True

    def _flush_upstream(self) -> None:
        try:
            self._lease.stream.flush()
        except BrokenStream:
            # It may have answered before it closed: reading goes on and tells which.
            if self.sending:
                self._keep = False
                self._cut_short = True
            self._write_failed = True

    def _take_response(self) -> int:
        """Queue what is there of the response; _DONE at its END or after a 101."""
        self._arrived = False
        pieces: list[bytes] = []
        size = 0
        progress = _MORE
        next_event = self._lease.responses.next_event
        while size < BUFFER_BYTES and len(pieces) < _PIECES:
            event = next_event()
            if event is NEED_DATA:
                if not self._closed:
                    progress = _NOTHING
                    break
                event = self._at_close()
            if isinstance(event, bytes):
                length = len(event)
                self._record.bytes_out += length
                pieces.append(chunk(event) if self._rechunk else event)
                size += length + 8
            elif event is END:
                if self._rechunk:
                    pieces.append(LAST_CHUNK)
                progress = _DONE
                break
            else:
                assert isinstance(event, ResponseHead)
                pieces.append(self._take_head(event))
                if self.upgraded:
                    progress = _DONE
                    break
        if pieces:
            # One write for all: head and body share a TLS record and a packet.
            self._client.queue(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        return progress

    def _take_head(self, response: ResponseHead) -> bytes:
        """Return a head as the caller gets it, and note what it means for this connection."""
        client_minor = self._head.minor
        if response.status < 200 and response.status != 101:
            self._awaits_continue = False
            return self._response_head(response, keep_alive=True) if client_minor else b""
        if self.sending:
            self._keep = False  # an early answer: nobody reads the rest of the request
            self._cut_short = True
        framing = response.framing
        self._rechunk = framing == CHUNKED and bool(client_minor)
        if framing == UNTIL_CLOSE or (framing == CHUNKED and not client_minor):
            self._keep = False
        self.upgraded = response.status == 101
        if self._head.upgrade is not None and not self.upgraded and self._requests.buffered:
            self._keep = False  # bytes meant for a tunnel that never was are not a request
        self._response = response
        self._record.status = response.status
        self._record.responded = True
        return self._response_head(response, keep_alive=self._keep)

    def _response_head(self, response: ResponseHead, *, keep_alive: bool) -> bytes:
        return response_head(
            response,
            client_minor=self._head.minor,
            keep_alive=keep_alive,
            keep_status=self._keep_status,
        )

    def _sleep(self, *, more_up: bool, more_down: bool) -> None:
        """Wait for either side, and read what arrived.

        Where more is there already this only lets others have their turn.
        """
        client, upstream = self._client, self._lease.stream
        other: Readiness | None = None
        if upstream.unsent or more_up:
            other = upstream.writable
        elif self._requests.buffered < BUFFER_BYTES:
            other = client.readable  # more of the body, or the caller going away
        owing = self._bound()
        to_client = client.unsent or more_down
        ready = wait(client.writable if to_client else upstream.readable, other)
        if owing:
            self._credit_s = self._deadline.left()
        if ready is upstream.readable:
            self._read_upstream()
        elif ready is client.readable:
            self._read_client()
        elif client.unsent:
            client.flush()

    def _bound(self) -> bool:
        """Set how long this wait may take; True: it is for more of the request's body."""
        patience, deadline = self._patience, self._deadline
        if self._client.unsent:
            deadline.within(patience.body_idle, ClientGone, "the caller does not read")
        elif self.sending and not self._lease.stream.unsent and not self._awaits_continue:
            deadline.within(self._credit_s, RequestTimeout, _TRICKLES)
            return True
        elif self._response is None:
            deadline.within(patience.answer, _LATE[patience.whom], patience.late)
        else:
            deadline.within(patience.body_idle, _LATE[patience.whom], patience.stopped)
        return False

    def _read_client(self) -> None:
        try:
            data = self._client.recv()
        except BrokenStream as error:
            raise ClientGone(str(error)) from error
        if data == b"":
            raise ClientGone("the caller closed before the response was complete")
        if data:
            self._credit_s = self._patience.after(self._credit_s, len(data))
            self._requests.feed(data)

    def _read_upstream(self) -> None:
        try:
            data = self._lease.stream.recv()
        except BrokenStream as error:
            self._closed = str(error) or "broken"
            return
        if data:
            self._arrived = True
            self._lease.responses.feed(data)
        elif data == b"":
            self._closed = _CLEANLY

    def _at_close(self) -> Mark:
        """Return END where closing ends the body. Raises: BadAnswer, _Stale."""
        response, responses = self._response, self._lease.responses
        if self._closed == _CLEANLY and response is not None:
            return responses.eof()
        head = self._head
        nothing_yet = response is None and not responses.buffered
        if (
            nothing_yet
            and self._lease.reused
            and head.method in _IDEMPOTENT
            and head.framing == NO_BODY
        ):
            raise _Stale
        whom = self._patience.whom
        raise BadAnswer(
            f"the {whom} closed the connection before its response was complete: {self._closed}",
            token="connection_terminated" if nothing_yet else "http_response_incomplete",
            blame=whom,
        )

    def _finish(self) -> None:
        """Decide on reuse, and let the last bytes go."""
        response, lease = self._response, self._lease
        assert response is not None
        lease.reusable = (
            response.keep_alive
            and not self.sending
            and not self._write_failed
            and not self._closed
            and not self.upgraded
            and not lease.responses.buffered
        )
        if not (self.keep_alive or self.upgraded):
            self._client.goodbye()
        if not self._client.flush():
            detail = "the caller does not read"
            self._deadline.within(self._patience.body_idle, ClientGone, detail)
            flush(self._client)
