"""The run as curves over time, one panel each; plain SVG, drawn by hand."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from .samples import Latency, Sample
from .trend import Point

_WIDTH, _PANEL, _LEFT, _RIGHT, _GAP = 860, 120, 64, 20, 34
_COLOURS = ("#0b6e99", "#d9822b", "#5c7080", "#8f398f", "#0d8050", "#c0392b")
_TEXT, _QUIET, _MARK = "#1f2933", "#52606d", "#c0392b"
_MOST_POINTS = 800


class Curve(NamedTuple):
    name: str
    points: list[Point]


class Mark(NamedTuple):
    at: float
    name: str


def draw(samples: Sequence[Sample], times: Sequence[Latency], marks: Sequence[Mark]) -> str:
    """Return the whole picture; a dashed line stands where something was done to a worker."""

    def of(field: str, scale: float = 1.0) -> list[Curve]:
        curves: dict[tuple[int, int], list[Point]] = {}
        for one in samples:
            value = getattr(one, field) / scale
            curves.setdefault((one.worker, one.pid), []).append((one.at, value))
        return [Curve(f"worker {key[0]}", points) for key, points in curves.items()]

    panels = [
        ("resident memory, MiB", of("memory_kib", 1024)),
        ("open descriptors", of("descriptors")),
        ("connections of callers (a greenlet each)", of("connections")),
        ("latency of each second, ms (a fault of the platform makes it tall)", _latency(times)),
    ]
    end = max([1.0, *(one.at for one in samples), *(one.at for one in times)])
    height = len(panels) * (_PANEL + _GAP) + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="system-ui, sans-serif" font-size="12">',
        "<title>Memory, descriptors, connections and latency during the endurance run</title>",
        f'<rect width="{_WIDTH}" height="{height}" rx="8" fill="#ffffff"/>',
    ]
    for number, (title, curves) in enumerate(panels):
        y = _GAP + number * (_PANEL + _GAP)
        parts.append(f'<g transform="translate({_LEFT} {y})">')
        parts += _panel(title, curves, end, marks if number == 0 else [])
        parts += [_line(mark.at, end) for mark in marks] + ["</g>"]
    parts.append(
        f'<text x="{_LEFT}" y="{height - 12}" fill="{_QUIET}">0 to {end:.0f} seconds</text></svg>\n'
    )
    return "\n".join(parts)


def _latency(times: Sequence[Latency]) -> list[Curve]:
    shown = [one for one in times if one.done]
    return [
        Curve("p50", [(one.at, one.p50_ms) for one in shown]),
        Curve("p99", [(one.at, one.p99_ms) for one in shown]),
    ]


def _x(at: float, end: float) -> float:
    return at / end * (_WIDTH - _LEFT - _RIGHT)


def _line(at: float, end: float) -> str:
    x = _x(at, end)
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{_PANEL}" stroke="{_MARK}" '
        f'stroke-width="1" stroke-dasharray="3 3"/>'
    )


def _panel(title: str, curves: list[Curve], end: float, marks: Sequence[Mark]) -> list[str]:
    top = max([1.0, *(y for curve in curves for _, y in curve.points)]) * 1.08
    names = sorted({curve.name for curve in curves})
    colours = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(names)}
    right = _WIDTH - _LEFT - _RIGHT
    parts = [
        f'<text y="-8" font-weight="600" fill="{_TEXT}">{escape(title)}</text>',
        f'<rect width="{right}" height="{_PANEL}" fill="none" stroke="#d8dee4"/>',
        f'<text x="-8" y="10" text-anchor="end" fill="{_QUIET}">{top / 1.08:.4g}</text>',
        f'<text x="-8" y="{_PANEL}" text-anchor="end" fill="{_QUIET}">0</text>',
    ]
    for number, name in enumerate(names):
        place = right - 80 * (len(names) - number) + 76
        parts.append(
            f'<text x="{place}" y="-8" text-anchor="end" fill="{colours[name]}">{name}</text>'
        )
    for curve in curves:
        step = max(1, len(curve.points) // _MOST_POINTS)
        points = " ".join(
            f"{_x(x, end):.1f},{_PANEL - y / top * _PANEL:.1f}" for x, y in curve.points[::step]
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colours[curve.name]}" '
            f'stroke-width="1.5"/>'
        )
    for mark in marks:
        x = _x(mark.at, end) + 4
        parts.append(
            f'<text x="{x:.1f}" y="{_PANEL - 6}" fill="{_MARK}">{escape(mark.name)}</text>'
        )
    return parts
