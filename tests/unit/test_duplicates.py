"""Two agents under one identity: what is noticed, and what must not be."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from proxy.duplicates import REPEAT_S, WINDOW_S, Comparison, Identity, Living, Manner, Sightings

ONE = ("default", "10.0.0.2")
JAVA: Manner = ("TLSv1.2", "ECDHE-RSA-AES128-SHA", 1, 7)
PYTHON: Manner = ("TLSv1.3", "TLS_AES_256_GCM_SHA384", 2, 7)
NEWER: Manner = ("TLSv1.2", "ECDHE-RSA-AES128-SHA", 3, 7)


@dataclass(eq=False)
class Tunnel:
    id: str = "a"
    zone: str = "default"
    source: str = "10.0.0.2"
    bytes_in: int = 100


class Node:
    """Workers that tell, as by JSON, and one comparison."""

    def __init__(self, count: int = 2) -> None:
        self.workers = {str(n): Sightings(f"run-{n}") for n in range(count)}
        self.comparison = Comparison()

    def look(self, now: float) -> list[tuple[Identity, str]]:
        for name, worker in self.workers.items():
            news = json.loads(json.dumps(worker.news(*self.comparison.read(name))))
            self.comparison.add(name, news)
        return self.comparison.turns(now)

    def look_at_tunnels(self, now: float) -> list[Identity]:
        self.look(now)
        asked = self.comparison.crowded()
        told = [one for worker in self.workers.values() for one in worker.living(asked)]
        told = [Living(*one) for one in json.loads(json.dumps(told))]
        return self.comparison.living(told, now)

    def calls(self, *calls: tuple[str, Manner, float]) -> None:
        for worker, manner, at in calls:
            self.workers[worker].called(ONE, manner, at)


def test_programs_that_take_turns_are_two_agents_and_told_once() -> None:
    node = Node()
    node.calls(("0", JAVA, 0), ("0", JAVA, 1), ("0", PYTHON, 2), ("0", JAVA, 3), ("0", PYTHON, 4))
    assert node.look(5) == [(ONE, "TLS version, cipher, User-Agent")]
    node.calls(("0", JAVA, 6), ("0", PYTHON, 7))
    assert node.look(8) == []
    assert node.look(8 + WINDOW_S) == []
    node.calls(("0", JAVA, 9 + WINDOW_S), ("0", PYTHON, 10 + WINDOW_S), ("0", JAVA, 11 + WINDOW_S))
    assert node.look(12 + WINDOW_S) == [(ONE, "TLS version, cipher, User-Agent")]


def test_thousands_of_suspects_are_judged_in_time_and_bounded_memory() -> None:
    """One VM with a network of addresses: each was compared with all that had been told."""
    comparison = Comparison()
    took = []
    for number in range(16_000):
        began = time.process_time()
        assert comparison._is_news(("default", f"fd00::{number:x}"), number / 1000)
        took.append(time.process_time() - began)
    # Of the last each took thousands of times as long as of the first.
    assert sum(took[-1000:]) < 50 * sum(took[:1000])
    for number in range(16_000, 20_000):
        assert comparison._is_news(("default", f"fd00::{number:x}"), number / 1000)
    assert len(comparison._warned) <= 16384
    assert not comparison._is_news(("default", f"fd00::{19_999:x}"), 41)
    assert comparison._is_news(("default", "fd00::1"), 41 + WINDOW_S)
    assert len(comparison._warned) == 1


def test_agents_of_which_each_worker_sees_one() -> None:
    node = Node()
    node.calls(("0", JAVA, 0), ("1", PYTHON, 20))
    assert node.look(21) == []
    node.calls(("0", JAVA, 40), ("1", PYTHON, 60))
    assert node.look(61) == [(ONE, "TLS version, cipher, User-Agent")]


def test_three_workers_see_one_call_each() -> None:
    node = Node(3)
    node.calls(("2", JAVA, 0), ("0", NEWER, 20), ("1", JAVA, 40))
    assert node.look(41) == [(ONE, "User-Agent")]


def test_an_upgrade_is_not_two_agents() -> None:
    node = Node()
    node.calls(("0", JAVA, 0), ("1", JAVA, 40), ("0", NEWER, 80), ("1", NEWER, 120))
    assert node.look(121) == []
    node.calls(("1", JAVA, 81 + WINDOW_S))
    assert node.look(82 + WINDOW_S) == []


def test_other_zones_and_sources_are_other_agents() -> None:
    node = Node()
    for at, manner in enumerate((JAVA, PYTHON, JAVA, PYTHON)):
        zone = "one" if manner == JAVA else "two"
        node.workers["0"].called((zone, "10.0.0.2"), manner, float(at))
    assert node.look(5) == []


def test_journal_that_is_read_anew_tells_nothing_twice() -> None:
    """JAVA then NEWER is an upgrade; that worker 0 still remembers JAVA is no way back."""
    node = Node()
    node.calls(("0", JAVA, 0), ("1", NEWER, 20))
    node.look(21)
    for number in range(20000):  # more than a journal holds
        node.workers["0"].called(("default", f"10.1.{number // 250}.{number % 250}"), JAVA, 22.0)
    assert node.workers["0"].news("run-0", 1)["whole"]
    assert node.look(23) == []


def test_what_was_told_is_not_told_again() -> None:
    worker = Sightings("run")
    worker.called(ONE, JAVA, 0.0)
    worker.called(ONE, JAVA, REPEAT_S - 1)
    first = worker.news("run", 0)
    assert len(first["events"]) == 1 and first["whole"]
    assert worker.news("run", first["told"])["events"] == []
    worker.called(ONE, JAVA, REPEAT_S)
    assert len(worker.news("run", first["told"])["events"]) == 1


def test_worker_that_has_restarted_is_read_from_its_beginning() -> None:
    node = Node()
    node.calls(("0", JAVA, 0))
    node.workers["0"].tunnel_opened(Tunnel(), 0.0)
    node.workers["0"].tunnel_opened(Tunnel("b"), 0.0)
    node.look(1)
    assert node.comparison.crowded() == [ONE]
    node.workers["0"] = Sightings("another")
    node.look(2)
    assert node.comparison.crowded() == []
    del node.workers["1"]
    node.comparison.keep_only(node.workers)
    assert node.comparison.read("1") == ("", 0)


def test_the_memory_is_bounded() -> None:
    node = Node(1)
    for number in range(20000):
        node.workers["0"].called(("default", str(number)), JAVA, 0.0)
        if not number % 5000:
            node.look(0.0)
    node.look(0.0)
    assert len(node.workers["0"]._seen) == len(node.comparison._turns) == 16384
    assert len(node.workers["0"]._journal) < 5000


def test_journal_that_nobody_reads_is_bounded() -> None:
    worker = Sightings("run")
    for number in range(20000):
        worker.called(("default", str(number)), JAVA, 0.0)
    assert len(worker._journal) == 16384


def test_what_the_reader_has_is_forgotten() -> None:
    worker = Sightings("run")
    worker.called(ONE, JAVA, 0.0)
    told = worker.news("run", 0)["told"]
    worker.called(ONE, PYTHON, 1.0)
    assert len(worker._journal) == 2, "not before it is known to have been read"
    again = worker.news("run", told)
    assert again == worker.news("run", told)
    assert [event[3] for event in again["events"]] == [PYTHON] and len(worker._journal) == 1
    other = worker.news("-", 0)
    assert other["whole"] and [event[3] for event in other["events"]] == [PYTHON]
    assert worker.news("run", 99)["events"] == []


def test_two_tunnels_of_which_the_older_one_lives_are_two_agents() -> None:
    for other in ("0", "1"):
        node = Node()
        older, newer = Tunnel("a"), Tunnel("b")
        node.workers["0"].tunnel_opened(older, 0.0)
        node.workers[other].tunnel_opened(newer, 1.0)
        assert node.look_at_tunnels(2) == []
        newer.bytes_in += 50
        assert node.look_at_tunnels(3) == []
        older.bytes_in += 1
        assert node.look_at_tunnels(4) == [ONE]
        older.bytes_in += 1
        assert node.look_at_tunnels(5) == []


def test_an_agent_that_connects_again_leaves_a_silent_tunnel() -> None:
    node = Node()
    older, newer = Tunnel("a"), Tunnel("b")
    node.workers["0"].tunnel_opened(older, 0.0)
    older.bytes_in += 1000
    node.workers["1"].tunnel_opened(newer, 5.0)
    newer.bytes_in += 50
    assert node.look_at_tunnels(6) == []
    newer.bytes_in += 50
    assert node.look_at_tunnels(7) == []
    node.workers["0"].tunnel_closed(older)
    newer.bytes_in += 50
    assert node.look_at_tunnels(8) == []
    assert node.comparison._bytes == {}
    node.workers["1"].tunnel_closed(newer)
    node.look_at_tunnels(9)
    assert all(not worker._tunnels for worker in node.workers.values())


def test_ended_tunnels_are_forgotten_though_others_crowd_their_identity() -> None:
    node = Node()
    others = (Tunnel("c", source="10.0.0.3"), Tunnel("d", source="10.0.0.3"))
    for tunnel in others:
        node.workers["1"].tunnel_opened(tunnel, 0.0)
    before = Tunnel("start")
    node.workers["0"].tunnel_opened(before, 0.0)
    for number in range(50):
        tunnel = Tunnel(str(number))
        node.workers["0"].tunnel_opened(tunnel, number + 1.0)
        node.look_at_tunnels(number + 1.0)
        node.workers["0"].tunnel_closed(before)
        before = tunnel
    assert len(node.comparison._bytes) <= 3


def test_third_tunnel_does_not_hide_the_first() -> None:
    node = Node()
    tunnels = [Tunnel(name) for name in "abc"]
    for at, tunnel in enumerate(tunnels):
        node.workers["0"].tunnel_opened(tunnel, float(at))
    assert node.look_at_tunnels(3) == []
    node.workers["0"].tunnel_closed(tunnels[1])
    tunnels[0].bytes_in += 1
    assert node.look_at_tunnels(4) == [ONE]
