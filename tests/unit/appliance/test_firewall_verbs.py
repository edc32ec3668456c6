"""The firewall's openings through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance import cli, commit, firewall, model
from appliance.model import Opening
from tests.unit.appliance.machines import Machine, recorded

_RULES = "systemctl reload-or-restart agent-proxy-firewall.service"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return recorded(tmp_path)


def run(machine: Machine, *argv: str) -> int:
    return cli.main(["firewall", *argv], machine)


def openings(machine: Machine) -> tuple[Opening, ...]:
    return model.from_json(machine.read(model.PATH)).firewall.openings


def rules(machine: Machine) -> str:
    return (machine.read(firewall.PATH) or b"").decode()


def test_an_opening_is_in_the_rules_and_waits_to_be_confirmed(machine: Machine) -> None:
    assert run(machine, "open", "9100", "--from", "10.1.0.0/16", "--from", "2001:db8::/32") == 0
    assert openings(machine) == (Opening(9100, "tcp", ("10.1.0.0/16", "2001:db8::/32")),)
    assert "ip saddr { 10.1.0.0/16 } tcp dport 9100 counter accept" in rules(machine)
    assert "ip6 saddr { 2001:db8::/32 } tcp dport 9100 counter accept" in rules(machine)
    assert _RULES in machine.ran
    assert commit.waiting(machine) is not None
    machine.up_s += 121
    assert cli.main(["recover"], machine) == 0
    assert openings(machine) == ()
    assert "9100" not in rules(machine)


def test_what_is_opened_again_gets_other_sources_and_each_protocol_is_one(machine: Machine) -> None:
    for words in (
        ("open", "9100"),
        ("open", "161", "--protocol", "udp"),
        ("open", "9100", "--protocol", "udp"),
        ("open", "9100", "--from", "10.1.2.9"),
    ):
        assert run(machine, *words) == 0
        assert cli.main(["confirm"], machine) == 0
    assert openings(machine) == (
        Opening(161, "udp"),
        Opening(9100, "tcp", ("10.1.2.9",)),
        Opening(9100, "udp"),
    )
    assert run(machine, "close", "9100") == 0
    assert openings(machine) == (Opening(161, "udp"), Opening(9100, "udp"))
    assert "tcp dport 9100" not in rules(machine)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("open", "22"), "SSH has its own switch"),
        (("open", "2002"), "the proxy's port follows its own settings"),
        (("open", "2004"), "the admin pages are for this machine only"),
        (("open", "9100", "--from", "10.1.2.300"), "this is no network"),
        (("close", "9100"), "is not among the openings"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_is_refused_with_a_remedy(
    machine: Machine, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    before = machine.content()
    assert run(machine, *words) == 2
    assert said in capsys.readouterr().err
    assert machine.content() == before


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_a_port_that_is_none_is_a_wrong_value(machine: Machine, port: str) -> None:
    try:
        assert run(machine, "open", port) == 2
    except SystemExit as end:
        assert end.code == 2
    assert openings(machine) == ()


def test_a_dry_run_shows_the_rule_and_changes_nothing(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    before = machine.content()
    assert run(machine, "open", "9100", "--dry-run") == 0
    assert "dport 9100" in capsys.readouterr().out
    assert machine.content() == before
    assert machine.ran == []


def test_ping(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(machine, "ping", "off") == 0
    assert "echo-request" not in rules(machine)
    assert "packet-too-big" in rules(machine)
    assert run(machine, "show") == 0
    assert "ping is not answered" in capsys.readouterr().out


def test_show_names_everything_that_is_let_in(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(machine, "open", "9100", "--from", "10.1.2.9") == 0
    elements = [{"elem": {"val": "203.0.113.7", "expires": 500}}]
    found = {"nftables": [{"set": {"name": "refused4", "elem": elements}}, {"rule": {}}]}
    machine.write("/run/agent-proxy/firewall.json", json.dumps(found).encode())
    capsys.readouterr()
    assert run(machine, "show") == 0
    shown = capsys.readouterr().out
    assert "2002/tcp" in shown
    assert "9100/tcp from 10.1.2.9" in shown
    assert "Refused at the proxy's port in the last 10 minutes: 203.0.113.7" in shown
