"""Two workers on one port: one restarts after the other, under load, and nobody notices.

Half the callers are in a zone with an address of its own: its listeners are handed on as well.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from tests.integration import peers
from tests.integration.nodes import Node
from tests.integration.peers import Aborted, Origin, eventually

CALLERS = 4
POST = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"


@pytest.fixture
def two(build: object, platform: Origin) -> Iterator[Node]:
    assert callable(build)
    node: Node = build(
        {
            "drain": {"delay": 0.3, "timeout": 5},
            "zones": {},
            "[default]": {"networks": "127.0.1.0/24"},
            "[apart]": {"networks": "127.0.5.0/24", "listen": "127.0.0.2"},
        }
    )
    try:
        node.start(0)
        node.start(1)
        for worker in node.workers:  # the node is ready with its first one
            eventually(lambda one=worker: not one.snapshot()["readyProblems"], "each is ready")
        yield node
    finally:
        node.stop()


class Load:
    """Callers, each with a new connection per request; `kept` ones send two over each."""

    def __init__(self, node: Node) -> None:
        self.done = 0
        self.lost: list[str] = []
        self._node = node
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(CALLERS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, number: int) -> None:
        while not self._ending.is_set():
            try:
                if number % 2:
                    wire = peers.dial(("127.0.0.2", self._node.address[1]), f"127.0.5.{number}")
                else:
                    wire = peers.dial(self._node.address, f"127.0.1.{50 + number}")
                try:
                    got = wire.ask(POST)
                finally:
                    wire.close()
                if (got.status, got.body) == (200, b"hello"):
                    self.done += 1
                else:
                    self.lost.append(str(got))
            except (OSError, EOFError, Aborted) as fault:
                self.lost.append(repr(fault))


def test_rolling_restart_loses_no_request(two: Node, platform: Origin) -> None:
    with Load(two) as load:
        for _ in range(2):
            for number in (0, 1):
                before = load.done
                worker = next(w for w in two.workers if w.number == number)
                worker.end()
                eventually(lambda since=load.done: load.done > since + 20, "one serves alone")
                two.start(number)
                assert load.done > before
        before = load.done
        eventually(lambda: load.done > before + 50, "both serve")
    assert load.lost == []
    for worker in two.workers:
        counts = {(zone, event): n for zone, event, n in worker.snapshot()["zoneEvents"]}
        for zone in ("default", "apart"):
            assert counts[zone, "accepted_agent"] > 0, f"it got none of the load of {zone}"


def test_worker_that_dies_takes_only_its_own_along(two: Node, platform: Origin) -> None:
    """SIGKILL: its socket file stays, and what it listened on is gone; the other serves on."""
    first, second = two.workers
    first.process.kill()
    first.process.wait()
    two.workers = [second]
    with Load(two) as load:
        eventually(lambda: load.done > 20, "the other one serves")
    assert two.status()["workers"][0]["worker"] == 1
    assert len(two.status()["workers"]) == 1
    two.start(0)
    eventually(lambda: len(two.status()["workers"]) == 2, "it is back")


def test_both_drain_at_once(two: Node, platform: Origin) -> None:
    """Nobody is left to give listeners to: both empty their own queues and end."""
    with Load(two) as load:
        eventually(lambda: load.done > 20, "there is load")
        for worker in two.workers:
            worker.signal(signal.SIGTERM)
        for worker in two.workers:
            worker.end()
    refused = ("ConnectionRefusedError", "ConnectionResetError")
    assert all(fault.startswith(refused) for fault in load.lost), load.lost


def test_one_request_shows_the_whole_node(two: Node, platform: Origin) -> None:
    status = two.status()
    assert [worker["worker"] for worker in status["workers"]] == [0, 1]
    metrics = two.get("/metrics")[1].decode()
    for number in (0, 1):
        assert f'agent_proxy_ready{{worker="{number}"}} 1.0' in metrics
