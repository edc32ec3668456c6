"""A terminal without a screen: a pseudo-terminal whose output pyte draws into a table of cells."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pyte

PATIENCE_S: Final = 30.0
KEYS: Final = {
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "home": "\x1b[1~",
    "end": "\x1b[4~",
    "page down": "\x1b[6~",
    "enter": "\r",
    "esc": "\x1b",
    "tab": "\t",
    "f2": "\x1bOQ",
    "backspace": "\x7f",
    **{f"ctrl {letter}": chr(ord(letter) - 96) for letter in "cfgklnsuz"},
    "ctrl \\": "\x1c",
}


class Glass:
    """What a terminal of `columns` x `rows` shows, of which `fd` is the other end.

    `into` is where keys go, if that is another descriptor.
    """

    def __init__(self, fd: int, columns: int = 80, rows: int = 24, *, into: int = -1) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._fd = fd
        self._into = fd if into < 0 else into
        self.sent = b""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def read(self, wait_s: float = 0.05) -> bool:
        """Take in what came; False: nothing did."""
        if not select.select([self._fd], [], [], wait_s)[0]:
            return False
        with contextlib.suppress(OSError):
            data = os.read(self._fd, 65536)
            self.sent += data
            self._stream.feed(data)
            return bool(data)
        return False

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def complaints(self) -> str:
        """Return what whoever is behind the terminal has said elsewhere."""
        return ""

    def until(self, what: str, condition: Callable[[], bool], patience_s: float = 0) -> None:
        deadline = time.monotonic() + (patience_s or PATIENCE_S)
        while not condition():
            self.read()
            if time.monotonic() > deadline:
                raise AssertionError(f"never: {what}\n{self.text}\n{self.complaints()}")

    def shows(self, text: str) -> None:
        """Wait until the screen has `text`, and what comes with it."""
        self.until(f"{text!r} on the screen", lambda: text in self.text)
        while self.read(0.1):
            pass

    def press(self, *keys: str) -> None:
        """Press keys by name, or type text. An Esc is let be one, not the begin of an arrow."""
        for key in keys:
            os.write(self._into, KEYS.get(key, key).encode())
            if key == "esc":
                time.sleep(0.2)
            else:
                self.read(0.02)

    def close(self) -> None:
        os.close(self._fd)


class Emulator(Glass):
    """The console in a process of its own, for the machine below `root`."""

    def __init__(
        self, root: Path, *, term: str = "vt100", columns: int = 80, rows: int = 24,
        new: bool = False, program: str = "tests.console",
    ) -> None:  # fmt: skip
        main, side = pty.openpty()
        super().__init__(main, columns, rows)
        self.resize(columns, rows)
        self.errors = root / "console.err"
        with open(self.errors, "ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", program, str(root), "--recorded", *["--new"] * new],
                stdin=side, stdout=side, stderr=errors, env={**os.environ, "TERM": term},
                start_new_session=True, preexec_fn=_takes_terminal,
            )  # fmt: skip
        os.close(side)

    def resized(self, columns: int, rows: int) -> None:
        self.resize(columns, rows)
        os.killpg(self.process.pid, signal.SIGWINCH)

    def complaints(self) -> str:
        return self.errors.read_text()

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        super().close()


def _takes_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
