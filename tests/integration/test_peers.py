"""A chain: agent - nearer proxy - farther proxy - platform, three sets of real sockets."""

from __future__ import annotations

import hashlib
import json
import ssl
from collections.abc import Callable

import pytest

from proxy import route
from tests.fakes.certificates import KeyPair
from tests.integration.conftest import Dial
from tests.integration.nodes import AGENT, PLATFORM, PROXY_ID, ROUTED_AGENT, SECRET, Node
from tests.integration.peers import Aborted, Origin, anybody, eventually

NEAR, FAR = "NEARER0001", "FARTHER001"
AT_FAR, AT_NEAR = "127.0.5.1", "127.0.5.2"  # from where each peer calls
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"


def _sha256(pair: KeyPair) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())).hexdigest()


@pytest.fixture
def farther(started: Callable[..., Node], pairs: dict[str, KeyPair], agent: Origin) -> Node:
    """A node that knows a nearer peer: one that these tests play, with the certificate `agent`."""
    return started(
        {
            "proxy": {"id": FAR},
            "peers": {},
            f"[{NEAR}]": {
                "role": "nearer",
                "endpoint": f"{ROUTED_AGENT}:{agent.port}",
                "networks": f"{AT_NEAR}/32",
                "certificate": _sha256(pairs["agent"]),
                "certificate_file": pairs["agent"].certificate,
            },
        }
    )


def _as_peer(pairs: dict[str, KeyPair], name: str = "agent") -> ssl.SSLContext:
    context = anybody()
    context.load_cert_chain(pairs[name].certificate, pairs[name].key)
    return context


def _claims(zone: bytes = b"isolated-1", first: bytes = NEAR.encode()) -> bytes:
    return (
        b"GET /x HTTP/1.1\r\nHost: a\r\nAgent-Proxy-Id: NEARER0001\r\nAgent-Proxy-Zone: "
        + zone
        + b"\r\nAgent-Proxy-Source: 10.0.0.2\r\nForwarded: for=10.0.0.2;by=_NEARER0001\r\n"
        b'Via: 1.1 NEARER0001\r\nAgent-Route: "' + first + b'", agent;zone="isolated-1";'
        b'host="10.0.0.2";port=2003;seal=:AAAAAAAAAAAAAAAAAAAAAA==:\r\n\r\n'
    )


def test_identity_of_a_peers_agent_is_kept_and_the_route_grows(
    farther: Node, platform: Origin, dial: Dial, pairs: dict[str, KeyPair]
) -> None:
    wire = dial(farther, AT_NEAR, _as_peer(pairs))
    assert wire.ask(_claims()).status == 200
    (request,) = platform.received
    assert request.one(b"agent-proxy-id") == b"NEARER0001"
    assert request.one(b"agent-proxy-zone") == b"isolated-1"
    assert request.one(b"agent-proxy-source") == b"10.0.0.2"
    assert request.one(b"agent-route") == (
        b'"FARTHER001", "NEARER0001", agent;zone="isolated-1";host="10.0.0.2";port=2003;'
        b"seal=:AAAAAAAAAAAAAAAAAAAAAA==:"
    )
    assert request.all(b"forwarded") == [
        b"for=10.0.0.2;by=_NEARER0001",
        b'for=127.0.5.2;by=_FARTHER001;host="a";proto=https',
    ]
    assert request.all(b"via") == [b"1.1 NEARER0001", b"1.1 FARTHER001"]


def test_peer_with_another_certificate_or_none_gets_nothing(
    farther: Node, platform: Origin, dial: Dial, pairs: dict[str, KeyPair]
) -> None:
    for context in (None, _as_peer(pairs, "other")):
        with pytest.raises((Aborted, OSError, EOFError)):
            dial(farther, AT_NEAR, context).ask(_claims())
    eventually(
        lambda: farther.worker.snapshot()["events"].get("tls_handshake_failed", 0) >= 2, "counted"
    )
    assert platform.used == 0


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (GET, 403),
        (_claims(first=b"SOMEBODY01"), 400),
        (_claims(zone=b"isolated-2"), 400),
        (_claims().replace(b"Agent-Proxy-Zone:", b"Agent_Proxy_Zone: x\r\nAgent-Proxy-Zone:"), 403),
        (_claims().replace(b"Via: 1.1 NEARER0001", b"Via: 1.1 FARTHER001"), 508),
    ],
)
def test_what_a_peer_cannot_vouch_for_is_refused(
    farther: Node,
    platform: Origin,
    dial: Dial,
    pairs: dict[str, KeyPair],
    said: bytes,
    status: int,
) -> None:
    got = dial(farther, AT_NEAR, _as_peer(pairs)).ask(said)
    assert got.status == status
    assert b"Proxy-Status" in dict(got.fields)
    assert platform.used == 0


