"""What a screen shows: lines of styled text in a frame, as values.

Pure. Neighbours: the screens make views, `terminal` draws them. Nothing but letters, digits and
signs of ASCII steers the layout: a serial line draws it as a graphic terminal does, and what a
style means is also said in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

__all__ = [
    "COLUMNS",
    "ROWS",
    "Line",
    "Size",
    "Style",
    "View",
    "framed",
    "noted",
    "plain",
    "too_small",
    "visible",
    "wrapped",
]

Style: TypeAlias = Literal["", "title", "chosen", "strong"]
"""title: the bar above and below; chosen: what Enter acts on; strong: what to look at first."""
Line: TypeAlias = tuple[tuple[Style, str], ...]

COLUMNS: Final = 80
ROWS: Final = 24


class Size(NamedTuple):
    columns: int
    rows: int


class View(NamedTuple):
    """One screenful, exactly `size` large. `cursor` is (column, row), None: hidden."""

    lines: tuple[Line, ...]
    cursor: tuple[int, int] | None = None


def plain(text: str, style: Style = "") -> Line:
    return ((style, text),)


def visible(text: str) -> str:
    """Return `text` with everything that would steer a terminal escaped; some came by network."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Return `text` cut into lines of at most `width`, between words where that is possible.

    What it begins with in blanks it keeps, and each further line has `indent` more.
    """
    shown = visible(text)
    begin = " " * min(len(shown) - len(shown.lstrip(" ")), width // 2)
    indent = begin + indent
    lines: list[str] = []
    line = ""
    for word in shown.lstrip(" ").split(" "):
        joined = f"{line} {word}" if line else begin + word
        if len(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        line = indent + word
        while len(line) > width:
            lines.append(line[:width])
            line = indent + line[width:]
    return [*lines, line]


def framed(
    size: Size,
    title: str,
    body: Sequence[Line],
    keys: str,
    *,
    top: int = 0,
    note: str = "",
    cursor: tuple[int, int] | None = None,
) -> View:
    """Put a title above `body` and the keys below it; `body` is shown from line `top` on.

    `cursor` counts in the body. `note` stands above the keys: what is going on, what is wrong.
    """
    room = body_rows(size)
    shown = [_cut(line, size.columns) for line in body[top : top + room]]
    shown += [plain("")] * (room - len(shown))
    more = f" lines {top + 1}-{min(top + room, len(body))} of {len(body)} " * (len(body) > room)
    head = f" {title}"[: size.columns - len(more)].ljust(size.columns - len(more)) + more
    lines = [
        plain(head, "title"),
        *shown,
        plain(visible(note)[: size.columns], "strong" if note else ""),
        plain(f" {keys}"[: size.columns].ljust(size.columns), "title"),
    ]
    if cursor is not None:
        column, row = cursor[0], cursor[1] - top
        cursor = (min(column, size.columns - 1), row + 1) if 0 <= row < room else None
    return View(tuple(lines), cursor)


def noted(view: View, note: str) -> View:
    """Return a framed view with another note."""
    *above, _, keys = view.lines
    width = sum(len(text) for _, text in keys)
    return view._replace(lines=(*above, plain(note[:width], "strong"), keys))


def body_rows(size: Size) -> int:
    """Return how many lines a frame leaves for its body."""
    return size.rows - 3


def too_small(size: Size) -> View:
    """Return what a terminal shows that is smaller than a screen; what is open stays open."""
    texts = (
        f"This terminal has {size.columns}x{size.rows}.",
        f"The console needs {COLUMNS}x{ROWS} or more.",
    )
    lines: Iterable[str] = (text[: size.columns] for text in texts[: size.rows])
    return View(tuple(plain(line) for line in lines))


def _cut(line: Line, width: int) -> Line:
    parts: list[tuple[Style, str]] = []
    for style, text in line:
        if width <= 0:
            break
        parts.append((style, visible(text)[:width]))
        width -= len(parts[-1][1])
    return tuple(parts)
