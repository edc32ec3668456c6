"""Two agents under one identity, on a node with two workers: what one of them alone cannot see."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.lookout import LOOK_EVERY_S
from tests.integration import peers
from tests.integration.nodes import AGENT, Node, _get
from tests.integration.peers import Origin, Wire, eventually
from tests.integration.test_upgrade import UPGRADE, echoing

JAVA, PYTHON = b"Java/1.6.0_45", b"Python/3.11 websockets/12"


@pytest.fixture
def two(build: Callable[[Any], Node], platform: Origin) -> Iterator[Node]:
    node = build({"limits": {"connections_per_source": 64}})
    try:
        node.start(0)
        node.start(1)
        for worker in node.workers:
            eventually(lambda one=worker: not one.snapshot()["readyProblems"], "each is ready")
        yield node
    finally:
        node.stop()


def by(node: Node, number: int, connect: Callable[[], Wire]) -> Wire:
    """Return a connection that worker `number` has accepted: the kernel chooses, so try again."""
    worker = next(one for one in node.workers if one.number == number)
    for _ in range(200):
        before = worker.snapshot()["events"].get("accepted_agent", 0)
        wire = connect()
        if worker.snapshot()["events"].get("accepted_agent", 0) > before:
            return wire
        wire.close()
    raise AssertionError(f"worker {number} accepts nothing")


def call(node: Node, number: int, agent: bytes) -> None:
    wire = by(node, number, lambda: peers.dial(node.address, AGENT))
    got = wire.ask(b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: ", agent, b"\r\n\r\n")
    assert got.status == 200
    wire.close()


def reported(node: Node) -> int:
    return sum(one.snapshot()["events"].get("duplicate_identity", 0) for one in node.workers)


def log_of(node: Node) -> str:
    return "".join(worker.log for worker in node.workers)


@pytest.mark.deadline(100)
def test_turns_that_no_worker_sees_alone(two: Node, platform: Origin) -> None:
    """Worker 0 gets only the one agent's calls, worker 1 only the other's."""
    call(two, 0, JAVA)
    call(two, 1, PYTHON)

    def again() -> bool:
        call(two, 0, JAVA)  # told again after REPEAT_S
        return reported(two) > 0

    eventually(again, "the two are told apart", 90)
    assert reported(two) == 1
    told = "two agents seem to call as 127.0.1.1 in zone default: two programs take turns"
    assert f"{told}, told apart by User-Agent; give one of them" in log_of(two)
    assert not any(word.decode() in log_of(two) for word in (JAVA, PYTHON)), "an agent's own words"
    errors = two.status()["lastErrors"]
    assert [error["error"] for error in errors] == ["duplicate_identity"]
    metrics = two.get("/metrics")[1].decode()
    assert metrics.count('event="duplicate_identity"') == 1


def tunnel(node: Node, number: int) -> Wire:
    wire = by(node, number, lambda: peers.dial(node.address, AGENT))
    wire.send(UPGRADE, b"\r\n")
    assert wire.response().status == 101
    return wire


def ping(wire: Wire) -> None:
    wire.send(b"ping")
    assert wire.exactly(4) == b"ping"


@pytest.mark.parametrize("other", [0, 1])
def test_two_tunnels_that_both_live(two: Node, platform: Origin, other: int) -> None:
    platform.use(echoing)
    older, newer = tunnel(two, 0), tunnel(two, other)

    def both_live() -> bool:
        ping(older)
        ping(newer)
        return reported(two) > 0

    eventually(both_live, "two tunnels of one identity are noticed", 30)
    assert "as 127.0.1.1 in zone default: two tunnels live at once" in log_of(two)
    for wire in (older, newer):
        wire.close()


def test_agent_that_comes_back_is_one_agent(two: Node, platform: Origin) -> None:
    """Its former tunnel is still open, and silent: nobody is warned of, however often one looks."""
    platform.use(echoing)
    older = tunnel(two, 0)
    for _ in range(5):
        ping(older)
    newer = tunnel(two, 1)
    until = time.monotonic() + 2.5 * LOOK_EVERY_S
    while time.monotonic() < until:
        ping(newer)
        time.sleep(0.1)
    assert reported(two) == 0
    for wire in (older, newer):
        wire.close()


def test_another_worker_looks_when_the_first_is_killed(two: Node, platform: Origin) -> None:
    locked = two.home / "var" / "run" / "lookout.lock"
    eventually(lambda: _holder(locked), "one worker looks", 20)
    first = next(one for one in two.workers if one.process.pid == _holder(locked))
    second = next(one for one in two.workers if one is not first)
    first.process.kill()
    first.process.wait()
    two.workers = [second]
    eventually(lambda: _holder(locked) == second.process.pid, "the other one looks", 20)
    for agent in (JAVA, PYTHON, JAVA):
        call(two, second.number, agent)
    eventually(lambda: reported(two) == 1, "it finds what it should", 20)


def _holder(path: Path) -> int:
    """Return the process that holds the lock on a file, as the kernel says; 0: none."""
    if not path.exists():
        return 0
    inode = f":{path.stat().st_ino} "
    for line in Path("/proc/locks").read_text().splitlines():
        if inode in line and "FLOCK" in line:
            return int(line.split()[4])
    return 0


@pytest.mark.parametrize(
    "target",
    [
        "/sightings/",
        "/sightings/news",
        "/sightings/news?run=x&since=y",
        "/sightings/tunnels?of=nonsense",
        "/sightings/tunnels?of=[1]",
    ],
)
def test_question_that_is_none_is_not_answered(node: Node, target: str) -> None:
    path = str(node.home / "var" / "run" / "worker-0.sock")
    assert _get(path, target)[0] == 404


@pytest.mark.parametrize("target", ["/snapshot", "/sightings/news?run=-&since=0"])
def test_what_workers_ask_each_other_is_for_nobody_else(node: Node, target: str) -> None:
    """The loopback port is every local user's; a journal that was read is forgotten."""
    path = str(node.home / "var" / "run" / "worker-0.sock")
    assert _get(path, target)[0] == 200
    assert node.get(target)[0] == 404
