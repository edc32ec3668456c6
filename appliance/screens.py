"""The screens that show and ask little: lists, texts, questions, work under way, the countdown.

Pure: a screen turns a key into an effect, and itself into a view. Neighbours: `effects` below;
`entry` has the screens before anybody is in, `form` and `editor` are those one types into.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from appliance.effects import Back, Effect, Run, scrolled, within
from appliance.verb import Verb
from appliance.view import Line, Size, Style, View, body_rows, framed, plain, wrapped

__all__ = ["Countdown", "Entry", "Menu", "Question", "Text", "Working"]


class Entry(NamedTuple):
    """One line of a menu and what it leads to."""

    label: str
    sense: str
    effect: Effect


@dataclass
class Menu:
    """A list to choose from, by arrows and Enter or by number."""

    title: str
    entries: Sequence[Entry]
    chosen: int = 0
    back: str = "Esc back"
    note: str = ""

    def view(self, size: Size) -> View:
        width = max((len(entry.label) for entry in self.entries), default=0)
        body: list[Line] = [plain("")]
        for number, entry in enumerate(self.entries, 1):
            mark = f"{number}" if number <= 9 else " "
            text = f" {mark}  {entry.label:<{width}}   {entry.sense}"
            if number - 1 == self.chosen:
                body.append(plain(f">{text}".ljust(size.columns), "chosen"))
            else:
                body.append(plain(f" {text}"))
        if self.entries:
            body.append(plain(""))
            sense = self.entries[self.chosen].sense
            body += [plain(f"    {row}") for row in wrapped(_sentence(sense), size.columns - 6)]
        top = max(0, self.chosen + 6 - body_rows(size))
        keys = f"Up/Down choose   Enter open   1-9 at once   {self.back}"
        return framed(size, self.title, body, keys, top=top, note=self.note)

    def key(self, key: str) -> Effect:
        count = len(self.entries)
        if key == "esc":
            return Back()
        if key in ("up", "shift tab"):
            self.chosen = (self.chosen - 1) % count
        elif key in ("down", "tab"):
            self.chosen = (self.chosen + 1) % count
        elif key in ("home", "page up"):
            self.chosen = 0
        elif key in ("end", "page down"):
            self.chosen = count - 1
        elif key == "enter":
            return self.entries[self.chosen].effect
        elif len(key) == 1 and key in "123456789" and int(key) <= count:
            self.chosen = int(key) - 1
            return self.entries[self.chosen].effect
        return None


@dataclass
class Text:
    """Lines to read, such as what a verb said; optionally with one thing to go on with."""

    title: str
    lines: Sequence[str]
    go_on: Effect = None
    keys: str = ""
    note: str = ""
    top: int = 0
    big: bool = False

    def view(self, size: Size) -> View:
        body: list[Line] = [plain("")]
        for text in self.lines:
            style: Style = "strong" if text.startswith(("FAIL", "ROLLED BACK", "WARNING")) else ""
            for row in wrapped(_spelled(text) if self.big else text, size.columns - 2, "    "):
                body.append(plain(f" {row}", style))
            if self.big:
                body.append(plain(""))
        self.top = within(self.top, len(body), size)
        keys = f"{self.keys}   " * bool(self.keys) + "Up/Down scroll   Esc back"
        return framed(size, self.title, body, keys, top=self.top, note=self.note)

    def key(self, key: str) -> Effect:
        if key == "enter":
            return self.go_on or Back()
        if key == "esc":
            return Back()
        self.top = scrolled(self.top, key)
        return None


@dataclass
class Question:
    """Asks before something that cannot be undone: a word must be typed."""

    title: str
    lines: Sequence[str]
    effect: Effect
    typed: str = ""

    def view(self, size: Size) -> View:
        body = [plain("")]
        body += [plain(f" {row}") for text in self.lines for row in wrapped(text, size.columns - 2)]
        body += [plain(""), plain(f" Type yes to do it: {self.typed}")]
        cursor = (20 + len(self.typed), len(body) - 1)
        return framed(size, self.title, body, "Enter go on   Esc leave it", cursor=cursor)

    def key(self, key: str) -> Effect:
        if key == "esc":
            return Back()
        if key == "enter":
            return self.effect if self.typed == "yes" else None
        if key == "backspace":
            self.typed = self.typed[:-1]
        elif len(key) == 1 and len(self.typed) < 3:
            self.typed += key
        return None


@dataclass
class Working:
    """A verb at work: its lines as they come, the last one in sight."""

    title: str
    seconds: int = 0
    lines: list[str] = field(default_factory=list)
    can_stop: bool = False
    stopped: bool = False

    def view(self, size: Size) -> View:
        body = [plain("")]
        body += [
            plain(f" {row}")
            for text in self.lines[-1000:]
            for row in wrapped(text, size.columns - 2, "    ")
        ]
        word = "ending" if self.stopped else "working"
        keys = "Esc end" if self.can_stop else "please wait: this ends by itself"
        top = max(0, len(body) - body_rows(size))
        return framed(size, self.title, body, keys, top=top, note=f" {word}: {self.seconds} s")

    def key(self, key: str) -> Effect:
        self.stopped = self.stopped or (self.can_stop and key == "esc")
        return None


@dataclass
class Countdown:
    """A change is in force and is taken back unless it is confirmed in time."""

    title: str
    lines: Sequence[str]
    confirm: Verb
    roll_back: Verb
    left: Callable[[], float | None]
    top: int = 0

    def view(self, size: Size) -> View:
        left = self.left()
        if left is None:
            state = "The change does not wait any more: it was confirmed or taken back."
        else:
            state = f"In force. Taken back by itself in {left:.0f} s unless you confirm it."
        body = [plain(""), plain(f" {state}", "strong"), plain("")]
        for text in self.lines:
            style: Style = "strong" if text.startswith("FAIL") else ""
            body += [plain(f" {row}", style) for row in wrapped(text, size.columns - 2, "    ")]
        self.top = within(self.top, len(body), size)
        keys = "C confirm: keep it   R take it back now   Up/Down scroll"
        if left is None:
            keys = "Esc back   Up/Down scroll"
        return framed(size, self.title, body, keys, top=self.top)

    def key(self, key: str) -> Effect:
        if key in ("c", "C"):
            return Run(self.confirm, {}, sure=True)
        if key in ("r", "R"):
            return Run(self.roll_back, {}, sure=True)
        if key == "esc" and self.left() is None:
            return Back()
        self.top = scrolled(self.top, key)
        return None


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _spelled(text: str) -> str:
    """Return text in groups, as one reads it out over the phone: 45BC EBB3 2AA9."""
    words = text.split("  ")
    last = words[-1].strip()
    if len(last) >= 12 and all(letter in "0123456789abcdefABCDEF" for letter in last):
        groups = [last[at : at + 4] for at in range(0, len(last), 4)]
        words[-1] = " ".join(groups)
    return "  ".join(words)
