"""The stand-ins against each other, without a proxy: what they claim to do, they do."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.agents import FirstAgent, LastAgent
from tests.fakes.certificates import KeyPair, self_signed
from tests.fakes.control import Control, order
from tests.fakes.journal import render
from tests.fakes.messages import ask
from tests.fakes.platform import Identity, Platform
from tests.fakes.websocket import Refused, WebSocket
from tests.fakes.wire import client_context, closing, dial
from tests.integration.peers import eventually

FIRST = "127.0.1.1"
LAST = "127.0.1.3"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    directory = tmp_path_factory.mktemp("tls")
    return self_signed(directory, "platform", ("127.0.0.1", "localhost"))


@pytest.fixture
def platform(pair: KeyPair) -> Iterator[Platform]:
    platform = Platform(certificate=pair.certificate, key=pair.key)
    platform.start()
    yield platform
    platform.stop()
    assert platform.faults == []


@pytest.fixture
def first(platform: Platform, pair: KeyPair) -> Iterator[FirstAgent]:
    agent = FirstAgent(
        platform.address,
        address=FIRST,
        port=0,
        ca=pair.certificate,
        retry_s=0.05,
        period_s=0.05,
    )
    agent.start()
    yield agent
    agent.stop()


@pytest.fixture
def last(platform: Platform, pair: KeyPair) -> Iterator[LastAgent]:
    agent = LastAgent(platform.address, address=LAST, ca=pair.certificate, first_backoff_s=0.05)
    agent.start()
    yield agent
    agent.stop()


def test_first_agent_shakes_hands_and_calls_periodically(
    platform: Platform, first: FirstAgent
) -> None:
    assert first.shaken.wait(10)
    assert platform.journal.wait_for("periodic")["source"].startswith(FIRST)
    known = platform.find(FIRST)
    assert known.generation == "first"
    assert first.handshake["agentID"] == known.agent_id


def test_first_agent_retries_until_it_is_accepted(pair: KeyPair) -> None:
    platform = Platform(certificate=pair.certificate, key=pair.key)
    platform.return_codes.extend([401, 409, 503])
    platform.start()
    agent = FirstAgent(platform.address, address=FIRST, port=0, retry_s=0.02)
    agent.start()
    try:
        assert agent.shaken.wait(10)
    finally:
        agent.stop()
        platform.stop()
    results = [e["result"] for e in platform.journal.after() if e["what"] == "handshake"]
    assert results == ["401", "409", "503", "200"]


def test_journal_holds_neither_token_nor_key(platform: Platform, first: FirstAgent) -> None:
    assert first.shaken.wait(10)
    shown = json.dumps(platform.journal.after()) + "".join(map(render, platform.journal.after()))
    assert first._token not in shown
    assert first._key not in shown


def test_first_agent_answers_a_call_over_its_own_certificate(first: FirstAgent) -> None:
    with closing(dial((FIRST, first.port), client_context(None))) as sock:
        host = [("Host", f"{FIRST}:2003")]
        reply = ask(sock, "POST", "/agent/instruction", host, b"uptime")
        answer = reply.document()
        assert (reply.status, answer["body"]) == (200, "uptime")
        again = ask(sock, "POST", "/echo", host, iter([b"one", b"two"]))
        assert again.body == b"onetwo"


def test_first_agent_echoes_over_a_websocket(first: FirstAgent) -> None:
    with closing(dial((FIRST, first.port), client_context(None))) as sock:
        websocket = WebSocket.open(sock, f"{FIRST}:2003", "/console")
        websocket.send({"line": "hello"})
        assert websocket.receive(10) == {"line": "hello"}
        websocket.close()
        assert websocket.receive(10) is None


def test_command_over_the_websocket_is_acknowledged_and_replied_to(
    platform: Platform, last: LastAgent
) -> None:
    assert last.connected.wait(10)
    platform.journal.wait_for("connected")
    reply = platform.command(platform.find(LAST).identity, "list_devices", {"verbose": True})
    assert reply["command"] == "list_devices"
    assert reply["arguments"] == {"verbose": True}
    assert reply["return_code"] == 0


@pytest.mark.parametrize("codes", [[401], [409], [401, 409, 401]])
def test_last_agent_comes_back_after_a_refusal(pair: KeyPair, codes: list[int]) -> None:
    platform = Platform(certificate=pair.certificate, key=pair.key)
    platform.return_codes.extend(codes)
    platform.start()
    agent = LastAgent(platform.address, address=LAST, first_backoff_s=0.02)
    token = agent._token
    agent.start()
    try:
        assert agent.connected.wait(10)
        assert agent.return_codes == [*codes, 200]
        assert (agent._token != token) == (409 in codes)
    finally:
        agent.stop()
        platform.stop()


def test_last_agent_waits_as_long_as_503_says(pair: KeyPair) -> None:
    platform = Platform(certificate=pair.certificate, key=pair.key)
    platform.return_codes.append(503)
    platform.start()
    waits: list[str] = []
    agent = LastAgent(platform.address, address=LAST, first_backoff_s=0.02, say=waits.append)
    agent.start()
    try:
        assert agent.connected.wait(10)
    finally:
        agent.stop()
        platform.stop()
    assert any("again in 1 s" in line for line in waits)


def test_last_agent_reconnects_when_the_platform_breaks_off(
    platform: Platform, last: LastAgent
) -> None:
    platform.journal.wait_for("connected")
    platform.disconnect()
    platform.journal.wait_for("disconnected", result="code 1006")
    assert last.connected.wait(10)


def test_unregistered_proxy_is_refused_both_ways(pair: KeyPair) -> None:
    platform = Platform(certificate=pair.certificate, key=pair.key, admit_unregistered=False)
    platform.start()
    try:
        with closing(dial(platform.address, client_context(pair.certificate))) as sock:
            reply = ask(sock, "POST", "/services/agent/handshake", [("Host", "platform")], b"{}")
            assert reply.status == 403
        with closing(dial(platform.address, client_context(pair.certificate))) as sock:
            with pytest.raises(Refused) as refused:
                WebSocket.open(sock, "platform", "/ws", subprotocols=("dcm",))
            assert refused.value.status == 403
    finally:
        platform.stop()


def test_identity_and_return_route_are_kept_verbatim(platform: Platform, pair: KeyPair) -> None:
    route = '"45BCEBB32AA9", agent;zone="z1";host="10.0.0.2";port=2003'
    headers = [
        ("Host", "platform"),
        ("Agent-Proxy-Id", "45BCEBB32AA9"),
        ("Agent-Proxy-Zone", "z1"),
        ("Agent-Proxy-Source", "10.0.0.2"),
        ("Agent-Route", route),
    ]
    body = b'{"token": "t", "key": "k", "addresses": []}'
    with closing(dial(platform.address, client_context(pair.certificate))) as sock:
        assert ask(sock, "POST", "/services/agent/handshake", headers, body).status == 200
        repeated = [*headers, ("agent-route", route)]
        assert ask(sock, "POST", "/services/agent/handshake", repeated, body).status == 400
    known = platform.agents[Identity("45BCEBB32AA9", "z1", "10.0.0.2")]
    assert known.route == route


def test_bad_http_is_answered_with_400_and_remembered(pair: KeyPair) -> None:
    platform = Platform(certificate=pair.certificate, key=pair.key)
    platform.start()
    try:
        with closing(dial(platform.address, client_context(pair.certificate))) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 400 ")
    finally:
        platform.stop()
    assert "bad HTTP" in platform.faults[0]


def test_agent_with_a_ca_refuses_another_certificate(platform: Platform, tmp_path: Path) -> None:
    other = self_signed(tmp_path, "other", ("127.0.0.1",))
    with pytest.raises(ssl.SSLCertVerificationError):
        dial(platform.address, client_context(other.certificate))
    eventually(lambda: platform.faults, "the platform has noticed")
    assert len(platform.faults) == 1
    platform.faults.clear()


def test_orders_from_another_process(platform: Platform, last: LastAgent, tmp_path: Path) -> None:
    control = Control(platform, tmp_path / "platform.sock")
    control.start()
    try:
        platform.journal.wait_for("connected")
        agents = order(tmp_path / "platform.sock", "GET", "/agents")
        assert [(a["address"], a["connected"]) for a in agents] == [(LAST, True)]
        told = {"agent": LAST, "command": "list_devices"}
        answer = order(tmp_path / "platform.sock", "POST", "/command", told)
        assert answer["reply"]["command"] == "list_devices"
        journal = order(tmp_path / "platform.sock", "GET", "/journal?after=1")
        assert [e["number"] for e in journal] == list(range(2, len(journal) + 2))
        with pytest.raises(RuntimeError, match="no proxy configured"):
            order(tmp_path / "platform.sock", "POST", "/register")
    finally:
        control.stop()
