"""Memory after connections piled up: it comes back, each time.

The pile is what a platform that is silent for a while makes of agents that go on calling.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.certificates import self_signed
from tests.fakes.fault_relay import Fault, FaultRelay
from tests.integration.nodes import PLATFORM, Node, Worker
from tests.integration.peers import eventually
from tests.load.running import Callers, Ledger

SOURCES = [f"127.0.1.{number}" for number in range(50, 60)]
PILED_UP = 150
_MIB = 1 << 20


def pile_up(node: Node, relay: FaultRelay, name: str) -> int:
    """Let connections pile up and all of them end; return the most memory seen, in bytes."""
    worker = node.worker
    most = 0

    def piled_up() -> bool:
        nonlocal most
        most = max(most, worker.memory_bytes())
        return bool(worker.snapshot()["inFlight"] >= PILED_UP)

    def ended() -> bool:
        nonlocal most
        most = max(most, worker.memory_bytes())
        return not worker.snapshot()["connections"]

    with Callers(node.address, SOURCES, name=name, rate=60, tunnels=30) as load:
        load.more(60)
        relay.inject(Fault("blackhole"))
        eventually(piled_up, "requests pile up", 60)
        relay.heal()
        load.report("end")
    eventually(ended, "all connections have ended", 90)
    return most


@pytest.mark.deadline(400)
def test_memory_comes_back_after_each_peak(tmp_path: Path) -> None:
    """Without giving back, a worker keeps 90 to 100 % of the rise; with it, about a third."""
    proxy = self_signed(tmp_path, "proxy", ("127.0.0.1", "localhost"))
    platform = self_signed(tmp_path, "platform", (PLATFORM,))
    with Ledger(PLATFORM, platform) as ledger:
        relay = FaultRelay(PLATFORM, ledger.address)
        node = Node(
            tmp_path / "node",
            {
                "upstream": {
                    "endpoint": f"{PLATFORM}:{relay.port}",
                    "ca_file": platform.certificate,
                },
                "timeouts": {"connect": 20, "upstream_answer": 60, "keepalive_out": 2},
            },
            proxy,
        )
        try:
            worker = node.start()
            node.wait_until_ready()
            first = worker.memory_bytes()
            for number in range(3):
                most = pile_up(node, relay, f"pile-{number}")
                assert most - first > 8 * _MIB, "a pile that is worth speaking of"
                wanted = first + 0.6 * (most - first)
                eventually(has_no_more_than(worker, wanted), f"peak {number} comes back", 60)
        finally:
            relay.heal()
            node.stop()
            relay.stop()


def has_no_more_than(worker: Worker, wanted: float) -> Callable[[], bool]:
    def has() -> bool:
        time.sleep(0.2)
        return worker.memory_bytes() <= wanted

    return has
