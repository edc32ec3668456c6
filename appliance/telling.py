"""What a verb said, put in the order in which somebody at a screen wants to read it.

Pure. Neighbours: the verbs say it for the command line, `console` shows it by `screens`.

First how it ended, then what there is to do, then what differs, by file: the line, what was there
and what is there now, without the lines around it; and last what is run. What is the same in each
change (the timer that takes it back) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

__all__ = ["after", "before", "changes_nothing", "with_steps"]

_HUNK: Final = re.compile(r"@@ -\d+(?:,\d+)? \+(\d+)(?:,\d+)? @@")
_BASE64: Final = re.compile(r"[+-][A-Za-z0-9+/]{40,}={0,2}")
_SUPERVISOR: Final = re.compile(r"\S*/supervisorctl -s \S+")
_TIMER: Final = "agent-proxy-rollback.timer"
_NOISE: Final = ("dry run: nothing was changed", "Applied. It is taken back in")
_FIRST: Final = ("ROLLED BACK", "FAIL", "PASS", "SKIP")
# What follows from a change is read after the change itself.
_FOLLOWS: Final = ("/firewall.nft", "/appliance.json")


def changes_nothing(lines: Sequence[str], would: Sequence[str]) -> bool:
    """Return whether a dry run found that everything is so already."""
    said = [line for line in lines if not line.startswith(_NOISE)]
    return not said and not _acts(would)


def before(lines: Sequence[str], would: Sequence[str]) -> list[str]:
    """Return what a dry run found: what would be changed, and what would be run."""
    shown = after(lines)
    acts = _acts(would)
    return [*shown, *(["", "Then:"] if acts and shown else ["Then:"] * bool(acts)), *acts]


def after(lines: Sequence[str]) -> list[str]:
    """Return what a verb said: outcomes first, then the rest, then the difference by file."""
    said, files = _split(line for line in lines if not line.startswith(_NOISE))
    first = sorted((one for one in said if one.startswith(_FIRST)), key=_rank)
    rest = [one for one in said if not one.startswith(_FIRST)]
    shown = [*first, *rest]
    for title, hunks in sorted(files, key=lambda one: one[0].partition(": ")[0].endswith(_FOLLOWS)):
        shown += ["", title] if shown else [title]
        shown += hunks
    return shown


def with_steps(lines: Sequence[str], steps: Sequence[str]) -> list[str]:
    """Return what a verb said in the end, then what it had said on the way there.

    Not the other way round: what came of a hundred steps would be below the last line of a screen.
    """
    end, way = after(lines), after(steps)
    return [*end, "", *way] if end and way else [*end, *way]


def _rank(line: str) -> int:
    return next(rank for rank, word in enumerate(_FIRST) if line.startswith(word))


def _acts(would: Iterable[str]) -> list[str]:
    """Return what would be run or removed; that files are written is in the difference."""
    kept = (one.removeprefix("would ") for one in would if "would write" not in one)
    return [f"  {_SUPERVISOR.sub('supervisorctl', one)}" for one in kept if _TIMER not in one]


def _split(lines: Iterable[str]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Return the lines of no difference, and of each file its title and what differs in it."""
    said: list[str] = []
    files: list[tuple[str, list[str]]] = []
    old = ""
    left: list[int] | None = None  # lines of the hunk that are still to come, old and new
    number = 0
    for line in lines:
        hunk = _HUNK.match(line)
        if hunk and files:
            left = _lengths(line)
            number = int(hunk[1])
        elif left is not None and any(left) and line[:1] in ("+", "-", " ", ""):
            number = _hunk_line(line, number, left, files[-1][1])
        elif line.startswith("--- "):
            old, left = line[4:], None
        elif line.startswith("+++ ") and old:
            files.append((_title(old, line[4:]), []))
            old = ""
        else:
            left = None
            said.append(line)
    return said, files


def _hunk_line(line: str, number: int, left: list[int], shown: list[str]) -> int:
    """Take one line of a hunk; return the number of the next line of the new file."""
    sign = line[:1]
    left[0] -= sign != "+"
    left[1] -= sign != "-"
    if sign in ("+", "-"):
        # Of a certificate nobody reads more than that it is another.
        text = "..." if _BASE64.fullmatch(line) else line[1:]
        entry = f"{sign} {text}".rstrip()
        if text != "..." or not shown or not shown[-1].endswith(entry):
            shown.append(f"{number:>5} {entry}")
    return number + (sign != "-")


def _lengths(line: str) -> list[int]:
    """Return how many lines of the old and of the new file a hunk has."""
    spans = [word.partition(",")[2] or "1" for word in line.split()[1:3]]
    return [int(span) for span in spans]


def _title(old: str, new: str) -> str:
    if old == "(new)":
        return f"{new}: new"
    if new == "(removed)":
        return f"{old}: removed"
    return new
