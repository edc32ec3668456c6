"""The document of `/status` as text for a terminal.

Layer 0 (pure). Neighbours: `admin` makes the document, `cli` prints. Knows no field by name: what
the workers add shows up here by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from proxy.outcome import printable

__all__ = ["lines"]

_INDENT: Final = "  "
_WIDTH: Final = 110
_WORD_START: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def lines(document: Mapping[str, Any]) -> list[str]:
    """Return the document: single values first, then what is nested, tables for lists of alike."""
    return _mapping(document, "")


def _mapping(content: Mapping[str, Any], indent: str) -> list[str]:
    # Any: whatever JSON can hold.
    single = {_words(key): value for key, value in content.items() if not _is_nested(value)}
    nested = {_words(key): value for key, value in content.items() if _is_nested(value)}
    width = max(map(len, single), default=0)
    shown = [f"{indent}{key:<{width}}  {_text(value)}" for key, value in single.items()]
    for key, value in nested.items():
        if not indent and shown:
            shown.append("")
        shown.append(f"{indent}{key}")
        deeper = indent + _INDENT
        shown += _mapping(value, deeper) if isinstance(value, Mapping) else _rows(value, deeper)
    return shown


def _rows(items: list[Any], indent: str) -> list[str]:
    if not all(isinstance(item, Mapping) for item in items):
        return [f"{indent}{_text(item)}" for item in items]
    columns = list(dict.fromkeys(key for item in items for key in item))
    table = [[_words(column) for column in columns]]
    table += [[_text(item.get(column, "")) for column in columns] for item in items]
    if _width(table) > _WIDTH:  # a few items with many fields: the fields go down instead
        turned = [list(column) for column in zip(*table, strict=True)]
        table = turned if _width(turned) <= _WIDTH else table
    return [indent + line for line in _aligned(table)]


def _widths(table: list[list[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*table, strict=True)]


def _width(table: list[list[str]]) -> int:
    widths = _widths(table)
    return sum(widths) + len(_INDENT) * len(widths)


def _aligned(table: list[list[str]]) -> list[str]:
    widths = _widths(table)
    return [
        _INDENT.join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def _is_nested(value: Any) -> bool:
    if isinstance(value, list):
        return any(isinstance(item, (Mapping, list)) for item in value)
    return isinstance(value, Mapping) and bool(value)


def _words(key: str) -> str:
    return _WORD_START.sub(" ", key).replace("_", " ").lower()


def _text(value: Any) -> str:
    if value is None or value == {} or value == [] or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(key)} {_text(inner)}" for key, inner in value.items())
    return printable(str(value))
