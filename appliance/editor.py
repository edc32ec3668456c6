"""An editor for proxy.ini and for what is pasted: text and keys, no way to anything else.

Pure. Neighbours: `console` gives it `judge`, which finds what is wrong with the text as it is, and
takes the text when it is done. There is no command, no file name and no shell in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from appliance.effects import Back, Effect
from appliance.view import Line, Size, View, body_rows, framed, plain, wrapped

__all__ = ["Editor", "Fault"]

_UNDO_LIMIT: Final = 200
_TEXT_LIMIT: Final = 1 << 20
_FAULT_ROWS: Final = 4


class Fault(NamedTuple):
    """Something wrong with the text; `line` counts from 1, 0: nowhere in particular."""

    line: int
    text: str


class _State(NamedTuple):
    lines: tuple[str, ...]
    column: int
    row: int


@dataclass
class Editor:
    """Text under a cursor. `judge` is asked after each change, `done` when it is handed over."""

    title: str
    text: str
    done: Callable[[str], Effect]
    judge: Callable[[str], Sequence[Fault]] = lambda text: ()
    note: str = ""
    lines: list[str] = field(init=False)
    column: int = 0
    row: int = 0
    top: int = 0
    left: int = 0
    faults: Sequence[Fault] = ()
    asking: str | None = None  # what is searched for, while it is typed
    wanted: str = ""
    leaving: bool = False
    begun: str | None = None  # a draft: what the text had become when it was left
    is_kept: bool = False  # as a draft, while it is changed
    _undo: list[_State] = field(default_factory=list)
    _typing: bool = False

    def __post_init__(self) -> None:
        self.lines = (self.text if self.begun is None else self.begun).split("\n")
        self.faults = self.judge(self.now)

    @property
    def now(self) -> str:
        return "\n".join(self.lines)

    @property
    def is_changed(self) -> bool:
        return self.now != self.text

    def view(self, size: Size) -> View:
        faults = self._fault_lines(size.columns)
        height = body_rows(size) - len(faults)
        self.top = min(self.top, self.row)
        self.top = max(self.top, self.row - height + 1)
        width = size.columns - 6
        # A step of half a screen: a line must not slide under each key.
        half = width // 2
        self.left = max(0, (self.column - width + 2 + half - 1) // half * half)
        wrong = {fault.line for fault in self.faults}
        body: list[Line] = []
        for number in range(self.top, min(self.top + height, len(self.lines))):
            mark = "!" if number + 1 in wrong else " "
            text = self._cut(self.lines[number].replace("\t", " "), width)
            body.append((("", f"{number + 1:4}{mark} "), ("", text)))
        body += [plain("")] * (height - len(body))
        cursor = (6 + self.column - self.left, self.row - self.top)
        return framed(size, self.title, [*body, *faults], self._keys(), note=self._note(),
                      cursor=cursor)  # fmt: skip

    def _cut(self, line: str, width: int) -> str:
        """Return what of a line is in sight; < and > stand where it goes on."""
        text = line[self.left : self.left + width]
        text = f"<{text[1:]}" if self.left and text else text
        return f"{text[:-1]}>" if len(line) > self.left + width else text

    def _fault_lines(self, columns: int) -> list[Line]:
        if not self.faults:
            return []
        rows: list[str] = []
        for fault in sorted(self.faults, key=lambda one: one.line < self.row + 1):
            where = f"line {fault.line}: " if fault.line else ""
            rows += wrapped(f"! {where}{fault.text}", columns - 2, "  ")
        if len(rows) > _FAULT_ROWS:
            rows = [*rows[: _FAULT_ROWS - 1], f"  ... {len(self.faults)} in all"]
        return [plain("-" * columns), *(plain(f" {row}", "strong") for row in rows)]

    def _keys(self) -> str:
        if self.asking is not None:
            return "Type what to look for   Enter find   Esc leave it"
        if self.leaving:
            return "Y leave without it   N stay"
        return "F2/^S go on  ^F find  ^N next  ^G next fault  ^Z undo  ^K cut line  Esc leave"

    def _note(self) -> str:
        if self.asking is not None:
            return f" Find: {self.asking}_"
        if self.leaving:
            return " The text was changed. Leave without it?"
        count = len(self.faults)
        return self.note or (f" {count} to correct (!)" if count else "")

    def key(self, key: str) -> Effect:
        if self.asking is not None:
            self._asked(key)
            return None
        if self.leaving:
            self.leaving = False
            return Back() if key in ("y", "Y") else None
        self.note = ""
        if key == "esc":
            if not self.is_changed:
                return Back()
            self.leaving = True
        elif key in ("f2", "ctrl s"):
            return self._hand_over()
        elif key == "ctrl f":
            self.asking = ""
        elif key == "ctrl n":
            self._find()
        elif key == "ctrl g":
            self._next_fault()
        elif key == "ctrl z":
            self._take_back()
        elif key in _MOVES:
            self._typing = False
            self._move(key)
        else:
            self._change(key)
        return None

    def _hand_over(self) -> Effect:
        if self.faults:
            self._next_fault()
            self.note = f" {len(self.faults)} to correct first (!)"
            return None
        return self.done(self.now)

    def _move(self, key: str) -> None:
        row, column = self.row, self.column
        if key == "left" and not column and row:
            row, column = row - 1, len(self.lines[row - 1])
        elif key == "right" and column == len(self.lines[row]) and row + 1 < len(self.lines):
            row, column = row + 1, 0
        elif key in ("left", "right"):
            column += 1 if key == "right" else -1
        elif key in ("home", "end"):
            column = 0 if key == "home" else len(self.lines[row])
        else:
            row += {"up": -1, "down": 1, "page up": -15, "page down": 15}[key]
        self._go(row, column)

    def _go(self, row: int, column: int) -> None:
        self.row = max(0, min(row, len(self.lines) - 1))
        self.column = max(0, min(column, len(self.lines[self.row])))

    def _change(self, key: str) -> None:
        line, column, row = self.lines[self.row], self.column, self.row
        typing = len(key) == 1
        if typing and len(self.now) < _TEXT_LIMIT:
            self._keep(typing=True)
            self.lines[row] = line[:column] + key + line[column:]
            self.column += 1
        elif key == "enter":
            self._keep()
            self.lines[row : row + 1] = [line[:column], line[column:]]
            self._go(row + 1, 0)
        elif key in ("backspace", "delete"):
            self._erase(row, column, back=key == "backspace")
        elif key == "ctrl k":
            self._keep()
            del self.lines[row]
            self.lines = self.lines or [""]
            self._go(row, 0)
        else:
            return
        self.faults = self.judge(self.now)

    def _erase(self, row: int, column: int, *, back: bool) -> None:
        self._keep()
        if back and column:
            self.lines[row] = self.lines[row][: column - 1] + self.lines[row][column:]
            self.column -= 1
        elif back and row:
            at = len(self.lines[row - 1])
            self.lines[row - 1 : row + 1] = [self.lines[row - 1] + self.lines[row]]
            self._go(row - 1, at)
        elif not back and column < len(self.lines[row]):
            self.lines[row] = self.lines[row][:column] + self.lines[row][column + 1 :]
        elif not back and row + 1 < len(self.lines):
            self.lines[row : row + 2] = [self.lines[row] + self.lines[row + 1]]

    def _keep(self, *, typing: bool = False) -> None:
        """Remember the text for undo; what is typed in one go is undone in one go."""
        if not (typing and self._typing):
            self._undo.append(_State(tuple(self.lines), self.column, self.row))
            del self._undo[:-_UNDO_LIMIT]
        self._typing = typing

    def _take_back(self) -> None:
        self._typing = False
        if not self._undo:
            self.note = " Nothing to undo."
            return
        lines, self.column, self.row = self._undo.pop()
        self.lines = list(lines)
        self.faults = self.judge(self.now)

    def _asked(self, key: str) -> None:
        assert self.asking is not None
        if key == "esc":
            self.asking = None
        elif key == "enter":
            self.wanted, self.asking = self.asking, None
            self._find()
        elif key == "backspace":
            self.asking = self.asking[:-1]
        elif len(key) == 1:
            self.asking += key

    def _find(self) -> None:
        """Go to the next place of what was asked for, from the top again after the last."""
        if not self.wanted:
            return
        wanted = self.wanted.lower()
        count = len(self.lines)
        for step in range(count + 1):
            row = (self.row + step) % count
            begin = self.column + 1 if not step else 0
            at = self.lines[row].lower().find(wanted, begin)
            if at >= 0:
                self._go(row, at)
                return
        self.note = f" {self.wanted} is not in the text."

    def _next_fault(self) -> None:
        places = sorted(fault.line for fault in self.faults if fault.line)
        if not places:
            self.note = "" if self.faults else " Nothing is wrong."
            return
        after = [line for line in places if line > self.row + 1]
        self._go((after or places)[0] - 1, 0)


_MOVES: Final = frozenset({"left", "right", "up", "down", "home", "end", "page up", "page down"})
