"""Drafts of proxy.ini: what somebody was editing when the console logged out, or the line broke.

Shell by its system. Neighbours: `editor` has the text, `console` keeps and offers it. A draft may
hold secrets, as proxy.ini may: nobody but root reads it. Each console that edits keeps its own, so
that two of them do not write over each other.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final, NamedTuple

from appliance.editor import Editor
from appliance.places import STATE
from appliance.system import System

__all__ = ["Draft", "Keeper", "drop", "keep", "newest"]

_EVERY_S: Final = 2.0  # as much may be lost with the line, or the power
_FOLDER: Final = f"{STATE}/drafts"
_MOST: Final = 9


class Draft(NamedTuple):
    """`base` is the SHA-256 of the text that the editing began with; `when` is seconds of 1970."""

    path: str
    text: str
    base: str
    when: float

    def began_with(self, text: str) -> bool:
        return self.base == _digest(text)


def keep(system: System, path: str, text: str, base: str) -> str:
    """Write a draft, to `path` or, if that is empty, to a new place; return it. Raises: OSError."""
    path = path or _place(system)
    document = {"text": text, "base": _digest(base), "when": system.now()}
    system.folder(_FOLDER, mode=0o700)
    system.write(path, json.dumps(document).encode(), mode=0o600)
    return path


def newest(system: System) -> Draft | None:
    """Return the draft that was written last."""
    return max(_all(system), key=lambda one: one.when, default=None)


def drop(system: System, path: str) -> None:
    """Remove a draft: it was applied or is not wanted. Raises: OSError."""
    system.remove(path)


class Keeper:
    """Keeps what one console edits; drops it when it was applied or is left on purpose."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._path = ""
        self._text = ""
        self._kept_at = 0.0
        self._unconfirmed = ""

    def take(self, found: Draft) -> None:
        """Go on with a draft: it is this console's from now on."""
        self._path, self._text = found.path, found.text

    def attend(self, editor: Editor | None, now: float) -> None:
        """Keep what `editor` has, if it is changed; None: nothing is edited. Raises: OSError."""
        if editor is None:
            self.leave_on_purpose()
        elif editor.is_changed and editor.now != self._text and now - self._kept_at >= _EVERY_S:
            self._kept_at = now
            self._path = keep(self._system, self._path, editor.now, editor.text)
            self._text = editor.now

    def leave_on_purpose(self) -> None:
        if self._path:
            drop(self._system, self._path)
        self._path = self._text = ""

    def let_go(self, editor: Editor | None) -> None:
        """Keep the last of it for the next log-in. Raises: OSError."""
        if editor is not None:
            self._kept_at = -_EVERY_S
            self.attend(editor, 0.0)
        self._path = self._text = self._unconfirmed = ""

    def applied(self, *, waits: bool) -> None:
        """Its text is in force; while that `waits` to be confirmed, the draft is kept."""
        if waits and self._path:
            self._unconfirmed, self._path, self._text = self._path, "", ""

    def confirmed(self) -> None:
        if self._unconfirmed:
            drop(self._system, self._unconfirmed)
        self._unconfirmed = ""


def _place(system: System) -> str:
    """Return a path that is free; with all taken, that of the oldest."""
    taken = {one.path: one.when for one in _all(system)}
    paths = [f"{_FOLDER}/{number}.json" for number in range(1, _MOST + 1)]
    return min(paths, key=lambda path: taken.get(path, 0.0))


def _all(system: System) -> list[Draft]:
    found = (_read(system, f"{_FOLDER}/{name}") for name in system.list(_FOLDER))
    return [one for one in found if one is not None]


def _read(system: System, path: str) -> Draft | None:
    try:
        # Any: JSON of ours.
        kept: dict[str, Any] = json.loads(system.read(path) or b"")
        return Draft(path, str(kept["text"]), str(kept["base"]), float(kept["when"]))
    except (ValueError, KeyError, TypeError):
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
