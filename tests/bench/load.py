"""Load for the request scenarios: a reconnect storm, kept connections, a steady rate.

Own clients are single processes with blocking sockets: no event loop, no shared lock, so that
they neither add latency of their own nor stop one another. Every answer is checked; a wrong
one is an error, and any error fails the benchmark.
"""

from __future__ import annotations

import gc
import multiprocessing
import re
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from .programs import BenchError
from .proxies import ANSWER_BYTES, HOST, SUITE

_ANSWER_TIMEOUT_S = 10.0
_LOAD_TIMEOUT_S = 120.0
_TLS = "TLSv1.3"  # what all proxies must speak, or the storm compares different handshakes
_fork = multiprocessing.get_context("fork")
_R = TypeVar("_R")


class _Job(NamedTuple):
    port: int
    requests: int
    first_at: float  # time.monotonic(); used by the steady rate only
    interval_s: float


def storm(port: int, *, requests: int, clients: int) -> int:
    """Send every request over a new TLS connection, without resumption; return how many.

    Raises: BenchError with the first error, if there was any.
    """
    jobs = [_Job(port, requests // clients, 0, 0)] * clients
    return sum(_all(_storm_client, jobs))


def steady(port: int, *, rate: int, seconds: float, clients: int) -> list[float]:
    """Send requests at a fixed rate over kept connections; return seconds from due to answered.

    Counted from when a request was due, not from when it was sent, so that a stall also
    counts for those that had to wait behind it.
    """
    interval = clients / rate
    begin = time.monotonic() + 0.5
    jobs = [
        _Job(port, int(seconds / interval), begin + number / rate, interval)
        for number in range(clients)
    ]
    return [latency for latencies in _all(_steady_client, jobs) for latency in latencies]


def kept(port: int, *, seconds: float, connections: int) -> int:
    """Send GETs and POSTs in turn over kept TLS connections with wrk; return how many."""
    script = Path(__file__).with_name("keepalive.lua")
    argv = ["wrk", "--threads", "1", "--connections", str(connections), "--timeout", "10s"]
    argv += ["--duration", f"{seconds:.0f}s", "--script", str(script), f"https://{HOST}:{port}/"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 30, check=False)
    line = re.search(r"^BENCH (.*)$", done.stdout, re.M)
    if done.returncode or not line:
        raise BenchError(f"wrk failed: {done.stdout[-500:]} {done.stderr[-500:]}")
    totals = {name: int(value) for name, value in (pair.split("=") for pair in line[1].split())}
    errors = {name: totals[name] for name in ("connect", "read", "write", "status", "timeout")}
    if any(errors.values()) or not totals["requests"]:
        raise BenchError(f"wrk saw errors: {errors} in {totals['requests']} requests")
    return totals["requests"]


def warm_up(port: int) -> None:
    """Send a few requests, so that connections to the backend and caches exist."""
    _all(_steady_client, [_Job(port, 50, 0, 0)] * 4)


def _all(client: Callable[[_Job], _R], jobs: Sequence[_Job]) -> list[_R]:
    """Run a client process for each job and return what they measured.

    Not multiprocessing.Pool: ending its idle workers by SIGTERM can wait for ever once a
    signal handler in Python is inherited, as ours is.
    """
    ends, processes = [], []
    deadline = time.monotonic() + _LOAD_TIMEOUT_S
    try:
        for job in jobs:
            ours, theirs = _fork.Pipe(duplex=False)
            process = _fork.Process(target=_report, args=(client, job, theirs))
            process.start()
            theirs.close()
            ends.append(ours)
            processes.append(process)
        return [_result(end, deadline) for end in ends]
    finally:
        for process in processes:
            process.kill()
            process.join()
        for end in ends:
            end.close()


def _report(client: Callable[[_Job], object], job: _Job, end: Connection) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        end.send(client(job))
    except (OSError, BenchError) as error:
        end.send(BenchError(f"a client failed: {type(error).__name__}: {error}"))


def _result(end: Connection, deadline: float) -> Any:
    if not end.poll(max(0.0, deadline - time.monotonic())):
        raise BenchError(f"a client did not finish within {_LOAD_TIMEOUT_S:.0f} s")
    try:
        result = end.recv()
    except EOFError:
        raise BenchError("a client process ended without a result") from None
    if isinstance(result, BenchError):
        raise result
    return result


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _request(port: int, connection: str) -> bytes:
    return (
        f"GET /agent/commands?since=42 HTTP/1.1\r\nHost: {HOST}:{port}\r\n"
        f"User-Agent: bench\r\nAccept: */*\r\nConnection: {connection}\r\n\r\n"
    ).encode()


def _check(answer: bytes) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 ") or len(body) != ANSWER_BYTES:
        raise BenchError(f"wrong answer: {answer[:200]!r}")


def _storm_client(job: _Job) -> int:
    context, request = _context(), _request(job.port, "close")
    for _ in range(job.requests):
        raw = socket.create_connection((HOST, job.port), timeout=_ANSWER_TIMEOUT_S)
        with context.wrap_socket(raw) as tls:
            tls.sendall(request)
            answer = b""
            while piece := tls.recv(4096):
                answer += piece
            if tls.session_reused:
                raise BenchError("the TLS session was resumed: not a full handshake")
            if tls.version() != _TLS:
                raise BenchError(f"{tls.version()} instead of {_TLS}: not the same handshake")
            suite = (tls.cipher() or ("none",))[0]
            if suite != SUITE:
                raise BenchError(f"{suite} instead of {SUITE}: not the same handshake")
        _check(answer)
    return job.requests


def _steady_client(job: _Job) -> list[float]:
    gc.disable()
    request = _request(job.port, "keep-alive")
    latencies = []
    raw = socket.create_connection((HOST, job.port), timeout=_ANSWER_TIMEOUT_S)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with _context().wrap_socket(raw) as tls:
        for number in range(job.requests):
            due = job.first_at + number * job.interval_s
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            tls.sendall(request)
            answer = tls.recv(4096)
            while b"\r\n\r\n" not in answer or len(answer.partition(b"\r\n\r\n")[2]) < ANSWER_BYTES:
                piece = tls.recv(4096)
                if not piece:
                    raise BenchError(f"connection closed within an answer: {answer[:200]!r}")
                answer += piece
            latencies.append(time.monotonic() - due)
            _check(answer)
    return latencies
