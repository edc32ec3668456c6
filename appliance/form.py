"""Forms: one line for each value, judged while it is typed, with help for the one in hand.

Pure. Neighbours: `form_fields` makes fields of a verb's arguments and of the proxy's settings,
`console` hands the values on and brings back what was refused, which is shown beside its field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from appliance.effects import Back, Effect, Open
from appliance.errors import Problem
from appliance.view import Line, Size, Style, View, body_rows, framed, plain, wrapped

__all__ = ["Field", "Form"]

_HELP_ROWS: Final = 5
_LONGEST: Final = 4096


@dataclass
class Field:
    """One value while it is typed. `judge` returns what is wrong with a text, "" if nothing.

    `choices` are gone through with Left and Right. `secret` is typed unseen. `paste` takes several
    lines, on a screen of its own. `place` is the name that a Problem has for it. `same_as` is the
    field of a new secret that this one must repeat: nobody sees what they mistyped.
    """

    place: str
    label: str
    text: str = ""
    sense: str = ""
    range: str = ""
    default: str = ""
    judge: Callable[[str], str] = lambda text: ""
    choices: tuple[str, ...] = ()
    secret: bool = False
    paste: bool = False
    required: bool = False
    refused: str = ""
    same_as: Field | None = None
    begun_with: str = field(init=False)

    def __post_init__(self) -> None:
        self.begun_with = self.text

    @property
    def wrong(self) -> str:
        """What is wrong with it now, and how to correct it."""
        if self.refused:
            return self.refused
        if self.same_as is not None:
            same = self.text == self.same_as.text
            return "" if same else "is not the same as above. Type it again, or both."
        if self.required and not self.text.strip():
            return f"is needed. Give {self.range or 'a value'}."
        return self.judge(self.text) if self.text.strip() else ""

    @property
    def is_changed(self) -> bool:
        return self.text != self.begun_with

    def shown(self, width: int) -> str:
        if self.secret:
            return "(typed, not shown)" if self.text else ""
        if self.paste:
            count = len(self.text.splitlines())
            return f"({count} lines)" if count else "(none: Enter to paste)"
        if self.choices:
            default = self.default if self.default in self.choices else "-"
            return f"< {self.text or default} >"
        return (
            self.text if len(self.text) < width else f"<{self.text[len(self.text) - width + 2 :]}"
        )


@dataclass
class Form:
    """Fields and what is done with them. `submit` makes the effect of the whole."""

    title: str
    fields: Sequence[Field]
    submit: Callable[[Sequence[Field]], Effect]
    chosen: int = 0
    note: str = ""
    tried: bool = False  # somebody wanted to go on: what is missing is shown, too
    about: str = ""
    others: Sequence[str] = ()  # what was refused and is of no field
    origin: Open | None = None  # what made it, and makes it again; None: nobody could go on with it

    def view(self, size: Size) -> View:
        width = max((len(one.label) for one in self.fields), default=0)
        room = size.columns - width - 6
        body: list[Line] = [plain("")]
        if self.about:
            body += [plain(f" {row}") for row in wrapped(self.about, size.columns - 2)]
            body += [plain("")]
        for text in self.others:
            rows = wrapped(f"! {text}", size.columns - 2, "  ")
            body += [plain(f" {row}", "strong") for row in rows]
        at: list[int] = []
        for number, one in enumerate(self.fields):
            at.append(len(body))
            body += self._rows(number, one, width, room)
        here = self.fields[self.chosen]
        help_lines = _help(here, size.columns - 2)
        height = body_rows(size) - _HELP_ROWS - 1
        last = len(body) if self.chosen + 1 == len(self.fields) else at[self.chosen + 1]
        top = max(0, min(max(last - height, at[self.chosen] - height // 2), len(body) - height))
        shown = body[top : top + height]
        shown += [plain("")] * (height - len(shown))
        shown.append(plain("-" * size.columns))
        shown += [plain(f" {text}") for text in help_lines]
        column = width + 5 + (0 if here.choices else len(here.shown(room)))
        cursor = (column, at[self.chosen] - top)
        note = self.note or self._state()
        return framed(size, self.title, shown, self._keys(here), note=note, cursor=cursor)

    def _keys(self, here: Field) -> str:
        is_last = self.chosen + 1 == len(self.fields)
        enter = "Enter paste" if here.paste else "Enter go on" if is_last else "Enter next"
        edit = "Left/Right choose" if here.choices else "Ctrl-U empty"
        return f"Up/Down field   {enter}   {edit}   F2 or Ctrl-S go on   Esc leave"

    def _rows(self, number: int, one: Field, width: int, room: int) -> list[Line]:
        mark = ">" if number == self.chosen else " "
        star = "*" if one.is_changed else " "
        text = one.shown(room).ljust(room)
        style: Style = "chosen" if number == self.chosen else ""
        rows: list[Line] = [(("", f"{mark}{star} {one.label:<{width}}  "), (style, text))]
        if one.wrong and (one.is_changed or one.refused or self.tried):
            for part in wrapped(one.wrong, max(20, room - 2), ""):
                rows.append(plain(f"   {'':<{width}}  ! {part}", "strong"))
        return rows

    def _state(self) -> str:
        wrong = sum(1 for one in self.fields if one.wrong and (one.is_changed or self.tried))
        changed = sum(1 for one in self.fields if one.is_changed)
        words = [f"{changed} changed (*)"] if changed else []
        words += [f"{wrong} to correct (!)"] if wrong else []
        return f" {', '.join(words)}" if words else ""

    def key(self, key: str) -> Effect:
        here = self.fields[self.chosen]
        count = len(self.fields)
        if key == "esc":
            return Back()
        if key in ("f2", "ctrl s"):
            return self._go_on()
        if key in ("up", "shift tab"):
            self.chosen = (self.chosen - 1) % count
        elif key in ("down", "tab"):
            self.chosen = (self.chosen + 1) % count
        elif key == "enter":
            if here.paste:
                return Open("paste", here)
            if self.chosen + 1 == count:
                return self._go_on()
            self.chosen += 1
        else:
            self._typed(here, key)
        return None

    def _typed(self, here: Field, key: str) -> None:
        before = here.text
        if here.choices:
            here.text = _turned(here, key)
        elif key == "backspace":
            here.text = "" if here.secret else here.text[:-1]
        elif key == "ctrl u":
            here.text = ""
        elif len(key) == 1 and not here.paste and len(here.text) < _LONGEST:
            here.text += key
        if here.text != before:
            here.refused = ""
            self.note = ""
            self.others = ()

    def _go_on(self) -> Effect:
        wrong = [number for number, one in enumerate(self.fields) if one.wrong]
        if wrong:
            self.tried = True
            self.chosen = wrong[0]
            self.note = f" {len(wrong)} to correct first (!)"
            return None
        self.others = ()
        return self.submit(self.fields)

    def refuse(self, problems: Iterable[Problem]) -> None:
        """Show each problem beside its field; those of no field above all of them.

        Where one value only was given, what is wrong is wrong with that one.
        """
        given = [number for number, one in enumerate(self.fields) if one.text.strip()]
        rest = []
        first: int | None = None
        for problem in problems:
            text = f"{problem.message}. {problem.remedy}"
            number = self._field_of(problem.place)
            if number is None and len(given) == 1:
                number = given[0]
            if number is None:
                rest.append(f"{problem.place}: {text}")
                continue
            self.fields[number].refused = text
            first = number if first is None else min(first, number)
        if first is not None:
            self.chosen = first
        self.others = rest
        self.note = " Not possible so: see above (!)" if rest else ""

    def _field_of(self, place: str) -> int | None:
        wanted = _folded(place)
        for number, one in enumerate(self.fields):
            if _folded(one.place) == wanted:
                return number
        # "network.interfaces.eth0.addresses.2" is the field "address".
        parts = [part for part in wanted.split(".") if not part.isdigit()]
        for part in reversed(parts):
            for number, one in enumerate(self.fields):
                if _stem(part) == _stem(_folded(one.place).rpartition(".")[2]):
                    return number
        return None


def _stem(name: str) -> str:
    """Return a name without its plural: addresses, keys."""
    return name.removesuffix("es") if name.endswith("sses") else name.removesuffix("s")


def _folded(place: str) -> str:
    """Return a place as text to compare: "[platform] networks", "--networks" are "…networks"."""
    text = place.replace("[", "").replace("] ", ".").replace("]", "")
    return text.lstrip("-").replace("-", "_").lower()


def _turned(one: Field, key: str) -> str:
    """Return the choice that Left, Right, Space or its first letter leads to."""
    now = one.text or one.default
    if key in ("left", "right", " ") and now not in one.choices:
        return one.choices[-1 if key == "left" else 0]
    if key in ("left", "right", " "):
        at = one.choices.index(now)
        return one.choices[(at + (-1 if key == "left" else 1)) % len(one.choices)]
    if key == "ctrl u":
        return one.begun_with
    for choice in one.choices:
        if len(key) == 1 and choice.startswith(key.lower()):
            return choice
    return one.text


def _help(one: Field, width: int) -> list[str]:
    """Return at most five lines about the field in hand: what it is, what it may be."""
    texts = [one.sense]
    if one.range:
        texts.append(f"Allowed: {one.range}.")
    if one.default:
        texts.append(f"Left empty: {one.default}.")
    lines = [row for text in texts if text for row in wrapped(text, width, "  ")]
    if len(lines) > _HELP_ROWS:
        lines = [*lines[: _HELP_ROWS - 1], lines[_HELP_ROWS - 1][: width - 4] + " ..."]
    return lines
