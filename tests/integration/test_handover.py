"""Two workers on one port: restarts, reloads, new certificates under load; nobody notices.

Some agents are in a zone with an address of its own: its listeners are handed on as well.
`tests/load` says what lost and twice mean. SOAK_RATE and SOAK_TUNNELS of the environment make the
load larger than what a busy machine of a CI carries.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.fakes.certificates import KeyPair
from tests.integration.nodes import PLATFORM, ROUTED_AGENT, Node, Worker
from tests.integration.peers import Origin, eventually
from tests.load.running import Callers, Ledger

RATE = float(os.environ.get("SOAK_RATE", "120"))
TUNNELS = int(os.environ.get("SOAK_TUNNELS", "100"))
pytestmark = pytest.mark.deadline(240)
SOURCES = [f"127.0.1.{number}" for number in range(50, 90)]


class Load:
    """Agents call the platform, the platform calls agents, both numbered; tunnels of agents."""

    def __init__(self, node: Node, up: Ledger, down: Ledger) -> None:
        self.up, self.down = up, down
        route = node.route(*down.address).decode()
        self.agents = Callers(
            node.address, SOURCES, name="up", rate=RATE, tunnels=TUNNELS, tunnel_s=20
        )
        apart = ("127.0.0.2", node.address[1])
        self.apart = Callers(apart, ["127.0.5.1", "127.0.5.2"], name="apart", rate=RATE / 4)
        self.platform = Callers(node.address, [PLATFORM], name="down", rate=RATE / 4, route=route)

    def more(self, count: int) -> None:
        self.agents.more(count)
        self.apart.more(count // 8)
        self.platform.more(count // 8)

    def settle(self) -> None:
        """End, and compare what was sent, answered and received. Nothing lost, nothing twice."""
        for callers, ledger in (([self.agents, self.apart], self.up), ([self.platform], self.down)):
            total: Counter[str] = Counter()
            for one in callers:
                one.report("end")
                assert one.lost == []
                total += one.total
            came = ledger.ask()
            assert came["requests"]["twice"] == [] and came["messages"]["twice"] == []
            assert came["requests"]["came"] == total["done"]
            said = total["messages"] + total["unanswered"]
            assert total["messages"] <= came["messages"]["came"] <= said
            print(f"{dict(total)} came {came['requests']['came']}")

    def stop(self) -> None:
        for callers in (self.agents, self.apart, self.platform):
            callers.stop()


@pytest.fixture
def sides(pairs: dict[str, KeyPair]) -> Iterator[tuple[Ledger, Ledger]]:
    with ExitStack() as stack:
        up = stack.enter_context(Ledger(PLATFORM, pairs["platform"]))
        yield up, stack.enter_context(Ledger(ROUTED_AGENT, pairs["agent"]))


@pytest.fixture
def two(build: object, sides: tuple[Ledger, Ledger], pairs: dict[str, KeyPair]) -> Iterator[Node]:
    assert callable(build)
    up, down = sides
    node: Node = build(
        {
            "upstream": {"endpoint": f"{PLATFORM}:{up.address[1]}"},
            "agents": {"ports": down.address[1]},
            "drain": {"delay": 0.3, "timeout": 15},
            # On a busy machine the stand-ins are late: that is no loss of the proxy's.
            "timeouts": {"connect": 30, "upstream_answer": 60, "agent_answer": 60},
            "zones": {},
            "[default]": {"networks": "127.0.1.0/24"},
            "[apart]": {"networks": "127.0.5.0/24", "listen": "127.0.0.2"},
        }
    )
    for kind in ("certificate", "key"):  # its own, so that a test may change them
        copy = node.home / kind
        shutil.copy(getattr(pairs["proxy"], kind), copy)
        node.write(listen={kind: copy})
    try:
        node.start(0)
        node.start(1)
        for worker in node.workers:  # the node is ready with its first one
            eventually(lambda one=worker: not one.snapshot()["readyProblems"], "each is ready")
        yield node
    finally:
        node.stop()


@pytest.fixture
def load(two: Node, sides: tuple[Ledger, Ledger]) -> Iterator[Load]:
    load = Load(two, *sides)
    try:
        load.more(40)
        yield load
    finally:
        load.stop()


def restart(node: Node, number: int, load: Load) -> None:
    worker = next(w for w in node.workers if w.number == number)
    worker.end()
    load.more(40)  # by the other one alone
    node.start(number)
    load.more(40)


def test_rolling_restart_loses_no_request_and_doubles_none(two: Node, load: Load) -> None:
    for number in (0, 1, 0):
        restart(two, number, load)
    for _ in range(20):  # the kernel spreads as it likes: few connections may leave one out
        if all(_has_both_zones(worker) for worker in two.workers):
            break
        load.more(20)
    load.settle()
    assert all(_has_both_zones(worker) for worker in two.workers), "it got none of a zone's load"


def _has_both_zones(worker: Worker) -> bool:
    counts = {(zone, event): n for zone, event, n in worker.snapshot()["zoneEvents"]}
    return all(counts.get((zone, "accepted_agent"), 0) > 0 for zone in ("default", "apart"))


def test_reload_and_new_certificate_lose_no_request_and_double_none(
    two: Node, load: Load, pairs: dict[str, KeyPair]
) -> None:
    before = two.status()["certificateSha256"]
    for pair in ("other", "proxy", "other"):
        for kind in ("certificate", "key"):
            shutil.copy(getattr(pairs[pair], kind), two.home / kind)
        for worker in two.workers:
            worker.signal(signal.SIGHUP)
        load.more(150)
    eventually(lambda: two.status()["certificateSha256"] != before, "it shows the new one")
    load.settle()
    for worker in two.workers:
        assert worker.snapshot()["events"]["reloaded"] == 3


def test_node_that_keeps_one_worker_serves_what_two_did(two: Node, load: Load) -> None:
    """One drains and does not come back: its queues stay with the other one."""
    two.workers[0].end()
    load.more(80)
    load.settle()


def test_sets_of_two_siblings_stay_apart(two: Node, load: Load) -> None:
    """Issue 4: what a worker had adopted went with its own sockets as one set, keys repeating,
    so that one of the two queues was reset when it drained."""
    two.start(2)
    for number in (0, 1):  # worker 2 gets both sets
        next(w for w in two.workers if w.number == number).end()
    two.start(3)
    eventually(lambda: not two.workers[-1].snapshot()["readyProblems"], "it is ready")
    next(w for w in two.workers if w.number == 2).end()  # three sets go to worker 3
    load.more(80)
    for number in (0, 1):
        two.start(number)
    load.more(40)
    load.settle()


def test_worker_that_dies_takes_only_its_own_along(two: Node, load: Load) -> None:
    """SIGKILL: its socket file stays, and what it listened on is gone; the other serves on."""
    first, second = two.workers
    first.process.kill()
    first.process.wait()
    two.workers = [second]
    load.more(200)  # whoever was under way there has been told by now
    load.agents.report()
    load.agents.lost.clear()
    load.more(60)
    assert [fault for fault in load.agents.lost if "tunnel" not in fault] == []
    assert [worker["worker"] for worker in two.status()["workers"]] == [1]
    two.start(0)
    eventually(lambda: len(two.status()["workers"]) == 2, "it is back")


def test_both_drain_at_once(two: Node, load: Load) -> None:
    """Nobody is left to give listeners to: both empty their own queues and end."""
    for worker in two.workers:
        worker.signal(signal.SIGTERM)
    for worker in two.workers:
        worker.end()
    for callers in (load.agents, load.apart, load.platform):
        callers.report("end")
        refused = ("ConnectionRefusedError", "ConnectionResetError")
        assert all(any(word in fault for word in refused) for fault in callers.lost), callers.lost
    for ledger in (load.up, load.down):
        assert ledger.ask()["requests"]["twice"] == []


def test_one_request_shows_the_whole_node(two: Node, platform: Origin) -> None:
    status = two.status()
    assert [worker["worker"] for worker in status["workers"]] == [0, 1]
    metrics = two.get("/metrics")[1].decode()
    for number in (0, 1):
        assert f'agent_proxy_ready{{worker="{number}"}} 1.0' in metrics
