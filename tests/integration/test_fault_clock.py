"""The system's clock jumps hours while the proxy runs: nobody is late, nothing ends, nothing hangs.

libfaketime under Python, OpenSSL and libev moves CLOCK_REALTIME and leaves CLOCK_MONOTONIC, as
setting the clock does; the file that it reads is changed while the worker runs.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration import peers
from tests.integration.conftest import Dial
from tests.integration.nodes import AGENT, PLATFORM, ROUTED_AGENT, Node
from tests.integration.peers import Origin, Wire, eventually
from tests.integration.test_fault_matrix import tunnelled

_FOUND = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
pytestmark = [
    pytest.mark.skipif(not _FOUND, reason="SKIPPED: libfaketime is not installed"),
    pytest.mark.deadline(90),
]
HOURS = ["+9h", "+2h", "+0"]  # forward nine, back seven, back two
ANSWER_S = 4.0
SLACK_S = 6.0


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    file = tmp_path / "clock"
    file.write_text("+0\n")
    return file


@pytest.fixture
def moved(build: Callable[[Any], Node], clock: Path) -> Iterator[Node]:
    node = build({"timeouts": {"upstream_answer": ANSWER_S, "body_idle": 10, "tunnel_idle": 60}})
    node.environment.update(
        LD_PRELOAD=str(_FOUND[0]),
        FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    node.start()
    node.wait_until_ready()
    yield node
    node.stop()


def jump(node: Node, clock: Path, hours: str) -> None:
    clock.write_text(f"{hours}\n")
    wanted = time.time() + float(re.sub(r"h$", "", hours)) * 3600

    def has_jumped() -> bool:
        wire = peers.dial(node.address, PLATFORM)
        body = wire.ask(b"GET /agent-proxy/v1/registration HTTP/1.1\r\nHost: a\r\n\r\n").body
        wire.close()
        shown = re.search(rb'"time": "(\d+-\d+-\d+T\d+)', body)
        return bool(shown) and shown[1].decode() in {
            time.strftime("%Y-%m-%dT%H", time.gmtime(wanted + late)) for late in (0, 60)
        }

    eventually(has_jumped, f"the clock of the worker shows {hours}")


def script(wire: Wire) -> None:
    """Tunnels; an answer that never comes for /late; a slow one, or an echo, for others."""
    first = wire.head()
    if first.all(b"upgrade"):
        wire.send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        wire.sock.settimeout(60)
        while data := wire.some():
            wire.send(data)
        return
    if b"/late" in first.line:
        wire.sock.settimeout(60)
        wire.to_end()
        return
    size = int(first.one(b"content-length"))
    body = wire.exactly(size)
    wire.send(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (size, body)
    )


def test_clock_that_jumps_makes_nobody_late(
    moved: Node, clock: Path, platform: Origin, agent: Origin, dial: Dial
) -> None:
    node = moved
    platform.use(script)
    for hours in HOURS:
        tunnel = dial(node)
        tunnel.send(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        assert tunnel.response().status == 101
        half = dial(node)
        half.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
        late = dial(node)
        late.sock.settimeout(60)
        began = time.monotonic()
        late.send(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
        jump(node, clock, hours)
        half.send(b"world")
        assert half.response().body == b"helloworld", "a body under way goes on"
        tunnel.send(b"after")
        assert tunnel.exactly(5) == b"after", "a tunnel stays"
        fresh = dial(node)
        fresh.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok")
        assert fresh.response().body == b"ok", "a new connection is served"
        routed = dial(node, PLATFORM)
        routed.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n")
        routed.send(b"Agent-Route: %b\r\n\r\nok" % node.route(ROUTED_AGENT, agent.port))
        assert routed.response().body == b"ok"
        assert late.response().status == 504
        took_s = time.monotonic() - began
        print(f"{hours}: 504 after {took_s:.1f} s of {ANSWER_S:g}")
        assert ANSWER_S - 0.5 < took_s < ANSWER_S + SLACK_S, "a deadline is what it was"
        assert node.get("/ready")[0] == 200
    assert AGENT in (node.home / "out-0").read_text()
    snapshot = node.worker.snapshot()
    assert snapshot["uptimeSeconds"] >= 0
    assert all(total >= 0 for total in snapshot["durationSums"].values())
    assert "defect" not in snapshot["events"]


def test_clock_before_the_platforms_certificate_is_said_and_heals(
    moved: Node, clock: Path, platform: Origin, dial: Dial
) -> None:
    platform.use(tunnelled)
    tunnel = dial(moved)
    tunnel.send(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
    assert tunnel.response().status == 101
    platform.use(peers.echo)
    jump(moved, clock, "-9h")
    assert dial(moved).ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 502
    said = "certificate was refused: certificate is not yet valid"
    eventually(lambda: said in moved.worker.log, "it is said")
    tunnel.send(b"after")
    assert tunnel.exactly(5) == b"after", "what is open goes on"
    jump(moved, clock, "+0")
    assert dial(moved).ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 200


def test_tunnel_is_idle_by_the_clock_that_cannot_be_set(
    build: Callable[[Any], Node], clock: Path, platform: Origin, dial: Dial
) -> None:
    """An hour ahead ends no tunnel, and an hour back keeps none: ten seconds are ten seconds."""
    platform.use(tunnelled)
    node = build({"timeouts": {"tunnel_idle": 10}})
    node.environment.update(
        LD_PRELOAD=str(_FOUND[0]),
        FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    try:
        node.start()
        node.wait_until_ready()
        wire = dial(node)
        wire.send(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        assert wire.response().status == 101
        began = time.monotonic()
        jump(node, clock, "+3h")
        assert wire.is_silent(3)
        jump(node, clock, "-3h")
        wire.sock.settimeout(40)
        assert wire.to_end() == b""
        assert 9 < time.monotonic() - began < 10 + SLACK_S
    finally:
        node.stop()
