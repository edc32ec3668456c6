"""Does something grow? Theil-Sen's slope, with an interval by Kendall's statistic.

The median of the slopes of all pairs of points: up to a quarter of them may lie anywhere, so a
short rise during a fault does not bend it. The interval is that of Sen (1968), corrected for ties:
the slopes of rank (N - C) / 2 and (N + C) / 2 with C = z * sqrt(variance of Kendall's S). It takes
the points for independent. Neighbouring seconds are not; medians of buckets are less dependent.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import NormalDist, median
from typing import Final, NamedTuple

Point = tuple[float, float]
MOST_POINTS: Final = 120


class Trend(NamedTuple):
    """Slope and the ends of its interval, in units of y per unit of x."""

    slope: float
    low: float
    high: float
    points: int


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """Return at most `most` points: medians of buckets of neighbours."""
    size = max(1, math.ceil(len(points) / most))
    buckets = [points[begin : begin + size] for begin in range(0, len(points), size)]
    return [(median(x for x, _ in one), median(y for _, y in one)) for one in buckets]


def theil_sen(points: Sequence[Point], confidence: float = 0.95) -> Trend:
    """Raises: ValueError where there are fewer than three points of different x."""
    slopes = sorted(
        (y2 - y1) / (x2 - x1)
        for number, (x1, y1) in enumerate(points)
        for x2, y2 in points[number + 1 :]
        if x2 != x1
    )
    if len(slopes) < 3:
        raise ValueError(f"{len(points)} points make no trend")
    count = len(points)
    ties = Counter(y for _, y in points).values()
    whole = count * (count - 1) * (2 * count + 5)
    variance = (whole - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(max(0.0, variance))
    low = max(0, math.floor((len(slopes) - reach) / 2))
    high = min(len(slopes) - 1, math.ceil((len(slopes) + reach) / 2))
    return Trend(median(slopes), slopes[low], slopes[high], count)
