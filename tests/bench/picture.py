"""The results as bars, one panel for each metric that has a target; plain SVG, drawn by hand."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from .proxies import AGENT_PROXY, NAMES

if TYPE_CHECKING:
    from .report import Row

_WIDTH, _COLUMNS = 860, 2
_PANEL_WIDTH, _PANEL_HEIGHT, _GAP = 400, 134, 20
_NAME_WIDTH, _BAR_WIDTH, _BAR_HEIGHT, _BAR_STEP = 86, 226, 22, 30
_OURS, _THEIRS, _LIMIT, _TEXT, _QUIET = "#0b6e99", "#b8c4cc", "#c0392b", "#1f2933", "#52606d"
_HALO = 'paint-order="stroke" stroke="#ffffff" stroke-width="4"'  # keeps the text off the line


def draw(rows: Sequence[Row]) -> str:
    """Return the picture of all rows that compare proxies with a target."""
    shown = [row for row in rows if row.limit and len(row.medians) > 1]
    lines = -(-len(shown) // _COLUMNS)
    height = _GAP + lines * (_PANEL_HEIGHT + _GAP) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="system-ui, sans-serif" font-size="13">',
        "<title>Agent proxy, nginx and HAProxy doing the same job; shorter is better</title>",
        f'<rect width="{_WIDTH}" height="{height}" rx="8" fill="#ffffff"/>',
    ]
    for number, row in enumerate(shown):
        x = _GAP + number % _COLUMNS * (_PANEL_WIDTH + _GAP)
        y = _GAP + number // _COLUMNS * (_PANEL_HEIGHT + _GAP)
        parts.append(f'<g transform="translate({x} {y})">{_panel(row)}</g>')
    parts.append(
        f'<text x="{_GAP}" y="{height - 14}" fill="{_QUIET}">Shorter is better. '
        f"The dashed line is the target.</text>\n</svg>\n"
    )
    return "\n".join(parts)


def _panel(row: Row) -> str:
    metric, limit = row.metric, row.limit or 0
    longest = max([limit, *row.medians.values()]) or 1
    result = {True: "pass", False: "FAIL", None: "not judged"}[row.reached]
    top, bottom = 42, 42 + len(row.medians) * _BAR_STEP
    x = _NAME_WIDTH + limit / longest * _BAR_WIDTH
    parts = [
        f'\n<text y="14" font-weight="600" fill="{_TEXT}">{escape(metric.title)}</text>',
        f'<text y="31" font-size="12" fill="{_LIMIT if row.reached is False else _QUIET}">'
        f"target {escape(metric.target)}: {result}</text>",
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 4}" y2="{bottom}" stroke="{_LIMIT}" '
        f'stroke-width="1.5" stroke-dasharray="4 3"/>',
    ]
    y = top
    for name in NAMES:
        if name not in row.medians:
            continue
        value = row.medians[name]
        width = max(1.0, value / longest * _BAR_WIDTH)
        colour = _OURS if name == AGENT_PROXY else _THEIRS
        text = f"{value * metric.scale:,.{metric.digits}f} {metric.unit}"
        parts += [
            f'<text x="{_NAME_WIDTH - 8}" y="{y + 16}" text-anchor="end" fill="{_TEXT}">'
            f"{name}</text>",
            f'<rect x="{_NAME_WIDTH}" y="{y}" width="{width:.1f}" height="{_BAR_HEIGHT}" '
            f'rx="3" fill="{colour}"/>',
            f'<text x="{_NAME_WIDTH + width + 6:.1f}" y="{y + 16}" fill="{_TEXT}" {_HALO}>'
            f"{text}</text>",
        ]
        y += _BAR_STEP
    return "\n".join(parts) + "\n"
