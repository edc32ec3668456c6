"""proxy.ini through the command line: what is refused, what is shown, what is written."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from appliance import cli, commit
from appliance.places import CONF
from appliance.readings import Worker
from appliance.system import Completed
from tests.unit.appliance.machines import Machine, recorded
from tests.unit.authority import issue

_CANARY = "canary-secret-0123456789abcdef0123"
_RULES = "systemctl reload-or-restart agent-proxy-firewall.service"
_TIMER = "systemctl start agent-proxy-rollback.timer"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A recorded machine without upstream: nothing of the self-test leaves it."""
    return recorded(tmp_path)


def run(machine: Machine, *argv: str) -> int:
    return cli.main(list(argv), machine)


def text(machine: Machine) -> str:
    return (machine.read(CONF) or b"").decode()


def test_set_changes_one_line_and_waits(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    before = text(machine)
    assert run(machine, "settings", "set", "platform.networks", "8.7.6.5", "8.7.7.0/28") == 0
    shown = capsys.readouterr().out
    assert "-networks =\n+networks = 8.7.6.5, 8.7.7.0/28" in shown
    assert "taken back in 120 s unless confirmed" in shown
    assert text(machine) == before.replace(
        "\nnetworks =\n", "\nnetworks = 8.7.6.5, 8.7.7.0/28\n", 1
    )
    both = "agent-proxy:worker-0 agent-proxy:worker-1"  # the second one was just starting
    assert machine.ran == [_TIMER, _RULES, f"supervisorctl signal HUP {both}"]
    entry = machine.entry(CONF)
    assert entry is not None and entry.mode == 0o640
    machine.up_s += 121
    assert run(machine, "recover") == 0
    assert text(machine) == before


def test_a_worker_that_just_starts_is_waited_for(machine: Machine) -> None:
    """It has read the old file, and would never be told of the new one."""
    began = machine.up_s

    class Starting(Machine):
        def processes(self, socket: str, *, timeout_s: float = 5.0) -> tuple[Worker, ...]:
            state = "STARTING" if self.up_s < began + 5 else "RUNNING"
            return (Worker("agent-proxy:worker-0", state),)

    starting = Starting(Path(machine.root), machine.answers)
    starting.pages = machine.pages
    assert run(starting, "settings", "set", "proxy.id", "45BCEBB32AA9") == 0
    assert starting.up_s >= began + 5
    assert "supervisorctl signal HUP agent-proxy:worker-0" in starting.ran


def test_one_that_never_comes_up_is_not_waited_for_for_ever(machine: Machine) -> None:
    status = "agent-proxy:worker-0 BACKOFF Exited too quickly\nagent-proxy:worker-1 RUNNING x\n"
    machine.answers["supervisorctl status"] = Completed(3, status, "")
    began = machine.up_s
    assert run(machine, "settings", "set", "proxy.id", "45BCEBB32AA9") == 0
    assert machine.up_s - began < 60
    assert "supervisorctl signal HUP agent-proxy:worker-1" in machine.ran


def test_a_change_of_admin_restarts_one_worker_after_the_other(machine: Machine) -> None:
    status = "agent-proxy:worker-0 RUNNING pid 1\nagent-proxy:worker-1 RUNNING pid 2\n"
    machine.answers["supervisorctl status"] = Completed(0, status, "")
    assert run(machine, "settings", "set", "admin.port", "2014") == 0
    assert machine.ran == [
        _TIMER,
        _RULES,
        "supervisorctl restart agent-proxy:worker-0",
        "supervisorctl restart agent-proxy:worker-1",
    ]


def test_nothing_is_signalled_where_nothing_runs(machine: Machine) -> None:
    machine.answers["supervisorctl status"] = Completed(4, "unix:///x no such file\n", "")
    assert run(machine, "settings", "set", "proxy.id", "45BCEBB32AA9") == 0
    assert machine.ran == [_TIMER, _RULES]


@pytest.mark.parametrize(
    ("argv", "place", "remedy"),
    [
        (["settings", "set", "listen.prot", "1"], "listen.prot", "Write SECTION.KEY"),
        (["settings", "set", "listen.port", "0"], "[listen] port", "1 to 65535"),
        (["settings", "set", "listen.port", "2004"], "[admin] port", "Give another port"),
        (["settings", "set", "admin.address", "10.0.0.1"], "[admin] address", "127.0.0.1"),
        (["settings", "set", "upstream.endpoint", "a:b"], "[upstream] endpoint", "host:port"),
        (["settings", "set", "proxy.node", "a\nb = c"], "[proxy] node", "Type the value again"),
        (["settings", "set", "proxy.secret", _CANARY], "proxy.secret", "settings secret"),
        (["settings", "secret", "proxy.id", "--generate"], "NAME", "proxy.secret"),
        (["settings", "show", "nowhere"], "SECTION", "upstream"),
        (["zones", "add", "z", "--interface", "eth9"], "--interface", "eth0, eth1, eth0.100"),
        (["zones", "add", "z!"], "[[z!]]", "A-Z a-z 0-9"),
        (["zones", "add", "z", "--networks", "10.0.0.1/8"], "[zones/z] networks", "10.0.0.0/8"),
        (["zones", "add", "z", "--port", "99999"], "--port", "1 to 65535"),
        (["zones", "remove", "z"], "NAME", "zones show"),
        (["platform", "networks", "all"], "[platform] networks", "10.0.0.0/8"),
        (["platform", "client-ca"], "--ca-file", "BEGIN CERTIFICATE"),
        (["upstream", "set"], "upstream set", "--endpoint"),
        (["upstream", "proxy", "https://a:1"], "[upstream] http_proxy", "http://host:port"),
        (["upstream", "proxy", "http://u:p@a:1"], "[upstream] http_proxy", "http"),
    ],
)
def test_bad_input_is_refused_beside_its_field(
    machine: Machine,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    place: str,
    remedy: str,
) -> None:
    before = machine.content()
    assert run(machine, *argv, "--json") == 2
    problems = json.loads(capsys.readouterr().out)["problems"]
    found = next((one for one in problems if one["place"] == place), None)
    assert found is not None, problems
    assert found["message"] and remedy in found["remedy"]
    assert _CANARY not in json.dumps(problems) + "".join(machine.audited)
    assert machine.content() == before
    assert machine.ran == []
    assert commit.waiting(machine) is None


def test_a_secret_is_kept_in_a_file_and_shown_nowhere(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{_CANARY}\n"))
    assert run(machine, "settings", "secret", "proxy.secret", "--value-file", "-") == 0
    assert machine.read("/opt/agent-proxy/var/secret") == f"{_CANARY}\n".encode()
    entry = machine.entry("/opt/agent-proxy/var/secret")
    assert entry is not None and entry.mode == 0o600
    assert "\nsecret_file = var/secret\n" in text(machine)
    assert run(machine, "settings", "show") == 0
    assert run(machine, "settings", "show", "proxy", "--json") == 0
    shown = capsys.readouterr()
    assert _CANARY not in shown.out + shown.err
    assert '"secret": "********"' in shown.out


def test_a_short_secret_is_refused_without_showing_it(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("canary-short\n"))
    assert run(machine, "settings", "secret", "proxy.secret", "--value-file", "-") == 2
    shown = capsys.readouterr()
    assert "canary-short" not in shown.out + shown.err
    assert "has 12 characters. Type 32 or more" in shown.err


def test_a_secret_in_proxy_ini_does_not_show_in_a_difference(
    machine: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    new = tmp_path / "new.ini"
    new.write_text(text(machine).replace("# secret =\n", f"secret = {_CANARY}\n"))
    assert run(machine, "settings", "edit", str(new)) == 0
    shown = capsys.readouterr().out
    assert "+secret = ********" in shown
    assert _CANARY not in shown
    assert _CANARY in text(machine)
    assert run(machine, "confirm") == 0
    assert run(machine, "settings", "secret", "proxy.secret", "--generate") == 0
    shown = capsys.readouterr().out
    assert "-secret = ********" in shown and _CANARY not in shown


def test_edit_takes_nothing_that_is_wrong(
    machine: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    new = tmp_path / "new.ini"
    new.write_text("[listen]\nport = x\n[upstram]\n")
    assert run(machine, "settings", "edit", str(new)) == 2
    shown = capsys.readouterr().err
    assert "[listen] port = 'x'" in shown and "Did you mean [upstream]?" in shown
    assert run(machine, "settings", "edit", str(tmp_path / "none.ini")) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_dry_run_shows_the_difference_and_changes_nothing(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    before = machine.content()
    assert run(machine, "settings", "set", "listen.port", "2012", "--dry-run", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert "+port = 2012" in shown["result"]["differences"]
    assert any(line.startswith(f"would write {CONF}") for line in shown["would"])
    assert "would run systemctl start agent-proxy-rollback.timer" in shown["would"]
    assert machine.content() == before and machine.ran == []


def test_difference_lists_what_is_not_the_default(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(machine, "settings", "difference", "--json") == 0
    before = json.loads(capsys.readouterr().out)["differsFromDefault"]
    run(machine, "settings", "set", "listen.port", "2012")
    capsys.readouterr()
    assert run(machine, "settings", "difference", "--json") == 0
    after = json.loads(capsys.readouterr().out)["differsFromDefault"]
    assert {key: value for key, value in after.items() if key not in before} == {
        "listen.port": "2012"
    }


def test_zones_come_from_the_interfaces_that_are_there(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(machine, "zones", "add", "isolated-1", "--interface", "eth1") == 0
    run(machine, "confirm")
    capsys.readouterr()
    assert run(machine, "zones", "show", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["interface"], one["state"]) for one in found["zones"]] == [
        ("isolated-1", "eth1", "down")
    ]
    assert found["freeInterfaces"] == ["eth0", "eth0.100"]
    assert run(machine, "zones", "show") == 0
    assert "Interfaces without a zone: eth0, eth0.100" in capsys.readouterr().out
    before = text(machine)
    assert run(machine, "zones", "remove", "isolated-1") == 0
    assert text(machine) != before and "[[isolated-1]]\ni" not in text(machine)


def test_platform_and_upstream(
    machine: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(issue("A CA", ca=True).pem)
    password = tmp_path / "password"
    password.write_text(f"{_CANARY}\n")
    steps = [
        ["platform", "client-ca", "--ca-file", str(ca)],
        ["platform", "client-ca", "--off"],
        ["upstream", "set", "--verify", "no", "--ca-file", str(ca)],
        ["upstream", "set", "--system-ca", "--verify", "yes"],
        ["upstream", "proxy", "http://10.1.2.9:3128", "--user", "ap"]
        + ["--password-file", str(password)],
        ["settings", "set", "proxy.id", "45BCEBB32AA9"],
    ]
    for step in steps:
        assert run(machine, *step) == 0, capsys.readouterr().err
        assert run(machine, "confirm") == 0
    assert machine.read("/opt/agent-proxy/var/tls/platform-ca.pem") == ca.read_bytes()
    assert machine.read("/opt/agent-proxy/var/http_proxy_password") == f"{_CANARY}\n".encode()
    assert "\nhttp_proxy_password_file = var/http_proxy_password\n" in text(machine)
    for verb in (["platform", "show"], ["upstream", "show"], ["platform", "register-info"]):
        assert run(machine, *verb) == 0
        assert run(machine, *verb, "--json") == 0
    shown = capsys.readouterr()
    assert _CANARY not in shown.out + shown.err
    assert "10.1.2.3:2002" in shown.out
    assert run(machine, "upstream", "proxy", "off") == 0
    assert "\nhttp_proxy =\n" in text(machine)
    assert "\nhttp_proxy_password_file = " not in text(machine)


def test_register_info_without_an_id(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(machine, "platform", "register-info") == 1
    assert "no proxy ID is set" in capsys.readouterr().err


def test_a_first_zone_says_that_the_default_one_ends(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is there while no zone is named: adding "second" cut off every agent of it, unsaid."""
    assert run(machine, "zones", "add", "second", "--networks", "10.77.0.0/16", "--dry-run") == 0
    assert "takes the place of the default one: agents in 10.0.0.0/8" in capsys.readouterr().out
    assert run(machine, "zones", "add", "default", "--networks", "10.0.0.0/8") == 0
    assert "takes the place" not in capsys.readouterr().out
    assert run(machine, "confirm") == 0
    assert run(machine, "zones", "add", "second", "--networks", "192.168.77.0/24", "--dry-run") == 0
    assert "takes the place" not in capsys.readouterr().out
