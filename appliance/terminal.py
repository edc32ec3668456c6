"""Draws views and reads keys; the only file that knows the toolkit (urwid).

Shell. Neighbours: `view` below, `console` above. Only what has changed is sent, so that a serial
line at 9600 baud keeps up. No colours, no mouse, no line drawing: reverse and bold, which linux,
vt100, vt220 and xterm have. Ctrl-C, Ctrl-Z and Ctrl-\\ are keys here and reach no shell.
"""

from __future__ import annotations

import contextlib
import select
import signal
import sys
from collections.abc import Hashable, Iterator, Sequence
from typing import Final

import urwid
from urwid.display import raw

from appliance.view import COLUMNS, ROWS, Size, View

__all__ = ["Terminal"]

_PALETTE: Final = (
    ("title", "", "", "standout"),
    ("chosen", "", "", "standout"),
    ("strong", "", "", "bold"),
)
_RESIZED: Final = "window resize"
# A lone Esc is told from the beginning of an arrow key by what follows within this time.
_ESCAPE_WAIT_S: Final = 0.1
_TICK_S: Final = 0.1
_ESCAPE, _LONGEST_SEQUENCE = 27, 6


class _Quiet(raw.Screen):
    """Asks the terminal nothing: a VT100 would print the questions, or answer into the log-in."""

    def _detect_terminal_modes(self) -> None:
        return


class Terminal:
    """One terminal, on standard input and output. Use it inside `open`.

    `codes` are of a key that was pressed before, and read by somebody else.
    """

    def __init__(self, codes: Sequence[int] = ()) -> None:
        self._pressed = list(codes)
        self._kept = False
        self._screen = _Quiet(sys.stdin, sys.stdout, False, False)
        self._shown: tuple[View, Size] | None = None
        self._gone = False

    @contextlib.contextmanager
    def open(self) -> Iterator[Terminal]:
        """Take the terminal, and give it back as it was, whatever happens."""
        screen = self._screen
        for number in (signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, self._hung_up)
        screen.set_terminal_properties(colors=1)
        screen.register_palette(_PALETTE)
        screen.start(alternate_buffer=True)
        screen.tty_signal_keys("undefined", "undefined", "undefined", "undefined", "undefined")
        try:
            yield self
        finally:
            if not self._kept:
                screen.stop()

    def leave_as_it_is(self) -> None:
        """Let what is drawn stand, and the terminal's settings, for a program that comes next."""
        self._kept = True

    def _hung_up(self, number: int, frame: object) -> None:
        """The line broke, or the machine goes down: `keys` says so, so that work can end well."""
        self._gone = True

    def size(self) -> Size:
        columns, rows = self._screen.get_cols_rows()
        # A serial line does not say how large its terminal is.
        return Size(columns or COLUMNS, rows or ROWS)

    def draw(self, view: View, size: Size) -> None:
        """Show a view; nothing is sent where it is shown already. Raises: EOFError, as `keys`."""
        if self._shown == (view, size):
            return
        self._shown = (view, size)
        lines = [view.lines[row] if row < len(view.lines) else () for row in range(size.rows)]
        texts: list[bytes] = []
        styles: list[list[tuple[Hashable, int]]] = []
        for line in lines:
            # What a terminal of ASCII cannot show is a question mark, one column each.
            parts = [(style, text.encode("ascii", "replace")) for style, text in line]
            used = sum(len(part) for _, part in parts)
            texts.append(b"".join(part for _, part in parts).ljust(size.columns))
            row: list[tuple[Hashable, int]] = [(style or None, len(part)) for style, part in parts]
            styles.append([*row, (None, size.columns - used)] if used < size.columns else row)
        canvas = urwid.TextCanvas(texts, styles, cursor=view.cursor, maxcol=size.columns)
        try:
            self._screen.draw_screen((size.columns, size.rows), canvas)
        except OSError as gone:
            raise EOFError from gone

    def repaint(self) -> None:
        """Forget what is on the terminal: the next drawing sends all of it."""
        self._shown = None
        self._screen.clear()

    def keys(self) -> list[str]:
        """Return the keys that were pressed, waiting a tenth of a second for the first.

        Raises: EOFError when the terminal is gone.
        """
        if self._gone:
            raise EOFError("hung up")
        codes = self._codes(_TICK_S)
        if _ESCAPE in codes[-_LONGEST_SEQUENCE:]:
            codes += self._codes(_ESCAPE_WAIT_S)  # an Esc, or the begin of an arrow key
        pressed, _ = self._screen.parse_input(None, None, codes, wait_for_more=False)
        found: list[str] = []
        for key in pressed:
            if key == _RESIZED:
                # Until this is read nothing is drawn: what `draw` sent meanwhile was dropped.
                self._shown = None
            elif isinstance(key, str):
                # Esc and a key right behind it: nobody here has a Meta key, and both are meant.
                found += ["esc"] * key.count("meta ") + [key.replace("meta ", "")]
        return found

    def _codes(self, wait_s: float) -> list[int]:
        """Return the bytes that have come within `wait_s`. Raises: EOFError.

        Not urwid's get_input: it keeps a lone Esc back until another key comes (5.1).
        """
        if self._pressed:
            codes, self._pressed = self._pressed, []
            return codes
        try:
            ready, _, _ = select.select(self._screen.get_input_descriptors(), [], [], wait_s)
            return self._screen.get_available_raw_input() if ready else []
        except (urwid.InputClosedError, OSError) as closed:
            raise EOFError from closed
