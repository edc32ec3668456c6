"""Judges a run: memory that grows, requests that were lost, numbers that came twice.

Memory is compared like with like. Every fault of the platform piles up connections, and each kind
leaves its own height behind; so what is judged is the trough after each fault, the least memory
seen from SETTLE_S after its end to the next one, and only against troughs after the same kind
with about as many connections: chance deals tunnels to the workers, each about 50 KiB. That none is
left over is judged by itself, when nobody calls any more.
Peaks come and go and say nothing of growth; a leak lifts every trough.

Flat means shown to be flat: the upper end of the slope's interval lies below the limit. Where it
reaches beyond, growth is not ruled out and the run fails: it needs to be longer, or quieter.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from statistics import median
from typing import Final, NamedTuple

from .faults import FAULT_S, PAUSE_S, SETTLE_S, Excuse
from .samples import Sample
from .trend import Point, Trend, theil_sen, thinned

WARM_UP: Final = 0.35
"""This share of a process's life is not judged: caches and pools fill, the heap finds its size."""
FEWEST: Final = 12
"""Troughs after the warm-up; fewer say nothing about a slope."""
LIKE: Final = 0.25
"""By this share a trough's connections may differ from what is usual after its kind."""
SURE: Final = 0.95
"""How sure each end of the interval is by itself: it is the upper end that is claimed."""
_MOST_OF_A_KIND: Final = 40
"""Of a long run: medians of neighbours, or there are millions of slopes."""


def rate_of(growth_mib: float, seconds: float) -> float:
    """Return the KiB a minute that grow to so many MiB in a run so long."""
    return growth_mib * 1024 / (seconds / 60)


class Growth(NamedTuple):
    """The memory of one process in KiB a minute; no trend: too short to be judged."""

    samples: list[Sample]
    trend: Trend | None

    def is_flat(self, limit: float) -> bool | None:
        """Return whether growth of `limit` or more is ruled out; None: not judged."""
        return None if self.trend is None else self.trend.high < limit

    def word(self, limit: float) -> str:
        if self.trend is None:
            return "not judged: too short"
        if self.trend.high < limit:
            return "yes"
        return "**NO**" if self.trend.low > 0 else "**not shown**"


def growth(segment: Sequence[Sample], faults: Sequence[Excuse]) -> Growth:
    """`faults` are those of the platform, in the order of time; `name` is the kind."""
    begin, end = segment[0].at, segment[-1].at
    warm_at = begin + WARM_UP * (end - begin)
    times = [one.at for one in segment]
    kinds: dict[str, list[Sample]] = {}
    for fault, until in zip(faults, [*(one.begin for one in faults[1:]), end], strict=True):
        calm_at = max(fault.begin + FAULT_S + SETTLE_S, warm_at)
        until = min(until, fault.begin + PAUSE_S)
        calm = segment[bisect_left(times, calm_at) : bisect_left(times, until)]
        if len(calm) > 1:
            trough = min(calm, key=lambda one: one.memory_kib)
            kinds.setdefault(fault.name, []).append(trough)
    groups = [_alike(troughs) for troughs in kinds.values()]
    troughs = sum(map(len, groups))
    groups = [thinned(points, _MOST_OF_A_KIND) for points in groups]
    return Growth(list(segment), theil_sen(groups, 2 * SURE - 1) if troughs >= FEWEST else None)


def _alike(troughs: Sequence[Sample]) -> list[Point]:
    """Return those with about as many connections as usual: minutes and KiB."""
    usual = median(one.connections for one in troughs)
    return [
        (one.at / 60, float(one.memory_kib))
        for one in troughs
        if abs(one.connections - usual) <= LIKE * usual
    ]


def unjudged(found: Sequence[Growth], workers: int) -> list[str]:
    """Return a sentence for each worker of which no process lived long enough."""
    judged = {one.samples[0].worker for one in found if one.trend is not None}
    return [
        f"worker {number}: no process lived long enough to be judged"
        for number in range(workers)
        if number not in judged
    ]


def table(found: Sequence[Growth], limit: float) -> list[str]:
    """Return lines of Markdown, one row for each process."""
    lines = [
        "| worker | from-to s | memory MiB, first/last/most | descriptors, most/last "
        "| connections, most | in flight, most | troughs | slope KiB/min (each end 95 %) | flat |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        seen = one.samples
        memory = [sample.memory_kib / 1024 for sample in seen]
        troughs, slope = "-", "-"
        if one.trend is not None:
            troughs = str(one.trend.points)
            slope = f"{one.trend.slope:+.1f} ({one.trend.low:+.1f} to {one.trend.high:+.1f})"
        lines.append(
            f"| {seen[0].worker} | {seen[0].at:.0f}-{seen[-1].at:.0f} "
            f"| {memory[0]:.1f} / {memory[-1]:.1f} / {max(memory):.1f} "
            f"| {max(s.descriptors for s in seen)} / {seen[-1].descriptors} "
            f"| {max(s.connections for s in seen)} | {max(s.in_flight for s in seen)} "
            f"| {troughs} | {slope} | {one.word(limit)} |"
        )
    return lines
