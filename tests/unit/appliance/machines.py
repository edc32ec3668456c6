"""Machines for tests: a folder as disk, programs that answer from a table, and power that fails."""

from __future__ import annotations

import json
import os
from pathlib import Path

from appliance.places import CONF, Places
from appliance.readings import Worker
from appliance.system import Completed, Fetched, System


class PowerCut(BaseException):
    """The machine is off. No BaseException handler of the code under test may go on."""


def words(argv: tuple[str, ...]) -> str:
    """Return a command line as the tables have it: no folder, no socket of supervisor."""
    kept = [os.path.basename(argv[0]), *argv[1:]]
    return " ".join(kept[:1] + kept[3:] if kept[1:2] == ["-s"] else kept)


class Machine(System):
    """A machine whose disk is a folder, whose programs are a table and whose clock is set.

    `answers` maps "argv joined by blanks" to what the program says; others end well and silent.
    What was run is in `ran`, lines of the audit in `audited`.
    """

    def __init__(self, folder: Path, answers: dict[str, Completed] | None = None) -> None:
        super().__init__(str(folder))
        self.answers = answers or {}
        self.ran: list[str] = []
        self.audited: list[str] = []
        self.pages: dict[str, Fetched] = {}
        self.up_s = 1000.0
        self.boot = "boot-1"
        self.time = 1_790_000_000.0

    def run(
        self, argv: tuple[str, ...], *, input: bytes = b"", timeout_s: float = 60.0
    ) -> Completed:
        (self.audited if argv[0] == "logger" else self.ran).append(words(argv))
        return self.answers.get(words(argv), Completed(0, "", ""))

    def ask(self, argv: tuple[str, ...], *, timeout_s: float = 10.0) -> Completed:
        return self.answers.get(words(argv), Completed(127, "", f"{argv[0]}: not here"))

    def fetch(
        self, address: str, port: int, path: str, *, timeout_s: float = 5.0
    ) -> Fetched | None:
        return self.pages.get(path)

    def processes(self, socket: str, *, timeout_s: float = 5.0) -> tuple[Worker, ...]:
        """Return what the table says as `supervisorctl status` does: NAME STATE detail."""
        done = self.ask(("supervisorctl", "status"))
        rows = [line.split(None, 2) for line in done.out.splitlines() if done.code in (0, 3)]
        return tuple(Worker(*(one.strip() for one in row)) for row in rows)

    def now(self) -> float:
        return self.time

    def uptime(self) -> float:
        return self.up_s

    def pause(self, seconds: float) -> None:
        self.up_s += seconds
        self.time += seconds

    def boot_id(self) -> str:
        return self.boot

    def restart(self) -> None:
        self.up_s, self.boot = 10.0, f"{self.boot}+"

    def content(self) -> dict[str, bytes]:
        """Return every file there is, but for those of transactions."""
        found = {}
        for path in sorted(Path(self.root).rglob("*")):
            name = "/" + str(path.relative_to(self.root))
            if path.is_file() and not name.startswith("/var/lib/agent-proxy/transaction/"):
                found[name] = path.read_bytes()
        return found


def recorded(folder: Path, name: str = "debian13") -> Machine:
    """Return a machine as it was recorded, with the proxy.ini that is shipped."""
    found = json.loads((Path(__file__).parent / "recorded" / f"{name}.json").read_text())
    made = Machine(folder)
    for command, out in found["answers"].items():
        made.answers[command] = Completed(found["codes"].get(command, 0), out, "")
    for path, text in found["files"].items():
        made.write(path, text.encode())
    for path, target in found["links"].items():
        made.link(path, target)
    made.folder(Places(CONF).logs, mode=0o700)
    made.write(CONF, (Path(__file__).parents[3] / "conf" / "proxy.ini").read_bytes(), mode=0o640)
    return made


class Faulty(Machine):
    """Loses power before the n-th step that changes the disk.

    With `forgets`, what was not yet fsynced is lost, as on a real disk: a file's content that was
    not flushed is gone, and a rename or removal whose folder was not flushed has not happened.
    """

    def __init__(self, folder: Path, *, cut_at: int, forgets: bool = False) -> None:
        super().__init__(folder)
        self._left = cut_at
        self._forgets = forgets
        self._unflushed: Path | None = None
        self._pending: list[tuple[Path, bytes | None, int]] = []

    def run(
        self, argv: tuple[str, ...], *, input: bytes = b"", timeout_s: float = 60.0
    ) -> Completed:
        self._count()
        return super().run(argv, input=input, timeout_s=timeout_s)

    def _step(self, what: str, place: Path) -> None:
        self._count()
        if what == "create":
            self._unflushed = place
        elif what == "fsync":
            # This very fsync makes it safe; the step before it was the last chance to lose it.
            self._unflushed = None if place == self._unflushed else self._unflushed
            self._pending = [one for one in self._pending if one[0].parent != place]
        elif what in ("rename", "unlink"):
            is_file = place.is_file() and not place.is_symlink()
            old = place.read_bytes() if is_file else None
            self._pending.append((place, old, place.stat().st_mode & 0o7777 if is_file else 0))

    def _count(self) -> None:
        if self._left == 0:
            if self._forgets:
                self._forget()
            raise PowerCut
        self._left -= 1

    def _forget(self) -> None:
        if self._unflushed is not None and self._unflushed.is_file():
            self._unflushed.write_bytes(b"")
        for place, old, mode in reversed(self._pending):
            if old is None:
                if place.is_symlink() or place.exists():
                    place.unlink()
            else:
                place.write_bytes(old)
                place.chmod(mode)
