"""Backups: nothing readable without the passphrase, nothing changed unnoticed, all back again."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from appliance import backup, cli, model, sealed
from appliance.errors import Problems
from appliance.places import CONF
from tests.unit.appliance.machines import Machine, recorded

_WORDS = "correct horse battery staple"
_CANARY = "canary-secret-0123456789abcdef0123"


@pytest.fixture(scope="module")
def content() -> bytes:
    return sealed.seal(_CANARY.encode(), _WORDS, {"node": "n"})


def test_what_is_sealed_is_read_with_the_passphrase_only(content: bytes) -> None:
    assert sealed.unseal(content, _WORDS) == _CANARY.encode()
    assert _CANARY.encode() not in content and _WORDS.encode() not in content
    with pytest.raises(sealed.Unreadable, match="passphrase is another"):
        sealed.unseal(content, _WORDS + "r")
    assert sealed.head_of(content)["node"] == "n"
    assert sealed.seal(b"", _WORDS, {}) != sealed.seal(b"", _WORDS, {})  # salt and nonce


def test_no_byte_can_be_changed_unnoticed(content: bytes) -> None:
    line, _, body = content.partition(b"\n")
    for changed in (
        line.replace(b'"n"', b'"m"') + b"\n" + body,
        line + b"\n" + body[:40] + (b"A" if body[40:41] != b"A" else b"B") + body[41:],
        line + b"\n" + body[:-30] + b"\n",
        line + b"\n",
    ):
        with pytest.raises(sealed.Unreadable):
            sealed.unseal(changed, _WORDS)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"{}",
        b"[]",
        b'{"format": "agent-proxy backup 2"}',
        b'{"format": "agent-proxy backup 1"}',
        b'{"format": "agent-proxy backup 1", "nonce": "AAAA", "salt": "AAAA", '
        b'"scrypt": {"n": 1099511627776, "r": 8, "p": 1}}',
    ],
)
def test_a_file_that_is_none_costs_no_memory(head: bytes) -> None:
    with pytest.raises(sealed.Unreadable):
        sealed.unseal(head + b"\nAAAA\n", _WORDS)


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def run(machine: Machine, *argv: str) -> int:
    return cli.main(list(argv), machine)


def test_everything_comes_back_on_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = recorded(tmp_path / "old")
    old.write("/opt/agent-proxy/var/other", b"not named in proxy.ini\n")
    typed(monkeypatch, _CANARY)
    for step in (
        ["settings", "secret", "proxy.secret", "--value-file", "-"],
        ["certificate", "self-signed", "--name", "proxy.example.com"],
        ["network", "set", "eth0", "--address", "10.1.2.9/24"],
        ["settings", "set", "proxy.id", "45BCEBB32AA9"],
    ):
        assert run(old, *step) == 0
        assert run(old, "confirm") == 0
    typed(monkeypatch, _WORDS)
    capsys.readouterr()
    assert run(old, "backup", "create") == 0
    shown = capsys.readouterr()
    (name,) = old.list("/var/lib/agent-proxy/backups")
    assert name.startswith("node-1-20260921-14") and _WORDS not in shown.out + shown.err
    made = old.read(f"/var/lib/agent-proxy/backups/{name}") or b""
    entry = old.entry(f"/var/lib/agent-proxy/backups/{name}")
    assert entry is not None and entry.mode == 0o600
    assert _CANARY.encode() not in made

    new = recorded(tmp_path / "new")
    before = new.content()
    new.write("/media/b.backup", made)
    typed(monkeypatch, "wrong passphrase")
    assert run(new, "backup", "restore", "/media/b.backup", "--yes") == 2
    typed(monkeypatch, _WORDS)
    assert run(new, "backup", "restore", "/media/b.backup", "--yes") == 0
    shown = capsys.readouterr()
    assert _CANARY not in shown.out + shown.err
    for path in (CONF, "/opt/agent-proxy/var/secret", "/opt/agent-proxy/var/tls/proxy.key"):
        assert new.read(path) == old.read(path)
    assert new.read("/opt/agent-proxy/var/other") is None
    assert model.from_json(new.read(model.PATH)) == model.from_json(old.read(model.PATH))
    key = new.entry("/opt/agent-proxy/var/tls/proxy.key")
    assert key is not None and key.mode == 0o600
    assert run(new, "rollback") == 0
    assert new.content() == before | {"/media/b.backup": made}
    assert run(old, "backup", "list") == 0
    assert name in capsys.readouterr().out
    assert run(old, "backup", "remove", name, "--yes") == 0
    assert run(old, "backup", "remove", "../../etc/passwd", "--yes") == 2


def test_a_backup_of_other_hardware_names_the_interface_and_can_leave_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = recorded(tmp_path / "old")
    run(old, "network", "set", "eth0", "--dhcp", "yes")
    run(old, "confirm")
    typed(monkeypatch, _WORDS)
    assert run(old, "backup", "create", "/b.backup") == 0
    new = recorded(tmp_path / "new")
    new.answers["ip -j -d addr"] = new.answers["ip -j -d addr"]._replace(
        out=new.answers["ip -j -d addr"].out.replace("eth0", "ens3")
    )
    new.write("/b.backup", old.read("/b.backup") or b"")
    typed(monkeypatch, _WORDS)
    assert run(new, "backup", "restore", "/b.backup", "--yes") == 2
    assert "network.interfaces.eth0 = 'eth0': this machine has no such" in capsys.readouterr().err
    typed(monkeypatch, _WORDS)
    assert run(new, "backup", "restore", "/b.backup", "--keep-network", "--yes") == 0
    assert model.from_json(new.read(model.PATH)).network.interfaces == ()


def test_a_short_passphrase_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = recorded(tmp_path)
    typed(monkeypatch, "short")
    assert run(machine, "backup", "create") == 2
    assert "12 characters" in capsys.readouterr().err
    assert machine.list("/var/lib/agent-proxy/backups") == []
    typed(monkeypatch)
    assert run(machine, "backup", "create") == 2
    assert "standard input ended" in capsys.readouterr().err


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"version": 2},
        {"version": 1, "proxyIni": "", "appliance": {}, "files": {"../../etc/shadow": ""}},
        {"version": 1, "proxyIni": "", "appliance": {}, "files": {"/etc/shadow": ""}},
        {"version": 1, "proxyIni": "", "appliance": {}, "files": {"conf/proxy.ini": ""}},
        {"version": 1, "proxyIni": "", "appliance": {}, "files": {"var/x": "!"}},
        {"version": 1, "proxyIni": "", "appliance": {"x": 1}, "files": {}},
        {"version": 1, "proxyIni": "", "appliance": {}, "files": []},
    ],
)
def test_what_is_inside_must_be_right_too(document: object) -> None:
    with pytest.raises(Problems):
        backup.read(json.dumps(document).encode())
