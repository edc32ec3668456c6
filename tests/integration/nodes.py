"""A node under test: real workers as processes, with a configuration and a home of their own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from proxy import route
from tests.fakes.certificates import KeyPair
from tests.integration.peers import eventually

AGENT = "127.0.1.1"
PLATFORM = "127.0.2.1"
ROUTED_AGENT = "127.0.1.7"
STRANGER = "127.0.9.1"
PROXY_ID = "45BCEBB32AA9"
SECRET = "integration-secret-canary-0123456789abcdef"
ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 20.0
ASK_S = 30.0
"""For an answer about a worker: it may be busy, and so may the machine."""

WORLD = {"PYTHONPATH": str(ROOT / "tests" / "fakes" / "world")}
"""For `Node.environment`: what tests/fakes/world/sitecustomize.py does."""

Settings = Mapping[str, Mapping[str, object]]


class Reservation:
    """Port numbers that nobody else gets while it lives: bound, shareable, never listening."""

    def __init__(self, count: int) -> None:
        self._sockets = [socket.socket() for _ in range(count)]
        for sock in self._sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(("127.0.0.1", 0))
        self.ports = [int(sock.getsockname()[1]) for sock in self._sockets]

    def release(self) -> None:
        for sock in self._sockets:
            sock.close()


class Worker:
    """One process. Its standard output is the access log, standard error the events."""

    def __init__(self, node: Node, number: int) -> None:
        self.number = number
        self._node = node
        self._run_dir = node.home / "var" / "run"
        self.out = node.home / f"out-{number}"
        self.err = node.home / f"err-{number}"
        self._err_begin = self.err.stat().st_size if self.err.exists() else 0
        with open(self.out, "ab") as out, open(self.err, "ab") as err:
            self.process = subprocess.Popen(
                [*node.wrapper, sys.executable, "-m", "proxy", "worker"]
                + ["--conf", str(node.conf), "--number", str(number)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **node.environment},
            )
        eventually(self._up, f"worker {number} answers:\n{self.log}", START_TIMEOUT_S)

    def _up(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            return bool(self.snapshot()["pid"] == self.process.pid)
        except (OSError, http.client.HTTPException):
            return False

    @property
    def log(self) -> str:
        """What this process has logged."""
        return self.err.read_text()[self._err_begin :] if self.err.exists() else ""

    def snapshot(self) -> dict[str, Any]:
        path = str(self._run_dir / f"worker-{self.number}.sock")
        content: dict[str, Any] = json.loads(_get(path, "/snapshot")[1])
        return content

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def memory_bytes(self) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+) kB", text)
        assert match is not None
        return int(match[1]) * 1024

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, timeout_s: float = 40.0) -> None:
        """Drain; the exit code must be 0 and the log free of defects."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the worker does not drain:\n{self.log}") from None
        log = self.log
        assert code == 0, log
        assert "Traceback" not in log and "defect" not in log, log


