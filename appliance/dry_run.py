"""A system that only notes what would be changed, for --dry-run and for showing a plan.

Shell (it reads for real). Neighbours: `system` below, `cli` above.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal, NamedTuple

from appliance.readings import Worker
from appliance.system import Completed, Entry, Fetched, System

__all__ = ["DryRun", "Recorded"]


class Recorded(NamedTuple):
    """One thing that would have been done. `detail` is a target, or empty."""

    kind: Literal["write", "remove", "link", "folder", "run"]
    what: str
    detail: str = ""

    def __str__(self) -> str:
        return f"would {self.kind} {self.what}{f' ({self.detail})' if self.detail else ''}"


class DryRun(System):
    """Reads from `base`, with what was noted on top; changes nothing. `recorded` is in order."""

    dry = True

    def __init__(self, base: System) -> None:
        super().__init__(base.root)
        self._base = base
        self.recorded: list[Recorded] = []
        self._written: dict[str, bytes | None] = {}

    def run(
        self, argv: tuple[str, ...], *, input: bytes = b"", timeout_s: float = 60.0
    ) -> Completed:
        self.recorded.append(Recorded("run", " ".join(argv)))
        return Completed(0, "", "")

    def ask(self, argv: tuple[str, ...], *, timeout_s: float = 10.0) -> Completed:
        return self._base.ask(argv, timeout_s=timeout_s)

    def fetch(
        self, address: str, port: int, path: str, *, timeout_s: float = 5.0
    ) -> Fetched | None:
        return self._base.fetch(address, port, path, timeout_s=timeout_s)

    def processes(self, socket: str, *, timeout_s: float = 20.0) -> tuple[Worker, ...]:
        return self._base.processes(socket, timeout_s=timeout_s)

    def now(self) -> float:
        return self._base.now()

    def uptime(self) -> float:
        return self._base.uptime()

    def pause(self, seconds: float) -> None:
        self._base.pause(seconds)

    def boot_id(self) -> str:
        return self._base.boot_id()

    def read(self, path: str) -> bytes | None:
        return self._written[path] if path in self._written else self._base.read(path)

    def entry(self, path: str) -> Entry | None:
        content = self._written.get(path, b"")
        return None if content is None else self._base.entry(path)

    def write(
        self, path: str, content: bytes, *, mode: int = 0o644, owner: str = "root:root"
    ) -> None:
        self._written[path] = content
        self.recorded.append(Recorded("write", path, f"{len(content)} bytes, {mode:04o} {owner}"))

    def link(self, path: str, target: str) -> None:
        self.recorded.append(Recorded("link", path, target))

    def remove(self, path: str) -> None:
        self._written[path] = None
        self.recorded.append(Recorded("remove", path))

    def folder(self, path: str, *, mode: int = 0o755, owner: str = "root:root") -> None:
        self.recorded.append(Recorded("folder", path, f"{mode:04o} {owner}"))

    @contextlib.contextmanager
    def lock(self, path: str) -> Iterator[None]:
        yield
