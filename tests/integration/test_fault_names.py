"""The platform's name: failing, hanging, changing, or with dead addresses first.

A name server of our own behind the system's resolver; a look-up that gets no answer keeps the
system busy for half a minute here.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.certificates import KeyPair, self_signed
from tests.fakes.name_server import NameServer, at
from tests.integration import peers
from tests.integration.nodes import AGENT, PLATFORM, ROUTED_AGENT, Node
from tests.integration.peers import Origin, eventually

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="port 53 and a mount namespace need root"),
    pytest.mark.deadline(120),
]
NAME = "platform.test"
OTHER = "127.0.2.2"
DEAD = "127.0.2.3"
RESOLVE_S = 1.0
SLACK_S = 4.0
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
BODY = b"x" * 100


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    server = NameServer("127.0.53.1")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return self_signed(tmp_path_factory.mktemp("names"), "platform", (NAME,))


@pytest.fixture
def here(platform: Origin, pair: KeyPair) -> Iterator[Origin]:
    origin = Origin(PLATFORM, pair)
    yield origin
    origin.stop()


@pytest.fixture
def there(here: Origin, pair: KeyPair) -> Iterator[Origin]:
    """The same platform at its next address, with the same port."""
    origin = Origin(OTHER, pair, port=here.port)
    yield origin
    origin.stop()


@pytest.fixture
def named(
    build: Callable[[Any], Node], names: NameServer, pair: KeyPair, here: Origin, tmp_path: Path
) -> Iterator[Callable[..., Node]]:
    """Return what starts a node whose platform has a name, and `more` endpoints."""
    nodes: list[Node] = []

    def start(more: str = "", **timeouts: float) -> Node:
        node = build(
            {
                "upstream": {
                    "endpoint": f"{NAME}:{here.port}{more}",
                    "ca_file": pair.certificate,
                    "server_name": NAME,
                },
                "timeouts": {"resolve": RESOLVE_S, "connect": 1, "keepalive_out": 0, **timeouts},
            }
        )
        node.wrapper = at(names, tmp_path)
        nodes.append(node)
        node.start()
        return node

    yield start
    for node in nodes:
        node.stop()


def ask(node: Node, fields: bytes = b"", source: str = AGENT) -> tuple[int, float]:
    """Return the status of one request on a connection of its own, and how long it took."""
    wire = peers.dial(node.address, source)
    try:
        began = time.monotonic()
        wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n", fields, b"\r\n")
        return wire.response().status, time.monotonic() - began
    finally:
        wire.close()


def routed(node: Node, agent: Origin) -> tuple[int, float]:
    route = b"Agent-Route: %b\r\n" % node.route(ROUTED_AGENT, agent.port)
    return ask(node, route, PLATFORM)


def test_name_server_that_hangs_holds_up_nothing_else(
    names: NameServer, named: Callable[..., Node], agent: Origin
) -> None:
    """Issue 4: forty callers of one name that is not answered took all of gevent's ten threads,
    which every connect needs, to an address as well."""
    names.tell(NAME, "silence")
    node = named()
    with ThreadPoolExecutor(40) as pool:
        waiting = [pool.submit(ask, node) for _ in range(40)]
        others = [routed(node, agent) for _ in range(5)]
        answers = [one.result() for one in waiting]
    assert {status for status, _ in others} == {200}
    assert max(took_s for _, took_s in others) < RESOLVE_S + SLACK_S
    assert {status for status, _ in answers} == {504}
    assert max(took_s for _, took_s in answers) < 2 * RESOLVE_S + SLACK_S
    error = node.status()["lastErrors"][-1]
    assert error["error"] == "dns_timeout"
    assert error["detail"] == f"{NAME}: no answer from the name server within 1 s"
    said = f"a name of the platform was not found: {error['detail']}; known: none"
    assert f"WARNING worker=0 {said}" in node.worker.log
    assert node.worker.log.count(said) == 1, "once, not for each caller"
    # It answers again. The question under way was lost: glibc asks again after 3 s.
    names.tell(NAME, [PLATFORM])
    began = time.monotonic()
    eventually(lambda: ask(node)[0] == 200, "it is well again by itself", 40)
    print(f"40 callers: 504 after {max(t for _, t in answers):.1f} s, "
          f"well {time.monotonic() - began:.1f} s after the name server was")  # fmt: skip
    assert "INFO worker=0 the platform's names are found again" in node.worker.log


def test_name_server_that_hangs_takes_no_other_endpoint_along(
    names: NameServer, named: Callable[..., Node], there: Origin, pair: KeyPair
) -> None:
    """The second endpoint is an address: found while the first one's name is waited for."""
    names.tell(NAME, "silence")
    node = named(more=f", {OTHER}:{there.port}")
    status, took_s = ask(node)
    assert status == 200
    assert took_s < RESOLVE_S + SLACK_S
    assert max(ask(node)[1] for _ in range(5)) < SLACK_S, "nobody waits for the name again"


