"""The screens that show and ask little: lists, texts, questions, work under way, the countdown.

Pure: a screen turns a key into an effect, and itself into a view. Neighbours: `effects` below;
`entry` has the screens before anybody is in, `form` and `editor` are those one types into.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from appliance.effects import Back, Effect, Run, scrolled, within
from appliance.verb import Verb
from appliance.view import Line, Size, Style, View, body_rows, framed, plain, wrapped

__all__ = ["Countdown", "Entry", "Menu", "Question", "Text", "Working"]

_DIGIT_S: Final = 1.0
_CHOSEN: Final[tuple[Style, Style]] = ("", "chosen")
_STRONG: Final = ("FAIL", "ROLLED BACK", "WARNING")


class Entry(NamedTuple):
    """One line of a menu and what it leads to."""

    label: str
    sense: str
    effect: Effect


@dataclass
class Menu:
    """A list to choose from, by arrows and Enter or by number.

    A number that may be the begin of a longer one waits a second for its next digit.
    """

    title: str
    entries: Sequence[Entry]
    chosen: int = 0
    back: str = "Esc back"
    note: str = ""
    about: Sequence[str] = ()
    typed: str = ""
    since: float | None = None

    def view(self, size: Size) -> View:
        body: list[Line] = [plain("")]
        for text in self.about:
            body += [plain(f" {row}") for row in wrapped(text, size.columns - 2)]
        body += [plain("")] * bool(self.about)
        above = len(body)
        width = max((len(entry.label) for entry in self.entries), default=0)
        digits = len(str(len(self.entries)))
        for number, entry in enumerate(self.entries, 1):
            mark = ">" if number - 1 == self.chosen else " "
            text = f"{mark} {number:>{digits}}  {entry.label:<{width}}   {entry.sense}".rstrip()
            text = text if len(text) <= size.columns else f"{text[: size.columns - 3]}..."
            chosen = number - 1 == self.chosen
            body.append(plain(text.ljust(size.columns) if chosen else text, _CHOSEN[chosen]))
        if self.entries:
            sense = _sentence(self.entries[self.chosen].sense)
            rows = [f"    {row}" for row in wrapped(sense, size.columns - 6)]
            body += [plain(row) for row in ("", *rows)]
        top = max(0, above + self.chosen + 5 - body_rows(size))
        count = len(self.entries)
        keys = f"Up/Down choose   Enter open   {f'1-{count} at once   ' * (count > 1)}{self.back}"
        note = f" Number {self.typed}_" if self.typed else self.note
        return framed(size, self.title, body, keys, top=top, note=note)

    def key(self, key: str) -> Effect:
        count = len(self.entries)
        if len(key) == 1 and key in "0123456789":
            return self._digit(key)
        self.typed, before = "", self.typed
        if key == "esc":
            return None if before else Back()
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
        return None

    def _digit(self, key: str) -> Effect:
        number = int(self.typed + key)
        if not 1 <= number <= len(self.entries):
            self.typed = ""
            return None
        self.chosen = number - 1
        if number * 10 <= len(self.entries):
            self.typed, self.since = self.typed + key, None
            return None
        self.typed = ""
        return self.entries[self.chosen].effect

    def tick(self, now: float) -> Effect:
        """Open what was typed once no other digit has come for a second."""
        if not self.typed:
            return None
        self.since = now if self.since is None else self.since
        if now - self.since < _DIGIT_S:
            return None
        self.typed = ""
        return self.entries[self.chosen].effect


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
            style: Style = "strong" if text.startswith(_STRONG) else ""
            for row in wrapped(_spelled(text) if self.big else text, size.columns - 2, "    "):
                body.append(plain(f" {row}", style))
            if self.big and text:
                body.append(plain(""))
        self.top = within(self.top, len(body), size)
        keys = [self.keys] * bool(self.keys) + _scroll(len(body), size) + ["Esc back"]
        return framed(size, self.title, body, "   ".join(keys), top=self.top, note=self.note)

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
    """A verb at work: its lines as they come, the last one in sight.

    `stops` says what Esc comes to; `endures` why it comes to nothing.
    """

    title: str
    stops: str = ""
    seconds: int = 0
    lines: list[str] = field(default_factory=list)
    endures: str = ""
    stopped: bool = False

    def view(self, size: Size) -> View:
        body = [plain("")]
        body += [
            plain(f" {row}")
            for text in self.lines[-1000:]
            for row in wrapped(text, size.columns - 2, "    ")
        ]
        word = "ending" if self.stopped else "working"
        keys = f"Esc or Ctrl-C {self.stops}"
        note = f" {word}: {self.seconds} s"
        if self.endures:
            keys = "Please wait: this cannot be stopped and ends by itself"
            note += f"   ({self.endures})"
        elif self.stopped:
            keys = "Please wait: it ends as soon as nothing is left half done"
        top = max(0, len(body) - body_rows(size))
        return framed(size, self.title, body, keys, top=top, note=note)

    def key(self, key: str) -> Effect:
        self.stopped = self.stopped or (not self.endures and key == "esc")
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
            style: Style = "strong" if text.startswith(_STRONG) else ""
            body += [plain(f" {row}", style) for row in wrapped(text, size.columns - 2, "    ")]
        self.top = within(self.top, len(body), size)
        acts = ["Esc back"] if left is None else ["C confirm: keep it", "R take it back now"]
        keys = "   ".join([*acts, *_scroll(len(body), size)])
        return framed(size, self.title, body, keys, top=self.top)

    def key(self, key: str) -> Effect:
        if self.left() is None:
            if key in ("esc", "enter"):
                return Back()
        elif key in ("c", "C"):
            return Run(self.confirm, {}, sure=True)
        elif key in ("r", "R"):
            return Run(self.roll_back, {}, sure=True)
        self.top = scrolled(self.top, key)
        return None


def _scroll(count: int, size: Size) -> list[str]:
    return ["Up/Down scroll"] if count > body_rows(size) else []


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
