"""Two agents under one identity: what is noticed, and what must not be."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.duplicates import WINDOW_S, Duplicates

ONE = ("default", "10.0.0.2")


@dataclass(eq=False)
class Tunnel:
    zone: str = "default"
    source: str = "10.0.0.2"
    bytes_in: int = 100


def test_programs_that_take_turns_are_two_agents_and_told_once() -> None:
    found = Duplicates()
    calls = [b"Java", b"Java", b"Python", b"Java", b"Python"]
    assert [found.called(ONE, manner, float(at)) for at, manner in enumerate(calls)] == [
        False, False, False, True, False,
    ]  # fmt: skip


def test_an_upgrade_is_not_two_agents() -> None:
    found = Duplicates()
    assert not found.called(ONE, b"1.2.4", 0.0)
    assert not found.called(ONE, b"1.2.5", 1.0)
    assert not found.called(ONE, b"1.2.4", WINDOW_S + 2.0)


def test_other_zones_and_sources_are_other_agents() -> None:
    found = Duplicates()
    for at, manner in enumerate((b"a", b"b", b"a", b"b")):
        identity = ("one" if manner == b"a" else "two", "10.0.0.2")
        assert not found.called(identity, manner, float(at))


def test_the_memory_is_bounded() -> None:
    found = Duplicates()
    for number in range(20000):
        found.called(("default", str(number)), b"a", 0.0)
    assert len(found._seen) <= 16384


def test_two_tunnels_of_which_the_older_one_lives_are_two_agents() -> None:
    found = Duplicates()
    older, newer = Tunnel(), Tunnel()
    found.tunnel_opened(older)
    found.tunnel_opened(newer)
    assert found.look(0.0) == []
    older.bytes_in += 1
    assert found.look(1.0) == [ONE]
    assert found.look(2.0) == []


def test_an_agent_that_connects_again_leaves_a_silent_tunnel() -> None:
    found = Duplicates()
    older, newer = Tunnel(), Tunnel()
    found.tunnel_opened(older)
    found.tunnel_opened(newer)
    newer.bytes_in += 50
    assert found.look(0.0) == []
    found.tunnel_closed(older)
    older.bytes_in += 1
    assert found.look(1.0) == []
    found.tunnel_closed(newer)
    assert not found._tunnels
