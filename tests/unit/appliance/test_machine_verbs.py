"""SSH, clock, remote log, updates: refused beside the field, rendered as files, put in force."""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path

import pytest

from appliance import access, cli, model, passwords
from appliance.system import Completed
from tests.unit.appliance.machines import Machine, recorded
from tests.unit.authority import issue

_FONT = "ssh-ed25519"


def key(name: str = "alice@example.com", seed: int = 1) -> str:
    kind = _FONT.encode()
    body = len(kind).to_bytes(4, "big") + kind + (32).to_bytes(4, "big") + bytes([seed]) * 32
    return f"{_FONT} {base64.b64encode(body).decode()} {name}"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = recorded(tmp_path / "disk")
    made.write("/usr/bin/unattended-upgrade", b"#!/usr/bin/python3\n", mode=0o755)
    made.answers["timedatectl list-timezones"] = Completed(0, "Europe/Berlin\nAsia/Tokyo\n", "")
    return made


def run(machine: Machine, *argv: str) -> int:
    return cli.main(list(argv), machine)


def text(machine: Machine, path: str) -> str:
    return (machine.read(path) or b"").decode()


def test_ssh_is_off_and_needs_a_key(
    machine: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(machine, "ssh", "show") == 0
    assert "SSH is off" in capsys.readouterr().out
    assert run(machine, "ssh", "on") == 2
    assert "without a key nobody could log in" in capsys.readouterr().err
    pub = tmp_path / "id.pub"
    pub.write_text(key() + "\n")
    assert run(machine, "ssh", "key-add", str(pub)) == 0
    assert run(machine, "ssh", "on", "--from", "10.1.0.0/16") == 0
    assert machine.ran[-1] == "systemctl enable --now ssh.service"
    sshd = text(machine, "/etc/ssh/sshd_config.d/10-agent-proxy.conf")
    assert "AllowUsers operator@10.1.0.0/16\n" in sshd
    assert "PasswordAuthentication no\n" in sshd and "PermitRootLogin no\n" in sshd
    assert key() in text(machine, access.KEYS)
    capsys.readouterr()
    assert run(machine, "ssh", "show", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["keys"][0]["comment"] == "alice@example.com"
    assert shown["keys"][0]["fingerprint"].startswith("SHA256:")
    assert run(machine, "ssh", "key-remove", shown["keys"][0]["fingerprint"]) == 2  # the last one
    assert run(machine, "ssh", "off", "--yes") == 0
    assert machine.ran[-1] == "systemctl disable --now ssh.service"
    assert run(machine, "ssh", "key-remove", "alice@example.com") == 0
    assert key() not in text(machine, access.KEYS)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "is not one line"),
        ("ssh-ed25519", "is not one line of kind, key and name"),
        (key() + "\n" + key("bob", 2), "is not one line"),
        ("ssh-dss AAAA x", "is no kind of key that is accepted"),
        ("ssh-ed25519 !!!! x", "is damaged: its middle is no base64"),
        ("ssh-rsa " + key().split()[1], "its middle is not of the kind it says"),
        ('command="/bin/sh" ' + key(), "is no kind of key that is accepted"),
        ("-----BEGIN OPENSSH PRIVATE KEY----- x", "is a private key"),
    ],
)
def test_a_line_that_is_no_key_is_refused(
    machine: Machine,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    line: str,
    message: str,
) -> None:
    pub = tmp_path / "id.pub"
    pub.write_text(line)
    assert run(machine, "ssh", "key-add", str(pub)) == 2
    assert message in capsys.readouterr().err
    assert machine.read(model.PATH) is None


