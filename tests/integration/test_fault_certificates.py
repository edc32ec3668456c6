"""Certificates that end, are renewed or are somebody else's, while the proxy runs."""

from __future__ import annotations

import datetime
import hashlib
import json
import shutil
import signal
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.certificates import KeyPair
from tests.integration import peers
from tests.integration.conftest import Dial
from tests.integration.nodes import AGENT, PLATFORM, ROUTED_AGENT, Node
from tests.integration.peers import Origin, Wire, eventually
from tests.unit.authority import Issued, issue

pytestmark = pytest.mark.deadline(120)
NAME = "platform.example.com"
DAY_S = 86400.0
LIVES_S = 6.0
"""How long a certificate that is to end in a test is valid."""
SLACK_S = 5.0
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"


def keep(directory: Path, stem: str, issued: Issued) -> KeyPair:
    pair = KeyPair(directory / f"{stem}.crt", directory / f"{stem}.key")
    pair.certificate.write_bytes(issued.pem)
    pair.key.write_bytes(issued.key_pem)
    pair.key.chmod(0o600)
    return pair


def wait_for_end(issued: Issued) -> None:
    ends = issued.certificate.not_valid_after_utc
    left_s = (ends - datetime.datetime.now(datetime.UTC)).total_seconds()
    time.sleep(max(0.0, left_s) + 1.1)


@pytest.fixture(scope="module")
def authority() -> Issued:
    return issue("platform's CA", ca=True)


@pytest.fixture
def served(
    build: Callable[[Any], Node], authority: Issued, tmp_path: Path
) -> Iterator[Callable[[KeyPair], tuple[Node, Origin]]]:
    """Return what starts a node that trusts `authority`, and its platform that shows a pair."""
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    started: list[tuple[Node, Origin]] = []

    def start(pair: KeyPair) -> tuple[Node, Origin]:
        origin = Origin(PLATFORM, pair, script=echo_or_tunnel)
        upstream = {
            "endpoint": f"{PLATFORM}:{origin.port}",
            "ca_file": tmp_path / "ca.pem",
            "server_name": NAME,
        }
        node = build({"upstream": upstream, "timeouts": {"keepalive_out": 60}})
        started.append((node, origin))
        node.start()
        node.wait_until_ready()
        return node, origin

    yield start
    for node, origin in started:
        try:
            assert origin.faults == []
            node.stop()
        finally:
            origin.stop()


def echo_or_tunnel(wire: Wire) -> None:
    while True:
        if wire.request().all(b"upgrade"):
            wire.send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
            wire.sock.settimeout(60)
            while data := wire.some():
                wire.send(data)
            return
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def tunnel(wire: Wire) -> Wire:
    assert wire.ask(UPGRADE).status == 101
    assert_echoes(wire)
    return wire


def assert_echoes(wire: Wire) -> None:
    wire.send(b"hello")
    assert wire.exactly(5) == b"hello"


def ask(node: Node, fields: bytes = b"", source: str = AGENT) -> tuple[int, float]:
    wire = peers.dial(node.address, source)
    try:
        began = time.monotonic()
        got = wire.ask(b"GET / HTTP/1.1\r\nHost: a\r\n", fields, b"\r\n")
        return got.status, time.monotonic() - began
    finally:
        wire.close()


def assert_refused_and_mended(
    node: Node, platform: Origin, agent: Origin, why: str, renewed: KeyPair
) -> None:
    """New connections are refused for `why`, other traffic goes on, and renewal heals at once."""
    status, took_s = ask(node)
    assert status == 502
    assert took_s < SLACK_S
    error = node.status()["lastErrors"][-1]
    said = f"the platform's certificate was refused: {why}"
    assert error["error"] == "tls_certificate_error"
    assert error["detail"].startswith(said)
    assert f"WARNING worker=0 the platform at {PLATFORM} cannot be used: {said}" in node.worker.log
    assert node.get("/ready")[0] == 503
    route = b"Agent-Route: %b\r\n" % node.route(ROUTED_AGENT, agent.port)
    assert ask(node, route, PLATFORM)[0] == 200, "calls to agents go on"
    platform.present(renewed)
    began = time.monotonic()
    assert ask(node)[0] == 200, "the next request, without restart or reload"
    print(f"{why}: 502 after {took_s:.2f} s; well {time.monotonic() - began:.2f} s after renewal")
    assert node.get("/ready")[0] == 200
    assert f"INFO worker=0 the platform at {PLATFORM} can be used again" in node.worker.log


