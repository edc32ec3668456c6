"""JSON to frozen dataclasses and back, strictly: every problem at once, nothing guessed.

Pure. Neighbours: `model` declares the classes. Only what those use is known here: bool, int, str,
Literal of words, tuples of one kind, and dataclasses of all these.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import typing
from typing import Any, Final, TypeVar

from appliance.errors import Problem, Problems

__all__ = ["VERSION", "decode", "encode"]

VERSION: Final = 1
_T = TypeVar("_T")
_WORDS: Final = {bool: "true or false", int: "a whole number", str: "a text in quotes"}


def encode(value: Any) -> bytes:
    # Any: every dataclass there is.
    document = {"version": VERSION, **dataclasses.asdict(value)}
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def decode(text: bytes, kind: type[_T]) -> _T:
    """Return the `kind` that is written in `text`; what is left out has its default.

    Raises: Problems, with all of them.
    """
    try:
        document = json.loads(text.decode(), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        remedy = "Restore a backup, or mend the file: it is JSON."
        raise Problems([Problem("(file)", "", f"cannot be read: {error}", remedy)]) from error
    problems: list[Problem] = []
    if not isinstance(document, dict):
        problems.append(Problem("(file)", "", "holds no JSON object", "Begin it with {."))
        raise Problems(problems)
    version = document.pop("version", VERSION)
    if version != VERSION:
        message = f"only version {VERSION} is known here"
        remedy = "The file was written by another release: upgrade, or restore a backup."
        problems.append(Problem("version", str(version), message, remedy))
        raise Problems(problems)
    value = _object(document, kind, "", problems)
    if problems:
        raise Problems(problems)
    return typing.cast("_T", value)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is given twice in one object")
    return found


def _value(found: Any, kind: Any, place: str, problems: list[Problem]) -> Any:
    # Any: what JSON holds, and what a type annotation may be.
    origin = typing.get_origin(kind)
    if origin is tuple:
        if not isinstance(found, list):
            problems.append(_problem(place, found, "is no list", "Write [ ] around its items."))
            return ()
        inner = typing.get_args(kind)[0]
        return tuple(
            _value(one, inner, f"{place}.{_name(one, number)}", problems)
            for number, one in enumerate(found)
        )
    if origin is typing.Literal:
        words = typing.get_args(kind)
        if found not in words or not isinstance(found, str):
            problems.append(_problem(place, found, "is not known here", _one_of(words)))
        return found
    if dataclasses.is_dataclass(kind):
        if not isinstance(found, dict):
            problems.append(_problem(place, found, "is no object", "Write { } around its fields."))
            return None
        return _object(found, kind, place, problems)
    if type(found) is not kind:
        problems.append(_problem(place, found, f"is not {_WORDS[kind]}", f"Give {_WORDS[kind]}."))
    return found


def _object(found: dict[str, Any], kind: Any, place: str, problems: list[Problem]) -> Any:
    hints = typing.get_type_hints(kind)
    fields = {one.name: one for one in dataclasses.fields(kind)}
    prefix = f"{place}." if place else ""
    for name in found.keys() - fields.keys():
        near = difflib.get_close_matches(name, fields, 1)
        remedy = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(fields)}."
        problems.append(Problem(f"{prefix}{name}", "", "there is no such setting", remedy))
    before = len(problems)
    values = {
        name: _value(found[name], hints[name], f"{prefix}{name}", problems)
        for name in fields
        if name in found
    }
    for name, one in fields.items():
        if name not in found and one.default is dataclasses.MISSING:
            problems.append(Problem(f"{prefix}{name}", "", "is missing", "Give it a value."))
    return kind(**values) if len(problems) == before else None


def _name(found: Any, number: int) -> str:
    """Name an item by its own name where it has one: interfaces.eth0 says more than .0."""
    name = found.get("name") if isinstance(found, dict) else None
    return name if isinstance(name, str) and name else str(number + 1)


def _problem(place: str, found: Any, message: str, remedy: str) -> Problem:
    shown = json.dumps(found)
    return Problem(place, shown if len(shown) <= 80 else f"{shown[:77]}...", message, remedy)


def _one_of(words: tuple[str, ...]) -> str:
    return f"Give {' or '.join(words)}."
