"""Processes, logs, certificate, status, restart and factory reset through the command line."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import pytest

from appliance import cli, firewall, reset
from appliance.model import Appliance
from appliance.places import CONF
from appliance.system import Completed, Fetched
from appliance.verb import Context
from appliance.verbs import named
from proxy import certificates
from tests.unit.appliance.machines import Faulty, Machine, PowerCut, recorded
from tests.unit.authority import issue

_TLS = "/opt/agent-proxy/var/tls"
_TWO = "agent-proxy:worker-0 RUNNING pid 1, uptime 0:01\nagent-proxy:worker-1 RUNNING pid 2\n"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = recorded(tmp_path / "disk")
    made.answers["supervisorctl status"] = Completed(0, _TWO, "")
    ready = json.dumps({"ready": True, "workers": {"0": "ready", "1": "ready"}})
    made.pages["/ready"] = Fetched(200, ready.encode())
    return made


def run(machine: Machine, *argv: str) -> int:
    return cli.main(list(argv), machine)


# -- processes


def test_processes_are_restarted_one_after_the_other(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(machine, "services", "status") == 0
    assert run(machine, "services", "rolling-restart") == 0
    assert machine.ran == [
        "supervisorctl restart agent-proxy:worker-0",
        "supervisorctl restart agent-proxy:worker-1",
    ]
    assert "agent-proxy:worker-1: restarted and ready" in capsys.readouterr().out


def test_one_that_does_not_become_ready_stops_the_row(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    workers = {"0": ["no upstream"], "1": "ready"}
    machine.pages["/ready"] = Fetched(200, json.dumps({"workers": workers}).encode())
    assert run(machine, "services", "rolling-restart") == 1
    shown = capsys.readouterr()
    assert "worker 0 is not ready after 180 s: ['no upstream']" in shown.err
    assert "waiting for worker 0" in shown.out
    assert machine.ran == ["supervisorctl restart agent-proxy:worker-0"]


def test_one_that_does_not_start_stops_the_row(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = Completed(0, "agent-proxy:worker-0: ERROR (spawn error)", "")
    machine.answers["supervisorctl restart agent-proxy:worker-0"] = failing
    assert run(machine, "services", "rolling-restart") == 1
    assert "ERROR (spawn error)" in capsys.readouterr().err
    assert run(machine, "services", "restart", "worker-7", "--yes") == 2
    assert "There are: all, worker-0, worker-1" in capsys.readouterr().err
    assert run(machine, "services", "restart", "worker-1", "--yes") == 0
    machine.answers["supervisorctl status"] = Completed(4, "", "refused")
    assert run(machine, "services", "status") == 1
    assert "the proxy does not run" in capsys.readouterr().err


def test_logs_and_following_them(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    logs = "/opt/agent-proxy/var/log"
    machine.write(f"{logs}/worker-0.log", b"one\ntwo\n")
    machine.write(f"{logs}/worker-1.log", b"three\n")
    machine.write(f"{logs}/access-0.log", b"access\n")
    assert run(machine, "services", "logs", "--lines", "1") == 0
    assert capsys.readouterr().out == "worker-0: two\nworker-1: three\n"
    assert run(machine, "services", "logs", "--kind", "access", "--worker", "0") == 0
    assert capsys.readouterr().out == "access\n"
    assert run(machine, "services", "logs", "--worker", "5") == 2
    seen: list[str] = []

    def stop() -> bool:
        if len(seen) == 2:
            machine.write(f"{logs}/worker-0.log", b"one\ntwo\nnew\x1b[2J\n")
        return "new\x1b[2J" in seen

    values = {"kind": "events", "worker": 0, "lines": 2, "follow": True}
    context = Context(machine, progress=seen.append, stop=stop)
    named("services logs").run(context, values)
    assert seen == ["one", "two", "new\x1b[2J"]


def test_what_a_log_holds_does_not_steer_the_terminal(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.write("/opt/agent-proxy/var/log/worker-0.log", b"x\x1b[2J\n")
    assert run(machine, "services", "logs") == 0
    assert capsys.readouterr().out == "x\\x1b[2J\n"


# -- certificate


def test_a_certificate_is_made_requested_and_installed(
    machine: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(machine, "certificate", "show") == 1
    assert run(machine, "certificate", "self-signed") == 0
    assert run(machine, "confirm") == 0
    known = certificates.facts(machine.read(f"{_TLS}/proxy.crt") or b"")
    assert known.names == ("node-1", "10.1.2.3", "2001:db8:1::3", "192.168.7.2", "10.9.0.3")
    entry = machine.entry(f"{_TLS}/proxy.key")
    assert entry is not None and entry.mode == 0o600
    assert "supervisorctl signal HUP agent-proxy:worker-0 agent-proxy:worker-1" in machine.ran
    shown = capsys.readouterr().out
    assert "PRIVATE KEY" not in shown and "proxy.key: new, not shown" in shown

    csr = tmp_path / "csr"
    assert run(machine, "certificate", "request", "--name", "proxy.example.com") == 0
    csr.write_text(capsys.readouterr().out)
    assert "BEGIN CERTIFICATE REQUEST" in csr.read_text()
    assert run(machine, "certificate", "request", "--name", "x.example") == 1
    assert "waits for the answer" in capsys.readouterr().err

    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(machine.read(f"{_TLS}/proxy.key.new") or b"", None)
    ca = issue("A CA", ca=True)
    chain = tmp_path / "chain.pem"
    chain.write_bytes(issue("proxy", ca, key=key).pem + ca.pem)
    assert run(machine, "certificate", "install", str(chain)) == 0
    assert machine.entry(f"{_TLS}/proxy.key.new") is None
    assert run(machine, "rollback") == 0
    assert certificates.facts(machine.read(f"{_TLS}/proxy.crt") or b"") == known
    assert machine.entry(f"{_TLS}/proxy.key.new") is not None
    assert run(machine, "certificate", "show", "--json") == 0
    last = capsys.readouterr().out
    assert json.loads(last[last.index("{") :])["requestWaits"] is True


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a certificate"),
        (issue("x").pem, "does not belong"),
        (issue("x", names=()).pem, "names no host or address"),
        (issue("x", ends_in_days=-1, begins_in_days=-3).pem, "expired on"),
    ],
)
def test_a_certificate_that_does_not_fit_is_refused(
    machine: Machine,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    content: bytes,
    message: str,
) -> None:
    run(machine, "certificate", "self-signed", "--name", "a.example")
    run(machine, "confirm")
    before = machine.content()
    chain = tmp_path / "chain.pem"
    chain.write_bytes(content)
    capsys.readouterr()
    assert run(machine, "certificate", "install", str(chain), "--json") == 2
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert message in " ".join(one["message"] for one in problems)
    assert machine.content() == before


def test_names_and_days_that_are_none(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(machine, "certificate", "self-signed", "--name", "a b") == 2
    assert "--name" in capsys.readouterr().err
    assert run(machine, "certificate", "self-signed", "--days", "0") == 2
    assert "--days" in capsys.readouterr().err
    assert run(machine, "certificate", "request", "--name", "-") == 2


# -- the whole machine


def test_status_says_what_wants_attention(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(machine, "status", "--json") == 1
    shown = json.loads(capsys.readouterr().out)
    texts = [one["text"] for one in shown["warnings"]]
    assert {"no proxy ID is set", "there is no certificate", "no worker answers"} <= set(texts)
    assert all(one["remedy"] for one in shown["warnings"])
    assert shown["addresses"]["eth0"] == ["10.1.2.3/24", "2001:db8:1::3/64"]
    upstream = [{"endpoint": "p:1", "address": "8.7.6.5", "healthy": False, "lastError": "no"}]
    page = {"ready": False, "warnings": ["w"], "upstream": upstream, "connections": 3}
    machine.pages["/status"] = Fetched(200, json.dumps(page).encode())
    assert run(machine, "status") == 1
    shown = capsys.readouterr().out
    assert "p:1 (8.7.6.5) is NOT healthy: no" in shown
    assert "WARNING  the node takes no traffic: diagnose" in shown
    assert all(len(line) <= 110 for line in shown.splitlines())


def test_power(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(machine, "restart") == 1
    assert "Give --yes" in capsys.readouterr().err
    assert run(machine, "restart", "--yes") == 0
    assert run(machine, "shutdown", "--yes") == 0
    assert machine.ran == ["systemctl reboot", "systemctl poweroff"]
    machine.answers["systemctl reboot"] = Completed(1, "", "access denied")
    assert run(machine, "restart", "--yes") == 1
    assert "access denied" in capsys.readouterr().err


def set_up(machine: Machine) -> None:
    for step in (
        ["settings", "secret", "proxy.secret", "--generate"],
        ["certificate", "self-signed"],
        ["network", "set", "eth0", "--dhcp", "yes"],
    ):
        assert run(machine, *step) == 0
        assert run(machine, "confirm") == 0
    assert run(machine, "time", "set", "--server", "ntp.example.com") == 0
    machine.write("/opt/agent-proxy/var/log/worker-0.log", b"a line\n")
    machine.write("/var/lib/agent-proxy/first-boot.complete", b"")
    machine.write("/var/lib/agent-proxy/console.json", b"{}")
    machine.write("/opt/agent-proxy/conf/proxy.ini.0.0.9", b"secret = of an earlier release\n")
    machine.write("/opt/agent-proxy/current/conf/proxy.ini", b"# as shipped\n")


def shipped(machine: Machine) -> dict[str, bytes]:
    return {
        path: content
        for path, content in recorded(Path(machine.root + "-fresh")).content().items()
        if path != CONF
    } | {
        CONF: b"# as shipped\n",
        "/opt/agent-proxy/current/conf/proxy.ini": b"# as shipped\n",
        **{write.path: write.content for write in firewall.render(None, Appliance())},
    }


def test_a_factory_reset_leaves_nothing_of_what_was_set_up(machine: Machine) -> None:
    set_up(machine)
    assert run(machine, "factory-reset", "--yes") == 0
    assert machine.ran[-2:] == ["systemctl stop agent-proxy.service", "systemctl reboot"]
    assert machine.content() == shipped(machine)


def test_a_power_cut_during_a_factory_reset_is_finished_at_boot(tmp_path: Path) -> None:
    made = recorded(tmp_path / "made")
    set_up(made)
    before = made.content()
    for cut_at in itertools.count():
        folder = tmp_path / str(cut_at)
        shutil.copytree(made.root, folder, symlinks=True)
        system = Faulty(folder, cut_at=cut_at)
        try:
            reset.begin(system)
            reset.finish(system, CONF)
        except PowerCut:
            after = Machine(folder)
            pending = reset.is_pending(after)
            assert cli.main(["recover", "--boot"], after) == 0
            content = {p: c for p, c in after.content().items() if not p.endswith(".new")}
            whole = shipped(made)
            assert content == whole if pending else content in (before, whole), f"step {cut_at}"
        else:
            break
    assert cut_at > 20
