"""The screens before anybody is in: what there is to know at first sight, and the log-in.

Pure. Neighbours: `effects` below; `overview` has made the lines, `login` judges what is typed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.effects import Back, Effect, Open, Submit, scrolled, within
from appliance.view import Line, Size, Style, View, framed, plain, wrapped

__all__ = ["First", "Login"]


@dataclass
class First:
    """Before anybody has logged in: what an operator wants to know at first sight."""

    lines: Sequence[str] = ()
    note: str = " working: looking at this machine"
    enter: str = "log in"
    top: int = 0

    def view(self, size: Size) -> View:
        body: list[Line] = []
        for text in self.lines:
            style: Style = "strong" if text.startswith("WARNING") or " NO" in text else ""
            indent = " " * 9 if text.startswith("WARNING") else " " * 4
            for row in wrapped(text, size.columns - 2, indent):
                body.append(plain(f" {row}", style))
        self.top = within(self.top, len(body), size)
        keys = f"Enter {self.enter}   Up/Down scroll   Ctrl-L redraw"
        return framed(size, "Agent proxy appliance", body, keys, top=self.top, note=self.note)

    def key(self, key: str) -> Effect:
        if key == "enter":
            return Open("login")
        self.top = scrolled(self.top, key)
        return None


@dataclass
class Login:
    """Asks for a password: the console's, or a new one, twice."""

    new: bool = False
    typed: str = ""
    first: str | None = None
    note: str = ""

    def view(self, size: Size) -> View:
        if not self.new:
            text = "Password of this console"
        elif self.first is None:
            text = "Choose a password for this console: 12 characters or more"
        else:
            text = "Type the same password again"
        # Its length is nobody's business: no star for each character.
        shown = "(typed, not shown)" if self.typed else ""
        body = [plain(""), plain(f" {text}:"), plain(""), plain(f"   {shown}")]
        keys = "Enter go on   Esc back   Ctrl-U type it anew"
        return framed(size, "Log in", body, keys, note=self.note, cursor=(3 + len(shown), 3))

    def key(self, key: str) -> Effect:
        if key == "esc":
            return Back()
        if key == "ctrl u":
            self.typed = ""
        elif key == "backspace":
            self.typed = self.typed[:-1]
        elif key == "enter" and self.typed:
            return self._entered()
        elif len(key) == 1 and len(self.typed) < 256:
            self.typed += key
            self.note = ""
        return None

    def _entered(self) -> Effect:
        typed, self.typed = self.typed, ""
        if not self.new:
            return Submit("password", typed)
        if self.first is None:
            self.first, self.note = typed, ""
            return None
        first, self.first = self.first, None
        if first != typed:
            self.note = "The two were not the same. Choose it again."
            return None
        return Submit("new password", typed)
