"""What judges an endurance run: the statistics, the excuses, the segments."""

from __future__ import annotations

import math
import random
import xml.etree.ElementTree as ET
from collections import Counter
from typing import NamedTuple

import pytest

from tests.soak.faults import (
    FAULT_S,
    PAUSE_S,
    PLATFORM_FAULTS,
    QUIET_S,
    SETTLE_S,
    Excuse,
    Loss,
    schedule,
    unexcused,
)
from tests.soak.picture import Mark, draw
from tests.soak.samples import Latency, Sample, segments
from tests.soak.trend import Point, alike, theil_sen, thinned
from tests.soak.verdict import Growth, growth, rate_of, table, unjudged


def sample(at: float, memory: float, worker: int = 0, pid: int = 10) -> Sample:
    return Sample(at, worker, pid, int(memory), 30, 5, 2, 1)


def noisy(slope: float, seed: int = 1, count: int = 100) -> list[tuple[float, float]]:
    chance = random.Random(seed)
    return [(float(x), slope * x + chance.gauss(0, 5)) for x in range(count)]


def neighbourly(slope: float, alike: float, seed: int, kinds: int) -> list[list[Point]]:
    """Return 36 points, as `kinds` in turn, each kind at a height of its own; noise of 5."""
    chance = random.Random(seed)
    noise = chance.gauss(0, 5)
    groups: list[list[Point]] = [[] for _ in range(kinds)]
    for x in range(36):
        noise = alike * noise + chance.gauss(0, 5 * math.sqrt(1 - alike**2))
        groups[x % kinds].append((float(x), slope * x + 40 * (x % kinds) + noise))
    return groups


def test_slope_of_a_line_is_exact() -> None:
    trend = theil_sen([[(float(x), 3.0 * x + 7) for x in range(20)]])
    assert (trend.slope, trend.low, trend.high, trend.points) == (3, 3, 3, 20)


def test_slope_is_taken_within_groups_only() -> None:
    """Taken over all, these lines would seem to fall."""
    high = [(float(x), 3.0 * x + 1000) for x in range(20)]
    low = [(float(x), 3.0 * x - 1000) for x in range(20, 40)]
    trend = theil_sen([high, low])
    assert (trend.slope, trend.low, trend.high, trend.points) == (3, 3, 3, 40)
    assert theil_sen([high + low]).slope < 0


def test_interval_is_sens_own() -> None:
    """Ten points without ties: variance 125, C = 1.96 * sqrt(125) = 21.9, of 45 slopes the
    11th and the 35th from below. Neighbours differ more than by chance: nothing is added."""
    points = [(float(x), float(y)) for x, y in enumerate([3, 1, 4, 15, 9, 2, 6, 5, 35, 8])]
    slopes = sorted(
        (points[j][1] - points[i][1]) / (j - i) for i in range(10) for j in range(i + 1, 10)
    )
    assert alike([points], slopes[22]) == 0
    trend = theil_sen([points])
    assert (trend.low, trend.slope, trend.high) == (slopes[11], slopes[22], slopes[34])