def test_worker_ends_in_time_while_a_look_up_hangs(
    names: NameServer, named: Callable[..., Node]
) -> None:
    names.tell(NAME, "silence")
    node = named()
    assert ask(node)[0] == 504
    began = time.monotonic()
    node.worker.end()
    assert time.monotonic() - began < 5 + SLACK_S


def test_name_without_an_address_is_503_at_once_and_heals(
    names: NameServer, named: Callable[..., Node], agent: Origin
) -> None:
    for answer in ("nxdomain", "servfail"):
        names.tell(NAME, answer)
        node = named()
        assert ask(node)[0] == 503
        assert node.status()["lastErrors"][-1]["error"] == "dns_error"
        assert routed(node, agent)[0] == 200
        names.tell(NAME, [PLATFORM])
        assert ask(node)[0] == 200, "asked again for the next request"


def test_platform_that_moves_is_followed_and_a_dead_name_server_takes_nothing_away(
    names: NameServer, named: Callable[..., Node], here: Origin, there: Origin
) -> None:
    names.tell(NAME, [PLATFORM])
    node = named()
    node.wait_until_ready()
    assert ask(node)[0] == 200
    names.tell(NAME, [OTHER])
    here.stop()  # nobody is at the old address any more
    began = time.monotonic()
    statuses = set()

    def answered() -> bool:
        statuses.add(status := ask(node)[0])
        return status == 200

    eventually(answered, "the new address is used")
    took_s = time.monotonic() - began
    print(f"followed {took_s:.1f} s after the old address was gone")
    assert took_s < 2 + SLACK_S
    assert statuses <= {200, 503}
    assert there.used > 0
    eventually(lambda: "it is at 127.0.2.2" in node.worker.log, "it is said")
    assert "INFO worker=0 the platform has moved from 127.0.2.1: it is at 127.0.2.2" in (
        node.worker.log
    )
    assert "WARNING worker=0 the platform at 127.0.2.1 cannot be used: " in node.worker.log
    asked = names.asked
    names.tell(NAME, "servfail")
    there.stop()  # so that it looks the name up again, which now fails
    assert ask(node)[0] == 503
    eventually(lambda: ask(node)[0] == 503 and names.asked > asked, "it asks again")
    eventually(lambda: "; known: 127.0.2.2" in node.worker.log, "what worked is kept")


@pytest.mark.parametrize("dead", ["refuses", "swallows"])
def test_dead_address_that_comes_first_costs_little(
    names: NameServer, named: Callable[..., Node], there: Origin, here: Origin, dead: str
) -> None:
    """`here` is first and dead: it refuses, or takes connections that nobody ever accepts."""
    here.stop()
    names.tell(NAME, [PLATFORM, OTHER])
    full: list[socket.socket] = []
    if dead == "swallows":
        listening = socket.create_server((PLATFORM, here.port), backlog=0)
        full = [listening]
        for _ in range(2):
            full.append(sock := socket.socket())
            sock.setblocking(False)
            sock.connect_ex((PLATFORM, here.port))
    try:
        node = named(tls_handshake=1)
        times = []
        for _ in range(6):
            status, took_s = ask(node)
            assert status == 200
            times.append(took_s)
        print(f"{dead}: {', '.join(f'{t:.2f}' for t in times)} s")
        assert max(times[1:]) < SLACK_S
        health = {one["address"]: one["healthy"] for one in node.status()["upstream"]}
        assert health == {PLATFORM: False, OTHER: True}
    finally:
        for sock in full:
            sock.close()
