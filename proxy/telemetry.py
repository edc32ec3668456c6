"""What happened: counters, recent errors, one access-log line per exchange or tunnel.

Shell. Neighbours: `connection` keeps a Record per exchange, `admin` shows the snapshots of all
workers, added up. Nothing here ever sees a body, a query string, a token or a key
(PROTOCOL.md section 6): a Record has no place for them.
"""

from __future__ import annotations

import json
import logging
import os
import time
from bisect import bisect_left
from collections import Counter, deque
from typing import Any, Final, Literal, TypeAlias

import gevent

from proxy.outlet import Outlet

_log = logging.getLogger(__name__)

Direction: TypeAlias = Literal["agent_to_platform", "platform_to_agent", "own"]
END_WORDS: Final = (
    "complete",
    "refused",
    "bad_request",
    "not_ready",
    "unreachable",
    "timed_out",
    "bad_answer",
    "broke_off",
    "client_gone",
    "client_closed",
    "client_reset",
    "target_closed",
    "target_reset",
    "idle",
    "drain",
    "internal",
)
"""Every way in which an exchange or tunnel ends."""

DURATION_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_COUNT_EVERY_S: Final = 0.25
_LAST_LINES_S: Final = 1.0
_BATCH: Final = 128
_RECENT_ERRORS: Final = 50


class Record:
    """One exchange, from its head to its end; `Telemetry.finish` writes it down."""

    __slots__ = (
        "address",
        "bytes_in",
        "bytes_out",
        "caller",
        "direction",
        "end",
        "method",
        "number",
        "responded",
        "reused",
        "seconds",
        "series",
        "source",
        "started",
        "status",
        "target",
        "tunnel",
        "zone",
    )

    def __init__(
        self, series: str, number: int, caller: str, source: str, zone: str, method: bytes
    ) -> None:
        self.series = series
        self.number = number
        self.caller = caller
        self.source = source
        self.zone = zone
        self.method = method
        self.direction: Direction = "own"
        self.target = "-"
        self.address = "-"
        self.status = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.reused = False
        self.responded = False
        self.tunnel = False
        self.end = "complete"
        self.started = time.monotonic()
        self.seconds = 0.0

    @property
    def id(self) -> str:
        """What the log calls it; no other worker's has the same."""
        return f"{self.series}{self.number:x}"


