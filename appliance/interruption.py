"""What Ctrl-C comes to, a terminal that hangs up, or a SIGTERM, while a verb of a command works.

Shell. Neighbours: `verb.Context` hands it to the verb, `cli` tells what came of it.

A verb that changes something is never cut off half-way: it is asked to stop, as Esc in the console
does, and takes back what it began; where it cannot stop it comes to its end. Which of the two is
said at once. What only looks is not asked: it ends there and then, as any other command.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Final

__all__ = ["Interruption", "to_nowhere"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """One verb under way; `endures` is why it cannot be stopped, if it cannot."""

    def __init__(self, endures: str) -> None:
        self.endures = endures
        self.asked = False

    @contextlib.contextmanager
    def heeded(self) -> Iterator[None]:
        """Let signals ask, as long as the block works; then they are what they were before."""
        before = {number: signal.signal(number, self._ask) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop(self) -> bool:
        """Whether somebody wants no more of it; for Context.stop."""
        return self.asked

    def begin_to_endure(self, why: str) -> None:
        """From here on it cannot be stopped; for Context.endures."""
        if self.asked and self.endures != why:
            _say(f"not stopped: {why}")
        self.endures = why

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if number == signal.SIGHUP:
            to_nowhere()
        if self.endures:
            _say(f"not stopped: {self.endures}")
        else:
            _say("stopping: what was begun is taken back")


def to_nowhere() -> None:
    """Let what is printed from now on go nowhere: nobody reads it, and that stops nothing."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _say(line: str) -> None:
    # Not by print: the signal may have come in the middle of one.
    with contextlib.suppress(OSError):
        os.write(2, f"agent-proxy-appliance: {line}\n".encode())
