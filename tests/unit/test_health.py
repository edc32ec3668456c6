"""When a worker is helped: looks at all of them, second by second, and what follows."""

from __future__ import annotations

from proxy.health import (
    CALM_S,
    LEND_AFTER_S,
    LONGEST_PAUSE_S,
    PAUSE_S,
    START_S,
    Action,
    Health,
    Seen,
)

SILENT_S = 15.0
MEMORY = 1 << 30
DRAIN_S = 32.0


def well(number: int, pid: int, memory: int = 50 << 20) -> Seen:
    return Seen(number, pid, answers=True, ready=True, memory_bytes=memory)


def silent(number: int, pid: int) -> Seen:
    return Seen(number, pid, answers=False)


class Days:
    """A health and a clock: `pass_(seconds, *seen)` looks every second and collects actions."""

    def __init__(self) -> None:
        self.health = Health(SILENT_S, MEMORY, DRAIN_S)
        self.now = 1000.0

    def look(self, *seen: Seen) -> list[tuple[str, int, int]]:
        return [action[:3] for action in self.health.judge(self.now, seen)]

    def pass_(self, seconds: float, *seen: Seen) -> list[tuple[float, str, int, int]]:
        begin, found = self.now, []
        while self.now < begin + seconds:
            self.now += 1.0
            found += [(self.now - begin, *action) for action in self.look(*seen)]
        return found


def test_workers_that_answer_are_left_alone() -> None:
    days = Days()
    assert days.pass_(200, well(0, 10), well(1, 11)) == []


def test_one_that_falls_silent_is_served_by_a_sibling_then_killed_then_its_own_again() -> None:
    days = Days()
    days.look(well(0, 10), well(1, 11))
    assert days.pass_(SILENT_S + 5, well(0, 10), silent(1, 11)) == [
        (LEND_AFTER_S + 1, "lend", 1, 11),
        (SILENT_S, "kill", 1, 11),
    ]
    assert days.pass_(3, well(0, 10), silent(1, 0)) == [], "its queues are lent already"
    assert days.pass_(3, well(0, 10), silent(1, 12)) == [], "the new one is starting"
    assert days.pass_(3, well(0, 10), well(1, 12)) == [(1.0, "return", 1, 12)]


def test_a_moment_of_silence_has_no_consequence_that_stays() -> None:
    days = Days()
    days.look(well(0, 10), well(1, 11))
    assert days.pass_(LEND_AFTER_S, well(0, 10), silent(1, 11)) == []
    assert days.pass_(1, well(0, 10), well(1, 11)) == []
    assert days.pass_(LEND_AFTER_S + 1, well(0, 10), silent(1, 11)) == [
        (LEND_AFTER_S + 1, "lend", 1, 11)
    ]
    assert days.pass_(1, well(0, 10), well(1, 11)) == [(1.0, "return", 1, 11)]


def test_one_that_died_is_served_by_a_sibling_at_once() -> None:
    days = Days()
    days.look(well(0, 10), well(1, 11))
    assert days.look(well(0, 10), silent(1, 0)) == [("lend", 1, 0)]
    assert days.pass_(100, well(0, 10), silent(1, 0)) == [], "supervisord starts it, not we"


def test_one_that_starts_has_time_for_it() -> None:
    days = Days()
    assert days.pass_(START_S + SILENT_S - 1, silent(0, 10)) == [
        (START_S + LEND_AFTER_S + 2, "lend", 0, 10)
    ]
    assert days.pass_(2, silent(0, 10)) == [(2.0, "kill", 0, 10)]


def test_two_that_hang_are_replaced_one_after_the_other() -> None:
    days = Days()
    days.look(well(0, 10), well(1, 11))
    first = days.pass_(SILENT_S + 5, silent(0, 10), silent(1, 11))
    assert [one[1:] for one in first if one[1] == "kill"] == [("kill", 1, 11)]
    second = days.pass_(2, silent(0, 10), well(1, 12))
    assert [one[1:] for one in second] == [("return", 1, 12), ("kill", 0, 10)]


def test_a_kill_that_does_not_help_is_repeated_later_and_holds_nobody_up_for_ever() -> None:
    days = Days()
    days.look(well(0, 10), well(1, 11))
    kills = [one for one in days.pass_(200, well(0, 10), silent(1, 11)) if one[1] == "kill"]
    assert [round(one[0] - kills[0][0]) for one in kills] == [0, 30, 90]