class Telemetry:
    """The counters of one worker. Plain numbers: one thread, no locks.

    Exchanges are counted and written down in batches, a quarter of a second late at most: what
    runs for many in a row stays in the processor's caches, what runs between two TLS handshakes
    does not. Whoever asks for the numbers gets them all.
    """

    def __init__(self, worker: int, log_format: str, *, access: bool, access_fd: int = 1) -> None:
        self.worker = worker
        self.started = time.time()
        self.exchanges: Counter[tuple[str, str]] = Counter()
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.events: Counter[str] = Counter()
        self.zones: Counter[tuple[str, str]] = Counter()
        self.durations = {
            direction: [0] * (len(DURATION_BOUNDS_S) + 1)
            for direction in ("agent_to_platform", "platform_to_agent", "own")
        }
        self.duration_sums: Counter[str] = Counter()
        self.bytes_in = 0
        self.bytes_out = 0
        self.tunnels = 0
        self.in_flight = 0
        self.errors: deque[dict[str, Any]] = deque(maxlen=_RECENT_ERRORS)
        self.set_log(log_format, access=access)
        self._outlet = Outlet(access_fd)
        self._ended: list[Record] = []
        self._begun = 0
        self._second = 0
        self._clock = ""
        self._series = f"{worker:x}{int(self.started) & 0xFFFFF:05x}-"

    def set_log(self, log_format: str, *, access: bool) -> None:
        """Choose how and whether access lines are written; reload calls it again."""
        self._json = log_format == "json"
        self._access = access

    def begin(self, caller: str, source: str, zone: str, method: bytes) -> Record:
        self._begun += 1
        self.in_flight += 1
        return Record(self._series, self._begun, caller, source, zone, method)

    def finish(self, record: Record) -> None:
        """Note that an exchange ended; `flush` counts it and writes its line."""
        record.seconds = time.monotonic() - record.started
        self.in_flight -= 1
        self._ended.append(record)
        if len(self._ended) >= _BATCH:
            self.flush()

    def error(self, record: Record, token: str, blame: str, detail: str) -> None:
        """Keep what went wrong with an exchange: what an operator at 3 a.m. looks at first."""
        self.trouble(record.caller, record.source, record.zone, token, detail)
        self.errors[-1].update(id=record.id, target=record.target, blame=blame)

    def trouble(self, caller: str, source: str, zone: str, token: str, detail: str) -> None:
        """Keep what went wrong with a connection before its first request."""
        self.errors.append(
            {
                "time": _iso(time.time()),
                "worker": self.worker,
                "caller": caller,
                "source": source,
                "zone": zone,
                "error": token,
                "detail": detail,
            }
        )

    def flush(self) -> None:
        """Count the exchanges that have ended, and write their lines in one go."""
        ended = self._ended
        if not ended:
            return
        self._ended = []
        for record in ended:
            self._count(record)
        if self._access:
            since = time.time() - time.monotonic()
            render = self._json_line if self._json else self._line
            lines = [render(record, since + record.started + record.seconds) for record in ended]
            self._write_down("".join(lines).encode("ascii", "backslashreplace"))

    def _count(self, record: Record) -> None:
        direction = record.direction
        self.exchanges[direction, record.end] += 1
        self.statuses[direction, record.status] += 1
        zone = record.zone if direction != "platform_to_agent" else record.target.partition("/")[0]
        self.zones[zone, direction] += 1
        self.bytes_in += record.bytes_in
        self.bytes_out += record.bytes_out
        if not record.tunnel:  # how long a tunnel lived is no latency
            self.durations[direction][bisect_left(DURATION_BOUNDS_S, record.seconds)] += 1
            self.duration_sums[direction] += record.seconds  # type: ignore[assignment]

    def _write_down(self, text: bytes) -> bool:
        """Write lines, or what was kept of earlier ones; True: nothing is left."""
        outlet = self._outlet
        if text:
            outlet.write(text)
        written = outlet.flush()
        if outlet.lost:  # disk full, or nobody reads: the proxy goes on, and says so
            self.events["access_log_lost"] = outlet.lost
            if written and (lost := outlet.untold()):
                _log.warning("%d access lines were lost: they could not be written", lost)
        return written

    def _stamp(self, when: float) -> str:
        if int(when) != self._second:
            self._second = int(when)
            self._clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when))
        return f"{self._clock}.{int(when * 1000) % 1000:03d}Z"

    def _line(self, record: Record, when: float) -> str:
        return (
            f"time={self._stamp(when)} id={record.id} caller={record.caller}"
            f" source={record.source} zone={record.zone} target={record.target}"
            f" address={record.address} method={_method(record)} status={record.status}"
            f" bytes_in={record.bytes_in} bytes_out={record.bytes_out}"
            f" ms={record.seconds * 1000:.1f} reused={'yes' if record.reused else 'no'}"
            f" end={record.end}\n"
        )

    def _json_line(self, record: Record, when: float) -> str:
        fields = {
            "time": self._stamp(when),
            "id": record.id,
            "caller": record.caller,
            "source": record.source,
            "zone": record.zone,
            "target": record.target,
            "address": record.address,
            "method": _method(record),
            "status": record.status,
            "bytes_in": record.bytes_in,
            "bytes_out": record.bytes_out,
            "ms": round(record.seconds * 1000, 1),
            "reused": record.reused,
            "end": record.end,
        }
        return json.dumps(fields) + "\n"

    def flush_forever(self) -> None:
        while True:
            gevent.sleep(_COUNT_EVERY_S)
            self.flush()
            self._write_down(b"")

    def last_lines(self) -> None:
        """Write what is left, when nothing comes any more; a reader that is slow gets a moment."""
        self.flush()
        deadline = time.monotonic() + _LAST_LINES_S
        while not self._write_down(b"") and time.monotonic() < deadline:
            gevent.sleep(_LAST_LINES_S / 20)

    def snapshot(self) -> dict[str, Any]:
        """Return all numbers as JSON can carry them; `admin` adds those of all workers."""
        self.flush()
        return {
            "worker": self.worker,
            "pid": os.getpid(),
            "started": _iso(self.started),
            "uptimeSeconds": int(time.time() - self.started),
            "inFlight": self.in_flight,
            "tunnels": self.tunnels,
            "bytesIn": self.bytes_in,
            "bytesOut": self.bytes_out,
            "exchanges": [[*key, count] for key, count in sorted(self.exchanges.items())],
            "statuses": [[*key, count] for key, count in sorted(self.statuses.items())],
            "events": dict(sorted(self.events.items())),
            "zoneEvents": [[*key, count] for key, count in sorted(self.zones.items())],
            "durations": self.durations,
            "durationSums": dict(self.duration_sums),
            "errors": list(self.errors),
        }


def _iso(when: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))


def _method(record: Record) -> str:
    return record.method.decode("ascii", "replace")[:16]
