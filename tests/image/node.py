"""One machine of the image as a node of the proxy: its verbs, settings, workers and console."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from tests.image.conftest import PASSWORD
from tests.image.machine import Machine
from tests.image.screen import Screen
from tests.image.shell import PATIENCE_S
from tests.lab.cast import Lab

APPLIANCE = "/opt/agent-proxy/venv/bin/agent-proxy-appliance"
SUPERVISORCTL = (
    "/opt/agent-proxy/venv/bin/supervisorctl", "-s", "unix:///opt/agent-proxy/var/run/supervisor.sock",
)  # fmt: skip
_READY = (
    "import urllib.request as u; print(u.urlopen('http://127.0.0.1:2004/ready').read().decode())"
)
SETTINGS = "/opt/agent-proxy/conf/proxy.ini"
JOURNAL = "/var/lib/agent-proxy/transaction/journal.json"


class Node:
    """The machine and its switch; started again and again, with the same further hardware."""

    def __init__(self, machine: Machine, lab: Lab, extra: Sequence[str] = ()) -> None:
        self.machine, self.lab = machine, lab
        self._extra = extra

    def start(self, seed: Path | None = None) -> None:
        self.machine.start(self.lab.net, "lan", shell=True, seed=seed, extra=self._extra)

    def run(self, *words: str) -> str:
        return self.machine.shell.run(*words)

    def appliance(self, *words: str, patience_s: float = PATIENCE_S) -> str:
        return self.machine.shell.run(APPLIANCE, *words, patience_s=patience_s)

    def until_ready(self) -> None:
        """Wait until all workers say that they are ready. Raises: AssertionError."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            code, said = self.machine.shell.try_run(
                f'/opt/agent-proxy/venv/bin/python -c "{_READY}"'
            )
            if code == 0 and json.loads(said)["ready"]:
                return
            assert time.monotonic() < deadline, f"not ready: {said}"
            time.sleep(1)

    def until(self, what: str, script: str) -> None:
        """Wait until a line of shell ends well, asked every tenth of a second over there."""
        line = f"for n in $(seq 3000); do {script} && exit 0; sleep 0.1; done; exit 1"
        code, said = self.machine.shell.try_run(line)
        assert code == 0, f"never: {what}; {said}"

    def lose_power(self) -> None:
        """Take the power away, at once, and give it back; wait until the node takes traffic."""
        self.machine.cut()
        self.start()
        self.until_ready()

    def settings(self) -> str:
        return self.run("cat", SETTINGS)

    def identity(self) -> str:
        return self.run(
            "sha256sum", "/etc/machine-id", "/opt/agent-proxy/var/secret",
            "/opt/agent-proxy/var/tls/proxy.key", "/etc/ssh/ssh_host_ed25519_key",
        )  # fmt: skip

    def log_in(self) -> Screen:
        """Return the serial line's screen with the main menu on it."""
        screen = Screen(self.machine)
        screen.shows("Enter log in")
        screen.press("enter")
        screen.shows("Password of this console")
        screen.press(PASSWORD, "enter")
        screen.shows("1-9 at once")
        return screen
