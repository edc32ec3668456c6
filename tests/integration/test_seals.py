"""Seals over the wire: whoever has no secret of this group calls no agent of it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from proxy import route
from tests.integration.conftest import Dial
from tests.integration.nodes import AGENT, PLATFORM, PROXY_ID, ROUTED_AGENT, SECRET, Node
from tests.integration.peers import Message, Origin, eventually

NEIGHBOUR = "127.0.1.8"
OTHER_GROUP = "another-group-secret-0123456789abcdef"
NEW = "the-secret-after-the-next-0123456789"
KEY = route.seal_key(SECRET.encode())
SETTINGS = {
    "zones": {},
    "[default]": {},
    "[cloud]": {"networks": "127.0.4.0/24"},
}
Start = Callable[..., Node]


def call(node: Node, dial: Dial, way: bytes) -> Message:
    wire = dial(node, PLATFORM)
    got = wire.ask(b"GET /x HTTP/1.1\r\nHost: a\r\nAgent-Route: ", way, b"\r\n\r\n")
    wire.sock.close()
    return got


def sealed(seal: bytes, agent: Origin, *, zone: str = "default", host: str = ROUTED_AGENT) -> bytes:
    made = base64.b64encode(seal).decode()
    way = f'"{PROXY_ID}", agent;zone="{zone}";host="{host}";port={agent.port};seal=:{made}:'
    return way.encode()


def right(agent: Origin) -> bytes:
    return route.seal(KEY, PROXY_ID, "default", ROUTED_AGENT, agent.port)


def test_right_seal_is_followed(node: Node, agent: Origin, dial: Dial) -> None:
    """Or the refusals below would say nothing."""
    assert call(node, dial, sealed(right(agent), agent)).status == 200
    assert agent.used == 1


@pytest.mark.parametrize("bit", range(0, 128, 4))
def test_seal_with_one_bit_flipped_is_refused(
    node: Node, agent: Origin, dial: Dial, bit: int
) -> None:
    """Each of the 128 is tried in tests/unit/test_route.py."""
    seal = bytearray(right(agent))
    seal[bit // 8] ^= 1 << bit % 8
    assert call(node, dial, sealed(bytes(seal), agent)).status == 403
    assert agent.used == 0


@pytest.mark.parametrize(
    ("what", "status"),
    [
        ("another group's secret", 403),
        ("another group's ID", 403),
        ("sealed for the other zone", 403),
        ("zone changed", 403),
        ("host changed", 403),
        ("host spelled as a mapped address", 403),
        ("port changed", 403),
        ("all zero", 403),
        ("truncated", 400),
        ("extended", 400),
        ("all 32 bytes of the HMAC", 400),
        ("empty", 400),
        ("twice", 400),
        ("none", 403),
    ],
)
def test_seal_that_is_not_for_this_agent_is_refused(
    node: Node, agent: Origin, dial: Dial, what: str, status: int
) -> None:
    def seal(key: bytes = KEY, own_id: str = PROXY_ID, zone: str = "default") -> bytes:
        return route.seal(key, own_id, zone, ROUTED_AGENT, agent.port)

    plain = sealed(right(agent), agent)
    ways = {
        "another group's secret": sealed(seal(route.seal_key(OTHER_GROUP.encode())), agent),
        "another group's ID": sealed(seal(own_id="7C01D22A90EE"), agent),
        "sealed for the other zone": sealed(seal(zone="cloud"), agent),
        "zone changed": sealed(right(agent), agent, zone="cloud"),
        "host changed": sealed(right(agent), agent, host=NEIGHBOUR),
        "host spelled as a mapped address": sealed(right(agent), agent, host="::ffff:7f00:107"),
        "port changed": re.sub(rb"port=\d+", b"port=2003", plain),
        "all zero": sealed(bytes(16), agent),
        "truncated": sealed(right(agent)[:15], agent),
        "extended": sealed(right(agent) + b"\0", agent),
        "all 32 bytes of the HMAC": sealed(right(agent) * 2, agent),
        "empty": sealed(b"", agent),
        "twice": plain + b";seal" + plain.partition(b";seal")[2],
        "none": plain.partition(b";seal")[0],
    }
    got = call(node, dial, ways[what])
    assert got.status == status
    rule = {"zone changed": b"3 zone", "port changed": b"3 port"}.get(what, b"4 seal")
    assert status == 400 or rule in got.body, got.body
    assert agent.used == 0


@pytest.fixture(scope="module")
def other_groups(build: Callable[[Any], Node], agent: Origin) -> Iterator[list[Node]]:
    """Return two nodes: one with another secret, one with this secret and another ID."""
    nodes = [build({"proxy": {"secret": OTHER_GROUP}}), build({"proxy": {"id": "7C01D22A90EE"}})]
    try:
        for node in nodes:
            node.start()
            node.wait_until_ready()
        yield nodes
    finally:
        for node in nodes:
            node.stop()


def test_route_is_of_no_use_on_another_group(
    node: Node,
    other_groups: list[Node],
    platform: Origin,
    agent: Origin,
    dial: Dial,
) -> None:
    """Taken as the platform got it, and replayed; then with the other group's ID written in."""
    dial(node, ROUTED_AGENT).ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    (seen,) = platform.received
    way = seen.one(b"agent-route")
    assert call(node, dial, way).status == 200
    used = agent.used
    another_secret, another_id = other_groups
    assert call(another_secret, dial, way).status == 403
    assert call(another_id, dial, way).status == 421
    renamed = way.replace(PROXY_ID.encode(), b"7C01D22A90EE")
    assert call(another_id, dial, renamed).status == 403
    assert agent.used == used


