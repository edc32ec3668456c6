"""Logs that nobody takes: supervisord stopped, its disk full, its directory gone.

supervisord runs by conf/supervisord.conf, with two workers. Traffic goes on in all cases, no
worker is taken for a hung one, and what was lost is said afterwards.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration import peers
from tests.integration.nodes import AGENT, Node
from tests.integration.peers import Origin, Wire, eventually
from tests.integration.supervised import Supervised

pytestmark = pytest.mark.deadline(150)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
PIPE_BYTES = 65536
MANY = 1000
"""Requests whose lines are more than three pipes hold."""
LONGEST_S = 5.0
"""What one request may take on a busy machine; before, it took for ever."""


@pytest.fixture
def served(build: Callable[[Any], Node]) -> Iterator[Supervised]:
    node = build({"drain": {"delay": 0.3, "timeout": 4}})
    supervised = Supervised(node)
    yield supervised
    try:
        supervised.end()
    finally:
        node.stop()


class Agents:
    """Asks over kept connections, until each worker has one; counts what was answered."""

    def __init__(self, node: Supervised) -> None:
        self._node = node
        self._wires: list[Wire] = []
        self.answered = 0

    def ask(self, count: int) -> float:
        """Return how long the slowest took."""
        while not all(self._node.snapshot(n)["connections"] for n in (0, 1)):
            self._wires.append(peers.dial(self._node.node.address, AGENT))
        slowest_s = 0.0
        for number in range(count):
            wire = self._wires[number % len(self._wires)]
            began = time.monotonic()
            assert wire.ask(GET).status == 200
            slowest_s = max(slowest_s, time.monotonic() - began)
            self.answered += 1
        return slowest_s

    def close(self) -> None:
        for wire in self._wires:
            wire.close()


@pytest.fixture
def agents(served: Supervised, platform: Origin) -> Iterator[Agents]:
    agents = Agents(served)
    yield agents
    agents.close()


def lines(node: Supervised) -> int:
    return sum(node.log(f"access-{number}").count("\n") for number in (0, 1))


def event(node: Supervised, name: str) -> int:
    return sum(node.snapshot(number)["events"].get(name, 0) for number in (0, 1))


def test_supervisord_that_stops_reading_stops_nobody(served: Supervised, agents: Agents) -> None:
    """Issue 4: a worker's write waited for it once 64 KiB were in the pipe, and every connection
    with it."""
    served.start()
    agents.ask(20)
    pids = [served.pid("worker-0"), served.pid("worker-1")]
    supervisord = served.supervision.pid
    os.kill(supervisord, signal.SIGSTOP)
    try:
        slowest_s = agents.ask(MANY)
        time.sleep(4)  # the watchdog would have lent a silent worker's queues by now
        for number in (0, 1):
            assert served.snapshot(number)["inFlight"] == 0
        before = lines(served)
    finally:
        os.kill(supervisord, signal.SIGCONT)
    began = time.monotonic()
    eventually(lambda: lines(served) == agents.answered, "every line comes after all")
    print(f"{MANY} requests, at most {slowest_s * 1000:.0f} ms each; {agents.answered - before} "
          f"lines were kept and written {time.monotonic() - began:.1f} s after")  # fmt: skip
    assert slowest_s < LONGEST_S
    assert (agents.answered - before) * 150 > 2 * PIPE_BYTES, "the pipes were full"
    assert event(served, "access_log_lost") == 0
    assert [served.pid("worker-0"), served.pid("worker-1")] == pids
    assert served.rescues() == {}, "nobody took a worker for a hung one"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_full_disk_stops_nobody_and_logging_goes_on_after(
    served: Supervised, agents: Agents
) -> None:
    log = served.var / "log"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(log)], check=True)
    # supervisord complains on its standard error, and ends if it cannot: as a journal is elsewhere
    (log / "supervisord.out").symlink_to(served.node.home / "supervisord.out")
    try:
        served.start()
        agents.ask(20)
        eventually(lambda: lines(served) == 20, "it logs")
        filler = log / "filler"
        with open(filler, "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(b"\0" * 1024)
        slowest_s = agents.ask(MANY)
        assert slowest_s < LONGEST_S
        assert lines(served) < agents.answered
        said = (served.node.home / "supervisord.out").read_text()
        assert "OSError: [Errno 28] No space left on device" in said
        before = served.pid("worker-0")
        filler.unlink()
        agents.ask(20)
        last = f"id={served.snapshot(1)['worker']:x}"
        eventually(lambda: last in served.log("access-1")[-4000:], "it logs again")
        print(
            f"at most {slowest_s * 1000:.0f} ms; {agents.answered - lines(served)} lines were lost"
        )
        assert served.pid("worker-0") == before
        assert served.rescues() == {}
    finally:
        subprocess.run(["umount", "--lazy", str(log)], check=True)


def test_log_that_cannot_be_rotated_is_read_on(served: Supervised, agents: Agents) -> None:
    """supervisord closed the channel for good when a rename failed: lines were lost until the
    worker was replaced."""
    log = served.var / "log"
    for number in (0, 1):
        with open(log / f"access-{number}.log", "wb") as file:
            file.truncate(50 * 1024 * 1024 - 100)  # one more line, and it is full
        (log / f"access-{number}.log.9").touch()
        (log / f"access-{number}.log.10" / "in the way").mkdir(parents=True)
    served.start()
    before = [served.pid("worker-0"), served.pid("worker-1")]
    agents.ask(MANY)
    eventually(lambda: lines(served) > agents.answered - 600, "what filled it is lost, no more")
    already = agents.answered
    agents.ask(100)
    eventually(lambda: served.log("access-0").count("\0") == 0, "it begins anew")
    time.sleep(2)  # lines are written a second after the exchange at the latest
    there = lines(served)
    agents.ask(100)
    eventually(lambda: lines(served) == there + 100, "every line since is there")
    assert there > already - 600
    said = (log / "supervisord.out").read_text()
    assert "access-0.log cannot be rotated: Is a directory; it begins anew" in said
    assert "uncaptured python exception" not in served.log("supervisord")
    assert [served.pid("worker-0"), served.pid("worker-1")] == before
    assert event(served, "access_log_lost") == 0


def test_log_directory_that_is_gone_stops_nobody_and_a_worker_starts_when_it_is_back(
    served: Supervised, agents: Agents
) -> None:
    served.start()
    agents.ask(20)
    log = served.var / "log"
    shutil.move(log, moved := served.var / "moved")
    assert agents.ask(MANY) < LONGEST_S
    os.kill(served.pid("worker-0"), signal.SIGKILL)  # it cannot start again without its log
    eventually(lambda: not served.pid("worker-0"), "it has ended")
    fresh = peers.dial(served.node.address, AGENT)
    for _ in range(20):
        assert fresh.ask(GET).status == 200, "the other worker serves"
    fresh.close()
    eventually(served.supervision.failed, "supervisord has given it up", 60)
    Path(log).mkdir()
    began = time.monotonic()
    eventually(served.is_complete, "both workers are ready again, and nobody said start", 90)
    print(f"complete {time.monotonic() - began:.1f} s after the directory was back")
    assert (log / "worker-0.log").exists() and (moved / "worker-0.log").exists()
    said = (moved / "watchdog.log").read_text()
    assert "worker-0 was given up: " in said and "ENOENT" in said
