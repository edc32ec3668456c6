"""The terminal alone, in this process: what a console above it can not bring about at will."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import sys
from collections.abc import Iterator

import pytest

from appliance.terminal import Terminal
from appliance.view import View, plain
from tests.console.emulator import Glass


@contextlib.contextmanager
def glass(patch: pytest.MonkeyPatch) -> Iterator[Glass]:
    """A screen whose other end is this process's standard input and output."""
    main, side = pty.openpty()
    shown = Glass(main)
    shown.resize(80, 24)
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    with open(side, "rb", buffering=0) as keyboard, open(os.dup(side), "w") as paper:
        patch.setattr(sys, "stdin", keyboard)
        patch.setattr(sys, "stdout", paper)
        try:
            yield shown
        finally:
            patch.undo()
            for number, handler in before.items():
                signal.signal(number, handler)
            shown.close()


def test_what_was_drawn_while_the_size_changed_is_drawn_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with glass(monkeypatch) as shown, Terminal().open() as terminal:
        size = terminal.size()
        terminal.draw(View((plain("before"),)), size)
        shown.shows("before")
        os.kill(os.getpid(), signal.SIGWINCH)  # between a size that was read and its drawing
        after = View((plain("after"),))
        terminal.draw(after, size)
        terminal.keys()
        terminal.draw(after, size)
        shown.shows("after")