def test_nearer_peer_may_not_call_agents(
    farther: Node, platform: Origin, agent: Origin, dial: Dial, pairs: dict[str, KeyPair]
) -> None:
    wire = dial(farther, AT_NEAR, _as_peer(pairs))
    got = wire.ask(
        b"GET / HTTP/1.1\r\nHost: a\r\nAgent-Route: ", farther.route(AGENT, 2), b"\r\n\r\n"
    )
    assert got.status == 403
    assert agent.used == platform.used == 0


def test_call_for_a_peers_agent_goes_to_the_peer_unchanged(
    farther: Node, agent: Origin, dial: Dial
) -> None:
    way = b'"FARTHER001", "NEARER0001", agent;zone="z";host="10.0.0.2";port=2003'
    got = dial(farther, PLATFORM).ask(
        b"GET /y HTTP/1.1\r\nHost: a\r\nAgent-Route: ", way, b"\r\n\r\n"
    )
    assert got.status == 200
    (request,) = agent.received
    assert request.one(b"agent-route") == way
    assert request.all(b"via") == [b"1.1 FARTHER001"]


@pytest.mark.parametrize(
    ("way", "status"),
    [
        (b'"FARTHER001", "UNKNOWN001", agent;zone="z";host="10.0.0.2";port=2003', 400),
        (b'"NEARER0001", agent;zone="z";host="10.0.0.2";port=2003', 421),
    ],
)
def test_wrong_hops_are_refused(
    farther: Node, agent: Origin, dial: Dial, way: bytes, status: int
) -> None:
    got = dial(farther, PLATFORM).ask(
        b"GET / HTTP/1.1\r\nHost: a\r\nAgent-Route: ", way, b"\r\n\r\n"
    )
    assert (got.status, agent.used) == (status, 0)


def test_peer_that_shows_another_certificate_is_not_called(
    started: Callable[..., Node], pairs: dict[str, KeyPair], agent: Origin, dial: Dial
) -> None:
    node = started(
        {
            "proxy": {"id": FAR},
            "peers": {},
            f"[{NEAR}]": {
                "endpoint": f"{ROUTED_AGENT}:{agent.port}",
                "networks": f"{AT_NEAR}/32",
                "certificate": _sha256(pairs["other"]),
                "certificate_file": pairs["other"].certificate,
            },
        }
    )
    way = b'"FARTHER001", "NEARER0001", agent;zone="z";host="10.0.0.2";port=2003'
    got = dial(node, PLATFORM).ask(b"GET /y HTTP/1.1\r\nHost: a\r\nAgent-Route: ", way, b"\r\n\r\n")
    assert got.status == 502
    assert b"tls_certificate_error" in got.one(b"proxy-status")
    assert agent.used == 0


def test_secret_that_was_replaced_still_seals_for_a_while(
    started: Callable[..., Node], agent: Origin, dial: Dial
) -> None:
    new = "another-secret-of-thirty-two-characters"
    node = started({"proxy": {"secret": new, "previous_secret": SECRET}})
    for secret, status in ((SECRET, 200), (new, 200), ("x" * 32, 403)):
        key = route.seal_key(secret.encode())
        way = route.mint(PROXY_ID, "default", ROUTED_AGENT, agent.port, key)
        got = dial(node, PLATFORM).ask(
            b"GET / HTTP/1.1\r\nHost: a\r\nAgent-Route: ", way, b"\r\n\r\n"
        )
        assert got.status == status


def test_two_programs_under_one_identity_are_reported(
    started: Callable[..., Node], platform: Origin, dial: Dial
) -> None:
    node = started({})
    for agent in (b"Java/1.6", b"Python/3", b"Java/1.6"):
        wire = dial(node, AGENT)
        assert (
            wire.ask(b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: ", agent, b"\r\n\r\n").status == 200
        )
    eventually(
        lambda: node.worker.snapshot()["events"].get("duplicate_identity") == 1, "it is reported"
    )
    assert "two agents seem to call as 127.0.1.1" in node.worker.log
    errors = json.loads(node.get("/status")[1])["lastErrors"]
    assert [error["error"] for error in errors] == ["duplicate_identity"]