@pytest.mark.parametrize("likeness", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("kinds", [1, 6])
def test_interval_covers_the_truth_also_where_neighbours_are_alike(
    likeness: float, kinds: int
) -> None:
    inside = 0
    for seed in range(200):
        trend = theil_sen(neighbourly(0.5, likeness, seed, kinds))
        inside += trend.low <= 0.5 <= trend.high
    assert 178 <= inside <= 199, inside


def test_neighbours_that_are_alike_make_the_interval_wider() -> None:
    def width(likeness: float) -> float:
        trends = [theil_sen(neighbourly(0.0, likeness, seed, 6)) for seed in range(50)]
        return sum(trend.high - trend.low for trend in trends)

    assert width(0.6) > 1.4 * width(0.0)


def test_outliers_do_not_bend_it() -> None:
    points = noisy(0.0)
    for place in range(30, 50):
        points[place] = (points[place][0], 10_000.0)
    trend = theil_sen([points])
    assert abs(trend.slope) < 0.5 and trend.low <= 0 <= trend.high


def test_all_alike_is_flat_and_two_points_are_no_trend() -> None:
    trend = theil_sen([[(float(x), 5.0) for x in range(30)]])
    assert (trend.slope, trend.low, trend.high) == (0, 0, 0)
    with pytest.raises(ValueError):
        theil_sen([[(1.0, 1.0), (2.0, 2.0)]])


def test_thinning_keeps_the_slope() -> None:
    points = thinned([(float(x), 2.0 * x) for x in range(100_000)], 120)
    assert len(points) <= 120
    assert theil_sen([points]).slope == pytest.approx(2.0)


class Life(NamedTuple):
    """A worker's memory as a run sees it: a start, a pile after each fault, and what is wrong."""

    leak: float = 0.0
    """KiB a minute."""
    kept: float = 0.0
    """Share of the highest pile so far that never comes back: a heap that finds its size."""
    seconds: int = 540
    begins_high: bool = True
    """Whether a pile twice as high comes early, as `schedule` has it."""

    def lived(self, seed: int) -> Growth:
        chance = random.Random(seed)
        faults, seen = [], []
        noise = highest = pile = height = 0.0
        for at in range(self.seconds):
            if at % PAUSE_S == 4:
                kind = PLATFORM_FAULTS[len(faults) % len(PLATFORM_FAULTS)].kind
                faults.append(Excuse(kind, at, at + FAULT_S + SETTLE_S, ("up",)))
                height = {"blackhole": 700.0, "delay": 300.0}.get(kind, 0.0)
                pile = chance.gauss(7000, 700) if kind == "blackhole" else 1000.0
                pile = 14_000 if self.begins_high and at == 28 else pile
                highest = max(highest, pile)
                noise = 0.4 * noise + chance.gauss(0, 60)
            pile *= 0.6
            start = -8000 * math.exp(-at / 30)
            memory = 45_000 + start + height + pile + noise + chance.expovariate(1 / 40)
            seen.append(sample(at, memory + self.kept * highest + self.leak * at / 60))
        return growth(seen, faults)

    def flat_in(self, times: int) -> int:
        return sum(bool(self.lived(seed).is_flat(60)) for seed in range(times))


def test_flat_memory_with_piles_is_flat() -> None:
    assert Life().flat_in(40) >= 36
    assert Life(seconds=1700).flat_in(10) == 10


@pytest.mark.parametrize("leak", [100.0, 300.0])
def test_leak_is_always_found(leak: float) -> None:
    words = Counter(Life(leak).lived(seed).word(60) for seed in range(40))
    assert words["yes"] == 0 and words["**NO**"] >= 38


def test_leak_at_the_limit_is_not_taken_for_flat() -> None:
    assert Life(60).flat_in(40) <= 2


def test_object_left_behind_by_each_exchange_is_found_in_ten_minutes() -> None:
    """3,500 a minute and worker, the smallest object that the collector tracks: 56 bytes."""
    limit = rate_of(2, 600)
    assert limit == pytest.approx(204.8)
    leaky = [Life(3500 * 56 / 1024 * 1.2).lived(seed) for seed in range(40)]
    assert not any(one.is_flat(limit) for one in leaky)
    assert all(Life().lived(seed).is_flat(limit) for seed in range(40))
    assert rate_of(2, 86_400) == pytest.approx(1.42, abs=0.01)


def test_high_water_mark_is_not_taken_for_a_leak() -> None:
    assert Life(kept=0.4).flat_in(40) >= 36


def test_high_water_mark_that_chance_lifts_is_none_in_a_longer_run() -> None:
    """The highest of more and more piles grows with the logarithm of their number."""
    grown = Life(kept=0.4, begins_high=False, seconds=1700)
    assert grown.flat_in(10) == 10
    assert Life(leak=70, seconds=1700).lived(1).word(60) == "**NO**"


def test_day_is_judged_in_seconds() -> None:
    assert Life(seconds=20_000).lived(1).is_flat(60) is True
    assert Life(leak=63, seconds=20_000).lived(1).word(60) == "**NO**"


def test_where_growth_is_not_ruled_out_it_is_not_flat() -> None:
    """Noise that hides a slope either way is no proof."""
    chance = random.Random(2)
    faults = [Excuse("reset", at, at + 6, ("up",)) for at in range(0, 300, 12)]
    seen = [sample(at, 45_000 + 2000 * chance.random() * (at // 12 % 2)) for at in range(300)]
    for at, one in enumerate(seen):
        seen[at] = one._replace(memory_kib=one.memory_kib + 1500 * (at // 96 % 2))
    found = growth(seen, faults)
    assert found.is_flat(60) is False and found.word(60) == "**not shown**"
    assert "**not shown**" in "\n".join(table([found], 60))


def test_little_is_not_judged_and_a_long_run_must_judge_each_worker() -> None:
    short, long = Life(seconds=100).lived(1), Life().lived(1)
    assert short.is_flat(60) is None and short.word(60).startswith("not judged")
    assert unjudged([short, long], 1) == []
    assert unjudged([short], 1) == ["worker 0: no process lived long enough to be judged"]


def test_troughs_with_other_connections_are_not_compared() -> None:
    """Every third fault of a kind finds 20 tunnels more at this worker, the last ones oftener."""
    faults = [Excuse("reset", at, at + 6, ("up",)) for at in range(0, 480, 12)]
    seen = []
    for at in range(480):
        more = at // 12 % 3 == 0 or at > 430
        one = sample(at, 45_000 + 1000 * more)
        seen.append(one._replace(connections=70 if more else 50))
    found = growth(seen, faults).trend
    assert found is not None and (found.slope, found.high) == (0, 0) and found.points < 25


def test_samples_during_a_fault_are_no_troughs() -> None:
    """Nor those before the memory of the fault can have come back, nor the warm-up."""
    faults = [Excuse("reset", at, at + 6, ("up",)) for at in range(0, 240, 12)]
    seen = [sample(at, 40_000 if at % 12 >= 6 else at * 100) for at in range(240)]
    found = growth(seen, faults).trend
    assert found is not None and (found.slope, found.high, found.points) == (0, 0, 13)


def test_worker_started_again_is_a_segment_of_its_own() -> None:
    seen = [sample(1, 1), sample(1, 1, 1, 11), sample(2, 1), sample(3, 1, 0, 5), sample(4, 1, 0, 5)]
    assert [[one.at for one in part] for part in segments(seen)] == [[1, 2], [3, 4], [1]]


def test_excuse_holds_for_its_load_time_and_count() -> None:
    excuses = [Excuse("kill", 10, 30, ("up", "down"), 5), Excuse("reset", 20, 25, ("up",))]
    inside = [Loss("up", 21, 22, 100, ("a",)), Loss("down", 12, 13, 5, ("b",))]
    assert unexcused(inside, excuses) == []
    more = unexcused([*inside, Loss("up", 14, 15, 1, ("c",))], excuses)
    assert more == ["up lost 1 by 15 s: ('c',)"]
    assert unexcused([Loss("down", 40, 41, 1, ("d",))], excuses)
    assert unexcused([Loss("up", 8, 9, 1, ("e",))], excuses)


@pytest.mark.parametrize("seconds", [20, 180, 600, 86_400])
def test_schedule_breaks_everything_and_leaves_one_long_piece(seconds: float) -> None:
    steps = schedule(seconds)
    kinds = [step.kind for step in steps]
    assert [kinds.count(kind) for kind in ("restart", "kill", "reload")] == [1, 1, 1]
    assert kinds.count("platform") >= 1
    assert [step.lasts_s for step in steps].count(2 * FAULT_S) == 1
    assert all(step.at < seconds / 3 for step in steps if step.kind in ("restart", "kill"))
    for step in steps:
        if step.kind in QUIET_S:
            begin, end = step.at - FAULT_S - SETTLE_S, step.at + QUIET_S[step.kind]
            assert not [s for s in steps if s.kind == "platform" and begin <= s.at < end]


def test_picture_is_xml_with_a_curve_for_each_process() -> None:
    seen = [sample(at, 40_000, worker, 10 + worker) for at in range(5) for worker in (0, 1)]
    times = [Latency(at, 1, 0, 1.0, 2.0, "") for at in range(5)]
    root = ET.fromstring(draw(seen, times, [Mark(2.0, "kill")]))
    curves = root.findall(".//{http://www.w3.org/2000/svg}polyline")
    assert len(curves) == 3 * 2 + 2
    assert all("nan" not in curve.attrib["points"] for curve in curves)
