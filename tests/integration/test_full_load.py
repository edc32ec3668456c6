"""Zero lost, zero twice at 500 requests a second and 1,000 tunnels, through everything planned.

Rolling restart, reload, a new certificate and a drain, one after the other under one load, which
is that of test_handover and four times as large. FULL_LOAD_RATE and FULL_LOAD_TUNNELS of the
environment change it. A machine that does not carry so much makes the callers late; then the rate
that was reached is printed. What is lost or comes twice is a failure at any rate.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.fakes.certificates import KeyPair
from tests.integration.nodes import PLATFORM, ROUTED_AGENT, Node, Worker
from tests.integration.peers import eventually
from tests.load.running import Callers, Ledger

RATE = float(os.environ.get("FULL_LOAD_RATE", "500"))
TUNNELS = int(os.environ.get("FULL_LOAD_TUNNELS", "1000"))
DOWN_SHARE = 0.2
"""Of the requests: calls of the platform to agents, which cost a new connection each."""
RAMP_S = 8.0
DRAIN_S = 8.0
PATIENCE_S = 120.0
"""On a busy machine all are late: that is no loss."""
SOURCES = [f"127.0.1.{number}" for number in range(50, 90)]


class Load:
    def __init__(self, node: Node, up: Ledger, down: Ledger) -> None:
        common: dict[str, Any] = {"answer_s": PATIENCE_S, "kept": 0.8}
        self._ledgers = {"up": up, "down": down}
        self.agents = Callers(
            node.address,
            SOURCES,
            name="up",
            rate=RATE * (1 - DOWN_SHARE),
            tunnels=TUNNELS,
            ramp_s=RAMP_S,
            tunnel_s=300,
            message_s=10,
            **common,
        )
        route = node.route(*down.address).decode()
        rate = RATE * DOWN_SHARE
        self.platform = Callers(
            node.address, [PLATFORM], name="down", rate=rate, route=route, **common
        )
        self._said = (time.monotonic(), 0)

    def phase(self, name: str, seconds: float = 0.0) -> None:
        """Go on for `seconds`, then print what was reached since the phase before."""
        time.sleep(seconds)
        up, down = self.agents.report(), self.platform.report()
        now, done = time.monotonic(), self.agents.total["done"] + self.platform.total["done"]
        rate = (done - self._said[1]) / (now - self._said[0])
        self._said = now, done
        print(f"{name:24} {rate:6.0f}/s {up['tunnels']:5} tunnels  "
              f"p99 {up['p99_ms']:8.1f} ms up {down['p99_ms']:8.1f} ms down  "
              f"lost {self.agents.total['count_lost'] + self.platform.total['count_lost']}"
        )  # fmt: skip

    def settle(self) -> None:
        """End, and compare what was sent, answered and received."""
        for callers in (self.agents, self.platform):
            callers.report("end")
            assert callers.lost == []
        for name, callers in (("up", self.agents), ("down", self.platform)):
            came, total = self._ledgers[name].ask(), callers.total
            assert came["requests"]["twice"] == [] and came["messages"]["twice"] == []
            assert came["requests"]["came"] == total["done"]
            said = total["messages"] + total["unanswered"]
            assert total["messages"] <= came["messages"]["came"] <= said
            print(f"{name}: {dict(Counter(total))}, came {came['requests']['came']}")

    def stop(self) -> None:
        self.agents.stop()
        self.platform.stop()


@pytest.fixture
def sides(pairs: dict[str, KeyPair]) -> Iterator[tuple[Ledger, Ledger]]:
    with ExitStack() as stack:
        up = stack.enter_context(Ledger(PLATFORM, pairs["platform"]))
        yield up, stack.enter_context(Ledger(ROUTED_AGENT, pairs["agent"]))


@pytest.fixture
def two(
    build: Callable[[Any], Node], sides: tuple[Ledger, Ledger], pairs: dict[str, KeyPair]
) -> Iterator[Node]:
    up, down = sides
    node = build(
        {
            "upstream": {"endpoint": f"{PLATFORM}:{up.address[1]}", "connections": 64},
            "agents": {"ports": down.address[1]},
            "drain": {"delay": 0.5, "timeout": DRAIN_S},
            "timeouts": {
                **dict.fromkeys(("connect", "upstream_answer", "agent_answer"), PATIENCE_S),
                **dict.fromkeys(("tls_handshake", "request_head", "body_idle"), PATIENCE_S),
            },
        }
    )
    for kind in ("certificate", "key"):  # its own, so that the test may change them
        copy = node.home / kind
        shutil.copy(getattr(pairs["proxy"], kind), copy)
        node.write(listen={kind: copy})
    try:
        for number in (0, 1):
            node.start(number)
        for worker in node.workers:
            eventually(lambda one=worker: not one.snapshot()["readyProblems"], "each is ready")
        yield node
    finally:
        node.stop()


@pytest.fixture
def load(two: Node, sides: tuple[Ledger, Ledger]) -> Iterator[Load]:
    load = Load(two, *sides)
    yield load
    load.stop()


def reloads(worker: Worker) -> int:
    return int(worker.snapshot()["events"].get("reloaded", 0))


@pytest.mark.deadline(400)
def test_nothing_is_lost_or_comes_twice(two: Node, load: Load, pairs: dict[str, KeyPair]) -> None:
    eventually(lambda: load.agents.report()["tunnels"] >= TUNNELS, "all tunnels are open", 120)
    load.phase("all tunnels open")
    load.phase("steady", 5)
    for number in (0, 1):
        next(worker for worker in two.workers if worker.number == number).end(60)
        two.start(number)
        load.phase(f"worker {number} restarted", 2)
    changes = [("reloaded", "proxy"), ("new certificate", "other")]
    for number, (name, pair) in enumerate(changes, start=1):
        for kind in ("certificate", "key"):
            shutil.copy(getattr(pairs[pair], kind), two.home / kind)
        for worker in two.workers:
            worker.signal(signal.SIGHUP)
        for worker in two.workers:  # a second signal before the first was seen would be one
            eventually(lambda one=worker, n=number: reloads(one) == n, "it is reloaded", 90)
        load.phase(name, 3)
    two.workers[0].end(60)  # and does not come back: one worker carries all
    load.phase("one worker drained away", 3)
    load.settle()
