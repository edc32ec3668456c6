"""The screen of a machine's serial line, as an operator's terminal draws it, and the keys to it."""

from __future__ import annotations

import time

import pyte

from tests.console.emulator import KEYS
from tests.image.machine import Machine
from tests.image.shell import PATIENCE_S


class Screen:
    """80 x 24 cells, drawn from all that the line has said since the machine was started."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._screen = pyte.Screen(80, 24)
        self._stream = pyte.ByteStream(self._screen)
        self._taken = 0

    @property
    def text(self) -> str:
        said = self._machine.said(self._taken)
        self._taken += len(said)
        self._stream.feed(said)
        return "\n".join(line.rstrip() for line in self._screen.display)

    def shows(self, text: str, *, no_more: str = "") -> str:
        """Return the screen once it has `text`, and not `no_more`. Raises: AssertionError."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            seen = self.text
            if text in seen and not (no_more and no_more in seen):
                return seen
            self._machine.runs()
            assert time.monotonic() < deadline, f"never {text!r} on the screen:\n{seen}"
            time.sleep(0.1)

    def press(self, *keys: str) -> None:
        """Press keys by name, or type text."""
        for key in keys:
            if key in KEYS:
                self._machine.send(KEYS[key])
            else:
                self._machine.type(key)
            if key == "esc":
                time.sleep(1)  # alone for so long it is no arrow's beginning, however slow the line
