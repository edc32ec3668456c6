"""Placing a release's files: what is different is changed, what has gone is removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance import install
from appliance.errors import Refusal
from appliance.system import Completed
from tests.unit.appliance.machines import Machine

_RELEASES = "/opt/agent-proxy/releases"


def release(machine: Machine, version: str, *names: str) -> None:
    folder = f"{_RELEASES}/{version}"
    for name in ("etc/systemd/system/agent-proxy-grow.service", *names):
        machine.write(f"{folder}/files/{name}", f"{name} of {version}".encode())
    for name in ("agent-proxy.service", "supervisord.conf", "proxy.ini"):
        machine.write(f"{folder}/conf/{name}", f"{name} of {version}".encode())


def test_files_go_where_the_tree_says(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    release(machine, "0.1.0", "etc/sudoers.d/agent-proxy", "opt/agent-proxy/libexec/shell")
    machine.link(f"{_RELEASES}/0.1.0/files/etc/systemd/system/getty@.service", "console@.service")
    install.place(machine, "0.1.0")
    install.switch(machine, "0.1.0")
    modes = {
        path: entry.mode
        for path in (
            "/etc/systemd/system/agent-proxy-grow.service",
            "/etc/systemd/system/agent-proxy.service",
            "/etc/sudoers.d/agent-proxy",
            "/opt/agent-proxy/libexec/shell",
            "/opt/agent-proxy/conf/proxy.ini",
            "/etc/agent-proxy/firewall.nft",
        )
        if (entry := machine.entry(path)) is not None
    }
    assert list(modes.values()) == [0o644, 0o644, 0o440, 0o755, 0o640, 0o600]
    links = {
        path: entry.target
        for path in (
            "/etc/systemd/system/getty@.service",
            "/opt/agent-proxy/current",
            "/opt/agent-proxy/venv",
            "/opt/agent-proxy/conf/supervisord.conf",
        )
        if (entry := machine.entry(path)) is not None
    }
    assert list(links.values()) == [
        "console@.service",
        "releases/0.1.0",
        "current/venv",
        "../current/conf/supervisord.conf",
    ]


def test_once_more_changes_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    release(machine, "0.1.0")
    install.place(machine, "0.1.0")
    before = machine.content()
    install.place(machine, "0.1.0")
    assert machine.content() == before


def test_another_release_takes_away_what_it_does_not_have(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    release(machine, "0.1.0", "etc/sysctl.d/old.conf")
    release(machine, "0.2.0", "etc/sysctl.d/new.conf")
    install.place(machine, "0.1.0")
    machine.write("/etc/sysctl.d/the-operator-s.conf", b"theirs")
    install.place(machine, "0.2.0")
    assert machine.list("/etc/sysctl.d") == ["new.conf", "the-operator-s.conf"]
    install.place(machine, "0.1.0")
    assert machine.list("/etc/sysctl.d") == ["old.conf", "the-operator-s.conf"]


def test_the_operator_s_settings_stay(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    release(machine, "0.1.0")
    release(machine, "0.2.0")
    install.place(machine, "0.1.0")
    machine.write("/opt/agent-proxy/conf/proxy.ini", b"mine")
    machine.write("/etc/agent-proxy/firewall.nft", b"rules in force")
    install.place(machine, "0.2.0")
    assert machine.read("/opt/agent-proxy/conf/proxy.ini") == b"mine"
    assert machine.read("/etc/agent-proxy/firewall.nft") == b"rules in force"


def test_dhcp_on_everything_does_not_come_back_after_the_first_boot(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    release(machine, "0.1.0")
    install.place(machine, "0.1.0")
    path = "/etc/systemd/network/95-agent-proxy-first-boot.network"
    assert machine.read(path) is not None
    machine.remove(path)
    machine.write("/var/lib/agent-proxy/first-boot.complete", b"")
    install.place(machine, "0.1.0")
    assert machine.read(path) is None


def test_half_a_release_is_not_placed(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.write(f"{_RELEASES}/0.1.0/files/etc/x", b"")
    with pytest.raises(Refusal, match="is no complete release"):
        install.place(machine, "0.1.0")
    assert machine.read("/etc/x") is None


def test_in_a_container_the_console_has_the_one_terminal(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    install.enable(machine)
    assert not any("console@console" in line for line in machine.ran)
    machine.answers["systemd-detect-virt --container --quiet"] = Completed(0, "", "")
    install.enable(machine)
    assert "systemctl enable --quiet agent-proxy-console@console.service" in machine.ran
    assert "systemctl mask --quiet console-getty.service" in machine.ran


def test_a_program_that_fails_is_named(tmp_path: Path) -> None:
    argv = "systemctl disable --quiet ssh.service ssh.socket"
    machine = Machine(tmp_path, {argv: Completed(1, "", "no such unit")})
    with pytest.raises(
        Refusal, match="disable --quiet ssh.service ssh.socket failed with 1: no su"
    ):
        install.enable(machine)
