"""Zones' listeners and their way from worker to worker: entrances and handover, real sockets.

Each `Entrances` here stands for a worker; what it accepts is noted with the zones it was for.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import gevent.socket
import pytest
from gevent import subprocess

from proxy import handover
from proxy.entrances import Entrances
from proxy.handover import Handover
from proxy.settings import Settings, Zone, parse
from tests.integration.nodes import Reservation


@pytest.fixture(autouse=True)
def _cooperative(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a worker, where gevent's sockets are in place of Python's."""
    monkeypatch.setattr(handover, "socket", gevent.socket)


class Worker:
    """One that accepts and hands over, and does nothing with what it has accepted."""

    def __init__(self, run_dir: Path, number: int) -> None:
        self.number = number
        self.accepted: list[tuple[str, str]] = []
        self.sockets: list[socket.socket] = []
        self.entrances = Entrances(self._accept)
        entrances = self.entrances
        self.handover = Handover(
            str(run_dir), number, entrances.adopt, entrances.give_back, entrances.copies
        )
        self._is_up = False

    def _accept(self, zones: tuple[Zone, ...], sock: socket.socket, address: Any) -> None:
        self.sockets.append(sock)
        names = ",".join(zone.name for zone in zones)
        self.accepted.append((sock.getsockname()[0], names))

    def start(self, settings: Settings, *, taking: bool = True) -> None:
        self.entrances.open(settings, self.handover.take_back() if taking else [])
        self.handover.open()
        self._is_up = True

    def drain(self) -> None:
        """End as a worker does."""
        if self._is_up:
            self._is_up = False
            self.handover.stop_adopting()
            self.entrances.hand_over(self.handover.give)
            self.handover.close()