def test_certificate_of_the_platform_ends_and_is_renewed(
    served: Callable[[KeyPair], tuple[Node, Origin]],
    authority: Issued,
    tmp_path: Path,
    agent: Origin,
    dial: Dial,
) -> None:
    short = issue("platform", authority, names=(NAME,), ends_in_days=LIVES_S / DAY_S)
    renewed = keep(tmp_path, "renewed", issue("platform", authority, names=(NAME,)))
    node, platform = served(keep(tmp_path, "short", short))
    open_tunnel = tunnel(dial(node))
    assert ask(node)[0] == 200
    wait_for_end(short)
    assert_echoes(open_tunnel)
    assert ask(node)[0] == 200, "a kept connection was verified when it was made"
    platform.disconnect()
    assert_refused_and_mended(node, platform, agent, "certificate has expired", renewed)
    assert_echoes(tunnel(dial(node)))


def test_certificate_of_the_platform_for_another_name_and_of_another_authority(
    served: Callable[[KeyPair], tuple[Node, Origin]],
    authority: Issued,
    tmp_path: Path,
    agent: Origin,
) -> None:
    right = keep(tmp_path, "right", issue("platform", authority, names=(NAME,)))
    other = keep(tmp_path, "other", issue("platform", authority, names=("other.example.com",)))
    forged = keep(tmp_path, "forged", issue("platform", issue("x", ca=True), names=(NAME,)))
    node, platform = served(right)
    for pair, why in (
        (other, "hostname 'platform.example.com' doesn't match"),
        (forged, "unable to get local issuer"),
    ):
        assert ask(node)[0] == 200
        platform.present(pair)
        assert ask(node)[0] == 200, "a kept connection goes on"
        platform.disconnect()
        assert ask(node)[0] == 502
        # Said every 10 s at most, and the one before has just been.
        eventually(lambda why=why: ask(node)[0] == 502 and why in node.worker.log, "it is said", 20)
        assert_refused_and_mended(node, platform, agent, why, right)
        platform.disconnect()


def shown(node: Node) -> str:
    """Return the SHA-256 of the certificate that a new connection gets."""
    wire = peers.dial(node.address, AGENT)
    try:
        certificate = wire.sock.getpeercert(binary_form=True)
        assert certificate is not None
        return hashlib.sha256(certificate).hexdigest()
    finally:
        wire.close()


def test_own_certificate_ends_and_is_replaced(
    build: Callable[[Any], Node], platform: Origin, agent: Origin, tmp_path: Path, dial: Dial
) -> None:
    """Whoever looks is refused by his own TLS, whoever does not is served; nothing is lost."""
    own = issue("proxy's CA", ca=True)
    short = issue("proxy", own, names=("localhost",), ends_in_days=LIVES_S / DAY_S)
    fresh = issue("proxy", own, names=("localhost",))
    pair = keep(tmp_path, "short", short)
    node = build({})
    for kind in ("certificate", "key"):
        shutil.copy(getattr(pair, kind), node.home / kind)
        node.write(listen={kind: node.home / kind})
    careful = ssl.create_default_context(cadata=own.pem.decode())
    careful.check_hostname = False
    try:
        node.start()
        kept = dial(node, AGENT, careful)
        assert kept.ask(GET).status == 200
        wait_for_end(short)
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            dial(node, AGENT, careful)
        assert ask(node)[0] == 200
        assert kept.ask(GET).status == 200
        route = b"Agent-Route: %b\r\n" % node.route(ROUTED_AGENT, agent.port)
        assert ask(node, route, PLATFORM)[0] == 200
        status, body = node.get("/ready")
        said = "the certificate has expired or is not valid yet"
        assert status == 503 and json.loads(body)["workers"]["0"] == [said]
        errors = {one["error"] for one in node.status()["lastErrors"]}
        assert "tls_handshake_failed" in errors, "the agent's alert is seen"
        line = f"ERROR worker=0 {said}: install another, then reload"
        eventually(lambda: line in node.worker.log, "it is said", 20)
        before = shown(node)
        renewed = keep(tmp_path, "fresh", fresh)
        for kind in ("certificate", "key"):
            shutil.copy(getattr(renewed, kind), node.home / kind)
        assert shown(node) == before, "not before it is told"
        began = time.monotonic()
        node.worker.signal(signal.SIGHUP)
        eventually(lambda: shown(node) != before, "new handshakes get the new one")
        print(f"in force {time.monotonic() - began:.2f} s after SIGHUP")
        assert (
            shown(node) == hashlib.sha256(ssl.PEM_cert_to_DER_cert(fresh.pem.decode())).hexdigest()
        )
        again = dial(node, AGENT, careful)
        assert again.ask(GET).status == 200
        assert kept.ask(GET).status == 200, "open connections go on"
        assert node.get("/ready")[0] == 200
        assert node.status()["certificateSha256"] == shown(node)
    finally:
        node.stop()
