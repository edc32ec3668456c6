"""What happened: counters, recent errors, one access-log line per exchange or tunnel.

Shell. Neighbours: `connection` keeps a Record per exchange, `admin` shows the snapshots of all
workers, added up. Nothing here ever sees a body, a query string, a token or a key
(PROTOCOL.md section 6): a Record has no place for them.
"""

from __future__ import annotations

import json
import os
import time
from bisect import bisect_left
from collections import Counter, deque
from typing import Any, Final, Literal, TypeAlias

import gevent

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
_FLUSH_EVERY_S: Final = 0.25
_FLUSH_BYTES: Final = 32768
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
        "id",
        "method",
        "responded",
        "reused",
        "source",
        "started",
        "status",
        "target",
        "tunnel",
        "zone",
    )

    def __init__(self, number: str, caller: str, source: str, zone: str, method: str) -> None:
        self.id = number
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


class Telemetry:
    """The counters of one worker. Plain numbers: one thread, no locks, no cost."""

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
        self._access_fd = access_fd
        self._lines: list[str] = []
        self._size = 0
        self._count = 0
        self._second = 0
        self._stamp = ""
        self._prefix = f"{worker:x}{int(self.started) & 0xFFFFF:05x}-"

    def set_log(self, log_format: str, *, access: bool) -> None:
        """Choose how and whether access lines are written; reload calls it again."""
        self._json = log_format == "json"
        self._access = access

    def begin(self, caller: str, source: str, zone: str, method: bytes) -> Record:
        self._count += 1
        self.in_flight += 1
        number = f"{self._prefix}{self._count:x}"
        return Record(number, caller, source, zone, method.decode("ascii", "replace")[:16])

    def finish(self, record: Record) -> None:
        """Count an exchange and write its line."""
        seconds = time.monotonic() - record.started
        direction = record.direction
        self.in_flight -= 1
        self.exchanges[direction, record.end] += 1
        self.statuses[direction, record.status] += 1
        zone = record.zone if direction != "platform_to_agent" else record.target.partition("/")[0]
        self.zones[zone, direction] += 1
        self.bytes_in += record.bytes_in
        self.bytes_out += record.bytes_out
        if not record.tunnel:  # how long a tunnel lived is no latency
            self.durations[direction][bisect_left(DURATION_BOUNDS_S, seconds)] += 1
            self.duration_sums[direction] += seconds  # type: ignore[assignment]
        if self._access:
            self._write(record, seconds)

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

    def _write(self, record: Record, seconds: float) -> None:
        now = time.time()
        if int(now) != self._second:
            self._second = int(now)
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        stamp = f"{self._stamp}.{int(now * 1000) % 1000:03d}Z"
        if self._json:
            line = _json_line(record, stamp, seconds)
        else:
            line = (
                f"time={stamp} id={record.id} caller={record.caller} source={record.source}"
                f" zone={record.zone} target={record.target} address={record.address}"
                f" method={record.method} status={record.status} bytes_in={record.bytes_in}"
                f" bytes_out={record.bytes_out} ms={seconds * 1000:.1f}"
                f" reused={'yes' if record.reused else 'no'} end={record.end}\n"
            )
        self._lines.append(line)
        self._size += len(line)
        if self._size >= _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the access lines that wait. Gathering them saves a system call per request."""
        if not self._lines:
            return
        text = "".join(self._lines).encode("ascii", "backslashreplace")
        self._lines.clear()
        self._size = 0
        try:
            while text:
                text = text[os.write(self._access_fd, text) :]
        except OSError:
            # Disk full or the log's reader gone: the proxy goes on, and says so in /status.
            self.events["access_log_lost"] += 1

    def flush_forever(self) -> None:
        while True:
            gevent.sleep(_FLUSH_EVERY_S)
            self.flush()

    def snapshot(self) -> dict[str, Any]:
        """Return all numbers as JSON can carry them; `admin` adds those of all workers."""
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


def _json_line(record: Record, stamp: str, seconds: float) -> str:
    return (
        json.dumps(
            {
                "time": stamp,
                "id": record.id,
                "caller": record.caller,
                "source": record.source,
                "zone": record.zone,
                "target": record.target,
                "address": record.address,
                "method": record.method,
                "status": record.status,
                "bytes_in": record.bytes_in,
                "bytes_out": record.bytes_out,
                "ms": round(seconds * 1000, 1),
                "reused": record.reused,
                "end": record.end,
            }
        )
        + "\n"
    )
