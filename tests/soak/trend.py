"""Does something grow? Theil-Sen's slope between like and like, with an interval.

The points come in groups, such as "after a reset" and "after a silence": a slope is taken between
two points of one group only (Hirsch, Slack and Smith 1982, for the seasons of a river). The median
of all these slopes is the trend: up to a quarter of the points may lie anywhere.

The interval is Sen's (1968), corrected for ties: the slopes of rank (N - C) / 2 and (N + C) / 2
with C = z * sqrt(variance of Kendall's S). That takes points for independent, which neighbours
in time are not: what an hour's weather leaves is there in the next minute. So the variance is
multiplied by (1 + r) / (1 - r), where r says how alike neighbours are once trend and groups are
taken off; r is never taken for less than 0, and what so few points underrate of it is added.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import NormalDist, mean, median
from typing import Final, NamedTuple

Point = tuple[float, float]
_MOST_ALIKE: Final = 0.9


class Trend(NamedTuple):
    """Slope and the ends of its interval, in units of y per unit of x."""

    slope: float
    low: float
    high: float
    points: int


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """Return at most `most` points: medians of buckets of neighbours."""
    size = max(1, math.ceil(len(points) / most))
    buckets = [points[begin : begin + size] for begin in range(0, len(points), size)]
    return [(median(x for x, _ in one), median(y for _, y in one)) for one in buckets]


def theil_sen(groups: Sequence[Sequence[Point]], confidence: float = 0.95) -> Trend:
    """Raises: ValueError where there are fewer than three slopes within the groups."""
    slopes = sorted(
        (y2 - y1) / (x2 - x1)
        for points in groups
        for number, (x1, y1) in enumerate(points)
        for x2, y2 in points[number + 1 :]
        if x2 != x1
    )
    count = sum(map(len, groups))
    if len(slopes) < 3:
        raise ValueError(f"{count} points make no trend")
    slope = median(slopes)
    r = alike(groups, slope)
    variance = sum(map(_variance, groups)) * (1 + r) / (1 - r)
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(variance)
    low = max(0, math.floor((len(slopes) - reach) / 2))
    high = min(len(slopes) - 1, math.ceil((len(slopes) + reach) / 2))
    return Trend(slope, slopes[low], slopes[high], count)


def _variance(points: Sequence[Point]) -> float:
    """Return the variance of Kendall's S, were all independent."""
    count = len(points)
    ties = Counter(y for _, y in points).values()
    whole = count * (count - 1) * (2 * count + 5)
    return max(0.0, (whole - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18)


def alike(groups: Sequence[Sequence[Point]], slope: float) -> float:
    """Return the correlation of neighbours in time without trend and groups, 0 to 0.9."""
    left: list[Point] = []
    for points in groups:
        rest = [(x, y - slope * x) for x, y in points]
        usual = median(y for _, y in rest) if rest else 0.0
        left += [(x, y - usual) for x, y in rest]
    values = [y for _, y in sorted(left)]
    count, middle = len(values), mean(values)
    square = sum((y - middle) ** 2 for y in values)
    if count < 8 or square == 0:
        return 0.0
    pairs = zip(values, values[1:], strict=False)
    r = sum((a - middle) * (b - middle) for a, b in pairs) / square
    # Marriott and Pope (1954): the mean is taken off as well, so r comes out too small.
    return min(_MOST_ALIKE, max(0.0, (count * r + 1) / (count - 4)))
