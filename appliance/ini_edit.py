"""Changes single values in the text of a proxy.ini, which is the manual and stays as it is.

Values. Neighbours: `proxy_setup` above. A line that has the key gets the new value; a key that is
only there as an example ("# key = ...") or not at all gets a line of its own below that example,
or below the last key of its section. Comments, order, blank lines and line ends are kept: configobj
would write the file afresh and lose the blank before comments (docs of its own write()).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

__all__ = ["Change", "changed", "removed"]

_HEADER: Final = re.compile(r"\s*(\[{1,2})\s*([^\[\]]*?)\s*\]{1,2}\s*$")
_KEY: Final = re.compile(r"(?P<head>\s*(?P<key>[a-z_]+)\s*=)(?P<value>.*)$")
_EXAMPLE: Final = re.compile(r"\s*#\s?(?P<key>[a-z_]+)\s*=(\s*\S*)?\s*$")


class Change(NamedTuple):
    """`section` is ("upstream",) or ("zones", "name"); `value` None takes the key's line away."""

    section: tuple[str, ...]
    key: str
    value: str | None


def changed(text: str, changes: Iterable[Change]) -> str:
    """Return the text with the changes made. Raises: ValueError for what no line can hold."""
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    for change in changes:
        _change(lines, change)
    return "".join(lines)


def removed(text: str, section: tuple[str, ...]) -> str:
    """Return the text without a [[subsection]]: from its head to its last key, not what follows."""
    lines = text.splitlines(keepends=True)
    found = _region(lines, section)
    if found is None:
        return text
    start, end = found
    last = max([start - 1, *(at for at in range(start, end) if _KEY.match(lines[at]))])
    first = start - 1
    if first and not lines[first - 1].strip() and not "".join(lines[last + 1 : last + 2]).strip():
        first -= 1  # one blank line stays between what was above and below
    del lines[first : last + 1]
    return "".join(lines)


def _change(lines: list[str], change: Change) -> None:
    value = None if change.value is None else _quoted(change.value)
    found = _region(lines, change.section)
    if found is None:
        if value is None:
            return
        found = _new_section(lines, change.section)
    start, end = found
    for at in range(start, end):
        match = _KEY.match(lines[at].rstrip("\r\n"))
        if match and match["key"] == change.key:
            if value is None:
                del lines[at]
            else:
                lines[at] = f"{match['head']} {value}".rstrip() + _line_end(lines[at])
            return
    if value is not None:
        at = _place(lines, start, end, change.key)
        lines.insert(at, f"{change.key} = {value}".rstrip() + _line_end(lines[at - 1]))


def _region(lines: list[str], section: tuple[str, ...]) -> tuple[int, int] | None:
    """Return the lines behind the section's head, up to the next head; None: no such section."""
    path: tuple[str, ...] = ()
    start = None
    for at, line in enumerate(lines):
        match = _HEADER.match(line)
        if not match:
            continue
        if start is not None:
            return start, at
        path = (match[2],) if len(match[1]) == 1 else (*path[:1], match[2])
        if path == section:
            start = at + 1
    return None if start is None else (start, len(lines))


def _new_section(lines: list[str], section: tuple[str, ...]) -> tuple[int, int]:
    """Add the head of a section behind everything of the section above it."""
    top = _whole(lines, section[:1])
    if top is None:
        lines += ["\n", f"[{section[0]}]\n"]
        top = len(lines), len(lines)
        if len(section) == 1:
            return top
    at = _place(lines, *top, "")
    lines[at:at] = ["\n", f"[[{section[1]}]]\n"]
    return at + 2, at + 2


def _whole(lines: list[str], top: tuple[str, ...]) -> tuple[int, int] | None:
    """Return the lines of a section with its subsections."""
    found = _region(lines, top)
    if found is None:
        return None
    start = found[0]
    for at in range(start, len(lines)):
        match = _HEADER.match(lines[at])
        if match and len(match[1]) == 1:
            return start, at
    return start, len(lines)


def _place(lines: list[str], start: int, end: int, key: str) -> int:
    """Return where a line for `key` goes: below its example, else below the last key or head.

    What stands below the last key is the heading of the next section.
    """
    last = start
    for at in range(start, end):
        example = _EXAMPLE.match(lines[at])
        if example and example["key"] == key:
            return at + 1
        if example or _KEY.match(lines[at]) or _HEADER.match(lines[at]):
            last = at + 1
    return last


def _line_end(line: str) -> str:
    return "\r\n" if line.endswith("\r\n") else "\n"


def _quoted(value: str) -> str:
    """Quote what the file format would read differently. Raises: ValueError."""
    value = value.strip()
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError("a value has one line and no control characters")
    if "#" not in value and value[:1] not in ("'", '"'):
        return value
    if '"' not in value:
        return f'"{value}"'
    if "'" not in value:
        return f"'{value}'"
    raise ValueError("a value with # or a quote in front cannot hold both kinds of quotes")
