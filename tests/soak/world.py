"""The node under supervisord, agents and a platform as load programs, a fault relay between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.fakes.certificates import self_signed
from tests.fakes.fault_relay import FaultRelay
from tests.integration.nodes import PLATFORM, ROUTED_AGENT, Node
from tests.integration.supervised import Supervised
from tests.load.running import Callers, Ledger

WORKERS = 2
_SOURCES = [f"127.0.1.{number}" for number in range(50, 90)]


class World(NamedTuple):
    """`loads` by name: "up" are agents, through the relay; "down" is the platform's, beside it."""

    node: Supervised
    relay: FaultRelay
    ledgers: dict[str, Ledger]
    loads: dict[str, Callers]


@contextmanager
def running(home: Path, rate: float, tunnels: int) -> Iterator[World]:
    """Start everything below `home`; the load runs from then on."""
    proxy = self_signed(home, "proxy", ("127.0.0.1", "localhost"))
    platform = self_signed(home, "platform", (PLATFORM,))
    with ExitStack() as stack:
        up = stack.enter_context(Ledger(PLATFORM, platform))
        down = stack.enter_context(
            Ledger(ROUTED_AGENT, self_signed(home, "agent", (ROUTED_AGENT,)))
        )
        relay = FaultRelay(PLATFORM, up.address)
        stack.callback(relay.stop)
        settings: dict[str, dict[str, object]] = {
            "upstream": {
                "endpoint": f"{PLATFORM}:{relay.port}",
                "ca_file": platform.certificate,
                "connections": 16,
            },
            "agents": {"ports": down.address[1]},
            "timeouts": {"connect": 10, "upstream_answer": 20, "agent_answer": 20},
            "drain": {"delay": 0.3, "timeout": 5},
        }
        node = Node(home / "node", settings, proxy)
        stack.callback(node.stop)
        supervised = Supervised(node, WORKERS)
        stack.callback(supervised.end)
        supervised.start()
        route = node.route(*down.address).decode()
        loads = {
            "up": Callers(
                node.address, _SOURCES, name="up", rate=rate, tunnels=tunnels, tunnel_s=15
            ),
            "down": Callers(node.address, [PLATFORM], name="down", rate=rate / 4, route=route),
        }
        for load in loads.values():
            stack.callback(load.stop)
        yield World(supervised, relay, {"up": up, "down": down}, loads)