def test_a_key_twice_and_a_network_that_is_none(
    machine: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pub = tmp_path / "id.pub"
    pub.write_text(key())
    assert run(machine, "ssh", "key-add", str(pub)) == 0
    assert run(machine, "ssh", "key-add", str(pub)) == 2
    assert "a key is given twice" in capsys.readouterr().err
    assert run(machine, "ssh", "on", "--from", "10.1.0.1/16") == 2
    assert "the network is 10.1.0.0/16" in capsys.readouterr().err
    assert run(machine, "ssh", "key-remove", "nobody") == 2
    assert run(machine, "ssh", "off") == 1  # nobody there to be asked


def test_time(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["time", "set", "--server", "ntp1.example.com", "--server", "10.1.2.3"]
    assert run(machine, *argv, "--timezone", "Asia/Tokyo") == 0
    content = text(machine, "/etc/systemd/timesyncd.conf.d/50-agent-proxy.conf")
    assert content.endswith("[Time]\nNTP=ntp1.example.com 10.1.2.3\nFallbackNTP=\n")
    assert machine.ran[-2:] == [
        "systemctl restart systemd-timesyncd.service",
        "timedatectl set-timezone Asia/Tokyo",
    ]
    assert run(machine, "time", "show") == 0
    assert "clock        synchronised" in capsys.readouterr().out
    assert run(machine, "time", "set", "--server", "") == 0
    assert text(machine, "/etc/systemd/timesyncd.conf.d/50-agent-proxy.conf") == ""
    for wrong in (["--server", "a b"], ["--timezone", "Mars/Olympus"], ["--server", "1.2"]):
        assert run(machine, "time", "set", *wrong) == 2


def test_syslog(machine: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(issue("A CA", ca=True).pem)
    argv = ["syslog", "set", "log.example.com:6514", "--ca-file", str(ca)]
    assert run(machine, *argv) == 0
    content = text(machine, "/etc/rsyslog.d/60-agent-proxy.conf")
    assert 'target="log.example.com" port="6514"' in content
    assert 'StreamDriverPermittedPeers="log.example.com"' in content
    assert machine.read("/etc/agent-proxy/syslog-ca.pem") == ca.read_bytes()
    assert machine.ran[-2:] == ["rsyslogd -N1", "systemctl restart rsyslog.service"]
    assert run(machine, "syslog", "show") == 0
    assert "sent to log.example.com:6514 by TLS" in capsys.readouterr().out
    assert run(machine, "syslog", "set", "off") == 0
    assert machine.read("/etc/rsyslog.d/60-agent-proxy.conf") is None
    assert machine.read("/etc/agent-proxy/syslog-ca.pem") is None
    assert run(machine, "syslog", "set", "10.1.2.3:514", "--protocol", "tcp") == 0
    assert "StreamDriver" not in text(machine, "/etc/rsyslog.d/60-agent-proxy.conf")


@pytest.mark.parametrize(
    ("argv", "place"),
    [
        (["log.example.com"], "syslog.target"),
        (["log.example.com:0"], "syslog.target"),
        (['a"b:514'], "syslog.target"),
        (["fd00::1:514"], "syslog.target"),
        (["l.example:1", "--server-name", "a b"], "syslog.server_name"),
        (["l.example:1", "--protocol", "tcp", "--server-name", "a"], "syslog.protocol"),
        (["l.example:1", "--ca-file", "/dev/null"], "syslog.ca"),
    ],
)
def test_a_collector_that_is_none(
    machine: Machine, capsys: pytest.CaptureFixture[str], argv: list[str], place: str
) -> None:
    assert run(machine, "syslog", "set", *argv, "--json") == 2
    found = json.loads(capsys.readouterr().out)["problems"]
    assert [one["place"] for one in found] == [place] and found[0]["remedy"]


def test_rsyslog_refuses_and_all_is_as_it_was(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.answers["rsyslogd -N1"] = Completed(1, "", "could not load module 'lmnsd_ossl'")
    before = machine.content()
    assert run(machine, "syslog", "set", "l.example:6514") == 1
    assert "ROLLED BACK: rsyslogd -N1 failed with 1" in capsys.readouterr().out
    assert machine.content() == before


def test_updates(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["updates", "set", "--start", "23:30", "--window", "60", "--reboot", "yes"]
    assert run(machine, *argv) == 0
    apt = text(machine, "/etc/apt/apt.conf.d/52agent-proxy-updates")
    assert 'APT::Periodic::Unattended-Upgrade "1";' in apt
    assert 'Automatic-Reboot "true";' in apt and 'Automatic-Reboot-Time "00:30";' in apt
    timer = text(machine, "/etc/systemd/system/apt-daily-upgrade.timer.d/50-agent-proxy.conf")
    assert "OnCalendar=\nOnCalendar=*-*-* 23:30:00\nRandomizedDelaySec=60m\n" in timer
    assert run(machine, "updates", "show") == 0
    assert "from 23:30 within 60 minutes, with a restart" in capsys.readouterr().out
    assert run(machine, "updates", "set", "--mode", "off") == 0
    assert 'Unattended-Upgrade "0";' in text(machine, "/etc/apt/apt.conf.d/52agent-proxy-updates")
    assert run(machine, "updates", "show") == 0
    assert "NOT installed" in capsys.readouterr().out
    for wrong in (["--start", "3:00"], ["--start", "24:00"], ["--window", "5"]):
        assert run(machine, "updates", "set", "--mode", "security", *wrong) == 2
    machine.remove("/usr/bin/unattended-upgrade")
    assert run(machine, "updates", "set", "--mode", "security") == 1
    assert "is not installed" in capsys.readouterr().err


def test_the_console_password_comes_from_standard_input_and_is_kept_as_a_hash(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for typed, code in (("short", 2), ("aaaaaaaaaaaaaaaa", 2), ("correct horse battery", 0)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{typed}\n"))
        assert run(machine, "password", "set") == code
        shown = capsys.readouterr()
        assert typed not in shown.out + shown.err + "".join(machine.audited)
    file = machine.read(passwords.PATH)
    assert passwords.matches("correct horse battery", file)
    assert not passwords.matches("short", file)
    entry = machine.entry(passwords.PATH)
    assert entry is not None and entry.mode == 0o600
