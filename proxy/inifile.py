"""The lines of an ini file as entries with line numbers; every line that cannot be read is named.

Layer 0 (pure). Neighbours: `settings` gives the entries a meaning. configobj reads keys, quotes
and duplicates; it knows line numbers only for what fails, so each line is handed over behind a
comment that carries its number, and configobj keeps comments with their key. Sections are cut
apart here first, because configobj files the keys after a repeated section under the wrong one.
Deliberately not offered: interpolation, values over several lines, comments behind a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

from configobj import ConfigObj, ConfigObjError, DuplicateError

from proxy.errors import Problem

__all__ = ["MAX_CHARACTERS", "Entry", "IniFile", "read"]

MAX_CHARACTERS: Final = 1 << 20

_Path: TypeAlias = tuple[str, ...]
_Numbered: TypeAlias = tuple[int, str]

_HEADER = re.compile(r"(\[{1,2})\s*([^\[\]#'\"]*[^\[\]#'\"\s])\s*(\]{1,2})")
_LINES_VALUE = re.compile("=\\s*('''|\"\"\")")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Entry(NamedTuple):
    """One `key = value`; the value unquoted, not yet interpreted."""

    section: _Path
    key: str
    value: str
    line: int


class IniFile(NamedTuple):
    entries: tuple[Entry, ...]  # file order within a section
    sections: dict[_Path, int]  # the line each one starts at
    problems: list[Problem]


def read(lines: Iterable[str], file: str) -> IniFile:
    """Return what the lines say and what is wrong with them; no line stops the reading."""
    problems: list[Problem] = []
    bodies, sections = _cut(_numbered(lines, file, problems), file, problems)
    entries: list[Entry] = []
    for path, body in bodies.items():
        entries += _entries(path, body, file, problems)
    return IniFile(tuple(entries), sections, problems)


def _numbered(lines: Iterable[str], file: str, problems: list[Problem]) -> list[_Numbered]:
    """Keep the lines that say something: no blanks, comments or unreadable ones."""
    kept: list[_Numbered] = []
    size = 0
    for number, raw in enumerate(lines, 1):
        size += len(raw)
        if size > MAX_CHARACTERS:
            message = f"the file is larger than {MAX_CHARACTERS} characters; the rest was not read"
            remedy = "Check that this is the configuration file."
            problems.append(Problem(file, number, "(file)", "", message, remedy))
            break
        line = raw.removeprefix("\ufeff").strip() if number == 1 else raw.strip()
        if not line or line.startswith("#"):
            continue
        if _CONTROL.search(line):
            message, remedy = "there is a control character in this line", "Type the line again."
            problems.append(Problem(file, number, "(line)", "", message, remedy))
        elif _LINES_VALUE.search(line):
            key = line.partition("=")[0].strip()
            message, remedy = "a value has one line", "Use single or double quotes, or none."
            problems.append(Problem(file, number, key, "", message, remedy))
        else:
            kept.append((number, line))
    return kept


def _cut(
    lines: list[_Numbered], file: str, problems: list[Problem]
) -> tuple[dict[_Path, list[_Numbered]], dict[_Path, int]]:
    """Sort the lines by section. A repeated section is a problem; its lines still count."""
    sections: dict[_Path, int] = {}
    bodies: dict[_Path, list[_Numbered]] = {(): []}
    top = ""
    current: list[_Numbered] = bodies[()]
    for number, line in lines:
        if not line.startswith("["):
            current.append((number, line))
            continue
        match = _HEADER.fullmatch(line)
        depth = len(match[1]) if match else 0
        if not match or depth != len(match[3]) or (depth == 2 and not top):
            message = "this is no section; it and the lines below it were not read"
            remedy = "Write [name], or [[name]] inside [zones] and [peers], and nothing behind it."
            problems.append(Problem(file, number, "(section)", "", message, remedy))
            current = []
            continue
        top = match[2] if depth == 1 else top
        path = (top,) if depth == 1 else (top, match[2])
        first = sections.setdefault(path, number)
        if first != number:
            remedy = f"Move its lines up to line {first} and remove this one."
            message = f"this section is already in line {first}"
            problems.append(Problem(file, number, line, "", message, remedy))
        current = bodies.setdefault(path, [])
    return bodies, sections


def _entries(path: _Path, body: list[_Numbered], file: str, problems: list[Problem]) -> list[Entry]:
    """Let configobj read the lines of one section. The raw line is never shown: it may hold a
    secret."""
    content = [text for number, line in body for text in (f"#{number}", line)]
    try:
        ini = ConfigObj(content, interpolation=False, list_values=False)
    except ConfigObjError as error:
        ini = error.config
        for one in error.errors:
            number = body[one.line_number // 2 - 1][0]
            problems.append(_unreadable(one, number, file, body))
    entries = []
    for key, value in ini.items():
        number = int((ini.comments[key] or ini.initial_comment)[-1][1:])
        if ini.inline_comments[key]:
            message = "there is a # behind the value"
            remedy = "Give a comment its own line; quote the value if the # belongs to it."
            problems.append(Problem(file, number, key, "", message, remedy))
        else:
            entries.append(Entry(path, key, _unquoted(value), number))
    return entries


def _unreadable(error: ConfigObjError, number: int, file: str, body: list[_Numbered]) -> Problem:
    line = next(text for known, text in body if known == number)
    key = line.partition("=")[0].strip() if "=" in line[1:] else "(line)"
    if isinstance(error, DuplicateError):
        remedy = "Keep one of the two lines."
        return Problem(file, number, key, "", "this key is already set in this section", remedy)
    if key == "(line)":
        remedy = "Write key = value, or # in front of a comment."
        return Problem(file, number, key, "", "this line is neither a section nor a key", remedy)
    remedy = "Write key = value, with a quote at both ends or at none."
    return Problem(file, number, key, "", "this value cannot be read", remedy)


def _unquoted(value: str) -> str:
    quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value
