"""Workers restarted one after the other, and reloaded, under load: no request is lost."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.demo.places import Places
from tests.demo.running import OFFSET, demonstration
from tests.fakes.control import order
from tests.fakes.messages import ask
from tests.fakes.wire import client_context, closing, dial

CALLERS = 4
COMMANDS = (
    ("restart", "agent-proxy:worker-0"),
    ("restart", "agent-proxy:worker-1"),
    ("signal", "HUP", "agent-proxy:*"),
)


class _Load:
    """Agents that post periodically, each time over a new connection; counts what went wrong."""

    def __init__(self, places: Places, ca: Path) -> None:
        self.done = 0
        self.lost: list[str] = []
        self._proxy = places.proxy
        self._context = client_context(ca)
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(CALLERS)]

    def __enter__(self) -> _Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, number: int) -> None:
        headers = [("Host", "proxy"), ("Connection", "close")]
        while not self._ending.wait(0.005):
            try:
                source = f"127.0.1.{50 + number}"
                with closing(dial(self._proxy, self._context, source=source)) as sock:
                    reply = ask(sock, "POST", "/services/agent/alive", headers, b"{}")
                if reply.status == 200:
                    self.done += 1
                else:
                    self.lost.append(str(reply.status))
            except (OSError, ValueError) as fault:
                self.lost.append(repr(fault))


@pytest.mark.e2e
def test_rolling_restart_and_reload_lose_no_request(tmp_path: Path) -> None:
    var = tmp_path / "var"
    supervisorctl = Path(sys.executable).parent / "supervisorctl"
    with demonstration(var) as demo:
        demo.read_until("agents it knows")
        with _Load(Places(OFFSET), var / "tls" / "proxy.crt") as load:
            for command in COMMANDS:
                before = load.done
                said = subprocess.run(
                    [supervisorctl, "-s", f"unix://{var}/run/supervisor.sock", *command],
                    capture_output=True,
                    text=True,
                    timeout=90,
                )
                assert said.returncode == 0, said.stdout
                assert load.done > before
        assert load.lost == []
        assert load.done > 100
        again = {"agent": "127.0.1.1", "body": "report uptime"}
        assert order(var / "demo" / "platform.sock", "POST", "/call", again)["status"] == 200