class Node:
    """A directory with a proxy.ini, and the workers that run on it."""

    gate: Gate  # of the first worker, where a module shares one

    def __init__(self, home: Path, settings: Settings, pair: KeyPair) -> None:
        self.home = home
        self.conf = home / "conf" / "proxy.ini"
        self.environment: dict[str, str] = {}
        self.wrapper: list[str] = []  # a command that becomes the worker, keeping its pid
        self.workers: list[Worker] = []
        self._reservation = Reservation(2)
        self.address = ("127.0.0.1", self._reservation.ports[0])
        self.admin = ("127.0.0.1", self._reservation.ports[1])
        self.conf.parent.mkdir(parents=True)
        self.settings = {name: dict(values) for name, values in settings.items()}
        base: dict[str, dict[str, object]] = {
            "proxy": {"id": PROXY_ID, "node": "node-1", "secret": SECRET},
            "listen": {
                "addresses": "127.0.0.1",
                "port": self.address[1],
                "certificate": pair.certificate,
                "key": pair.key,
            },
            "upstream": {"connections": POOLED},
            "platform": {"networks": f"{PLATFORM}/32"},
            "agents": {"networks": "127.0.1.0/24", "allow_loopback": "yes"},
            "timeouts": {"connect": 2, "body_idle": 10, "upstream_answer": 10},
            "drain": {"delay": 0, "timeout": 5},
            "admin": {"port": self.admin[1]},
        }
        for section, values in base.items():
            self.settings[section] = {**values, **self.settings.get(section, {})}
        self.write()

    def write(self, **changes: Mapping[str, object]) -> None:
        """Write proxy.ini anew, with `changes` to its sections."""
        for section, values in changes.items():
            self.settings.setdefault(section, {}).update(values)
        lines = []
        for section, values in self.settings.items():
            lines.append(f"[{section}]")
            lines += [f"{key} = {value}" for key, value in values.items()]
        self.conf.write_text("\n".join(lines) + "\n")
        self.conf.chmod(0o600)

    def start(self, number: int = 0) -> Worker:
        worker = Worker(self, number)
        self.workers = [w for w in self.workers if w.number != number] + [worker]
        return worker

    @property
    def worker(self) -> Worker:
        return self.workers[0]

    def stop(self) -> None:
        try:
            for worker in self.workers:
                if worker.process.poll() is None:
                    worker.signal(signal.SIGTERM)
            for worker in self.workers:
                worker.end()
        finally:
            self._reservation.release()
            for worker in self.workers:
                if worker.process.poll() is None:
                    worker.process.kill()
                    worker.process.wait()

    def get(self, path: str) -> tuple[int, bytes]:
        return _get(self.admin, path)

    def status(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.get("/status")[1])
        return content

    def wait_until_ready(self) -> None:
        eventually(lambda: self.get("/ready")[0] == 200, "the node is ready")

    def access_lines(self, count: int, number: int = 0) -> list[dict[str, str]]:
        """Return the last `count` access lines as dictionaries, once there are so many."""
        path = self.home / f"out-{number}"
        eventually(lambda: path.read_text().count("\n") >= count, f"{count} access lines")
        return [line_as_dict(line) for line in path.read_text().splitlines()[-count:]]

    def written_so_far(self) -> int:
        """Return how many access lines there are, whatever is under way."""
        return (self.home / "out-0").read_text().count("\n")

    def written(self) -> int:
        """Return how many access lines there are, once all that ended so far are written."""

        def lines() -> int:
            return (self.home / "out-0").read_text().count("\n")

        def all_written() -> bool:
            now = self.worker.snapshot()
            return now["inFlight"] == 0 and lines() == sum(n for *_, n in now["exchanges"])

        eventually(all_written, "all access lines are written")
        return lines()

    def next_line(self, since: int) -> dict[str, str]:
        """Return the first access line after the first `since`, of worker 0."""
        path = self.home / "out-0"
        eventually(lambda: path.read_text().count("\n") > since, "an access line")
        return line_as_dict(path.read_text().splitlines()[since])

    def route(
        self, host: str, port: int, *, zone: str = "default", own_id: str = PROXY_ID
    ) -> bytes:
        """Return a sealed return route, as the node would have minted it."""
        return route.mint(own_id, zone, host, port, route.seal_key(SECRET.encode()))


POOLED = 2
"""[upstream] connections of nodes under test: so many idle descriptors are no leak."""


def line_as_dict(line: str) -> dict[str, str]:
    return dict(item.split("=", 1) for item in line.split(" "))


class Gate:
    """What a worker held before a test, and whether it comes back to that."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.descriptors = worker.descriptors()
        self.memory = worker.memory_bytes()

    def check(self, memory_growth: int) -> None:
        """Raises AssertionError where something stays open or memory grows."""
        deadline = time.monotonic() + 8.0
        while left := self._left():
            assert time.monotonic() < deadline, f"left behind: {left}"
            time.sleep(0.02)
        grown = self._worker.memory_bytes() - self.memory
        assert grown < memory_growth, f"{grown >> 20} MiB more than before"

    def _left(self) -> dict[str, int]:
        now = self._worker.snapshot()
        left = {key: now[key] for key in ("connections", "tunnels", "inFlight") if now[key]}
        extra = self._worker.descriptors() - self.descriptors - POOLED
        if extra > 0:
            left["descriptors"] = extra
        return left


@contextlib.contextmanager
def serving(node: Node) -> Iterator[None]:
    """Start a node, note what it holds before the first test, and drain it at the end."""
    try:
        node.start()
        node.wait_until_ready()
        node.gate = Gate(node.worker)
        yield
    finally:
        node.stop()


class _UnixConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ASK_S)
        self.sock.connect(self.host)


def _get(where: str | tuple[str, int], path: str) -> tuple[int, bytes]:
    connection: http.client.HTTPConnection
    if isinstance(where, str):
        connection = _UnixConnection(where)
    else:
        connection = http.client.HTTPConnection(*where, timeout=ASK_S)
    try:
        connection.request("GET", path, headers={"Host": "worker", "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
