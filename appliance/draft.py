"""Drafts: what somebody was typing when the console logged out, or the line broke.

Shell by its system. Neighbours: `editor` and `form` have it, `console` keeps and offers it. A draft
of proxy.ini may hold secrets, as that may: nobody but root reads it. Each console that edits keeps
its own, so that two of them do not write over each other. It is kept while it is edited, since an
hour may be in it; a form is kept when it is left, without what is typed unseen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from appliance.editor import Editor
from appliance.form import Form
from appliance.places import STATE
from appliance.system import System

__all__ = [
    "Draft",
    "FormDraft",
    "Keeper",
    "drop",
    "edited",
    "filled",
    "keep",
    "keep_form",
    "newest",
]

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


class FormDraft(NamedTuple):
    """What was typed into the form that effects.Open(what, of) makes; a verb is its name."""

    path: str
    title: str
    what: str
    of: str
    values: dict[str, str]
    when: float


def keep(system: System, path: str, text: str, base: str) -> str:
    """Write a draft, to `path` or, if that is empty, to a new place; return it. Raises: OSError."""
    path = path or _place(system)
    _write(system, path, {"text": text, "base": _digest(base)})
    return path


def keep_form(system: System, form: Form, what: str, of: str) -> bool:
    """Write what was typed into a form, if that is anything but secrets. Raises: OSError."""
    values = {one.place: one.text for one in form.fields if one.is_changed and not one.secret}
    if values:
        document = {"form": values, "title": form.title, "what": what, "of": of}
        _write(system, _place(system), document)
    return bool(values)


def _write(system: System, path: str, document: dict[str, Any]) -> None:
    # Any: what JSON can hold.
    system.folder(_FOLDER, mode=0o700)
    content = json.dumps({**document, "when": system.now()}).encode()
    system.write(path, content, mode=0o600)


def newest(system: System) -> Draft | FormDraft | None:
    """Return the draft that was written last."""
    return max(_all(system), key=lambda one: one.when, default=None)


def edited(screens: Sequence[object]) -> Editor | None:
    """Return the editor whose text must not be lost."""
    editors = (one for one in screens if isinstance(one, Editor) and one.is_kept)
    return next(editors, None)


def filled(screens: Sequence[object]) -> Form | None:
    """Return the form that somebody has begun to fill in; not one that is open to everybody."""
    for one in reversed(screens):
        if isinstance(one, Form) and one.origin is not None:
            if any(field.is_changed and not field.secret for field in one.fields):
                return one
    return None


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


def _all(system: System) -> list[Draft | FormDraft]:
    found = (_read(system, f"{_FOLDER}/{name}") for name in system.list(_FOLDER))
    return [one for one in found if one is not None]


def _read(system: System, path: str) -> Draft | FormDraft | None:
    try:
        # Any: JSON of ours.
        kept: dict[str, Any] = json.loads(system.read(path) or b"")
        if "form" in kept:
            title, what, of = (str(kept[name]) for name in ("title", "what", "of"))
            return FormDraft(path, title, what, of, dict(kept["form"]), float(kept["when"]))
        return Draft(path, str(kept["text"]), str(kept["base"]), float(kept["when"]))
    except (ValueError, KeyError, TypeError):
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
