"""Who did what, told to a collector by TLS, to the right one only; and when updates come."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.appliance.conftest import PASSWORD, Boot, answers
from tests.appliance.container import Machine
from tests.lab.cast import Lab
from tests.unit.authority import Issued, issue

pytestmark = pytest.mark.deadline(600)

_NAME = "log.example.com"
_ADDRESS = "10.1.2.50"


class Collector:
    """One listener; `log` is what it was sent."""

    def __init__(self, lab: Lab, name: str, port: int, issued: Issued | None) -> None:
        self._note = lab.home / f"{name}.messages"
        words = ["python3", "-m", "tests.appliance.collector", str(self._note), str(port)]
        if issued is not None:
            pair = (lab.home / f"{name}.crt", lab.home / f"{name}.key")
            pair[0].write_bytes(issued.pem)
            pair[1].write_bytes(issued.key_pem)
            words += map(str, pair)
        lab.spawn("collector", *words, name=name)
        lab.until(f"{name} listens", lambda: "listening" in self.log)
        self.target = f"{_ADDRESS}:{port}"

    @property
    def log(self) -> str:
        return self._note.read_text() if self._note.exists() else ""

    @property
    def messages(self) -> list[str]:
        return [line for line in self.log.splitlines() if line.startswith("<")]


def test_logs(boot: Boot, lab: Lab, tmp_path: Path) -> None:
    lab.platform("platform", "10.1.2.9:3302", "10.1.2.3:2002")
    lab.net.machine("collector", "vm")
    lab.net.attach("collector", "eth0", "lan", f"{_ADDRESS}/24")
    lab.net.attach("vm", "eth0", "lan", "10.1.2.21/24")
    machine = boot("logging", answers=answers(upstream__verify="no"))
    machine.until("it is ready", lambda: machine.ready()["ready"])
    authority = issue("log authority", ca=True)
    machine.write("/root/ca.pem", authority.pem)

    good = _the_right_one_gets_everything(machine, lab, authority)
    _logins_are_told(machine, lab, good, tmp_path)
    _one_that_cannot_prove_its_name_gets_nothing(machine, lab, authority)
    _one_of_another_authority_gets_nothing(machine, lab)
    _plain_tcp_where_that_is_wanted(machine, lab)
    _nothing_secret_was_sent(lab)
    _no_file_is_written_that_nobody_rotates(machine)
    _the_window_of_updates(machine)


def _send_to(machine: Machine, collector: Collector, *words: str) -> None:
    machine.appliance("syslog", "set", collector.target, *words)


def _verified(machine: Machine, collector: Collector) -> None:
    words = ("--ca-file", "/root/ca.pem", "--server-name", _NAME)
    _send_to(machine, collector, *words)


def _the_right_one_gets_everything(machine: Machine, lab: Lab, authority: Issued) -> Collector:
    good = Collector(lab, "good", 6514, issue(_NAME, authority, names=(_NAME,)))
    _verified(machine, good)
    lab.agent("vm", "first", "10.1.2.21", "10.1.2.3:2002", "agent-1")
    lab.shake_and_call("agent-1")
    machine.appliance("services", "rolling-restart")
    for what in ("syslog set", "services rolling-restart"):
        wanted = f'verb="{what}"'
        machine.until(f"the line of {what} arrives", lambda: wanted in good.log)  # noqa: B023
    access = r" proxy-1 agent-proxy-access\S* .*caller=agent.*10\.1\.2\.21"
    machine.until("the exchange arrives", lambda: re.search(access, good.log))
    machine.until("the worker's lines arrive", lambda: "is drained" in good.log)
    assert all(re.match(r"<\d+>1 \d{4}-\d\d-\d\dT", line) for line in good.messages)
    verdict, detail = _diagnosed(machine)
    assert verdict == "PASS" and f"with {_NAME}, certificate ends in" in detail, detail
    return good


def _diagnosed(machine: Machine) -> tuple[str, str]:
    """Return what the diagnosis says of the collector."""
    said = machine.try_run(
        "/opt/agent-proxy/venv/bin/agent-proxy-appliance", "diagnose", "--wait", "0", "--json"
    )
    outcomes = json.loads(said.stdout)["outcomes"]
    [found] = [one for one in outcomes if one["name"] == "log collector"]
    return found["verdict"], found["detail"]


def _logins_are_told(machine: Machine, lab: Lab, good: Collector, folder: Path) -> None:
    """By SSH with a key; a wrong key is told as well. Nothing but the console can be had."""
    for name in ("right", "wrong"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{name}@example.com"]
        subprocess.run([*words, "-f", str(folder / name)], check=True)
    machine.write("/root/right.pub", (folder / "right.pub").read_text())
    machine.appliance("ssh", "key-add", "/root/right.pub")
    machine.appliance("ssh", "on", "--from", _ADDRESS)
    answered = machine.until("sshd answers", lambda: _ssh(lab, folder / "right"))
    assert "Only the console can be used" in answered
    machine.until("that arrives", lambda: "Accepted publickey for operator" in good.log)
    assert "Permission denied" in _ssh(lab, folder / "wrong")
    lab.cannot("vm", "10.1.2.3", 22)
    machine.appliance("ssh", "off", "--yes")
    lab.cannot("collector", "10.1.2.3", 22)
    for line in ('verb="ssh on"', 'verb="ssh key-add"', 'verb="ssh off"'):
        machine.until(f"{line} arrives", lambda: line in good.log)  # noqa: B023


def _ssh(lab: Lab, key: Path) -> str:
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    options += ["-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-i", str(key)]
    command = lab.net.inside("collector", "ssh", *options, "operator@10.1.2.3", "id")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if "Connection refused" in done.stderr or "timed out" in done.stderr:
        return ""
    return done.stdout + done.stderr


def _one_that_cannot_prove_its_name_gets_nothing(
    machine: Machine, lab: Lab, authority: Issued
) -> None:
    other = Collector(lab, "other-name", 6515, issue("x", authority, names=("x.example.com",)))
    _verified(machine, other)
    machine.until("it was tried", lambda: "refused" in other.log or "closed" in other.log)
    assert other.messages == []


def _one_of_another_authority_gets_nothing(machine: Machine, lab: Lab) -> None:
    stranger = issue("another authority", ca=True)
    other = Collector(lab, "other-authority", 6516, issue(_NAME, stranger, names=(_NAME,)))
    _verified(machine, other)
    machine.until("it was tried", lambda: "refused" in other.log)
    assert other.messages == []
    verdict, detail = _diagnosed(machine)
    assert verdict == "FAIL" and "unable to get local issuer" in detail, detail


def _plain_tcp_where_that_is_wanted(machine: Machine, lab: Lab) -> None:
    refused = machine.try_run(
        "/opt/agent-proxy/venv/bin/agent-proxy-appliance",
        *("syslog", "set", f"{_ADDRESS}:514", "--protocol", "tcp"),
    )
    assert refused.returncode == 2 and "nothing is encrypted" in refused.stderr
    machine.appliance("syslog", "set", "off")
    plain = Collector(lab, "plain", 514, None)
    _send_to(machine, plain, "--protocol", "tcp")
    machine.until("it arrives", lambda: 'verb="syslog set"' in plain.log)


def _nothing_secret_was_sent(lab: Lab) -> None:
    sent = "".join(path.read_text() for path in lab.home.glob("*.messages"))
    assert PASSWORD not in sent
    assert "PRIVATE KEY" not in sent


def _no_file_is_written_that_nobody_rotates(machine: Machine) -> None:
    found = machine.try_run("grep", "-rlsI", "verb=", "/var/log", "--exclude-dir=journal")
    assert found.stdout == ""
    assert machine.journal("-t", "agent-proxy-audit").count("verb=") > 5
    _the_logs_of_a_bridge_are_bounded(machine)


def _the_logs_of_a_bridge_are_bounded(machine: Machine) -> None:
    """Workers beside supervisord write files that it does not rotate, at each renewal."""
    logs = "/opt/agent-proxy/var/log"
    unit = "agent-proxy-bridge@900.service"
    machine.path(f"{logs}/worker-900.log").unlink(missing_ok=True)
    machine.write("/srv/precious", "as it was")
    machine.path(f"{logs}/worker-900.log").symlink_to("/srv/precious")
    for _ in range(2):
        machine.run("systemctl", "start", unit)
        machine.until("it is up", lambda: machine.ready()["workers"].get("900") == "ready")
        pid = machine.run("systemctl", "show", "-P", "MainPID", unit).strip()
        limits = machine.run("cat", f"/proc/{pid}/limits")
        assert re.search(r"Max file size +67108864 +67108864", limits), limits
        machine.run("systemctl", "stop", unit)
        assert machine.read("/srv/precious") == "as it was", "its user can make links there"
    written = machine.run("sh", "-c", f"ls {logs} | grep 900").split()
    assert written == ["access-900.log", "access-900.log.1", "worker-900.log", "worker-900.log.1"]
    owners = machine.run("stat", "-c", "%U %a", f"{logs}/worker-900.log").split()
    assert owners == ["agent-proxy", "600"]
    for name in ("worker-900.log", "worker-900.log.1"):
        assert machine.read(f"{logs}/{name}").count("is drained") == 1, "of one start each"


def _the_window_of_updates(machine: Machine) -> None:
    """As systemd and apt understand it."""
    machine.appliance("updates", "set", "--start", "02:30", "--window", "30", "--reboot", "yes")
    timer = machine.run("systemctl", "show", "apt-daily-upgrade.timer")
    assert "*-*-* 02:30:00" in timer and "RandomizedDelayUSec=30min" in timer
    assert "06:00" not in timer, "Debian's own time is gone"
    settings = machine.run("apt-config", "dump")
    assert 'APT::Periodic::Unattended-Upgrade "1";' in settings
    assert 'Unattended-Upgrade::Automatic-Reboot-Time "03:00";' in settings
    origins = re.findall(r'^Unattended-Upgrade::Origins-Pattern:: "(.*)";$', settings, re.M)
    assert origins == [
        "origin=Debian,codename=${distro_codename}-security,label=Debian-Security"
    ], origins
    machine.appliance("updates", "set", "--mode", "off")
    assert 'APT::Periodic::Unattended-Upgrade "0";' in machine.run("apt-config", "dump")
