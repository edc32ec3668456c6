"""The life of one accepted connection: TLS, then requests, one after the other.

Shell. Neighbours: `worker` accepts and classifies, `policy` decides, `relay` and `tunnel` move
the bytes, `own` and `answers` speak for the proxy. Errors are caught here, once: before a
response has begun they become an answer, afterwards the connection is aborted.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import time
from typing import Protocol

from greenlet import getcurrent

from proxy import own, policy, tunnel
from proxy.accepted import AcceptedStream
from proxy.deadline import Deadline, Deadlines, Expired
from proxy.duplicates import Sightings
from proxy.errors import ClientGone, Internal, NotReady, RelayError, RequestTimeout
from proxy.headers import values
from proxy.heads import NO_BODY, RequestHead
from proxy.http1 import NEED_DATA, RequestReader
from proxy.lease import Lease
from proxy.node import Accepted, Node
from proxy.policy import Forward, Own
from proxy.relay import Exchange
from proxy.stream import BrokenStream, wait
from proxy.telemetry import Record, Telemetry
from proxy.voice import Voice, close_after

_log = logging.getLogger(__name__)


class Owner(Protocol):
    """What a connection needs of its worker."""

    deadlines: Deadlines
    telemetry: Telemetry
    sightings: Sightings
    draining: bool

    @property
    def ready_problems(self) -> list[str]: ...

    def out_of_memory(self) -> None: ...


class Connection:
    """One accepted socket, from the TLS handshake to its end."""

    __slots__ = (
        "_accepted",
        "_deadline",
        "_early",
        "_node",
        "_owner",
        "_requests",
        "_socket",
        "_spent_s",
        "_stream",
        "idle",
        "tunnelling",
    )

    def __init__(
        self,
        sock: socket.socket,
        accepted: Accepted,
        node: Node,
        owner: Owner,
        *,
        early: bytes = b"",
        spent_s: float = 0.0,
    ) -> None:
        """`early` are bytes that came with a PROXY header, `spent_s` is how long that took."""
        self._socket = sock
        self._early = early
        self._spent_s = spent_s
        self._accepted = accepted
        self._node = node
        self._owner = owner
        self._deadline: Deadline | None = None
        self.idle = False
        self.tunnelling = False

    def run(self) -> None:
        """Serve the connection until it ends; closes the socket. Never raises."""
        owner = self._owner
        self._deadline = deadline = Deadline(getcurrent())
        owner.deadlines.add(deadline)
        caller = self._accepted.caller
        tls = self._node.tls
        self._stream = stream = AcceptedStream(self._socket, tls.accepting(caller))
        try:
            if self._shake_hands(stream, deadline):
                self._serve(stream, deadline)
        except (Expired, BrokenStream):
            stream.abort()
        except MemoryError:
            owner.out_of_memory()
            stream.abort()
        except Exception:
            _log.exception("a defect ended the connection from %s", caller.source)
            owner.telemetry.events["defect"] += 1
            stream.abort()
        finally:
            owner.deadlines.discard(deadline)

    def drain(self, idle_s: float, cap_s: float) -> None:
        """End within `cap_s` whatever happens, and within `idle_s` if nothing is going on."""
        if self._deadline is not None:
            self._deadline.cap(cap_s)
            if self.idle:
                self._deadline.hurry(idle_s, ClientGone, "this node is being drained")

    def _shake_hands(self, stream: AcceptedStream, deadline: Deadline) -> bool:
        timeout = self._node.settings.timeouts.tls_handshake - self._spent_s
        deadline.within(timeout, ClientGone, "the TLS handshake took too long")
        try:
            stream.handshake(self._early)
            self._compare_certificate(stream)
            return True
        except Expired as expired:
            event, detail = "tls_handshake_timeout", expired.error.detail
            stream.abort()
        except BrokenStream as error:
            event, detail = "tls_handshake_failed", str(error)
            stream.hang_up()
        caller, telemetry = self._accepted.caller, self._owner.telemetry
        telemetry.events[event] += 1
        # An agent whose operator forgot to install our certificate is seen nowhere else.
        telemetry.trouble(caller.kind, caller.source, caller.zone, event, detail)
        return False

    def _compare_certificate(self, stream: AcceptedStream) -> None:
        """Raises: BrokenStream for another certificate than [peers] names, or one that has ended.

        TLS looks at its dates in a whole handshake only, not when a session is resumed.
        """
        if self._accepted.caller.kind == "agent":
            return
        if stream.resumed() and 0 < stream.certificate_ends_at() <= time.time():
            raise BrokenStream("TLS handshake: the certificate of the resumed session has ended")
        peer = self._accepted.caller.peer
        if peer is None:
            return
        shown = stream.certificate()
        if shown is None or hashlib.sha256(shown).hexdigest() != peer.certificate:
            raise BrokenStream(f"TLS handshake: this is not the certificate of peer {peer.id}")

    def _serve(self, stream: AcceptedStream, deadline: Deadline) -> None:
        self._requests = RequestReader(self._node.limits)
        early = stream.recv_early()
        if early:
            self._requests.feed(early)
        first = True
        try:
            while (head := self._next_head(stream, deadline, first=first)) is not None:
                if first and self._accepted.caller.kind == "agent":
                    self._note_manner(stream, head)
                if not self._exchange(stream, deadline, head):
                    return
                first = False
        except Expired as expired:
            if not self._requests.buffered:
                stream.close()  # idle for too long, or drained: nothing is lost
                return
            self._voice(stream, deadline).refuse_head(expired.error)
        except RelayError as error:
            self._voice(stream, deadline).refuse_head(error)
        else:
            stream.close()

    def _note_manner(self, stream: AcceptedStream, head: RequestHead) -> None:
        """Let it be noticed when two agents take turns under one identity."""
        caller = self._accepted.caller
        self._owner.sightings.heard(
            (caller.zone, caller.source),
            stream.version(),
            stream.cipher(),
            values(head, b"user-agent"),
            head.host,
            time.monotonic(),
        )

    def _next_head(
        self, stream: AcceptedStream, deadline: Deadline, *, first: bool
    ) -> RequestHead | None:
        """Wait for the next request; None: the caller closed, or drain wants nothing more.

        Raises: BadMessage and its children, Expired.
        """
        requests = self._requests
        event = requests.next_event()
        if event is NEED_DATA:
            head_s = self._node.settings.timeouts.request_head
            begun = requests.buffered > 0
            # Before its first request a connection is not idle: drain still waits for that one.
            self.idle = not (begun or first)
            if self.idle and self._owner.draining:
                return None
            idle_s = self._node.settings.timeouts.keepalive_in if self.idle else head_s
            deadline.within(idle_s, RequestTimeout, "the request's head took too long")
            while event is NEED_DATA:
                wait(stream.readable)
                data = stream.recv()
                if data is None:
                    continue
                if not data:
                    return None
                self.idle = False
                requests.feed(data)
                event = requests.next_event()
                if event is NEED_DATA and not begun:
                    begun = True
                    deadline.within(head_s, RequestTimeout, "the request's head took too long")
        assert isinstance(event, RequestHead)
        return event

    def _exchange(self, stream: AcceptedStream, deadline: Deadline, head: RequestHead) -> bool:
        """Serve one request; True: the connection can carry another."""
        caller, identity, not_ready = self._accepted
        telemetry = self._owner.telemetry
        record = telemetry.begin(caller.kind, caller.source, caller.zone, head.method)
        node = self._node
        try:
            if not_ready is not None:
                raise not_ready
            decision = policy.decide(
                node.settings, caller, head, identity, node.surroundings, node.keys
            )
            if isinstance(decision, Own):
                return self._answer_own(stream, deadline, head, decision, record)
            return self._forward(stream, deadline, head, decision, record)
        except RelayError as error:
            return self._refuse(stream, deadline, error, head, record)
        except Expired as expired:
            return self._refuse(stream, deadline, expired.error, head, record)
        except BrokenStream as broken:
            return self._refuse(stream, deadline, ClientGone(str(broken)), head, record)
        except MemoryError:
            self._owner.out_of_memory()
            starved = NotReady("no memory is left for this exchange", token="proxy_internal_error")
            return self._refuse(stream, deadline, starved, head, record)
        except Exception:
            _log.exception("a defect ended exchange %s", record.id)
            telemetry.events["defect"] += 1
            return self._refuse(stream, deadline, Internal("a defect; see the log"), head, record)
        finally:
            telemetry.finish(record)

    def _forward(
        self,
        stream: AcceptedStream,
        deadline: Deadline,
        head: RequestHead,
        forward: Forward,
        record: Record,
    ) -> bool:
        node = self._node
        target = forward.target
        if target.kind == "platform":
            record.direction, record.target = "agent_to_platform", "platform"
        else:
            record.direction = "platform_to_agent"
            record.target = f"{target.zone}/{target.host}:{target.port}"
        exchange = Exchange(
            stream,
            self._requests,
            head,
            deadline,
            node.patience(target),
            record,
            keep_alive=head.keep_alive and not self._owner.draining,
            keep_status="agent" not in (self._accepted.caller.kind, target.kind),
        )
        deadline.never()  # connecting has a bound of its own
        lease = exchange.run(node.lease, target, forward.rewrite)
        if exchange.upgraded:
            with lease:
                self._tunnel(stream, deadline, lease, record)
            return False
        if not exchange.keep_alive:
            close_after(stream, deadline, drop=exchange.sending or head.framing != NO_BODY)
            return False
        return True

    def _tunnel(
        self, stream: AcceptedStream, deadline: Deadline, lease: Lease, record: Record
    ) -> None:
        telemetry = self._owner.telemetry
        record.tunnel = True
        self.tunnelling = True
        telemetry.tunnels += 1
        if self._accepted.caller.kind == "agent":
            self._owner.sightings.tunnel_opened(record, time.monotonic())
        try:
            stream.queue(lease.responses.take_rest())
            lease.stream.queue(self._requests.take_rest())
            record.end = tunnel.run(
                stream, lease.stream, deadline, self._node.settings.timeouts.tunnel_idle, record
            )
        except Expired:
            record.end = "drain" if self._owner.draining else "idle"
        finally:
            telemetry.tunnels -= 1
            if self._accepted.caller.kind == "agent":
                self._owner.sightings.tunnel_closed(record)
        if record.end in ("target_reset", "client_reset"):
            stream.abort()
        else:
            stream.close()

    def _answer_own(
        self,
        stream: AcceptedStream,
        deadline: Deadline,
        head: RequestHead,
        decision: Own,
        record: Record,
    ) -> bool:
        record.target = decision.name
        deadline.never()  # explain connects, which has a bound of its own
        answer = own.answer(decision, self._node, head, self._owner.ready_problems)
        keep = head.keep_alive and head.framing == NO_BODY and not self._owner.draining
        return self._voice(stream, deadline).say(answer, head, record, keep=keep)

    def _refuse(
        self,
        stream: AcceptedStream,
        deadline: Deadline,
        error: RelayError,
        head: RequestHead,
        record: Record,
    ) -> bool:
        voice = self._voice(stream, deadline)
        return voice.refuse(error, head, record, draining=self._owner.draining)

    def _voice(self, stream: AcceptedStream, deadline: Deadline) -> Voice:
        owner, node = self._owner, self._node
        return Voice(
            stream,
            self._requests,
            deadline,
            owner.telemetry,
            self._accepted.caller,
            node.settings.proxy.id,
        )
