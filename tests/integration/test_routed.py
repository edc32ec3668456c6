"""Calls of the platform to agents: every rule for the last hop, and what is said about it."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
from collections.abc import Callable

import pytest

from tests.fakes.certificates import KeyPair
from tests.integration.conftest import Dial
from tests.integration.nodes import PLATFORM, PROXY_ID, ROUTED_AGENT, Node
from tests.integration.peers import Message, Origin, Wire, answering

SETTINGS = {"timeouts": {"agent_answer": 1, "connect": 1}}
Start = Callable[..., Node]


def call(wire: Wire, *routes: bytes, extra: bytes = b"") -> Message:
    lines = b"".join(b"Agent-Route: %b\r\n" % route for route in routes)
    return wire.ask(b"GET /x HTTP/1.1\r\nHost: proxy:2002\r\n", lines, extra, b"\r\n")


def problem(message: Message) -> dict[str, object]:
    assert message.one(b"content-type") == b"application/problem+json"
    assert message.one(b"proxy-status").startswith(b'"%b"; error=' % PROXY_ID.encode())
    content: dict[str, object] = json.loads(message.body)
    assert content["status"] == message.status
    return content


def test_sealed_route_reaches_the_agent(node: Node, agent: Origin, dial: Dial) -> None:
    agent.use(answering(b"HTTP/1.1 201 Made\r\nContent-Length: 2\r\nX-A: 1\r\n\r\nok"))
    since = node.written()
    route = node.route(ROUTED_AGENT, agent.port)
    got = call(dial(node, PLATFORM), route, extra=b"Forwarded: for=1.2.3.4\r\nX-B: 2\r\n")
    assert got == (b"HTTP/1.1 201 Made", [(b"Content-Length", b"2"), (b"X-A", b"1")], b"ok")
    (request,) = agent.received
    assert request.line == b"GET /x HTTP/1.1"
    assert request.fields == [
        (b"Host", b"%s:%d" % (ROUTED_AGENT.encode(), agent.port)),
        (b"Forwarded", b"for=1.2.3.4"),
        (b"X-B", b"2"),
    ]
    line = node.next_line(since)
    assert line["target"] == f"default/{ROUTED_AGENT}:{agent.port}"
    assert line["caller"] == "platform"


def test_route_that_an_agent_was_given_leads_back_to_it(
    node: Node, platform: Origin, agent: Origin, dial: Dial
) -> None:
    """Taken as the platform got it, never built by the test."""
    dial(node, ROUTED_AGENT).ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    (handshake,) = platform.received
    got = call(dial(node, PLATFORM), handshake.one(b"agent-route"))
    assert got.status == 200
    assert len(agent.received) == 1


def test_each_call_gets_a_connection_of_its_own(node: Node, agent: Origin, dial: Dial) -> None:
    """A stale one would cost a command that may not be repeated."""
    wire = dial(node, PLATFORM)
    for _ in range(3):
        assert call(wire, node.route(ROUTED_AGENT, agent.port)).status == 200
    assert agent.used == 3


ID = PROXY_ID.encode()


def spelled(host: str, port: int, seal: str = "", *, ids: bytes = b'"%b", ' % ID) -> bytes:
    text = f'agent;zone="default";host="{host}";port={port}{seal}'
    return ids + text.encode()


@pytest.mark.parametrize(
    ("name", "status", "token", "refusal"),
    [
        ("no seal", 403, "destination_ip_prohibited", "route_seal"),
        ("wrong seal", 403, "destination_ip_prohibited", "route_seal"),
        ("seal of another port", 403, "destination_ip_prohibited", "route_seal"),
        ("other port", 403, "destination_ip_prohibited", "route_port"),
        ("outside the zone", 403, "destination_ip_prohibited", "route_zone"),
        ("the upstream", 403, "destination_ip_prohibited", "route_forbidden"),
        ("a name", 403, "destination_ip_prohibited", "route_address"),
        ("another zone", 403, "destination_ip_prohibited", "route_zone"),
        ("our ID absent", 421, "destination_not_found", "misdirected"),
        ("no ID at all", 421, "destination_not_found", "misdirected"),
        ("our ID twice", 400, "http_request_error", "route"),
        ("unknown next hop", 400, "http_request_error", "route"),
        ("unknown parameter", 400, "http_request_error", "route"),
        ("given twice", 400, "http_request_error", "route"),
        ("five hops", 400, "http_request_error", "route"),
        ("nonsense", 400, "http_request_error", "route"),
        ("passed here before", 508, "proxy_loop_detected", "loop"),
    ],
)
def test_route_that_may_not_be_followed(
    node: Node, agent: Origin, dial: Dial, name: str, status: int, token: str, refusal: str
) -> None:
    port = agent.port
    good = node.route(ROUTED_AGENT, port)
    wrong_seal = ";seal=:" + base64.b64encode(b"x" * 16).decode() + ":"
    other_seal = ";seal" + node.route(ROUTED_AGENT, 1).decode().partition(";seal")[2]
    routes = {
        "no seal": [spelled(ROUTED_AGENT, port)],
        "wrong seal": [spelled(ROUTED_AGENT, port, wrong_seal)],
        "seal of another port": [spelled(ROUTED_AGENT, port, other_seal)],
        "other port": [node.route(ROUTED_AGENT, 22)],
        "outside the zone": [node.route("127.0.3.1", port)],
        "the upstream": [node.route(PLATFORM, port)],
        "a name": [node.route("localhost", port)],
        "another zone": [node.route(ROUTED_AGENT, port, zone="elsewhere")],
        "our ID absent": [node.route(ROUTED_AGENT, port, own_id="SOMEBODYELSE")],
        "no ID at all": [good.removeprefix(b'"%b", ' % ID)],
        "our ID twice": [b'"%b", ' % ID + good],
        "unknown next hop": [b'"%b", "UNKNOWNPEER", ' % ID + good.partition(b", ")[2]],
        "unknown parameter": [good + b";x=1"],
        "given twice": [good, good],
        "five hops": [b'"AAAA", "BBBB", "CCCC", "DDDD", ' + good],
        "nonsense": [b"agent"],
        "passed here before": [good],
    }[name]
    via = b"Via: 1.1 other, 1.1 %b\r\n" % ID if name == "passed here before" else b""
    since = node.written()
    counted = node.worker.snapshot()["events"].get(f"refused_{refusal}", 0)
    wire = dial(node, PLATFORM)
    got = call(wire, *routes, extra=via)
    assert got.status == status
    assert node.worker.snapshot()["events"][f"refused_{refusal}"] == counted + 1
    said = problem(got)
    assert said["type"] == f"urn:agent-proxy:{token}"
    assert said["blame"] == "client"
    line = node.next_line(since)
    assert line["end"] == ("bad_request" if status == 400 else "refused")
    assert agent.used == 0
    if status == 403:  # the connection of a platform survives its mistakes
        assert call(wire, good).status == 200


def test_refusal_counts_even_with_a_body(node: Node, agent: Origin, dial: Dial) -> None:
    wire = dial(node, PLATFORM)
    wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\nAgent-Route: agent\r\n\r\n")
    wire.send(b"x" * 5000)
    got = wire.response()
    assert (got.status, got.one(b"connection")) == (400, b"close")
    assert wire.to_end() == b""


def test_agent_that_is_not_there_is_503(node: Node, agent: Origin, dial: Dial) -> None:
    got = call(dial(node, PLATFORM), node.route("127.0.1.99", agent.port))
    assert got.status == 503
    said = problem(got)
    assert (said["type"], said["blame"]) == ("urn:agent-proxy:connection_refused", "agent")
    assert 5 <= int(got.one(b"retry-after")) <= 15


def test_agent_that_does_not_answer_is_504(node: Node, agent: Origin, dial: Dial) -> None:
    def script(wire: Wire) -> None:
        wire.request()
        wire.to_end()

    agent.use(script)
    got = call(dial(node, PLATFORM), node.route(ROUTED_AGENT, agent.port))
    assert got.status == 504
    said = problem(got)
    assert said["type"] == "urn:agent-proxy:http_response_timeout"
    assert said["blame"] == "agent"


def test_agent_without_tls_is_502(node: Node, agent: Origin, dial: Dial) -> None:
    plain = Origin(
        "127.0.1.8", None, lambda wire: wire.send(b"HTTP/1.1 200 OK\r\n\r\n"), agent.port
    )
    try:
        got = call(dial(node, PLATFORM), node.route("127.0.1.8", agent.port))
    finally:
        plain.stop()
    assert got.status == 502
    assert problem(got)["blame"] == "agent"


def test_redirect_is_passed_on_and_not_followed(node: Node, agent: Origin, dial: Dial) -> None:
    agent.use(
        answering(
            b"HTTP/1.1 302 Found\r\nLocation: https://127.0.1.7/b\r\nContent-Length: 0\r\n\r\n"
        )
    )
    assert call(dial(node, PLATFORM), node.route(ROUTED_AGENT, agent.port)).status == 302
    assert agent.used == 1


@pytest.mark.parametrize("right", [True, False])
def test_fingerprint_pins_the_agents_certificate(
    node: Node, agent: Origin, dial: Dial, pairs: dict[str, KeyPair], right: bool
) -> None:
    shown = ssl.PEM_cert_to_DER_cert(pairs["agent" if right else "other"].certificate.read_text())
    digest = base64.b64encode(hashlib.sha256(shown).digest())
    route = node.route(ROUTED_AGENT, agent.port) + b";fp=:%b:" % digest
    got = call(dial(node, PLATFORM), route)
    assert got.status == (200 if right else 502)
    if not right:
        assert problem(got)["type"] == "urn:agent-proxy:tls_certificate_error"
    assert agent.used == (1 if right else 0)


def test_agents_can_be_verified_by_a_ca(
    started: Start, agent: Origin, dial: Dial, pairs: dict[str, KeyPair]
) -> None:
    for name, status in (("agent", 200), ("other", 502)):
        node = started(
            {
                "agents": {
                    "verify": "ca",
                    "ca_file": pairs[name].certificate,
                }
            }
        )
        got = call(dial(node, PLATFORM), node.route(ROUTED_AGENT, agent.port))
        assert got.status == status
        node.stop()


def test_routes_without_a_seal_are_followed_where_allowed(
    started: Start, agent: Origin, dial: Dial
) -> None:
    node = started({"platform": {"networks": f"{PLATFORM}/32", "routes": "any"}})
    wire = dial(node, PLATFORM)
    assert call(wire, spelled(ROUTED_AGENT, agent.port)).status == 200
    wrong = ";seal=:" + base64.b64encode(b"x" * 16).decode() + ":"
    assert call(wire, spelled(ROUTED_AGENT, agent.port, wrong)).status == 403
    assert agent.used == 1


def test_loopback_is_refused_without_the_demonstrations_setting(
    started: Start, agent: Origin, dial: Dial
) -> None:
    node = started({"agents": {"allow_loopback": "no", "networks": "10.0.0.0/8"}})
    got = call(dial(node, PLATFORM), node.route(ROUTED_AGENT, agent.port))
    assert got.status == 403
    assert b"loopback" in got.body


def test_explain_names_every_decision_and_sends_nothing(
    node: Node, agent: Origin, dial: Dial
) -> None:
    wire = dial(node, PLATFORM)
    path = b"GET /agent-proxy/v1/explain HTTP/1.1\r\nHost: a\r\nAgent-Route: %b\r\n\r\n"
    got = wire.ask(path % node.route(ROUTED_AGENT, agent.port))
    said = json.loads(got.body)
    assert (got.status, said["allowed"], said["probe"]["reachable"]) == (200, True, True)
    rules = [decision["rule"] for decision in said["decisions"]]
    assert rules == ["0 route", "1 address", "2 forbidden", "3 zone", "3 port", "4 seal"]
    assert agent.used == 0
    for route in (
        node.route("10.0.0.1", agent.port),
        node.route(ROUTED_AGENT, 1),
        b'"WXYZ", agent',
    ):
        said = json.loads(wire.ask(path % route).body)
        assert said["allowed"] is False
        assert "probe" not in said
    missing = b"GET /agent-proxy/v1/explain HTTP/1.1\r\nHost: a\r\n\r\n"
    assert wire.ask(missing).status == 400
