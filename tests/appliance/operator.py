"""Somebody at the console: walks the menu, fills forms, and reads what comes of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from appliance import form_fields, menu
from appliance.verb import Verb
from tests.console.emulator import Glass

__all__ = ["Operator"]

_PATIENCE_S: Final = 150.0
_OF_MAIN: Final = "Esc log out"


class Operator:
    """Sits in front of `glass`. What a verb came to is what `do` returns."""

    def __init__(self, glass: Glass) -> None:
        self.glass = glass
        self.seen: list[str] = []  # each screen of the verb in hand, as it was when it stood

    def log_in(self, password: str) -> None:
        self.glass.shows("Enter log in")
        self.glass.press("enter")
        self.glass.shows("Password of this console")
        self.glass.press(password, "enter")
        self.glass.until("the main menu", lambda: _OF_MAIN in self.keys)

    @property
    def keys(self) -> str:
        """The last line: what may be pressed."""
        return self.glass.lines[-1]

    def to_menu(self) -> None:
        for _ in range(9):
            self._settle()
            if _OF_MAIN in self.keys:
                return
            before = self.glass.text
            self.glass.press("esc")
            self.glass.until("another screen", lambda before=before: self.glass.text != before)
            if "Leave without it?" in self.glass.text:
                self.glass.press("y")
        raise AssertionError(f"no way to the menu\n{self.glass.text}")

    def open(self, verb: Verb) -> None:
        """Go to a verb from the main menu, by number keys."""
        topic = next(one for one in menu.TOPICS if verb in menu.verbs_of(one))
        self.glass.press(str(menu.TOPICS.index(topic) + 1))
        self.glass.until(topic.name, lambda: self.glass.lines[0].strip() == topic.name)
        verbs = menu.verbs_of(topic)
        self.glass.press(*str(verbs.index(verb) + 1))
        if (verbs.index(verb) + 1) * 10 <= len(verbs):
            self.glass.press("enter")  # rather than to wait for a second digit
        self.glass.until(
            f"{verb.name} is open",
            lambda: self.glass.lines[0].strip() != topic.name or "at once" not in self.keys,
        )

    def fill(self, verb: Verb, values: Mapping[str, str]) -> None:
        """Fill the form of a verb and hand it over."""
        fields = form_fields.of_verb(verb)
        if verb.name == "network set":
            fields = fields[1:]  # the interface was chosen before
        for field in fields:
            text = values.get(field.place)
            if text is not None and field.paste:
                self.glass.press("enter")
                self.glass.until("the editor", lambda: "Paste" in self.glass.lines[0])
                self.glass.press(*text.replace("\n", "\r"), "f2")
                self.glass.until("the form again", lambda: "Paste" not in self.glass.lines[0])
            elif text is not None and field.choices:
                wanted = field.choices.index(text)
                if field.default in field.choices:
                    begin = field.choices.index(field.default)
                    steps = (wanted - begin) % len(field.choices)
                else:
                    steps = wanted + 1
                self.glass.press(*["right"] * steps)
            elif text is not None:
                self.glass.press(text)
            self.glass.press("down")
        before = self.glass.text
        self.glass.press("f2")
        self.glass.until("the form is handed over", lambda: self.glass.text != before)

    def carry_through(self, *, keep: bool = False) -> str:
        """Agree to everything until a verb has said its last; a change is taken back, or kept."""
        self.seen = []
        confirmed = False
        while True:
            self._settle()
            self.seen.append(self.glass.text)
            if "Enter do it" in self.keys:
                self.glass.press("enter")
                self._until_gone("Enter do it")
            elif "Type yes" in self.glass.text:
                self.glass.press("yes", "enter")
                self._until_gone("Type yes")
            elif "C confirm" in self.keys and not confirmed:
                self.glass.press("c" if keep else "r")
                self._until_gone("C confirm")
                confirmed = True
            else:
                return self.glass.text

    def do(self, verb: Verb, values: Mapping[str, str] | None = None, *, keep: bool = False) -> str:
        """Do a verb from the main menu and come back to it; return its last screen."""
        self.open(verb)
        if verb.name == "network set":
            self.glass.press("enter")  # the first interface
            self.glass.until("its form", lambda: "gateway4" in self.glass.text)
        if verb.arguments:
            self.fill(verb, values or {})
        last = self.carry_through(keep=keep)
        self.to_menu()
        return last

    def _until_gone(self, text: str) -> None:
        self.glass.until(f"no {text!r}", lambda: text not in self.glass.text, _PATIENCE_S)

    def _settle(self) -> None:
        """Wait until nothing is under way, and the screen has been still for a moment."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            while self.glass.read(0.15):
                pass
            if not any(word in self.glass.lines[-2] for word in (" working:", " ending:")):
                return
        raise AssertionError(f"never still\n{self.glass.text}")