def test_one_that_hangs_again_and_again_waits_longer_each_time_and_that_is_said() -> None:
    days, pid, last, gaps = Days(), 11, 0.0, []
    days.look(well(0, 10), well(1, pid))
    said = 0
    for _ in range(8):
        while True:
            days.now += 1.0
            kinds = [kind for kind, *_ in days.look(well(0, 10), silent(1, pid))]
            said += kinds.count("wait")
            if "kill" in kinds:
                break
        gaps.append(days.now - last if last else 0.0)
        last = days.now
        pid += 1
        days.now += 1.0
        days.look(well(0, 10), well(1, pid))
    assert gaps[1:] == [PAUSE_S * 2**n for n in range(5)] + [LONGEST_PAUSE_S] * 2
    assert said == 7, "once for each pause"


def test_after_a_calm_hour_the_past_is_forgotten() -> None:
    days = Days()
    days.look(well(0, 10), well(1, 11))
    for pid in (11, 12, 13):
        days.pass_(200, well(0, 10), silent(1, pid))
        days.look(well(0, 10), well(1, pid + 1))
    days.pass_(CALM_S + 1, well(0, 10), well(1, 14))
    kills = [one for one in days.pass_(60, well(0, 10), silent(1, 14)) if one[1] == "kill"]
    assert [one[0] for one in kills] == [SILENT_S, SILENT_S + PAUSE_S]


def test_worker_that_got_no_memory_is_drained_whatever_it_holds() -> None:
    days = Days()
    days.look(well(0, 10), well(1, 11))
    starved = well(1, 11)._replace(starved=True)
    (action,) = days.health.judge(days.now, [well(0, 10, MEMORY + 1), starved])
    assert action == Action("drain", 1, 11, "it got no memory from the system, at 50 MiB")


def test_one_that_grew_drains_while_the_others_serve() -> None:
    days = Days()
    grown = well(1, 11, MEMORY + 1)
    (action,) = days.health.judge(days.now, [well(0, 10), grown])
    assert action == Action("drain", 1, 11, "it holds 1024 MiB of memory, above [health] memory")
    draining = grown._replace(ready=False, draining=True)
    assert days.pass_(30, well(0, 10), draining) == []
    assert days.pass_(3, well(0, 10), well(1, 12)) == []


def test_one_that_grew_is_not_drained_while_another_does_not_serve() -> None:
    days = Days()
    grown = well(1, 11, MEMORY + 1)
    assert days.look(well(0, 10)._replace(ready=False), grown) == []
    assert days.look(well(0, 10), grown) == [("drain", 1, 11)]


def test_the_only_worker_is_drained_too() -> None:
    days = Days()
    assert days.look(well(0, 10, MEMORY + 1)) == [("drain", 0, 10)]


def test_of_two_that_grew_the_larger_goes_first_and_the_other_waits_for_it() -> None:
    days = Days()
    small, large = well(0, 10, MEMORY + 1), well(1, 11, MEMORY + 2)
    assert days.look(small, large) == [("drain", 1, 11)]
    assert days.pass_(20, small, large._replace(ready=False, draining=True)) == []
    assert days.pass_(1, small, well(1, 12)) == [(1.0, "drain", 0, 10)]


def test_one_that_hangs_while_it_drains_is_killed() -> None:
    days = Days()
    assert days.look(well(0, 10), well(1, 11, MEMORY + 1)) == [("drain", 1, 11)]
    days.pass_(2, well(0, 10), well(1, 11)._replace(draining=True))
    late = days.pass_(SILENT_S, well(0, 10), silent(1, 11))
    assert [one[1:] for one in late] == [("lend", 1, 11), ("kill", 1, 11)]


def test_one_that_ended_in_order_is_forgotten() -> None:
    days = Days()
    days.look(well(0, 10), well(1, 11))
    assert days.pass_(60, well(0, 10)) == []
    assert days.look() == []


def test_new_limits_count_from_the_next_look() -> None:
    days = Days()
    days.look(well(0, 10))
    days.health.set_limits(5.0, MEMORY, DRAIN_S)
    assert [one[1] for one in days.pass_(6, silent(0, 10))] == ["lend", "kill"]
