"""What is to be done to a machine, as a value: shown, tried, applied and taken back by others.

Pure. Neighbours: the topic modules make plans, `commit` applies them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from proxy.declarations import DECLARATIONS

__all__ = [
    "HEADER",
    "Action",
    "Plan",
    "Write",
    "difference",
    "differences",
    "joined",
    "masked",
    "rendered",
]

_SECRET_KEYS: Final = "|".join(one.key for one in DECLARATIONS if one.is_secret)
_SECRET_LINE: Final = re.compile(rf"([ +-]?\s*#?\s*(?:{_SECRET_KEYS})\s*=\s*)\S.*")
HEADER: Final = "Written by agent-proxy-appliance; changes are overwritten"


@dataclass(frozen=True, slots=True)
class Write:
    """A file that shall have this content. That of a secret one is never shown."""

    path: str
    content: bytes = field(repr=False)
    mode: int = 0o644
    owner: str = "root:root"
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """A program that makes the system take the files up.

    `reverse` is run when the change is taken back, after the old files are there again; None: the
    same program again, which suits everything that reads its files afresh. Without `argv` there is
    something to do only when the change is taken back. `files` are those that
    the program itself writes (hostnamectl writes /etc/hostname): after a power cut no program can
    be run backwards, and they are put back as they were.
    """

    argv: tuple[str, ...]
    why: str
    reverse: tuple[str, ...] | None = None
    timeout_s: float = 60.0
    files: tuple[str, ...] = ()

    @property
    def undo(self) -> tuple[str, ...]:
        return self.argv if self.reverse is None else self.reverse


@dataclass(frozen=True, slots=True)
class Plan:
    """All that one change does: files first, then actions, in order."""

    title: str
    writes: tuple[Write, ...] = ()
    removals: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ()


def joined(title: str, *plans: Plan) -> Plan:
    """Return one plan of several; an action that occurs twice is done once, the last time."""
    actions = [action for plan in plans for action in plan.actions]
    kept = [
        one
        for number, one in enumerate(actions)
        if not one.argv or one.argv not in _argvs(actions, number)
    ]
    return Plan(
        title,
        tuple(write for plan in plans for write in plan.writes),
        tuple(path for plan in plans for path in plan.removals),
        tuple(kept),
    )


def _argvs(actions: list[Action], number: int) -> list[tuple[str, ...]]:
    return [one.argv for one in actions[number + 1 :]]


def rendered(lines: list[str], comment: str = "#") -> bytes:
    """Return the content of a file of ours, its first line saying so."""
    return "\n".join([f"{comment} {HEADER}", *lines, ""]).encode()


def differences(plan: Plan, read: Callable[[str], bytes | None]) -> list[str]:
    """Return what would change in files, as a unified difference; nothing of secret files."""
    lines: list[str] = []
    for write in plan.writes:
        old = read(write.path)
        if old == write.content:
            continue
        if write.secret:
            lines.append(f"{write.path}: {'changed' if old is not None else 'new'}, not shown")
        else:
            lines += difference(old, write.content, write.path)
    for path in plan.removals:
        old = read(path)
        if old is not None:
            lines += difference(old, None, path)
    return lines


def difference(old: bytes | None, new: bytes | None, path: str) -> list[str]:
    """Return the lines that differ, with three around them, headed by the path; secrets masked."""
    before = (old or b"").decode(errors="replace").splitlines()
    after = (new or b"").decode(errors="replace").splitlines()
    names = (path if old is not None else "(new)", path if new is not None else "(removed)")
    lines = difflib.unified_diff(before, after, *names, lineterm="")
    return [masked(line) for line in lines]


def masked(line: str) -> str:
    """Return a line of a proxy.ini, or of a difference, without the secret that it may hold."""
    return _SECRET_LINE.sub(r"\1********", line)
