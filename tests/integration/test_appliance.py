"""The appliance against a real worker: commit-confirmed with its self-test, and the diagnosis."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance import commit, diagnostics, self_test
from appliance.readings import Worker
from appliance.system import Completed, System
from appliance.verb import Context, Result
from appliance.verbs import named
from proxy.outcome import Outcome
from tests.fakes.certificates import self_signed
from tests.integration.conftest import Dial
from tests.integration.nodes import AGENT, PLATFORM, STRANGER, Node
from tests.integration.peers import Origin, eventually

REGISTRATION = b"GET /agent-proxy/v1/registration HTTP/1.1\r\nHost: a\r\n\r\n"
SETTINGS: dict[str, Any] = {}

needs_raw = pytest.mark.skipif(os.geteuid() != 0, reason="watching the wire needs CAP_NET_RAW")


class Here(System):
    """This machine with the node under test for a service: supervisorctl signals its worker.

    Files of the appliance itself go to the node's folder, and systemd is not asked.
    """

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._node = node
        self.signals = True

    def path(self, path: str) -> Path:
        own = path.startswith(("/etc/agent-proxy/", "/var/lib/agent-proxy/"))
        return Path(f"{self._node.home}{path}") if own else super().path(path)

    def run(
        self, argv: tuple[str, ...], *, input: bytes = b"", timeout_s: float = 60.0
    ) -> Completed:
        if "HUP" in argv and self.signals:
            self._node.worker.signal(signal.SIGHUP)
        return Completed(0, "", "")

    def processes(self, socket: str, *, timeout_s: float = 5.0) -> tuple[Worker, ...]:
        return (Worker("agent-proxy:worker-0", "RUNNING", "pid 1, uptime 0:00:01"),)

    def write(
        self, path: str, content: bytes, *, mode: int = 0o644, owner: str = "root:root"
    ) -> None:
        super().write(path, content, mode=mode, owner=f"{os.geteuid()}:{os.getegid()}")


@pytest.fixture
def here(node: Node, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    monkeypatch.setattr(self_test, "_PATIENCE_S", 60.0)  # on a busy machine
    before = node.conf.read_text()
    system = Here(node)
    yield system
    node.conf.write_text(before)
    node.worker.signal(signal.SIGHUP)
    eventually(lambda: outcome(system, node, "settings in force") == "PASS", "all as before")


def outcome(system: Here, node: Node, name: str) -> str:
    found = self_test.SelfTest(system, str(node.conf))(frozenset())
    return next(one.verdict for one in found if one.name == name)


def change(system: Here, node: Node, name: str, *value: str) -> Result:
    context = Context(system, str(node.conf))
    return named("settings set").run(context, {"name": name, "value": value})


def test_the_self_test_passes_on_a_node_that_works_and_the_platform_sees_nothing(
    here: Here, node: Node, platform: Origin
) -> None:
    before = len(platform.received)
    found = self_test.SelfTest(here, str(node.conf))(frozenset())
    assert [(one.name, one.verdict) for one in found] == [
        ("ready", "PASS"),
        ("settings in force", "PASS"),
        ("connection limit", "PASS"),
        ("upstream", "PASS"),
        ("loopback exchange", "PASS"),
    ], found
    names = {name.lower() for one in platform.received[before:] for name, _ in one.fields}
    assert b"agent-proxy-id" not in names  # nothing came through the proxy


def test_a_change_is_in_force_and_final_once_confirmed(here: Here, node: Node) -> None:
    result = change(here, node, "limits.fields", "200")
    assert result.code == 0 and result.data["confirmWithinSeconds"] == 120, result.lines
    assert {one["verdict"] for one in result.data["outcomes"]} == {"PASS"}
    assert commit.confirm(here) == "settings: limits.fields"
    assert "fields = 200" in node.conf.read_text()


def test_a_change_that_cuts_the_upstream_off_is_taken_back_at_once(
    here: Here, node: Node, dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_test, "_PATIENCE_S", 4.0)
    before = node.conf.read_text()
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        result = change(here, node, "upstream.endpoint", f"127.0.0.1:{dead.getsockname()[1]}")
    assert result.code == 1
    assert "worked before and does not now" in result.data["rolledBack"]
    verdicts = {one["name"]: one["verdict"] for one in result.data["outcomes"]}
    assert verdicts["upstream"] == "FAIL"
    assert node.conf.read_text() == before
    eventually(lambda: outcome(here, node, "settings in force") == "PASS", "the old ones are back")
    assert dial(node).ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 200


def test_a_change_that_no_worker_takes_up_is_taken_back(
    here: Here, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_test, "_PATIENCE_S", 4.0)
    here.signals = False
    before = node.conf.read_text()
    result = change(here, node, "limits.fields", "201")
    assert "settings in force worked before and does not now" in result.data["rolledBack"]
    assert node.conf.read_text() == before


def test_without_confirmation_the_worker_gets_the_old_settings_back(here: Here, node: Node) -> None:
    before = node.conf.read_text()
    assert change(here, node, "limits.fields", "202").code == 0
    assert commit.roll_back(here) == ("settings: limits.fields", [])
    assert node.conf.read_text() == before
    eventually(lambda: outcome(here, node, "settings in force") == "PASS", "the old ones are back")


# -- diagnosis


def diagnose(
    here: Here, node: Node, wait_s: float, during: Callable[[], object] = lambda: None
) -> dict[str, Outcome]:
    """Return outcomes by name, while `during` runs in a thread."""
    logs = node.home / "var" / "log"
    logs.mkdir(exist_ok=True)
    thread = threading.Thread(target=during)
    found: dict[str, Outcome] = {}
    for one in diagnostics.run(here, str(node.conf), deadline_s=60, wait_s=wait_s):
        if not found:  # the first one: the wire is being watched
            thread.start()
        found[one.name] = one
    thread.join()
    assert all(one.remedy for one in found.values() if one.verdict == "FAIL"), found
    return found


@needs_raw
def test_nothing_arrived_is_worded_as_a_firewall_ticket(here: Here, node: Node) -> None:
    found = diagnose(here, node, 1.5)
    way = found["way from the platform"]
    port = node.address[1]
    assert way.verdict == "FAIL"
    seconds = way.detail.rpartition(" in ")[2].split()[0]
    assert way.detail == (
        f"from {PLATFORM} to this node, port {port}/tcp: nothing arrived in {seconds} s"
    )
    assert found["registration"].verdict == "SKIP"
    towards = found["way to the platform"]
    assert towards.verdict == "PASS" and "port" in towards.detail and " ms" in towards.detail
    for name in ("ready", "settings in force", "loopback exchange", "packet size", "upstream TLS"):
        assert found[name].verdict == "PASS", found[name]


@needs_raw
def test_the_platform_that_calls_is_seen_and_not_waited_for(
    here: Here, node: Node, dial: Dial
) -> None:
    found = diagnose(here, node, 40.0, lambda: dial(node, PLATFORM).ask(REGISTRATION))
    way = found["way from the platform"]
    assert way.verdict == "PASS" and PLATFORM in way.detail, way


@needs_raw
def test_a_stranger_that_arrives_hints_at_a_nat(here: Here, node: Node) -> None:
    def knock() -> None:
        with socket.create_connection(node.address, 5, (STRANGER, 0)):
            pass

    way = diagnose(here, node, 6.0, knock)["way from the platform"]
    assert way.verdict == "FAIL"
    assert f"but {STRANGER} (" in way.detail and "arrived, who may not call" in way.detail
    assert "NAT" in way.remedy


@needs_raw
def test_agents_of_the_log_are_called_and_the_registration_is_found(
    here: Here, node: Node, dial: Dial
) -> None:
    """An agent that called lately and listens passes; one that does not is a ticket."""
    (node.home / "var" / "log").mkdir(exist_ok=True)
    assert dial(node, PLATFORM).ask(REGISTRATION).status == 200
    assert dial(node, AGENT).ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 200
    node.access_lines(2)
    log = node.home / "var" / "log" / "access-0.log"
    log.write_bytes((node.home / "out-0").read_bytes())
    try:
        found = diagnose(here, node, 1.0)
    finally:
        log.unlink()
    assert found["registration"].verdict == "PASS" and PLATFORM in found["registration"].detail
    assert found["way from the platform"].verdict == "PASS"
    assert found["way from default"].verdict == "PASS"
    called = found["agents of default"]
    assert called.verdict == "FAIL"  # this agent only calls; nothing listens there
    port = node.settings["agents"]["ports"]
    assert f"to {AGENT}, port {port}/tcp: Connection refused" in called.detail
    assert "its agent is not" in called.remedy


def test_the_deadline_is_a_total(here: Here, node: Node) -> None:
    import time

    began = time.monotonic()
    found = list(diagnostics.run(here, str(node.conf), deadline_s=3, wait_s=600))
    assert time.monotonic() - began < 60  # of 600 s that it might wait
    assert any(one.name == "way from the platform" for one in found)


class Hanging(System):
    """A machine on which every program hangs, and so does whoever answers for the proxy."""

    def path(self, path: str) -> Path:
        own = path.startswith(("/etc/agent-proxy/", "/var/lib/agent-proxy/"))
        return Path("/nowhere") / path.lstrip("/") if own else super().path(path)

    def ask(self, argv: tuple[str, ...], *, timeout_s: float = 10.0) -> Completed:
        return super().ask(("sleep", "1000"), timeout_s=timeout_s)


def test_the_diagnosis_ends_in_time_when_everything_hangs(tmp_path: Path) -> None:
    """Programs, pages, the node and the platform take what they are sent, and that is all."""
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(3):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
            ports.append(listener.getsockname()[1])
        (tmp_path / "conf").mkdir()
        pair = self_signed(tmp_path / "var" / "tls", "proxy", ("localhost",))
        conf = tmp_path / "conf" / "proxy.ini"
        endpoints = f"127.0.0.1:{ports[2]}, silent.invalid:3302, 127.0.0.2:{ports[2]}"
        conf.write_text(
            "[proxy]\nid = 45BCEBB32AA9\nsecret = 0123456789abcdef0123456789abcdef\n"
            f"[listen]\naddresses = 127.0.0.1\nport = {ports[0]}\n"
            f"certificate = {pair.certificate}\nkey = {pair.key}\n"
            f"[upstream]\nendpoint = {endpoints}\n"
            f"[platform]\nnetworks = 127.0.2.1\n[admin]\nport = {ports[1]}\n"
            "[agents]\nnetworks = 127.0.1.0/24\nallow_loopback = yes\n"
        )
        conf.chmod(0o600)
        began = time.monotonic()
        found = list(diagnostics.run(Hanging(), str(conf), deadline_s=6, wait_s=3))
        took_s = time.monotonic() - began
    assert took_s < 6 + 9, took_s  # one step may be under way; none of 10 s and more may follow
    names = [one.name for one in found]
    for name in ("configuration", "upstream TLS", "ready", "processes", "way from the platform"):
        assert name in names, names
    assert all(one.remedy for one in found if one.verdict == "FAIL"), found
