"""A walk through the console: what is pressed, and what must then be there.

The screens are kept as texts in tests/console/screens, and as pictures in docs/console.
`python -m tests.console.tour` makes both anew, for a person to look at before they are kept.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from tests.console.emulator import Emulator
from tests.console.picture import svg

ROOT: Final = Path(__file__).parents[2]
SCREENS: Final = Path(__file__).parent / "screens"
PICTURES: Final = ROOT / "docs" / "console"
PASSWORD: Final = "seven quiet horses"


class Step(NamedTuple):
    """One screen of the tour: pressed keys, and a text that says it has come."""

    name: str
    keys: tuple[str, ...]
    shows: str


STEPS: Final = (
    Step("first", (), "as of"),
    Step("choose-password", ("enter",), "Choose a password"),
    Step("weak-password", ("horse", "enter", "horse", "enter"), "has 5 characters"),
    Step("menu", (PASSWORD, "enter", PASSWORD, "enter"), "1-9 at once"),
    Step("settings", ("2",), "5  Difference"),
    Step("sections", ("2",), "3  upstream"),
    Step("form", ("3",), "endpoint"),
    Step("form-refused", ("platform.example.com",), "has no port"),
    Step("difference", (":3302", "f2"), "Enter do it"),
    Step("countdown", ("end", "enter"), "Taken back by itself"),
    Step("confirmed", ("c",), "confirmed, final"),
    Step("id", ("esc", "1", "enter", "45BCEBB32AA9"), "1 changed"),
    Step("id-difference", ("f2",), "Enter do it"),
    Step("id-countdown", ("enter",), "Taken back by itself"),
    Step("id-confirmed", ("c",), "confirmed, final"),
    Step("editor", ("esc", "esc", "4"), "^F find"),
    Step("editor-fault", ("ctrl f", "port = 2002", "enter", "end", "x"), "to correct"),
    Step("editor-leave", ("esc",), "Leave without it?"),
    Step("network", ("y", "esc", "3"), "Network set"),
    Step("interfaces", ("2",), "which interface"),
    Step("network-form", ("2", "10.1.2.300/24"), "gateway4"),
    Step("certificate-form", ("esc", "esc", "esc", "5", "2"), "days"),
    Step("register", ("esc", "esc", "4", "4"), "agent proxy ID"),
    Step("services", ("esc", "esc", "6"), "Rolling-restart"),
    Step("care", ("esc", "8"), "Backup create"),
    Step("care-number", ("1",), "Number 1_"),
    Step("backup-form", ("esc", "8", "down", "short", "enter", "other"), "passphrase again"),
    Step("reset-preview", ("esc", "esc", "9", "3", "f2"), "Enter do it"),
    Step("factory-reset", ("enter",), "Type yes to do it"),
)

# A machine that nobody has set up yet.
NEW_STEPS: Final = (
    Step("new-first", (), "not set up yet"),
    Step("new-wizard", ("enter",), "First boot"),
    Step(
        "new-refused",
        (
            "short",
            "enter",
            "short",
            "enter",
            "platform.example.com:3302",
            "enter",
            "everywhere",
            "f2",
        ),
        "to correct first",
    ),
    Step(
        "new-difference",
        (
            "ctrl u",
            PASSWORD,
            "down",
            "ctrl u",
            PASSWORD,
            "down",
            "down",
            "ctrl u",
            "8.7.6.5",
            "down",
            "45BCEBB32AA9",
            "f2",
        ),
        "Enter do it",
    ),
)


def settled(text: str) -> str:
    """Return a screen without what changes with every setting that is added: sizes, the digest."""
    text = re.sub(r"(settings digest +)[0-9a-f ]+\n +[0-9a-f ]+", r"\1(digest)", text)
    return re.sub(r"\([0-9]+ bytes", "(N bytes", text)


def walk(
    emulator: Emulator, steps: tuple[Step, ...], seen: Callable[[str, Emulator], None]
) -> None:
    """Go through all steps; `seen` is called at each."""
    for step in steps:
        emulator.press(*step.keys)
        emulator.shows(step.shows)
        seen(step.name, emulator)


def _keep(name: str, emulator: Emulator) -> None:
    (SCREENS / f"{name}.txt").write_text(settled(emulator.text) + "\n")
    (PICTURES / f"{name}.svg").write_text(svg(emulator.screen))


if __name__ == "__main__":
    SCREENS.mkdir(exist_ok=True)
    PICTURES.mkdir(exist_ok=True)
    for steps in (STEPS, NEW_STEPS):
        with tempfile.TemporaryDirectory() as folder:
            emulated = Emulator(Path(folder), new=steps is NEW_STEPS)
            try:
                walk(emulated, steps, _keep)
            finally:
                emulated.close()
