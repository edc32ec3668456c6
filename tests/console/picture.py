"""An emulated screen as an SVG, for docs/console.md."""

from __future__ import annotations

from html import escape
from typing import Final

import pyte

_WIDTH: Final = 8.4
_HEIGHT: Final = 18
_EDGE: Final = 12
_INK, _PAPER = "#e6e6e6", "#15181c"


def svg(screen: pyte.Screen) -> str:
    """Return the screen as it would look on a dark terminal."""
    width = screen.columns * _WIDTH + 2 * _EDGE
    height = screen.lines * _HEIGHT + 2 * _EDGE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}"'
        f' width="{width:.0f}" height="{height:.0f}" font-family="DejaVu Sans Mono, monospace"'
        ' font-size="14">',
        f'<rect width="100%" height="100%" rx="6" fill="{_PAPER}"/>',
    ]
    for row in range(screen.lines):
        parts += _row(screen, row)
    return "\n".join([*parts, "</svg>", ""])


def _row(screen: pyte.Screen, row: int) -> list[str]:
    parts = []
    cells = screen.buffer[row]
    top = _EDGE + row * _HEIGHT
    begin = 0
    while begin < screen.columns:
        first = cells[begin]
        end = begin + 1
        while end < screen.columns and _look(cells[end]) == _look(first):
            end += 1
        text = "".join(cells[column].data for column in range(begin, end))
        left = _EDGE + begin * _WIDTH
        span = (end - begin) * _WIDTH
        if first.reverse:
            parts.append(
                f'<rect x="{left:.1f}" y="{top}" width="{span:.1f}" height="{_HEIGHT}"'
                f' fill="{_INK}"/>'
            )
        if text.strip():
            ink = _PAPER if first.reverse else _INK
            weight = ' font-weight="bold"' if first.bold else ""
            parts.append(
                f'<text x="{left:.1f}" y="{top + 14}" fill="{ink}"{weight} xml:space="preserve"'
                f' textLength="{span:.1f}">{escape(text)}</text>'
            )
        begin = end
    return parts


def _look(cell: pyte.screens.Char) -> tuple[bool, bool]:
    return cell.reverse, cell.bold
