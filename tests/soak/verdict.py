"""Judges a run: memory that grows, requests that were lost, numbers that came twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from .samples import Sample
from .trend import Trend, theil_sen, thinned

WARM_UP: Final = 0.35
"""This share of a process's life is not judged: caches and pools fill, the heap finds its size."""
FEWEST: Final = 40
"""Samples after the warm-up; fewer say nothing about a slope."""


class Growth(NamedTuple):
    """The memory of one process in KiB a minute; no trend: too short to be judged."""

    samples: list[Sample]
    trend: Trend | None

    def is_flat(self, limit: float) -> bool | None:
        """Return whether growth of `limit` or more is not shown; None: not judged."""
        return None if self.trend is None else self.trend.low < limit


def growth(segment: Sequence[Sample]) -> Growth:
    begin, end = segment[0].at, segment[-1].at
    warm = [sample for sample in segment if sample.at >= begin + WARM_UP * (end - begin)]
    points = thinned([(sample.at / 60, float(sample.memory_kib)) for sample in warm])
    return Growth(list(segment), theil_sen(points) if len(warm) >= FEWEST else None)


def table(found: Sequence[Growth], limit: float) -> list[str]:
    """Return lines of Markdown, one row for each process."""
    lines = [
        "| worker | from-to s | memory MiB, first/last/most | descriptors, most/last "
        "| connections, most | in flight, most | slope KiB/min (95 %) | flat |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        seen = one.samples
        memory = [sample.memory_kib / 1024 for sample in seen]
        slope, flat = "-", "not judged: too short"
        if one.trend is not None:
            slope = f"{one.trend.slope:+.1f} ({one.trend.low:+.1f} to {one.trend.high:+.1f})"
            flat = "yes" if one.is_flat(limit) else "**NO**"
        lines.append(
            f"| {seen[0].worker} | {seen[0].at:.0f}-{seen[-1].at:.0f} "
            f"| {memory[0]:.1f} / {memory[-1]:.1f} / {max(memory):.1f} "
            f"| {max(s.descriptors for s in seen)} / {seen[-1].descriptors} "
            f"| {max(s.connections for s in seen)} | {max(s.in_flight for s in seen)} "
            f"| {slope} | {flat} |"
        )
    return lines