def test_seal_of_a_replaced_secret_counts_until_it_is_removed(
    started: Start, agent: Origin, dial: Dial
) -> None:
    """By reload, as an operator would do it."""

    def reloaded(node: Node, **proxy: object) -> None:
        before = node.worker.snapshot()["events"].get("reloaded", 0)
        node.write(proxy=proxy)
        node.worker.signal(1)
        eventually(
            lambda: node.worker.snapshot()["events"].get("reloaded", 0) > before, "it has reloaded"
        )

    node = started({})
    old = sealed(right(agent), agent)
    new_key = route.seal_key(NEW.encode())
    new = sealed(route.seal(new_key, PROXY_ID, "default", ROUTED_AGENT, agent.port), agent)
    assert [call(node, dial, way).status for way in (old, new)] == [200, 403]
    reloaded(node, secret=NEW, previous_secret=SECRET)
    assert [call(node, dial, way).status for way in (old, new)] == [200, 200]
    reloaded(node, secret=NEW, previous_secret="")
    assert [call(node, dial, way).status for way in (old, new)] == [403, 200]
    assert agent.used == 4


def test_agent_that_names_anothers_zone_and_address_names_itself(
    node: Node, platform: Origin, agent: Origin, dial: Dial
) -> None:
    """A compromised agent has its neighbour's route, seal and all, and shows it in every way."""
    dial(node, ROUTED_AGENT).ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    stolen = platform.received.pop().one(b"agent-route")
    claims = [
        (b"Agent-Proxy-Id", PROXY_ID.encode()),
        (b"Agent-Proxy-Zone", b"cloud"),
        (b"Agent-Proxy-Source", ROUTED_AGENT.encode()),
        (b"Agent-Route", stolen),
        (b"Forwarded", b"for=127.0.1.7;by=_45BCEBB32AA9"),
        (b"X-Forwarded-For", ROUTED_AGENT.encode()),
        (b"X-Real-IP", ROUTED_AGENT.encode()),
    ]
    for spelled in (bytes.lower, bytes.upper, lambda name: name.replace(b"-", b"_")):
        lines = b"".join(b"%b: %b\r\n" % (spelled(name), value) for name, value in claims)
        wire = dial(node, AGENT)
        got = wire.ask(
            b"GET /agent-proxy/v1/explain HTTP/1.1\r\nHost: 127.0.1.7\r\n", lines, b"\r\n"
        )
        assert got.status == 200
        request = platform.received.pop()
        assert request.one(b"agent-proxy-source") == AGENT.encode()
        assert request.one(b"agent-proxy-zone") == b"default"
        assert b'host="%b"' % AGENT.encode() in request.one(b"agent-route")
        assert request.one(b"forwarded").startswith(b"for=%b;" % AGENT.encode())
        said = b"".join(b"%b: %b\n" % item for item in request.fields)
        assert ROUTED_AGENT.encode() not in said.replace(b'host="127.0.1.7"', b"")
    assert agent.used == 0
