"""What a key on a screen leads to, and what the console needs of a screen.

Pure types. Neighbours: the screens return effects, `console` carries them out.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeAlias

from appliance.verb import Values, Verb
from appliance.view import Size, View, body_rows

__all__ = [
    "Back",
    "Effect",
    "Forget",
    "Open",
    "Repaint",
    "Run",
    "Screen",
    "Submit",
    "scrolled",
    "within",
]


class Back(NamedTuple):
    """Leave this screen, and `further` ones below it."""

    further: int = 0


class Open(NamedTuple):
    """Show what `what` names: "menu", or anything that `console` knows how to make."""

    what: str
    of: Any = None  # what the name needs: a verb, a section


class Run(NamedTuple):
    """Carry out a verb. `seen`: what it would change was shown; `sure`: it was agreed to."""

    verb: Verb
    values: Values
    sure: bool = False
    seen: bool = False


class Submit(NamedTuple):
    """Hand over what was typed, such as a password."""

    what: str
    text: str


class Forget(NamedTuple):
    """Remove the draft at `path`, and leave this screen."""

    path: str


class Repaint(NamedTuple):
    """Draw everything anew: something else wrote to the terminal."""


Effect: TypeAlias = Back | Forget | Open | Run | Submit | Repaint | None


class Screen(Protocol):
    """What the console needs of a screen; one may have `tick`, which is asked in each turn."""

    def view(self, size: Size) -> View: ...

    def key(self, key: str) -> Effect: ...


def scrolled(top: int, key: str) -> int:
    """Return the first line to show after a key; `within` bounds it."""
    step = {"up": -1, "down": 1, "page up": -15, "page down": 15, " ": 15}.get(key, 0)
    if key == "home":
        return 0
    return top + (1 << 20 if key == "end" else step)


def within(top: int, count: int, size: Size) -> int:
    """Return `top` so that the last screenful of `count` lines is full."""
    return max(0, min(top, count - body_rows(size)))
