"""Behind a balancer: whom its PROXY header names decides, and nobody else may send one."""

from __future__ import annotations

import json
import socket
import struct

import pytest

from tests.integration.conftest import Dial
from tests.integration.nodes import AGENT, PLATFORM, PROXY_ID, ROUTED_AGENT, STRANGER, Node
from tests.integration.peers import Aborted, Origin, Wire, anybody, dial_raw, eventually

BALANCER = "127.0.3.1"
SETTINGS = {
    "listen": {"balancers": f"{BALANCER}/32"},
    "timeouts": {"tls_handshake": 1},
    "limits": {"connections_per_source": 4},
    "zones": {},
    "[default]": {},
    "[cloud]": {"networks": "127.0.4.0/24", "network_id": "netns:blue"},
}
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
REGISTRATION = b"GET /agent-proxy/v1/registration HTTP/1.1\r\nHost: a\r\n\r\n"
READY = b"GET /agent-proxy/v1/ready HTTP/1.1\r\nHost: a\r\n\r\n"


def header(source: str, tlvs: bytes = b"") -> bytes:
    addresses = socket.inet_aton(source) + socket.inet_aton("127.0.0.1")
    length = struct.pack("!H", 12 + len(tlvs))
    return SIGNATURE + b"\x21\x11" + length + addresses + b"\x30\x39\x07\xd2" + tlvs


def behind(node: Node, said: bytes, balancer: str = BALANCER) -> Wire:
    raw = dial_raw(node.address, balancer)
    raw.sendall(said)
    return Wire(anybody().wrap_socket(raw, suppress_ragged_eofs=False))


def is_closed(node: Node, said: bytes, source: str = BALANCER) -> bool:
    with dial_raw(node.address, source) as raw:
        try:
            raw.sendall(said)
            return raw.recv(1) == b""
        except ConnectionError:
            return True


def counted(node: Node, event: str) -> int:
    return int(node.worker.snapshot()["events"].get(event, 0))


def test_agent_behind_a_balancer_keeps_its_address(node: Node, platform: Origin) -> None:
    wire = behind(node, header(AGENT))
    assert wire.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 200
    wire.sock.close()
    (request,) = platform.received
    assert request.one(b"agent-proxy-source") == AGENT.encode()
    assert request.one(b"forwarded").startswith(b"for=127.0.1.1;")
    assert BALANCER.encode() not in b"".join(value for _, value in request.fields)


def test_platform_behind_a_balancer_may_call_agents(
    node: Node, agent: Origin, platform: Origin
) -> None:
    wire = behind(node, header(PLATFORM))
    assert json.loads(wire.ask(REGISTRATION).body)["agentProxyId"] == PROXY_ID
    route = node.route(ROUTED_AGENT, agent.port)
    answer = wire.ask(b"GET /x HTTP/1.1\r\nHost: a\r\nAgent-Route: ", route, b"\r\n\r\n")
    assert answer.status == 200
    wire.sock.close()
    assert agent.used == 1


def test_agent_behind_a_balancer_cannot_do_what_the_platform_can(
    node: Node, platform: Origin
) -> None:
    wire = behind(node, header(AGENT))
    assert wire.ask(REGISTRATION).status == 200  # forwarded like any other path
    wire.sock.close()
    assert platform.used == 1


def test_network_that_the_balancer_names_decides_the_zone(node: Node, platform: Origin) -> None:
    wire = behind(node, header("127.0.4.9", b"\x30\x00\x04blue"))
    assert wire.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 200
    wire.sock.close()
    (request,) = platform.received
    assert request.one(b"agent-proxy-zone") == b"cloud"
    assert is_closed(node, header(AGENT, b"\x30\x00\x03red"))
    assert is_closed(node, header("127.0.4.9"))


def test_balancers_own_connection_may_ask_for_readiness_only(node: Node, platform: Origin) -> None:
    wire = behind(node, LOCAL)
    assert json.loads(wire.ask(READY).body)["ready"] is True
    assert wire.ask(REGISTRATION).status == 403
    assert wire.ask(b"POST /agent-proxy/v1/ready HTTP/1.1\r\nHost: a\r\n\r\n").status == 403
    assert wire.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 403
    route = node.route(ROUTED_AGENT, 2003)
    got = wire.ask(b"GET / HTTP/1.1\r\nHost: a\r\nAgent-Route: ", route, b"\r\n\r\n")
    assert got.status == 403
    wire.sock.close()
    assert platform.used == 0


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS without a header
        b"PROXY TCP4 127.0.1.1 127.0.0.1 12345 2002\r\n",
        SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216),  # UNIX
        SIGNATURE + b"\x21\x00\x00\x00",  # unknown
        SIGNATURE + b"\x21\x11\x00\x04" + bytes(4),  # truncated addresses
        header(AGENT, b"\x30\x00\x09blue"),  # TLV overrun
        SIGNATURE + b"\x21\x11\xff\xff",  # too long
        header("127.0.9.1"),  # a stranger behind it
        SIGNATURE[:7],  # never completed: the deadline ends it
    ],
)
def test_anything_else_from_a_balancer_is_closed_and_counted(node: Node, said: bytes) -> None:
    before = counted(node, "refused_bad_proxy_header") + counted(node, "refused_stranger")
    assert is_closed(node, said)
    after = counted(node, "refused_bad_proxy_header") + counted(node, "refused_stranger")
    assert after == before + 1


V1 = b"PROXY TCP4 127.0.2.1 127.0.0.1 12345 2002\r\n"


@pytest.mark.parametrize("said", [header(PLATFORM), LOCAL, V1], ids=["version 2", "local", "v1"])
def test_header_from_others_than_balancers_is_no_word(
    node: Node, platform: Origin, said: bytes
) -> None:
    """Taken for TLS, and refused as such: closed with a real handshake and request behind it."""
    before = counted(node, "tls_handshake_failed")
    with pytest.raises((OSError, Aborted)):
        behind(node, said, AGENT).ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    eventually(lambda: counted(node, "tls_handshake_failed") > before, "the refusal is counted")
    strangers = counted(node, "refused_stranger")
    assert is_closed(node, said, source=STRANGER)
    assert counted(node, "refused_stranger") == strangers + 1
    assert not node.worker.snapshot()["connections"]
    assert platform.used == 0


def test_header_inside_of_tls_is_no_word(node: Node, platform: Origin) -> None:
    for said in (header(PLATFORM), V1):
        wire = behind(node, header(AGENT))  # the balancer's word, then an agent that adds its own
        wire.send(said + REGISTRATION)
        assert wire.response().status == 400
        assert wire.to_end() == b""
        wire.sock.close()
    assert platform.used == 0


def test_limit_for_a_source_is_that_of_the_agent_not_of_the_balancer(
    node: Node, platform: Origin, dial: Dial
) -> None:
    wires = [behind(node, header(AGENT)) for _ in range(4)]
    assert is_closed(node, header(AGENT))
    wires.append(behind(node, header("127.0.1.2")))
    assert wires[-1].ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 200
    for wire in wires:
        wire.sock.close()
