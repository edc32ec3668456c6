"""The console through a real pseudo-terminal: what it shows, where it refuses, what it survives."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console import tour
from tests.console.emulator import Emulator

TERMS = ("vt100", "vt220", "linux", "xterm")


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    made = Emulator(tmp_path)
    try:
        yield made
    finally:
        made.close()


def logged_in(emulator: Emulator) -> None:
    emulator.shows("as of")
    emulator.press("enter")
    emulator.shows("Choose a password")
    emulator.press(tour.PASSWORD, "enter", tour.PASSWORD, "enter")
    emulator.shows("1-9 at once")


@pytest.mark.deadline(240)
@pytest.mark.parametrize("steps", [tour.STEPS, tour.NEW_STEPS], ids=["set-up", "new"])
def test_the_tour_shows_what_is_kept(tmp_path: Path, steps: tuple[tour.Step, ...]) -> None:
    """Differs on purpose? `python -m tests.console.tour` writes screens and pictures anew."""
    seen: dict[str, str] = {}

    def note(name: str, emulator: Emulator) -> None:
        seen[name] = tour.settled(emulator.text) + "\n"

    emulator = Emulator(tmp_path, new=steps is tour.NEW_STEPS)
    try:
        tour.walk(emulator, steps, note)
    finally:
        emulator.close()
    for name, text in seen.items():
        kept = (tour.SCREENS / f"{name}.txt").read_text()
        assert text == kept, f"screen {name}"
        assert (tour.PICTURES / f"{name}.svg").exists()


@pytest.mark.deadline(120)
@pytest.mark.parametrize("term", TERMS)
def test_every_terminal_gets_the_same_screen_and_no_question(tmp_path: Path, term: str) -> None:
    emulator = Emulator(tmp_path, term=term)
    try:
        emulator.shows("as of")
        kept = (tour.SCREENS / "first.txt").read_text()
        assert emulator.text + "\n" == kept
        assert emulator.sent.isascii()
        for question in (b"\x1b[c", b"\x1b[6n", b"$p"):
            assert question not in emulator.sent, "a VT100 would print it, or answer into a field"
    finally:
        emulator.close()


@pytest.mark.deadline(120)
@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (100, 30), (132, 50)])
def test_larger_terminals_are_filled(tmp_path: Path, columns: int, rows: int) -> None:
    emulator = Emulator(tmp_path, columns=columns, rows=rows)
    try:
        emulator.shows("as of")
        assert emulator.lines[rows - 1].startswith(" Enter log in")
        assert all(cell.reverse for cell in emulator.screen.buffer[0].values())
    finally:
        emulator.close()


@pytest.mark.deadline(120)
def test_a_shrunk_terminal_is_told_what_is_needed_and_comes_back(emulator: Emulator) -> None:
    logged_in(emulator)
    emulator.resized(60, 15)
    emulator.shows("needs 80x24")
    emulator.resized(5, 1)
    emulator.read(0.5)
    emulator.resized(80, 24)
    emulator.shows("1-9 at once")


@pytest.mark.deadline(120)
def test_no_key_ends_it_or_gives_a_shell(emulator: Emulator) -> None:
    emulator.shows("as of")
    emulator.press("\x03", "\x1a", "ctrl \\", "\x04", "\x11", "\x13", "\x1b[11~", "\x1b[99~")
    emulator.press("ctrl l")
    emulator.shows("Enter log in")
    assert emulator.process.poll() is None
    logged_in(emulator)


@pytest.mark.deadline(120)
def test_wrong_passwords_wait_longer_and_the_wait_survives(emulator: Emulator) -> None:
    logged_in(emulator)
    emulator.press("esc")
    emulator.shows("Enter log in")
    emulator.press("enter")
    emulator.shows("Password of this console")
    for _ in range(2):
        emulator.press("wrong password", "enter")
        emulator.shows("Wrong password.")
    emulator.press("wrong password", "enter")
    emulator.shows("Wrong password. Wait 2 s")
    emulator.press(tour.PASSWORD, "enter")
    emulator.shows("before the next attempt")


@pytest.mark.deadline(120)
def test_a_terminal_that_hangs_up_ends_the_console(emulator: Emulator) -> None:
    emulator.shows("as of")
    emulator.process.send_signal(signal.SIGHUP)
    assert emulator.process.wait(30) == 0


@pytest.mark.deadline(120)
def test_what_was_typed_as_a_password_is_never_sent_back(emulator: Emulator) -> None:
    logged_in(emulator)
    assert tour.PASSWORD.encode() not in emulator.sent
