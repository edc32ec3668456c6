"""A node as it runs in earnest: conf/supervisord.conf starts its workers and their watchdog."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.demo.supervision import Supervision
from tests.integration.nodes import ROOT, Node, _get
from tests.integration.peers import eventually

START_S = 40.0


class Supervised:
    """Starts and ends `node`, which is written and not started; its workers are not ours."""

    def __init__(self, node: Node, workers: int = 2) -> None:
        self.node = node
        self.var = node.home / "var"
        for name in ("log", "run"):
            (self.var / name).mkdir(parents=True, exist_ok=True)
        self._workers = workers
        self.supervision = Supervision(ROOT, self.var, node.conf, "", workers=workers, fds=1024)

    def start(self) -> None:
        self.supervision.start({"PYTHONDONTWRITEBYTECODE": "1", **self.node.environment})
        eventually(self.is_complete, f"all workers are ready:\n{self.log()}", START_S)
        eventually(self.is_watched, "the watchdog has seen all of them")

    def is_complete(self) -> bool:
        """Whether all workers answer and are ready."""
        try:
            status, body = self.node.get("/ready")
        except OSError:
            return False
        workers = json.loads(body)["workers"]
        return list(workers.values()) == ["ready"] * self._workers

    def ctl(self, *words: str) -> str:
        program = Path(sys.executable).parent / "supervisorctl"
        argv = [str(program), "-s", f"unix://{self.var}/run/supervisor.sock", *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def pid(self, name: str) -> int:
        """Return the process of `name`, such as worker-0; 0: there is none."""
        found = [p.pid for p in self.supervision.processes() if p.name == name]
        return found[0] if found else 0

    def snapshot(self, number: int) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(
            _get(str(self.var / "run" / f"worker-{number}.sock"), "/snapshot")[1]
        )
        return content

    def log(self, name: str = "watchdog") -> str:
        path = self.var / "log" / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def rescues(self) -> dict[str, dict[str, int]]:
        """Return what the watchdog did, by worker, as it wrote it down."""
        counts: dict[str, dict[str, int]] = self._state()["counts"]
        return counts

    def is_watched(self) -> bool:
        return len(self._state()["watched"]) == self._workers

    def _state(self) -> dict[str, Any]:
        path = self.var / "run" / "watchdog.json"
        state: dict[str, Any] = {"watched": {}, "counts": {}}
        return json.loads(path.read_text()) if path.exists() else state

    def end(self) -> None:
        said: list[str] = []
        if not self.supervision.end(said.append):
            raise AssertionError(f"{said}\n{self.log()}")
        for name in ("worker-0", "worker-1", "watchdog"):
            log = self.log(name)
            assert "Traceback" not in log, log
