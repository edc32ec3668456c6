"""The first boot, step by step, on a machine whose power may fail before any step."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from appliance import answers_file, commit, first_boot, passwords
from appliance.errors import Problems, Refusal
from appliance.places import CONF
from appliance.system import Completed
from tests.unit.appliance.machines import Faulty, Machine, PowerCut

_ROOT = Path(__file__).parents[3]
_GIVEN: answers_file.Values = {
    "hostname": "proxy-1",
    "network.eth0.address": "10.1.2.3/24",
    "console.password": "correct horse battery",
    "upstream.endpoint": "provisioning.example.com:3302",
    "platform.networks": "8.7.6.5",
}
_CARD = {
    "ifname": "eth0",
    "flags": ["UP", "LOWER_UP"],
    "mtu": 1500,
    "min_mtu": 68,
    "max_mtu": 9000,
    "addr_info": [{"local": "10.1.2.3", "prefixlen": 24, "scope": "global"}],
}
_CUT_EVERY = 11
_ANSWERS = {"ip -j -d addr": Completed(0, json.dumps([_CARD]), "")}


def prepared(folder: Path) -> None:
    machine = Machine(folder)
    machine.write("/etc/machine-id", b"0123456789abcdef0123456789abcdef\n")
    machine.write(CONF, (_ROOT / "conf" / "proxy.ini").read_bytes(), mode=0o640)
    machine.write(first_boot.BEFORE, b"dhcp")


def nothing(host: str, path: str) -> bytes:
    return b""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    prepared(tmp_path)
    return Machine(tmp_path, dict(_ANSWERS))


def test_with_answers_it_is_complete(machine: Machine) -> None:
    found = first_boot.run(machine, CONF, given=_GIVEN, get=nothing)
    assert found.is_complete
    assert first_boot.state(machine) == found
    assert machine.entry(first_boot.COMPLETE) is not None
    assert passwords.matches("correct horse battery", machine.read(passwords.PATH))
    assert machine.ran[-1] == "systemctl start --no-block agent-proxy.service"
    assert machine.entry(first_boot.BEFORE) is None


def test_host_keys_of_an_image_are_replaced_once(machine: Machine) -> None:
    machine.write("/etc/ssh/ssh_host_ed25519_key", b"of the image")
    machine.write("/etc/ssh/sshd_config", b"kept")
    first_boot.run(machine, CONF, get=nothing)
    assert machine.list("/etc/ssh") == ["sshd_config"]
    machine.write("/etc/ssh/ssh_host_ed25519_key", b"made here")
    first_boot.run(machine, CONF, get=nothing)
    made = [one.split(" -f ")[1] for one in machine.ran if one.startswith("ssh-keygen ")]
    assert made == ["/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_ecdsa_key"]
    assert machine.read("/etc/ssh/ssh_host_ed25519_key") == b"made here"


def test_secrets_are_for_the_proxy_only(machine: Machine) -> None:
    first_boot.run(machine, CONF, given=_GIVEN, get=nothing)
    for path in ("/opt/agent-proxy/var/secret", "/opt/agent-proxy/var/tls/proxy.key"):
        entry = machine.entry(path)
        assert entry is not None and entry.mode == 0o600
    secret = machine.read("/opt/agent-proxy/var/secret") or b""
    assert len(secret) == 64
    kept = (machine.read(first_boot.STATE) or b"").decode()
    assert secret.decode() not in kept and "correct horse" not in kept


def test_once_more_does_nothing(machine: Machine) -> None:
    first_boot.run(machine, CONF, given=_GIVEN, get=nothing)
    machine.ran.clear()
    before = machine.content()
    assert first_boot.run(machine, CONF, get=nothing).is_complete
    assert machine.content() == before
    assert machine.ran == []


def test_without_answers_it_waits(machine: Machine) -> None:
    before = machine.content()
    found = first_boot.run(machine, CONF, get=nothing)
    assert [step.state for step in found.steps] == ["done", "done", "waits", "to do", "to do"]
    assert [one.place for one in found.problems] == ["answers"]
    after = machine.content()
    for path in (first_boot.STATE, "/var/lib/agent-proxy/host-keys"):
        after.pop(path)
    assert after == before


def test_wrong_answers_that_were_typed_are_said_at_once(machine: Machine) -> None:
    with pytest.raises(Problems, match="console.password: has 5 characters"):
        first_boot.run(machine, CONF, given={**_GIVEN, "console.password": "short"}, get=nothing)
    assert machine.entry(first_boot.COMPLETE) is None


def test_a_key_that_is_there_is_kept(machine: Machine) -> None:
    for name in ("proxy.key", "proxy.crt"):
        machine.write(f"/opt/agent-proxy/var/tls/{name}", b"of the operator")
    first_boot.run(machine, CONF, given=_GIVEN, get=nothing)
    assert machine.read("/opt/agent-proxy/var/tls/proxy.key") == b"of the operator"


def test_what_cannot_be_put_in_force_is_taken_back(machine: Machine) -> None:
    machine.answers["systemctl reload-or-restart agent-proxy-firewall.service"] = Completed(
        1, "", "no nft"
    )
    first_boot.run(machine, CONF, get=nothing)
    before = machine.content()
    with pytest.raises(Refusal, match="no nft"):
        first_boot.run(machine, CONF, given=_GIVEN, get=nothing)
    assert machine.content() == before


@pytest.mark.deadline(180)
def test_a_power_cut_at_any_time_leaves_a_machine_that_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either nothing of step 4 is there, or all of it; and the next start brings it to the end.

    What was not flushed is lost. Every step of `commit` alone is cut in test_commit; here it is
    every eleventh of the whole first boot.
    """
    monkeypatch.setattr(passwords, "_N", 2)
    template = tmp_path / "template"
    prepared(template)
    untouched = Machine(template).read(CONF)
    for cut_at in range(0, 2000, _CUT_EVERY):
        folder = tmp_path / f"cut-{cut_at}"
        shutil.copytree(template, folder)
        faulty = Faulty(folder, cut_at=cut_at, forgets=True)
        faulty.answers = dict(_ANSWERS)
        try:
            first_boot.run(faulty, CONF, given=_GIVEN, get=nothing)
            return
        except PowerCut:
            pass
        machine = Machine(folder, dict(_ANSWERS))
        machine.restart()
        commit.recover(machine, boot=True)
        has_new = machine.read(CONF) != untouched
        for path in (passwords.PATH, "/opt/agent-proxy/var/secret"):
            assert (machine.read(path) is not None) is has_new, (cut_at, path)
        assert first_boot.run(machine, CONF, given=_GIVEN, get=nothing).is_complete
        shutil.rmtree(folder)
    raise AssertionError("it never came to its end")
