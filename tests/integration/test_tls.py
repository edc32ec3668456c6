"""TLS of the listener: sessions stay inside their trust boundary, client_ca fails closed.

What scanners say of it is in test_tls_scans.
"""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.integration.nodes import AGENT, PLATFORM, ROOT, Node
from tests.integration.peers import Aborted, Origin, Wire, anybody, dial_raw, eventually
from tests.unit.authority import Issued, issue

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
REGISTRATION = b"GET /agent-proxy/v1/registration HTTP/1.1\r\nHost: a\r\n\r\n"
TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
BOTH = pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["tls1.2", "tls1.3"])
DAY_S = 86400
LASTS_S = 8
"""Of the short-lived client certificate: long enough for two handshakes on a busy machine."""
Start = Callable[..., Node]
DELAYED_ACK_S = 0.025
"""Well below the 40 ms for which Linux holds an acknowledgement back."""
REFUSED = (OSError, Aborted, EOFError)


def only(version: ssl.TLSVersion, pem: Path | None = None) -> ssl.SSLContext:
    context = anybody()
    context.minimum_version = context.maximum_version = version
    if pem is not None:
        context.load_cert_chain(pem)
    return context


@contextlib.contextmanager
def connected(
    node: Node, source: str, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> Iterator[Wire]:
    """Dial, offering `session`. Raises: OSError."""
    raw = dial_raw(node.address, source)
    with raw:
        wire = Wire(context.wrap_socket(raw, session=session, suppress_ragged_eofs=False))
        try:
            yield wire
        finally:
            wire.close()


def session_of(node: Node, source: str, context: ssl.SSLContext, ask: bytes = GET) -> Any:
    """Return the session of a connection that was served."""
    with connected(node, source, context) as wire:
        assert wire.ask(ask).status == 200
        session = wire.sock.session
    assert session is not None
    return session


def is_resumed(
    node: Node, source: str, context: ssl.SSLContext, session: Any, ask: bytes = GET
) -> bool:
    """Offer `session` to `node`; whether it is taken or not, the caller is served."""
    with connected(node, source, context, session) as wire:
        assert wire.ask(ask).status == 200
        return bool(wire.sock.session_reused)


# Sessions: TLS 1.2 resumes them, TLS 1.3 has none (docs/decisions/013).


@pytest.mark.parametrize("source", [AGENT, PLATFORM])
def test_tls_1_3_gives_no_ticket(node: Node, source: str) -> None:
    with connected(node, source, only(TLS_1_3)) as wire:
        assert wire.ask(GET if source == AGENT else REGISTRATION).status == 200
        assert wire.sock.version() == "TLSv1.3"
        assert not wire.sock.session.has_ticket


def test_aes_128_is_chosen_in_tls_1_3_whatever_the_caller_likes_best(node: Node) -> None:
    """Python's own order begins with AES-256; that others are spoken is seen in test_tls_scans."""
    context = only(TLS_1_3)
    assert context.get_ciphers()[0]["name"] == "TLS_AES_256_GCM_SHA384"
    with connected(node, AGENT, context) as wire:
        assert wire.sock.cipher()[0] == "TLS_AES_128_GCM_SHA256"


def test_request_follows_a_handshake_at_once_although_nagle_holds_it_back(node: Node) -> None:
    """Nothing of ours follows the client's last flight, so its acknowledgement must not wait."""
    took = []
    for _ in range(12):
        with dial_raw(node.address, AGENT) as raw:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
            wire = Wire(only(TLS_1_3).wrap_socket(raw, suppress_ragged_eofs=False))
            begun = time.monotonic()
            assert wire.ask(GET).status == 200
            took.append(time.monotonic() - begun)
            wire.close()
    assert min(took) < DELAYED_ACK_S, f"each waited for a delayed acknowledgement: {took}"


def test_session_is_resumed_and_says_nothing_about_who_calls(node: Node, platform: Origin) -> None:
    """The identity is that of each connection's address, not of the one that made the session."""
    context = only(TLS_1_2)
    session = session_of(node, AGENT, context)
    assert is_resumed(node, AGENT, context, session)
    assert is_resumed(node, "127.0.1.2", context, session)
    sources = [request.one(b"agent-proxy-source") for request in platform.received]
    assert sources == [AGENT.encode(), AGENT.encode(), b"127.0.1.2"]


def test_session_says_nothing_about_the_zone(started: Start, platform: Origin) -> None:
    node = started({"agents": {"networks": "127.0.0.0/8", "allow_loopback": "yes"}})
    node.conf.write_text(
        node.conf.read_text()
        + "[zones]\n[[one]]\nnetworks = 127.0.1.0/24\n[[two]]\nnetworks = 127.0.3.0/24\n"
    )
    hang_up(node)
    context = only(TLS_1_2)
    session = session_of(node, AGENT, context)
    is_resumed(node, "127.0.3.1", context, session)
    zones = [request.one(b"agent-proxy-zone") for request in platform.received]
    assert zones == [b"one", b"two"]


def hang_up(node: Node, *, well: bool = True) -> None:
    before = node.worker.snapshot()["events"].get("reloaded", 0)
    log = node.worker.log.count("reload changed nothing")
    node.worker.signal(signal.SIGHUP)
    if well:
        eventually(lambda: node.worker.snapshot()["events"].get("reloaded", 0) > before, "a reload")
    else:
        eventually(lambda: node.worker.log.count("reload changed nothing") > log, "a refusal")


def test_session_ends_with_a_reload(started: Start, platform: Origin) -> None:
    """Whatever was changed, certificate or client_ca: its key went with the old contexts."""
    node = started({})
    context = only(TLS_1_2)
    session = session_of(node, AGENT, context)
    assert is_resumed(node, AGENT, context, session)
    hang_up(node)
    assert not is_resumed(node, AGENT, context, session)
    assert is_resumed(node, AGENT, context, session_of(node, AGENT, context))


def test_session_is_not_resumed_by_another_worker_or_node(started: Start, platform: Origin) -> None:
    """Python's ssl cannot share ticket keys. The caller pays a whole handshake, no more."""
    node, other = started({}), started({})
    context = only(TLS_1_2)
    session = session_of(node, AGENT, context)
    assert is_resumed(node, AGENT, context, session)
    assert not is_resumed(other, AGENT, context, session)
    node.start(1)
    eventually(lambda: len(node.status()["workers"]) == 2, "two workers")
    own = node.workers[0].snapshot()["events"]["accepted_agent"]
    taken = [is_resumed(node, AGENT, context, session) for _ in range(24)]
    own = node.workers[0].snapshot()["events"]["accepted_agent"] - own
    second = node.workers[1].snapshot()["events"].get("accepted_agent", 0)
    assert own + second == len(taken)
    assert taken.count(True) == own, "resumed exactly where it was made"


# The platform's client certificate.


@pytest.fixture(scope="module")
def ca() -> Issued:
    return issue("client CA", ca=True)


def write(home: Path, name: str, *issued: Issued) -> Path:
    """Write one certificate with its key, then its intermediates."""
    path = home / f"{name}.pem"
    path.write_bytes(b"".join(one.pem for one in issued) + issued[0].key_pem)
    return path


@pytest.fixture
def guarded(started: Start, tmp_path: Path, ca: Issued, platform: Origin) -> Node:
    """Return a node that demands a client certificate of the platform."""
    (tmp_path / "ca.crt").write_bytes(ca.pem)
    networks = "127.0.1.0/24, 127.0.2.0/24"  # the platform must not fall to the agents' class
    return started(
        {
            "platform": {"networks": f"{PLATFORM}/32", "client_ca": tmp_path / "ca.crt"},
            "agents": {"networks": networks, "allow_loopback": "yes"},
        }
    )


def client_auth(name: str, by: Issued | None, usage: Any = ..., **more: Any) -> Issued:
    usage = ExtendedKeyUsageOID.CLIENT_AUTH if usage is ... else usage
    return issue(name, by, usage=usage, **more)


@BOTH
def test_only_a_certificate_of_client_ca_for_clients_and_in_force_gets_in(
    guarded: Node, platform: Origin, tmp_path: Path, ca: Issued, version: ssl.TLSVersion
) -> None:
    foreign = issue("client CA", ca=True)  # the same name, another key
    server: ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH
    leaf = client_auth("leaf", ca)
    bad = {
        "none": None,
        "self-signed": write(tmp_path, "self", client_auth("self", None)),
        "another CA": write(tmp_path, "foreign", client_auth("foreign", foreign), foreign),
        "expired": write(tmp_path, "expired", client_auth("old", ca, ends_in_days=-0.5)),
        "not yet": write(tmp_path, "early", client_auth("early", ca, begins_in_days=1)),
        "for servers": write(tmp_path, "server", client_auth("server", ca, server)),
        "by a leaf": write(tmp_path, "below", client_auth("below", leaf), leaf),
    }
    for name, pem in bad.items():
        with pytest.raises(REFUSED), connected(guarded, PLATFORM, only(version, pem)) as wire:
            raise AssertionError((name, wire.ask(REGISTRATION)))
    failed = guarded.worker.snapshot()["events"]["tls_handshake_failed"]
    assert failed == len(bad)
    assert platform.used == 0, "it fell into another class"
    good = only(version, write(tmp_path, "good", client_auth("good", ca)))
    with connected(guarded, PLATFORM, good) as wire:
        assert wire.ask(REGISTRATION).status == 200


def test_right_certificate_from_an_agents_address_makes_it_no_platform(
    guarded: Node, platform: Origin, tmp_path: Path, ca: Issued
) -> None:
    context = anybody()
    context.load_cert_chain(write(tmp_path, "good", client_auth("good", ca)))
    with connected(guarded, AGENT, context) as wire:
        route = guarded.route("127.0.1.7", 2003)
        got = wire.ask(REGISTRATION[:-2], b"Agent-Route: ", route, b"\r\n\r\n")
    assert (got.status, platform.used) == (200, 1), "forwarded like anything else of an agent"
    assert b"agentProxyId" not in got.body


@BOTH
def test_neither_an_agents_session_nor_one_without_certificate_is_the_platforms(
    guarded: Node, platform: Origin, tmp_path: Path, ca: Issued, version: ssl.TLSVersion
) -> None:
    good = write(tmp_path, "good", client_auth("good", ca))
    with_certificate, without = only(version, good), only(version)
    for context in (with_certificate, without):
        session = session_of(guarded, AGENT, context)
        if context is without:
            with pytest.raises(REFUSED), connected(guarded, PLATFORM, context, session) as wire:
                raise AssertionError(wire.ask(REGISTRATION))
        else:
            assert not is_resumed(guarded, PLATFORM, context, session, REGISTRATION)
    mine = session_of(guarded, PLATFORM, with_certificate, REGISTRATION)
    assert not is_resumed(guarded, AGENT, with_certificate, mine)


def test_session_does_not_outlive_the_certificate(
    guarded: Node, tmp_path: Path, ca: Issued
) -> None:
    """TLS 1.3 makes no tickets where a certificate is demanded; TLS 1.2 resumes by session ID."""
    begun = time.time()
    short = client_auth("short", ca, ends_in_days=LASTS_S / DAY_S)
    pem = write(tmp_path, "short", short)
    newer, older = only(TLS_1_3, pem), only(TLS_1_2, pem)
    with connected(guarded, PLATFORM, newer) as wire:
        assert wire.ask(REGISTRATION).status == 200
        assert not wire.sock.session.has_ticket
    session = session_of(guarded, PLATFORM, older, REGISTRATION)
    assert is_resumed(guarded, PLATFORM, older, session, REGISTRATION)
    ends = short.certificate.not_valid_after_utc.timestamp()
    assert begun < time.time() < ends, "the machine was too slow for this test"
    eventually(lambda: time.time() > ends + 1, "it ends", 2 * LASTS_S)
    with pytest.raises(REFUSED), connected(guarded, PLATFORM, older, session) as wire:
        raise AssertionError(wire.ask(REGISTRATION))
    assert "has ended" in guarded.status()["lastErrors"][0]["detail"]


@pytest.mark.parametrize("content", [None, b"", b"no certificate\n"])
def test_no_worker_starts_with_a_client_ca_that_says_nothing(
    guarded: Node, tmp_path: Path, content: bytes | None
) -> None:
    """At start it ends; at a reload what was in force stays, the demand included."""
    path = tmp_path / "useless.crt"
    if content is not None:
        path.write_bytes(content)
    guarded.write(platform={"client_ca": path})
    hang_up(guarded, well=False)
    with pytest.raises(REFUSED), connected(guarded, PLATFORM, anybody()) as wire:
        raise AssertionError(wire.ask(REGISTRATION))
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "worker", "--conf", str(guarded.conf), "--number", "7"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "[platform] client_ca" in done.stderr


def test_failed_handshake_tells_the_caller_why(guarded: Node) -> None:
    """The alert arrives: the connection is closed, not reset, which could take it along."""
    with pytest.raises(ssl.SSLError) as raised, connected(guarded, PLATFORM, only(TLS_1_2)):
        pass
    assert re.search("HANDSHAKE_FAILURE|CERTIFICATE_REQUIRED", str(raised.value))
