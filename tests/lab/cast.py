"""Who plays: workers of the proxy, the stand-ins, HAProxy; each a process on one machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any  # documents of JSON

from tests.fakes.certificates import self_signed
from tests.fakes.control import order
from tests.lab.network import Network
from tests.lab.topologies import ROOT, configurations

PATIENCE_S = 20.0
DRAIN_S = 40.0  # [drain] delay and timeout, and then some
Process = subprocess.Popen[bytes]


class Lab:
    """One scenario: its network, its processes, its files; everything ends with it."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.net = Network()
        self.home = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp"))
        self.secret = secrets.token_urlsafe(48)
        self._say = say
        self._processes: list[Process] = []
        self._logs: list[Path] = []
        self._configurations = configurations()
        self._control = self.home / "platform.sock"

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._show_logs()
        for process in self._processes:
            self.end(process, kill=True)  # nothing is left to prove: no drain
        self.net.close()
        shutil.rmtree(self.home, ignore_errors=True)

    def proved(self, text: str) -> None:
        self._say(f"   proved   {text}")

    def spawn(self, machine: str, *words: str, name: str = "") -> Process:
        log = self.home / f"{name or machine}.log"
        self._logs.append(log)
        with open(log, "ab") as out:
            process = subprocess.Popen(
                self.net.inside(machine, *words),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            )
        self._processes.append(process)
        return process

    def end(self, process: Process, *, kill: bool = False) -> int:
        """End one of our processes, by SIGTERM first; return its exit code."""
        if process.poll() is None:
            if kill:
                process.kill()
            else:
                process.terminate()
            try:
                process.wait(DRAIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return process.returncode

    def platform(self, machine: str, address: str, proxy: str) -> None:
        pair = self._pair("platform", address.rpartition(":")[0].strip("[]"))
        words = ["-m", "tests.fakes.platform", "--listen", address, "--proxy", proxy]
        words += ["--certificate", str(pair.certificate), "--key", str(pair.key)]
        words += ["--control", str(self._control), "--admit-unregistered"]
        self.spawn(machine, sys.executable, *words, name="platform")
        self.until("the platform is up", lambda: self.order("GET", "/agents") is not None)

    def agent(
        self, machine: str, generation: str, address: str, proxy: str, name: str, period: float = 30
    ) -> Process:
        words = ["-m", "tests.fakes.agents", generation, "--address", address, "--proxy", proxy]
        words += ["--name", name, "--retry", "0.5", "--period", str(period)]
        return self.spawn(machine, sys.executable, *words, name=name)

    def proxy(self, machine: str, configuration: str, *names: str) -> Proxy:
        return Proxy(self, machine, configuration, names)

    def configuration(self, name: str) -> str:
        return self._configurations[name]

    def _pair(self, stem: str, *names: str) -> Any:
        return self_signed(self.home / stem, stem, names)

    @property
    def platform_certificate(self) -> Path:
        return self.home / "platform" / "platform.crt"

    def order(self, method: str, target: str, document: object = None) -> Any:
        return order(self._control, method, target, document)

    def known(self, name: str) -> dict[str, Any]:
        """Return what the platform knows of the agent called `name`, once it knows it."""

        def found() -> Any:
            agents = self.order("GET", "/agents")
            here = [agent for agent in agents if agent["name"] == name]
            if here and (here[0]["generation"] == "first" or here[0]["connected"]):
                return here[0]
            return None

        known: dict[str, Any] = self.until(f"handshake of {name}", found)
        return known

    def call(self, name: str, known: dict[str, Any]) -> None:
        """Call an agent back by its return route, or command it; it must be that very one."""
        told = {key: known[key] for key in ("zone", "proxy_id")} | {"agent": known["address"]}
        if known["generation"] == "last":
            reply = self.order("POST", "/command", {**told, "command": "uptime"})["reply"]
            answered = reply["agent"]
        else:
            answer = self.order("POST", "/call", told)
            assert answer["status"] == 200, answer
            answered = json.loads(answer["body"])["agent"]
        assert answered == name, f"{answered} answered for {name}"

    def shake_and_call(self, *names: str) -> dict[str, dict[str, Any]]:
        found = {name: self.known(name) for name in names}
        for name, known in found.items():
            self.call(name, known)
        return found

    def cannot(self, machine: str, host: str, port: int, source: str = "") -> None:
        """Raises AssertionError if a TCP connection from there is possible after all."""
        bound = f"({source!r}, 0)" if source else "None"
        code = f"import socket; socket.create_connection(({host!r}, {port}), 1, {bound})"
        done = subprocess.run(
            self.net.inside(machine, sys.executable, "-c", code), capture_output=True, check=False
        )
        assert done.returncode, f"{machine} reaches {host}:{port}"

    def until(self, what: str, condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
        """Return the first true value. Raises: AssertionError with the last complaint."""
        deadline = time.monotonic() + patience_s
        complaint = ""
        while time.monotonic() < deadline:
            with contextlib.suppress(StopIteration):
                try:
                    value = condition()
                    if value:
                        return value
                except (OSError, RuntimeError, LookupError, ValueError) as fault:
                    complaint = str(fault)
            time.sleep(0.05)
        raise AssertionError(f"never within {patience_s:g} s: {what}; {complaint}")

    def _show_logs(self) -> None:
        for log in dict.fromkeys(self._logs):
            tail = log.read_text(errors="replace").splitlines()[-15:] if log.exists() else []
            for line in tail:
                self._say(f"   | {log.stem}: {line}")


class Proxy:
    """One node, its proxy.ini as printed."""

    def __init__(self, lab: Lab, machine: str, configuration: str, names: tuple[str, ...]) -> None:
        self.lab = lab
        self.machine = machine
        self.home = lab.home / machine
        (self.home / "conf").mkdir(parents=True)
        tls = self.home / "var" / "tls"
        self.pair = self_signed(tls, "proxy", names)
        if lab.platform_certificate.exists():
            shutil.copy(lab.platform_certificate, tls / "platform.crt")
        (self.home / "var" / "secret").write_text(lab.secret)
        (self.home / "var" / "secret").chmod(0o600)
        self.conf = self.home / "conf" / "proxy.ini"
        self.text = lab.configuration(configuration)
        self.workers: list[Process] = []

    @property
    def process(self) -> Process:
        """The first worker, of a node with one."""
        return self.workers[0]

    @property
    def sha256(self) -> str:
        der = ssl.PEM_cert_to_DER_cert(self.pair.certificate.read_text())
        return hashlib.sha256(der).hexdigest()

    def knows(self, name: str, other: Proxy) -> None:
        """Copy the other proxy's certificate here and fill in its sum, as the page says."""
        shutil.copy(other.pair.certificate, self.home / "var" / "tls" / f"{name}.crt")
        self.text = self.text.replace(f"SHA-256-OF-{name.upper()}", other.sha256)

    def start(self, workers: int = 1) -> Proxy:
        self.conf.write_text(self.text)
        self.workers = [self._spawn(number) for number in range(workers)]
        for number in range(workers):
            self.until_ready(number)
        return self

    def _spawn(self, number: int) -> Process:
        words = ["-m", "proxy", "worker", "--conf", str(self.conf), "--number", str(number)]
        return self.lab.spawn(self.machine, sys.executable, *words)

    def restart(self, number: int) -> int:
        """Let one worker drain and start it again; return its exit code."""
        code = self.lab.end(self.workers[number])
        self.workers[number] = self._spawn(number)
        self.until_ready(number)
        return code

    def until_ready(self, number: int) -> None:
        self.lab.until(
            f"worker {number} of {self.machine} is ready",
            lambda: not self.snapshot(number)["readyProblems"],
        )

    def snapshot(self, number: int = 0) -> dict[str, Any]:
        path = self.home / "var" / "run" / f"worker-{number}.sock"
        document: dict[str, Any] = order(path, "GET", "/snapshot")
        return document

    def count(self, event: str) -> int:
        """Return how often something has happened in all workers."""
        snapshots = [self.snapshot(number) for number in range(len(self.workers))]
        return sum(one["events"].get(event, 0) for one in snapshots)

    def checked(self, of: str) -> list[str]:
        """Return the lines of `agent-proxy check` on this machine that speak of something."""
        words = [sys.executable, "-m", "proxy", "--conf", str(self.conf), "check"]
        command = self.lab.net.inside(self.machine, *words)
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return [line for line in done.stdout.splitlines() if of in line[6:28]]

    def zone(self, name: str, number: int = 0) -> dict[str, Any]:
        return next(zone for zone in self.snapshot(number)["zones"] if zone["name"] == name)