class Team:
    """Workers of one node, their port and their callers; all ends with the test."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._reservation = Reservation(1)
        self.port = self._reservation.ports[0]
        self._workers: list[Worker] = []
        self._callers: list[socket.socket] = []

    def settings(self, *zones: str) -> Settings:
        lines = ["[listen]", "addresses = 127.0.0.1", f"port = {self.port}", "[zones]"]
        for number, listen in enumerate(zones):
            lines += [f"[[z{number}]]", f"listen = {listen}"]
            lines += [f"networks = 10.{number // 250}.{number % 250}.0/24"]
        return parse(lines)

    def start(self, number: int, settings: Settings, *, taking: bool = True) -> Worker:
        worker = Worker(self.run_dir, number)
        self._workers.append(worker)
        worker.start(settings, taking=taking)
        return worker

    def connect(self, *addresses: str, times: int = 1) -> None:
        """Make connections that the kernel completes; somebody may accept them or not."""
        for address in addresses * times:
            caller = socket.socket()
            self._callers.append(caller)
            caller.settimeout(5)
            caller.connect((address, self.port))

    def settle(self) -> None:
        """Wait until each connection is accepted, once."""
        total = len(self._callers)
        with gevent.Timeout(10):
            while sum(len(worker.accepted) for worker in self._workers) < total:
                gevent.sleep(0.005)
        gevent.sleep(0.02)
        assert sum(len(worker.accepted) for worker in self._workers) == total

    def close(self) -> None:
        for worker in self._workers:
            worker.drain()
        for sock in (*self._callers, *(one for worker in self._workers for one in worker.sockets)):
            sock.close()
        self._reservation.release()


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    team = Team(tmp_path)
    yield team
    team.close()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_every_zone_has_its_entrance(team: Team) -> None:
    worker = team.start(0, team.settings("127.0.0.2", "127.0.0.3"))
    team.connect("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.3")
    team.settle()
    assert sorted(worker.accepted) == [
        ("127.0.0.1", ""),
        ("127.0.0.2", "z0"),
        ("127.0.0.3", "z1"),
        ("127.0.0.3", "z1"),
    ]


def test_zone_whose_address_is_missing_stops_nobody(team: Team) -> None:
    worker = team.start(0, team.settings("192.0.2.77", "127.0.0.3"))
    missing, there = worker.entrances.report()
    assert "192.0.2.77" in missing["problems"][0] and not missing["listens"]
    assert there["listens"] == [f"127.0.0.3 port {team.port}"] and not there["problems"]
    worker.entrances.watch()
    assert worker.entrances.report()[0]["problems"] == missing["problems"]
    team.connect("127.0.0.3")
    team.settle()


def test_address_of_listen_must_be_there(team: Team) -> None:
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 0))
        foreign.listen()
        team.port = foreign.getsockname()[1]
        with pytest.raises(
            OSError, match=rf"127\.0\.0\.1 port {team.port}: Address already in use"
        ):
            team.start(0, team.settings("127.0.0.2"))


def test_reload_opens_and_closes_what_has_changed(team: Team) -> None:
    worker = team.start(0, team.settings("127.0.0.2"))
    later = team.settings("127.0.0.4", "127.0.0.3")
    worker.entrances.change(later, worker.entrances.prepare(later))
    team.connect("127.0.0.3", "127.0.0.4")
    team.settle()
    assert sorted(worker.accepted) == [("127.0.0.3", "z1"), ("127.0.0.4", "z0")]
    with socket.socket() as late, pytest.raises(ConnectionRefusedError):
        late.connect(("127.0.0.2", team.port))


def test_queues_of_all_zones_outlive_their_worker(team: Team) -> None:
    """Given to a sibling and taken back, with connections waiting at each step."""
    settings = team.settings("127.0.0.2", "127.0.0.3")
    first, second = (team.start(number, settings) for number in (0, 1))
    team.connect("127.0.0.2", "127.0.0.3", times=30)
    first.drain()  # before the loop had a chance to accept anything
    team.connect("127.0.0.2", "127.0.0.3", times=30)
    team.settle()
    assert first.accepted == [], "the queue was accepted before it was given"
    assert sorted(set(second.accepted)) == [("127.0.0.2", "z0"), ("127.0.0.3", "z1")]

    again = team.start(0, settings)
    team.connect("127.0.0.2", "127.0.0.3", times=30)
    team.settle()
    assert again.accepted, "it has its sockets back and gets nothing"
    assert not second.entrances.give_back(0), "the sibling kept what was taken back"


def test_two_restarts_at_once_lose_nothing(team: Team) -> None:
    """What a worker has adopted has the same names as its own, and must not get lost for it."""
    settings = team.settings("127.0.0.2")
    workers = [team.start(number, settings) for number in range(3)]
    team.connect("127.0.0.2", times=90)
    for worker in workers[:2]:
        worker.drain()
    team.settle()
    back = [team.start(number, settings) for number in (1, 0)]
    team.connect("127.0.0.2", times=90)
    team.settle()
    assert all(len(worker.accepted) > 5 for worker in back), "each has its own socket again"


def test_worker_that_could_not_take_back_gives_both(team: Team) -> None:
    """Its sibling was stopped meanwhile: new sockets were opened, the old ones have queues too."""
    settings = team.settings("127.0.0.2")
    team.start(1, settings)
    for _ in range(2):
        worker = team.start(0, settings, taking=False)
        team.connect("127.0.0.2", times=40)
        worker.drain()
    again = team.start(0, settings)
    team.connect("127.0.0.2", times=40)
    team.settle()
    again.drain()
    team.connect("127.0.0.2", times=40)
    team.settle()


def test_last_worker_accepts_what_waits_and_closes(team: Team) -> None:
    worker = team.start(0, team.settings("127.0.0.2"))
    team.connect("127.0.0.2", times=20)
    worker.drain()
    assert len(worker.accepted) == 20
    with socket.socket() as late, pytest.raises(ConnectionRefusedError):
        late.connect(("127.0.0.2", team.port))


def test_more_zones_than_descriptors_in_one_message(team: Team) -> None:
    addresses = [f"127.0.{1 + number // 200}.{1 + number % 200}" for number in range(300)]
    settings = team.settings(*addresses)
    first, second = (team.start(number, settings) for number in (0, 1))
    team.connect(*addresses)
    first.drain()
    team.settle()
    before = open_descriptors()
    team.start(0, settings)
    assert open_descriptors() - before < 40, "sockets were opened anew, or the sibling kept them"


def test_zones_of_adopted_listeners_follow_a_reload(team: Team) -> None:
    first, second = (team.start(number, team.settings("127.0.0.2")) for number in (0, 1))
    first.drain()
    later = team.settings("127.0.0.5")
    second.entrances.change(later, second.entrances.prepare(later))
    team.connect("127.0.0.2")  # only the adopted socket is left there
    team.settle()
    assert second.accepted == [("127.0.0.2", "")], "an agent there would be in a zone of the past"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"nonsense",
        b"[]",
        b'["give"]',
        b'["give", 0, [["127.0.0.1", "", 1], ["127.0.0.2", "", 1]]]',
        b'["give", 0, [["127.0.0.1", ""]]]',
        b'["give", 0, [[1, 2, "x"]]]',
        b'["give", "0", [["127.0.0.1", "", 1]]]',
        b'["take", 0]',
    ],
)
def test_what_is_no_hand_over_changes_nothing(team: Team, said: bytes) -> None:
    worker = team.start(0, team.settings())
    before = open_descriptors()
    with socket.socket() as stranger, gevent.socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(5)
        peer.connect(str(team.run_dir / "handover-0.sock"))
        if said:
            socket.send_fds(peer, [said], [stranger.fileno()])
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(16) == b""
    with gevent.Timeout(5):
        while open_descriptors() > before:
            gevent.sleep(0.01)
    assert not worker.entrances.give_back(0)
    team.connect("127.0.0.1")
    team.settle()


_AS_NOBODY = """
import os, socket, sys
os.setgid(65534)
os.setuid(65534)
peer = socket.socket(socket.AF_UNIX)
peer.settimeout(10)
peer.connect(sys.argv[1])
try:
    peer.sendall(b'["take", 0]')
    peer.shutdown(socket.SHUT_WR)
    sys.exit(0 if peer.recv(16) == b"" else 3)
except ConnectionError:
    sys.exit(0)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_is_not_listened_to() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        team = Team(Path(folder))
        team.start(0, team.settings())
        path = Path(folder) / "handover-0.sock"
        for place in (Path(folder), path):
            place.chmod(0o777)  # what rights of folder and file would already have prevented
        words = [sys.executable, "-c", _AS_NOBODY, str(path)]
        assert subprocess.run(words, timeout=20, check=False).returncode == 0
        team.close()
