"""What an accepted connection says in the proxy's own voice, and how it ends after that.

Shell. Neighbours: `answers` has the words, `accepted` sends them, `connection` decides when.
"""

from __future__ import annotations

import random
from typing import Final

from proxy import answers
from proxy.accepted import AcceptedStream
from proxy.callers import Caller
from proxy.deadline import Deadline, Expired
from proxy.errors import ClientGone, Forbidden, RelayError
from proxy.heads import NO_BODY, RequestHead
from proxy.http1 import RequestReader
from proxy.stream import BrokenStream, flush
from proxy.telemetry import Record, Telemetry

_LAST_READ_S: Final = 2.0
_LAST_READ_BYTES: Final = 262144
_RETRY_AFTER_S: Final = (5, 15)  # spread, so that a storm does not come back as one

# The word that ends an access-log line, by what went wrong.
_END_WORDS: Final = {
    400: "bad_request",
    403: "refused",
    421: "refused",
    499: "client_gone",
    500: "internal",
    502: "bad_answer",
    504: "timed_out",
    508: "refused",
}


class Voice:
    """Answers instead of somebody further on. Made when there is something to say."""

    def __init__(
        self,
        stream: AcceptedStream,
        requests: RequestReader,
        deadline: Deadline,
        telemetry: Telemetry,
        caller: Caller,
        proxy_id: str,
    ) -> None:
        self._stream = stream
        self._requests = requests
        self._deadline = deadline
        self._telemetry = telemetry
        self._caller = caller
        self._proxy_id = proxy_id

    def refuse(
        self, error: RelayError, head: RequestHead, record: Record, *, draining: bool
    ) -> bool:
        """Say what went wrong while that is possible; True: the connection can go on."""
        record.end = _end_word(error)
        if not isinstance(error, ClientGone):
            self._telemetry.error(record, error.token, error.blame, error.detail)
            self._count(error)
        if record.responded or isinstance(error, ClientGone):
            if record.responded and not isinstance(error, ClientGone):
                record.end = "broke_off"
            self._stream.abort()  # never let half a response look whole
            return False
        keep = (
            isinstance(error, Forbidden) and head.keep_alive and head.framing == NO_BODY
            and not draining
        )  # fmt: skip
        return self.say(self._answer(error), head, record, keep=keep)

    def refuse_head(self, error: RelayError) -> None:
        """Answer a request that could not even be read. The connection ends."""
        caller, telemetry = self._caller, self._telemetry
        record = telemetry.begin(caller.kind, caller.source, caller.zone, b"-")
        try:
            record.end = _end_word(error)
            telemetry.error(record, error.token, error.blame, error.detail)
            self._count(error)
            answer = self._answer(error)
            record.status = answer.status
            self._send(answers.answer_bytes(answer, method=b"-", keep_alive=False, client_minor=1))
            close_after(self._stream, self._deadline, drop=True)
        finally:
            telemetry.finish(record)

    def _count(self, error: RelayError) -> None:
        if error.refusal:
            self._telemetry.events["refused_" + error.refusal] += 1

    def say(self, answer: answers.Answer, head: RequestHead, record: Record, *, keep: bool) -> bool:
        """Send an answer of our own; `keep` only for a request without a body, not relayed."""
        record.status = answer.status
        body = answers.answer_bytes(
            answer, method=head.method, keep_alive=keep, client_minor=head.minor
        )
        record.bytes_out = len(answer.body)
        try:
            self._send(body)
        except (BrokenStream, Expired):
            record.end = "client_gone"
            self._stream.abort()
            return False
        if keep:
            self._requests.next_event()  # END of the request without a body
            return True
        close_after(self._stream, self._deadline, drop=head.framing != NO_BODY)
        return False

    def _send(self, data: bytes) -> None:
        self._deadline.within(_LAST_READ_S, ClientGone, "the caller does not read")
        self._stream.queue(data)
        flush(self._stream)

    def _answer(self, error: RelayError) -> answers.Answer:
        retry_after_s = random.randint(*_RETRY_AFTER_S) if error.status in (503, 504) else 0
        if self._caller.kind == "agent":
            return answers.terse(error, retry_after_s=retry_after_s)
        if self._caller.is_below:  # its body goes on to an agent, its Proxy-Status does not
            return answers.terse(error, self._proxy_id, retry_after_s=retry_after_s)
        return answers.problem(error, self._proxy_id, retry_after_s=retry_after_s)


def close_after(stream: AcceptedStream, deadline: Deadline, *, drop: bool) -> None:
    """Close so that the last response arrives; `drop`: the caller may still be sending."""
    if not drop:
        stream.close()
        return
    deadline.within(_LAST_READ_S, ClientGone, "the caller does not close")
    try:
        stream.close_after_reading(_LAST_READ_BYTES)
    except Expired:
        stream.abort()


def _end_word(error: RelayError) -> str:
    if error.status == 503:
        ours = {"proxy_configuration_error": "not_ready", "proxy_internal_error": "internal"}
        return ours.get(error.token, "unreachable")
    return _END_WORDS.get(error.status, "bad_request")
