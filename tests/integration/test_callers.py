"""Who may do what: decided by the peer, never by a header."""

from __future__ import annotations

import hashlib
import json
import ssl
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.certificates import KeyPair
from tests.integration.conftest import Dial
from tests.integration.nodes import AGENT, PLATFORM, PROXY_ID, ROUTED_AGENT, STRANGER, Node
from tests.integration.peers import Aborted, Origin, anybody, dial_raw
from tests.unit.authority import issue

Start = Callable[..., Node]
REGISTRATION = b"GET /agent-proxy/v1/registration HTTP/1.1\r\nHost: a\r\n\r\n"


def test_stranger_gets_nothing_not_even_a_handshake(node: Node, platform: Origin) -> None:
    raw = dial_raw(node.address, STRANGER)
    with raw:
        try:
            raw.sendall(b"\x16\x03\x01")
            assert raw.recv(100) == b""
        except ConnectionError:
            pass  # reset: nothing as well
    assert node.worker.snapshot()["events"]["refused_stranger"] >= 1


def test_header_makes_nobody_the_platform(node: Node, platform: Origin, dial: Dial) -> None:
    """An agent's route and claims are removed, and its paths are the platform's."""
    got = dial(node, AGENT).ask(
        b"GET /agent-proxy/v1/registration HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 127.0.2.1\r\n"
        b"Forwarded: for=127.0.2.1\r\nAgent-Route: ",
        node.route(ROUTED_AGENT, 2003),
        b"\r\n\r\n",
    )
    assert (got.status, got.body) == (200, b"")
    (request,) = platform.received
    assert request.line == b"GET /agent-proxy/v1/registration HTTP/1.1"
    assert request.one(b"agent-route").startswith(b'"45BCEBB32AA9", agent;')
    assert AGENT.encode() in request.one(b"agent-route")


def test_platform_call_without_a_route_is_refused(node: Node, agent: Origin, dial: Dial) -> None:
    got = dial(node, PLATFORM).ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert got.status == 400
    assert b"Agent-Route" in got.body


def test_registration_says_what_the_operator_compares(node: Node, dial: Dial) -> None:
    got = dial(node, PLATFORM).ask(REGISTRATION)
    assert (got.status, got.one(b"content-type")) == (200, b"application/json")
    said = json.loads(got.body)
    assert set(said) == {
        *("agentProxyId", "node", "version", "zones"),
        *("configDigest", "certificateSha256", "time"),
    }
    assert (said["agentProxyId"], said["node"], said["zones"]) == (PROXY_ID, "node-1", ["default"])
    assert said["configDigest"] == node.status()["configDigest"]
    wire = dial(node, PLATFORM)
    shown = wire.sock.getpeercert(binary_form=True)
    assert shown is not None
    assert hashlib.sha256(shown).hexdigest() == said["certificateSha256"]


def test_own_paths_are_kept_alive_and_answer_get_and_head_only(node: Node, dial: Dial) -> None:
    wire = dial(node, PLATFORM)
    assert wire.ask(REGISTRATION).status == 200
    assert wire.ask(REGISTRATION.replace(b"GET", b"HEAD"), method="HEAD").status == 200
    ready = wire.ask(b"GET /agent-proxy/v1/ready HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (ready.status, json.loads(ready.body)["ready"]) == (200, True)
    post = b"POST /agent-proxy/v1/registration HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    assert wire.ask(post).status == 400


def test_without_platform_networks_nobody_makes_routed_calls(started: Start, dial: Dial) -> None:
    node = started({"platform": {"networks": ""}})
    with pytest.raises((OSError, Aborted, EOFError)):
        dial(node, PLATFORM).ask(REGISTRATION)


def test_without_an_id_neither_registration_nor_agents(
    started: Start, platform: Origin, dial: Dial
) -> None:
    node = started({"proxy": {"id": ""}}, ready=False)
    got = dial(node, PLATFORM).ask(REGISTRATION)
    assert got.status == 503
    assert b"[proxy] id is not set" in got.body
    got = dial(node, AGENT).ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (got.status, got.body) == (503, b"503 Service Unavailable\n")
    assert platform.used == 0
    assert node.get("/ready")[0] == 503


@pytest.fixture(scope="module")
def client_ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with ca.pem, and certificates: platform (by it), self (by nobody)."""
    home = tmp_path_factory.mktemp("ca")
    ca = issue("client CA", ca=True)
    (home / "ca.pem").write_bytes(ca.pem)
    for name, issuer in (("platform", ca), ("self", None)):
        issued = issue(name, issuer)
        (home / f"{name}.pem").write_bytes(issued.pem + issued.key_pem)
    return home


def context(pem: Path | None) -> ssl.SSLContext:
    made = anybody()
    if pem is not None:
        made.load_cert_chain(pem)
    return made


def test_platform_needs_a_certificate_where_client_ca_is_set(
    started: Start, platform: Origin, agent: Origin, dial: Dial, client_ca: Path
) -> None:
    settings: dict[str, Any] = {
        "platform": {"networks": f"{PLATFORM}/32", "client_ca": client_ca / "ca.pem"},
        # The platform's address is also inside the zone: it must not fall to that class.
        "agents": {"networks": "127.0.1.0/24, 127.0.2.0/24", "allow_loopback": "yes"},
    }
    node = started(settings)
    for pem in (None, client_ca / "self.pem"):
        with pytest.raises((OSError, Aborted, EOFError)):
            dial(node, PLATFORM, context(pem)).ask(REGISTRATION)
    assert node.worker.snapshot()["events"]["tls_handshake_failed"] == 2
    assert platform.used == 0, "it fell into another class"
    got = dial(node, PLATFORM, context(client_ca / "platform.pem")).ask(REGISTRATION)
    assert got.status == 200
    assert dial(node, AGENT).ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 200


def test_session_of_an_agent_is_not_resumed_as_the_platform(
    started: Start, dial: Dial, client_ca: Path
) -> None:
    """Both contexts have keys of their own for tickets."""
    node = started({"platform": {"networks": f"{PLATFORM}/32", "client_ca": client_ca / "ca.pem"}})
    shared = anybody()
    shared.maximum_version = ssl.TLSVersion.TLSv1_2
    first = dial(node, AGENT, shared)
    first.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    session = first.sock.session
    first.close()
    for source, resumed in ((AGENT, True), (PLATFORM, False)):
        with dial_raw(node.address, source) as raw:
            try:
                sock = shared.wrap_socket(raw, session=session)
                assert (sock.session_reused, source) == (resumed, source)
                sock.close()
            except (ssl.SSLError, ConnectionError):
                assert not resumed


def test_old_tls_is_refused_unless_asked_for(
    started: Start, pairs: dict[str, KeyPair], dial: Dial
) -> None:
    old = anybody()
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that is the point
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1
    node = started({})
    with pytest.raises(OSError):
        dial(node, AGENT, old)
    node.stop()
    node = started({"listen": {"min_tls": "1.0"}})
    wire = dial(node, AGENT, old)
    assert wire.sock.version() == "TLSv1"
    assert wire.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 200
    assert any("min_tls" in warning for warning in node.status()["warnings"])
