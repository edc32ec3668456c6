"""The console as it is installed: its unit's sandbox, a serial line, and SSH; with real verbs."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from appliance import menu
from appliance.verbs import named
from tests.appliance.conftest import PASSWORD, Boot, answers
from tests.appliance.container import Machine
from tests.appliance.operator import Operator
from tests.console.emulator import Glass
from tests.lab.cast import Lab

pytestmark = pytest.mark.deadline(600)

_ADDRESS: Final = "10.1.2.3"


class Case(NamedTuple):
    """One verb: what is typed, and what must be on one of its screens, and on the last."""

    verb: str
    last: str
    values: dict[str, str] | None = None
    shows: str = ""
    keep: bool = False


_TAKEN_BACK: Final = "taken back, the old state is in force again"
_SECRET: Final = {"passphrase": PASSWORD, "passphrase again": PASSWORD}
# Every verb of the menu, most with harmless values. Each that changes something is taken back.
_CASES: Final = (
    Case("status", "45BCEBB32AA9", shows="RUNNING"),
    Case("diagnose", "PASS  listener", {"wait": "1"}),
    Case("settings show", "endpoint = 10.1.2.9:3302", {"section": "upstream"}),
    Case(
        "settings secret", _TAKEN_BACK, {"name": "proxy.secret", "generate": "yes"}, "PASS  ready"
    ),
    Case("settings difference", "upstream.verify = no"),
    Case("network show", "10.1.2.3/24"),
    Case("network set", _TAKEN_BACK, {"mtu": "1400"}, "MTUBytes=1400"),
    Case("network dns", _TAKEN_BACK, {"server": "10.1.2.53"}, "DNS=10.1.2.53"),
    Case("network reset", "nothing is set for this interface", {"interface": "eth7"}),
    Case("hostname set", _TAKEN_BACK, {"name": "node-9"}, '"hostname": "node-9"'),
    Case("zones show", "Interfaces without a zone: eth0"),
    Case("zones add", _TAKEN_BACK, {"name": "default", "networks": "10.0.0.0/8"}, "[[default]]"),
    Case("zones remove", "there is no zone of this name", {"name": "nosuch"}),
    Case("firewall show", "2002"),
    Case("firewall open", _TAKEN_BACK, {"port": "9100", "from": "10.1.2.9"}, "9100"),
    Case("firewall close", "9100", {"port": "9100"}),
    Case("firewall ping", _TAKEN_BACK, {"state": "off"}, "PASS  ready"),
    Case("platform show", "10.1.2.9/32"),
    Case("platform networks", _TAKEN_BACK, {"networks": "10.1.2.9, 10.1.2.10"}, "10.1.2.10"),
    Case("platform client-ca", _TAKEN_BACK, {"off": "yes"}, "PASS  ready"),
    Case("platform register-info", "45BC EBB3 2AA9"),
    Case("upstream show", "10.1.2.9:3302 (10.1.2.9) is healthy"),
    Case("upstream set", _TAKEN_BACK, {"server_name": "platform.example.com"}, "server_name = pl"),
    Case("upstream proxy", _TAKEN_BACK, {"url": "off"}, "PASS  ready"),
    Case("certificate show", "CN=proxy-1"),
    Case("certificate self-signed", _TAKEN_BACK, {"days": "30"}, "valid for 29 days"),
    Case("certificate request", "BEGIN CERTIFICATE REQUEST"),
    Case("certificate install", "is not a certificate in PEM form", {"chain": "nothing"}),
    Case("services status", "agent-proxy:worker-0       RUNNING"),
    Case("services start", "the proxy runs"),
    Case("services restart", "agent-proxy:worker-0: restarted and ready", {"name": "worker-0"}),
    Case("services rolling-restart", "agent-proxy:worker-1: restarted and ready"),
    Case("services renew", "started anew and ready"),
    Case("services logs", "worker-0:"),
    Case("password set", "Done.", {"password": PASSWORD, "password again": PASSWORD}),
    Case("ssh show", "SSH is on"),
    Case("ssh on", "Done.", {"from": "10.1.2.0/24"}),
    Case("ssh off", "Done."),
    Case("ssh key-add", "is not one line of kind, key and name", {"key": "nothing"}),
    Case("ssh key-remove", "Done.", {"key": "op@example"}),
    Case("time show", "servers"),
    Case("time set", "Done.", {"server": "10.1.2.9", "timezone": "Europe/Berlin"}),
    Case("syslog show", "Log lines are kept here only"),
    Case("syslog set", "Done.", {"target": "10.1.2.9:6514", "protocol": "tcp"}),
    Case("updates show", "Security updates from"),
    Case("updates set", "Done.", {"mode": "off"}),
    Case("upgrade status", "there was no upgrade yet"),
    Case("upgrade install", "is no release", {"file": "/opt/agent-proxy/conf/proxy.ini"}),
    Case("upgrade rollback", "there is no upgrade to take back"),
    Case("backup create", "Without the passphrase it is lost", _SECRET),
    Case("backup list", ".backup"),
    Case("backup restore", "there is no such file", {"file": "nosuch", "passphrase": PASSWORD}),
    Case("backup remove", "there is no such backup", {"file": "nosuch"}),
    Case("bundle", "no secret, key, body or query is in it", shows="diagnosing: configuration"),
    Case("first-boot status", "5 complete   done"),
    Case("first-boot answers", "user-data"),
    Case("first-boot run", "5 complete   done", {}),
)
# These need more than a form, or end the machine: see the functions below.
_APART: Final = {"settings set", "settings edit", "restart", "shutdown", "factory-reset"}


def test_the_list_has_every_verb_of_the_menu() -> None:
    listed = {verb.name for topic in menu.TOPICS for verb in menu.verbs_of(topic)}
    assert {case.verb for case in _CASES} | _APART == listed


@pytest.fixture
def key(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "id"
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "op@example", "-f", str(path)]
    subprocess.run(words, check=True)
    yield path


def test_the_console_as_installed(boot: Boot, lab: Lab, key: Path) -> None:
    lab.platform("platform", "10.1.2.9:3302", "10.1.2.3:2002")
    machine = boot("console", answers=answers(upstream__verify="no"))
    machine.until("it is ready", lambda: machine.ready()["ready"])
    _the_own_terminal_shows_it(machine)
    glass, unit = _on_a_serial_line(machine, 132, 50)
    glass.close()
    machine.run("systemctl", "stop", unit)
    glass, unit = _on_a_serial_line(machine, 80, 24)
    operator = Operator(glass)
    operator.log_in(PASSWORD)
    _ssh_is_off_and_goes_on(operator, lab, key)
    _every_verb_works_in_the_sandbox(machine, operator)
    _a_section_is_set(operator)
    _the_file_is_edited(operator)
    assert "Traceback" not in machine.journal("-u", unit)
    assert "verb=console who=" in machine.journal("-t", "agent-proxy-audit")
    _the_machine_goes(machine, operator)


def _the_own_terminal_shows_it(machine: Machine) -> None:
    shown, into = machine.own_terminal()
    glass = Glass(shown, into=into)
    glass.press("ctrl l")
    glass.shows("45BCEBB32AA9")
    glass.press("enter")
    glass.shows("Password of this console")
    glass.press("esc")
    glass.shows("Enter log in")
    machine.listener = lambda piece: None
    glass.close()


def _on_a_serial_line(machine: Machine, columns: int, rows: int) -> tuple[Glass, str]:
    fd, name = machine.serial_line()
    glass = Glass(fd, columns, rows)
    glass.resize(columns, rows)
    unit = f"serial-getty@{name.replace('/', '-')}.service"
    machine.run("systemctl", "start", unit)
    glass.shows("as of")
    assert glass.lines[rows - 1].startswith(" Enter log in")
    assert all(cell.reverse for cell in glass.screen.buffer[0].values())
    return glass, unit


def _ssh_is_off_and_goes_on(operator: Operator, lab: Lab, key: Path) -> None:
    lab.cannot("platform", _ADDRESS, 22)
    refused = operator.do(named("ssh on"), {})
    assert "without a key nobody could log in" in refused
    line = key.with_suffix(".pub").read_text().strip()
    assert "Done." in operator.do(named("ssh key-add"), {"key": line})
    assert "Done." in operator.do(named("ssh on"), {})

    words = ["ssh", "-F", "none", "-i", str(key), "-o", "StrictHostKeyChecking=no"]
    words += ["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    to = f"operator@{_ADDRESS}"
    command = lab.net.inside("platform", *words, to, "id")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "Only the console can be used" in done.stderr, done.stderr

    main, side = pty.openpty()
    glass = Glass(main)
    glass.resize(80, 24)
    process = subprocess.Popen(
        lab.net.inside("platform", *words, "-tt", to),
        stdin=side, stdout=side, stderr=side, start_new_session=True,
        env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(side)
    try:
        remote = Operator(glass)
        remote.log_in(PASSWORD)
        assert "45BCEBB32AA9" in remote.do(named("status"))
    finally:
        process.kill()
        process.wait()
        glass.close()


def _every_verb_works_in_the_sandbox(machine: Machine, operator: Operator) -> None:
    workers = machine.run("pgrep", "-f", "agent-proxy worker")
    for case in _CASES:
        if case.verb == "services restart":
            assert machine.run("pgrep", "-f", "agent-proxy worker") == workers, "all before reload"
        last = operator.do(named(case.verb), case.values, keep=case.keep)
        seen = "\n".join(operator.seen)
        assert case.last in last or case.last in seen, (
            f"{case.verb}\n{seen}\n{machine.journal('-n', '40')}"
        )
        assert case.shows in seen, f"{case.verb}\n{seen}"
        for wrong in ("A defect", "ermission denied", "not permitted", "ead-only file system"):
            assert wrong not in seen, f"{case.verb}\n{seen}"
    machine.until("it is ready again", lambda: machine.ready()["ready"])


def _a_section_is_set(operator: Operator) -> None:
    """By the form of its section: refused beside the field, then right; shown, tested, kept."""
    topic = next(one for one in menu.TOPICS if named("settings set") in menu.verbs_of(one))
    operator.glass.press(str(menu.TOPICS.index(topic) + 1))
    operator.glass.until(topic.name, lambda: operator.glass.lines[0].strip() == topic.name)
    operator.glass.press(str(menu.verbs_of(topic).index(named("settings set")) + 1))
    operator.glass.shows("timeouts        all in seconds")  # its title is the topic's
    operator.glass.press("7")
    operator.glass.shows("Proxy settings: [timeouts]")
    operator.glass.press("ctrl u", "many")
    operator.glass.shows("! ")
    operator.glass.press("ctrl u", "7", "f2")
    operator.glass.until("the form is handed over", lambda: "F2 or Ctrl-S" not in operator.keys)
    last = operator.carry_through(keep=True)
    assert "confirmed, final" in last, last
    operator.to_menu()


def _the_file_is_edited(operator: Operator) -> None:
    operator.open(named("settings edit"))
    operator.glass.shows("^F find")
    operator.glass.press("ctrl f", "[log]", "enter", "end", "enter", "# seen by an operator", "f2")
    last = operator.carry_through()
    assert _TAKEN_BACK in last, last
    operator.to_menu()


def _the_machine_goes(machine: Machine, operator: Operator) -> None:
    operator.open(named("restart"))
    operator.glass.shows("Type yes to do it")
    operator.glass.press("no", "enter", "esc")
    operator.to_menu()
    last = operator.do(named("factory-reset"), {"stay": "yes"})
    assert "files are removed" in last, last
    assert not machine.path("/var/lib/agent-proxy/console.json").exists()
    operator.open(named("shutdown"))
    operator.glass.shows("Type yes to do it")
    operator.glass.press("yes", "enter")
    machine.until("it is down", lambda: not machine.runs)
