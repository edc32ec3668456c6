"""Workers that die, stop, hang and grow under supervisord: served on, replaced, and told."""

from __future__ import annotations

import http.client
import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.fakes.certificates import KeyPair
from tests.integration.nodes import PLATFORM, WORLD, Node
from tests.integration.peers import eventually
from tests.integration.supervised import Supervised
from tests.load.running import Callers, Ledger

SILENT_S = 6.0
SOURCES = [f"127.0.1.{number}" for number in range(50, 70)]


@pytest.fixture
def up(pairs: dict[str, KeyPair]) -> Iterator[Ledger]:
    with Ledger(PLATFORM, pairs["platform"]) as ledger:
        yield ledger


@pytest.fixture
def supervise(build: Callable[[object], Node], up: Ledger) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def start(**settings: dict[str, object]) -> Supervised:
        node = build(
            {
                "upstream": {"endpoint": f"{PLATFORM}:{up.address[1]}"},
                "timeouts": {"connect": 30, "upstream_answer": 60},
                "health": {"silent": SILENT_S},
                "drain": {"delay": 0.3, "timeout": 4},
                **settings,
            }
        )
        node.environment.update(WORLD)
        started.append(supervised := Supervised(node))
        supervised.start()
        return supervised

    yield start
    for supervised in started:
        try:
            supervised.end()
        finally:
            supervised.node.stop()


def callers(node: Supervised, **options: object) -> Callers:
    """Only new connections: whoever is accepted by a dying worker is lost with it, and counted."""
    given = {"name": "up", "rate": 60, "kept": 0.0, "answer_s": 20, **options}
    return Callers(node.node.address, SOURCES, **given)


def settle(load: Callers, ledger: Ledger) -> None:
    load.report("end")
    came = ledger.ask()["requests"]
    assert came["twice"] == []
    assert load.total["done"] <= came["came"]


def worker_is_new(node: Supervised, number: int, before: int) -> bool:
    pid = node.pid(f"worker-{number}")
    if pid in (0, before):
        return False
    try:
        snapshot = node.snapshot(number)
    except (OSError, http.client.HTTPException):
        return False
    return bool(snapshot["pid"] == pid and not snapshot["readyProblems"])


@pytest.mark.deadline(120)
def test_restart_and_reload_as_the_manual_says_lose_nothing(
    supervise: Callable[..., Supervised], up: Ledger
) -> None:
    node = supervise()
    with callers(node, kept=0.5, tunnels=20) as load:
        load.more(20)
        for words in (
            ("restart", "agent-proxy:worker-0"),
            ("restart", "agent-proxy:worker-1"),
            ("signal", "HUP", "agent-proxy:*"),
        ):
            node.ctl(*words)
            load.more(20)
            eventually(node.is_complete, "both are ready")
        settle(load, up)
        assert load.lost == []
        assert up.ask()["requests"]["came"] == load.total["done"]
    assert "has read its configuration again" in node.log()
    assert node.rescues() == {}, "a restart on purpose is no emergency"


@pytest.mark.deadline(120)
def test_killed_worker_loses_only_what_it_had_accepted(
    supervise: Callable[..., Supervised], up: Ledger
) -> None:
    """The queue of its listening socket does not end with it: a sibling serves what waits."""
    node = supervise()
    with callers(node) as load:
        load.more(60)
        before = node.pid("worker-1")
        os.kill(before, signal.SIGKILL)
        eventually(lambda: "its process is gone; a sibling serves" in node.log(), "it is seen")
        load.more(60)
        eventually(lambda: worker_is_new(node, 1, before), "it is replaced", 30)
        load.more(60)
        settle(load, up)
        # At 60 requests a second, each of a few milliseconds, some were in its hands.
        assert len(load.lost) <= 4, load.lost
        assert not any("Refused" in fault for fault in load.lost), load.lost
    assert node.rescues()["1"]["lent"] == 1


@pytest.mark.deadline(150)
def test_stopped_worker_is_served_by_a_sibling_and_then_replaced(
    supervise: Callable[..., Supervised], up: Ledger
) -> None:
    node = supervise()
    with callers(node) as load:
        load.more(60)
        before = node.pid("worker-0")
        os.kill(before, signal.SIGSTOP)
        began = time.monotonic()
        eventually(lambda: "worker 0" in node.log(), "it is noticed", 30)
        lent_s = time.monotonic() - began
        load.report()
        load.more(60)
        load.report()
        load.more(60)
        slowest_ms = load.last["max_ms"]
        assert node.pid("worker-0") == before, "served before it is replaced"
        eventually(lambda: worker_is_new(node, 0, before), "it is replaced", 60)
        replaced_s = time.monotonic() - began
        load.more(60)
        settle(load, up)
        print(f"lent {lent_s:.1f} s, replaced {replaced_s:.1f} s, then at most {slowest_ms} ms")
        assert len(load.lost) <= 4, load.lost  # what it had accepted when it was stopped
    log = node.log()
    assert "is not there: it has not answered for" in log
    assert "is killed: it has not answered for" in log
    assert node.rescues()["0"] == {"killed": 1, "lent": 1}
    metrics = node.node.get("/metrics")[1].decode()
    assert 'agent_proxy_rescues_total{done="killed",worker="0"} 1.0' in metrics
    rescues = node.node.status()["lastRescues"]
    assert [one["done"] for one in rescues] == ["lent", "killed"]


@pytest.mark.deadline(150)
def test_worker_hung_in_a_loop_is_replaced_and_the_node_serves_on(
    supervise: Callable[..., Supervised], up: Ledger
) -> None:
    node = supervise()
    before = node.pid("worker-1")
    with callers(node) as load:
        load.more(30)
        os.kill(before, signal.SIGUSR1)
        eventually(lambda: worker_is_new(node, 1, before), "it is replaced", 60)
        load.more(60)
        settle(load, up)
        assert len(load.lost) <= 4, load.lost
    assert node.rescues()["1"] == {"killed": 1, "lent": 1}


@pytest.mark.deadline(150)
def test_two_workers_that_hang_are_replaced_one_after_the_other(
    supervise: Callable[..., Supervised], up: Ledger
) -> None:
    node = supervise()
    before = [node.pid("worker-0"), node.pid("worker-1")]
    for pid in before:
        os.kill(pid, signal.SIGSTOP)
    eventually(
        lambda: all(worker_is_new(node, number, pid) for number, pid in enumerate(before)),
        "both are replaced",
        90,
    )
    log = node.log().splitlines()
    kills = [number for number, line in enumerate(log) if "is killed" in line]
    assert len(kills) == 2
    assert any("answers (process" in line for line in log[kills[0] : kills[1]])
    with callers(node) as load:
        load.more(60)
        settle(load, up)
        assert load.lost == []


@pytest.mark.deadline(150)
def test_workers_that_grew_are_drained_one_after_the_other_and_nothing_is_lost(
    supervise: Callable[..., Supervised], up: Ledger
) -> None:
    node = supervise(health={"silent": SILENT_S, "memory": 160})
    before = [node.pid("worker-0"), node.pid("worker-1")]
    with callers(node, kept=0.5) as load:
        load.more(20)
        for pid in before:
            os.kill(pid, signal.SIGUSR2)
        eventually(
            lambda: all(worker_is_new(node, number, pid) for number, pid in enumerate(before)),
            "both are replaced",
            90,
        )
        load.more(20)
        settle(load, up)
        assert load.lost == []
        assert up.ask()["requests"]["came"] == load.total["done"]
    assert [node.rescues()[number]["drained"] for number in "01"] == [1, 1]
    assert "MiB of memory, above [health] memory" in node.log()
