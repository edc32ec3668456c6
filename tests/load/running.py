"""The load programs as children of a test."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.fakes.certificates import KeyPair

ROOT = Path(__file__).resolve().parents[2]
ANSWER_S = 90.0


class _Program:
    """A child that answers each line with one line of JSON; ends when its input does."""

    def __init__(self, module: str, *arguments: str, inside: Sequence[str] = ()) -> None:
        self._child = subprocess.Popen(
            [*inside, sys.executable, "-m", f"tests.load.{module}", *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        ready, _, _ = select.select([self._child.stdout], [], [], ANSWER_S)
        line = self._child.stdout.readline() if ready else ""
        assert line, "a load program ended, or did not answer in time"
        content: dict[str, Any] = json.loads(line)
        return content

    def ask(self, line: str = "report") -> dict[str, Any]:
        assert self._child.stdin is not None
        self._child.stdin.write(line + "\n")
        self._child.stdin.flush()
        return self.read()

    def stop(self) -> None:
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.close()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()


class Ledger(_Program):
    """Listens on `host`; `port` is known once it does. `inside`: words that lead to a machine."""

    def __init__(
        self, host: str, pair: KeyPair, *, port: int = 0, inside: Sequence[str] = ()
    ) -> None:
        files = (str(pair.certificate), str(pair.key))
        super().__init__("ledger", host, str(port), *files, inside=inside)
        self.address = (host, int(self.read()["port"]))

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Callers(_Program):
    """Calls from its start; `total` adds up all reports. `options` as in `callers.Options`."""

    def __init__(
        self,
        address: tuple[str, int],
        sources: list[str],
        *,
        inside: Sequence[str] = (),
        **options: object,
    ) -> None:
        content = {"name": "c", "host": address[0], "port": address[1], "sources": sources}
        super().__init__("callers", json.dumps(content | options), inside=inside)
        self.total: Counter[str] = Counter()
        self.lost: list[str] = []
        self.last: dict[str, Any] = {}

    def report(self, line: str = "report") -> dict[str, Any]:
        self.last = self.ask(line)
        for key in ("done", "again", "messages", "unanswered", "tunnels_ended", "count_lost"):
            self.total[key] += self.last.get(key, 0)
        self.lost += self.last["lost"]
        return self.last

    def more(self, count: int, timeout_s: float = 60.0) -> None:
        """Wait until `count` more requests were answered."""
        wanted = self.total["done"] + count
        deadline = time.monotonic() + timeout_s
        while self.total["done"] < wanted:
            assert time.monotonic() < deadline, f"only {self.total} in time; lost: {self.lost}"
            time.sleep(0.05)
            self.report()

    def __enter__(self) -> Callers:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
