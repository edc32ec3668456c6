"""What judges an endurance run: the statistics, the excuses, the segments."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ET

import pytest

from tests.soak.faults import FAULT_S, QUIET_S, SETTLE_S, Excuse, Loss, schedule, unexcused
from tests.soak.picture import Mark, draw
from tests.soak.samples import Latency, Sample, segments
from tests.soak.trend import theil_sen, thinned
from tests.soak.verdict import growth, table


def sample(at: float, memory: float, worker: int = 0, pid: int = 10) -> Sample:
    return Sample(at, worker, pid, int(memory), 30, 5, 2, 1)


def noisy(slope: float, seed: int = 1, count: int = 100) -> list[tuple[float, float]]:
    chance = random.Random(seed)
    return [(float(x), slope * x + chance.gauss(0, 5)) for x in range(count)]


def test_slope_of_a_line_is_exact() -> None:
    trend = theil_sen([(float(x), 3.0 * x + 7) for x in range(20)])
    assert (trend.slope, trend.low, trend.high, trend.points) == (3, 3, 3, 20)


def test_interval_is_sens_own() -> None:
    """Ten points without ties: variance 125, C = 1.96 * sqrt(125) = 21.9, of 45 slopes the
    11th and the 35th from below."""
    points = [(float(x), float(y)) for x, y in enumerate([3, 1, 4, 15, 9, 2, 6, 5, 35, 8])]
    slopes = sorted(
        (points[j][1] - points[i][1]) / (j - i) for i in range(10) for j in range(i + 1, 10)
    )
    trend = theil_sen(points)
    assert (trend.low, trend.slope, trend.high) == (slopes[11], slopes[22], slopes[34])


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    inside = 0
    for seed in range(200):
        trend = theil_sen(noisy(0.1, seed, 40))
        inside += trend.low <= 0.1 <= trend.high
    assert 180 <= inside <= 199, inside


def test_outliers_do_not_bend_it() -> None:
    points = noisy(0.0)
    for place in range(30, 50):
        points[place] = (points[place][0], 10_000.0)
    trend = theil_sen(points)
    assert abs(trend.slope) < 0.5 and trend.low <= 0 <= trend.high


def test_all_alike_is_flat_and_two_points_are_no_trend() -> None:
    trend = theil_sen([(float(x), 5.0) for x in range(30)])
    assert (trend.slope, trend.low, trend.high) == (0, 0, 0)
    with pytest.raises(ValueError):
        theil_sen([(1.0, 1.0), (2.0, 2.0)])


def test_thinning_keeps_the_slope() -> None:
    points = thinned([(float(x), 2.0 * x) for x in range(100_000)], 120)
    assert len(points) <= 120
    assert theil_sen(points).slope == pytest.approx(2.0)


@pytest.mark.parametrize(("slope", "flat"), [(0.0, True), (50.0, True), (300.0, False)])
def test_growth_is_judged_by_the_lower_end(slope: float, flat: bool) -> None:
    chance = random.Random(3)
    seen = [sample(at, 40_000 + slope * at / 60 + chance.gauss(0, 8)) for at in range(300)]
    found = growth(seen)
    assert found.is_flat(60) is flat
    assert ("**NO**" in "\n".join(table([found], 60))) is not flat


def test_warm_up_is_not_judged_and_little_is_not_either() -> None:
    seen = [sample(at, 40_000 + min(at, 90) * 100) for at in range(300)]
    assert growth(seen).is_flat(60) is True
    assert growth(seen[:50]).is_flat(60) is None


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
