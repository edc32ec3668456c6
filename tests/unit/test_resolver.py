"""Look-ups: bounded, shared, and no thread for an address."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from proxy.resolver import LateLookup, Resolver

FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 80))]


class System:
    """Stands in for getaddrinfo: blocks a thread of the system until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str, *_: Any) -> Any:
        self.asked.append(host)
        self.go.wait(30)
        if host == "no.test":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return FOUND


@pytest.fixture
def system() -> Iterator[System]:
    system = System()
    yield system
    system.go.set()


def test_an_address_is_answered_without_asking_anybody(system: System) -> None:
    resolver = Resolver(gevent.get_hub(), 1, system)
    for host in ("10.1.2.3", "::1"):
        assert resolver.getaddrinfo(host, 80, 0, socket.SOCK_STREAM)[0][4][0] == host
    assert system.asked == []


def test_all_who_ask_for_one_name_wait_for_one_look_up(system: System) -> None:
    resolver = Resolver(gevent.get_hub(), 20, system)
    asking = [gevent.spawn(resolver.getaddrinfo, "a.test", 80) for _ in range(50)]
    gevent.sleep(0)  # each of them has asked
    system.go.set()
    gevent.joinall(asking, timeout=20)
    assert [one.value for one in asking] == [FOUND] * 50
    assert system.asked == ["a.test"]
    assert resolver.getaddrinfo("a.test", 80) == FOUND, "asked again the next time"
    assert len(system.asked) == 2


def test_nobody_waits_longer_than_the_limit_and_other_names_are_answered(system: System) -> None:
    resolver = Resolver(gevent.get_hub(), 0.2, system)
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(LateLookup, match=r"no answer from the name server within 0.2 s"):
            resolver.getaddrinfo("hangs.test", 80)
    assert time.monotonic() - began >= 0.4
    assert system.asked == ["hangs.test"], "no second thread for a name that hangs"
    resolver.limit_s = 20
    system.go.set()
    assert resolver.getaddrinfo("other.test", 80) == FOUND


def test_more_names_than_threads_are_refused_at_once(system: System) -> None:
    resolver = Resolver(gevent.get_hub(), 20, system)
    asking = [gevent.spawn(resolver.getaddrinfo, f"{n}.test", 80) for n in range(64)]
    deadline = time.monotonic() + 20
    while len(resolver._running) < 64:
        assert time.monotonic() < deadline
        gevent.sleep(0.01)
    with pytest.raises(LateLookup):
        resolver.getaddrinfo("64.test", 80)
    system.go.set()
    gevent.joinall(asking, timeout=20)
    assert [one.value for one in asking] == [FOUND] * 64


def test_what_the_system_says_is_passed_on_and_a_strangers_timeout_is_his(system: System) -> None:
    resolver = Resolver(gevent.get_hub(), 20, system)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        resolver.getaddrinfo("a.test", 80)
    system.go.set()
    with pytest.raises(socket.gaierror, match="no such name"):
        resolver.getaddrinfo("no.test", 80)
