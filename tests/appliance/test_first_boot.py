"""Installed by `make appliance-install`, booted, set up by answers: all of it on a real systemd."""

from __future__ import annotations

import pytest

from proxy import __version__
from tests.appliance.conftest import Boot, answers
from tests.appliance.container import Machine
from tests.lab.cast import Lab

pytestmark = pytest.mark.deadline(400)

_APPLIANCE = "/opt/agent-proxy/venv/bin/agent-proxy-appliance"
_EXPECTED_UP = (
    "agent-proxy.service",
    "agent-proxy-firewall.service",
    "agent-proxy-first-boot.service",
    "systemd-networkd.service",
)


def test_with_answers_it_serves_agents_and_the_platform(boot: Boot, lab: Lab) -> None:
    lab.platform("platform", "10.1.2.9:3302", "10.1.2.3:2002")
    machine = boot("one", answers=answers(upstream__verify="no"))
    machine.until("it is ready", lambda: machine.ready()["ready"])
    assert all(machine.is_active(unit) for unit in _EXPECTED_UP)
    assert machine.failed() == []
    assert machine.run("hostname").strip() == "proxy-1"
    assert not machine.is_active("ssh.service")

    lab.net.machine("vm")
    lab.net.attach("vm", "eth0", "lan", "10.1.2.21/24")
    lab.agent("vm", "first", "10.1.2.21", "10.1.2.3:2002", "agent-1")
    known = lab.shake_and_call("agent-1")["agent-1"]
    assert known["proxy_id"] == "45BCEBB32AA9"

    _the_firewall_holds(machine, lab)
    _the_sandbox_holds(machine)
    _a_second_start_changes_nothing(machine, lab)


def _the_firewall_holds(machine: Machine, lab: Lab) -> None:
    """Only what is configured can even open a connection; strangers are remembered."""
    lab.net.machine("stranger")
    lab.net.attach("stranger", "eth0", "lan", "10.1.2.77/24", "203.0.113.7/24")
    machine.run("ip", "route", "add", "203.0.113.0/24", "dev", "eth0")
    lab.net.ip("stranger", "route", "add", "10.1.2.3", "dev", "eth0", "src", "203.0.113.7")
    lab.cannot("stranger", "10.1.2.3", 2002, source="203.0.113.7")
    lab.cannot("stranger", "10.1.2.3", 22)
    lab.cannot("platform", "10.1.2.3", 22)
    rules = machine.run("nft", "list", "set", "inet", "agent_proxy", "refused4")
    assert "203.0.113.7" in rules
    assert "10.1.2.21" not in rules


def _the_sandbox_holds(machine: Machine) -> None:
    """What systemd on the machine itself says of each of our units that runs."""
    table = machine.run("systemd-analyze", "security", "--no-pager")
    for line in table.splitlines():
        words = line.split()
        if words and words[0].startswith("agent-proxy"):
            assert float(words[1]) <= 2.5, line
    status = machine.run("sh", "-c", "cat /proc/$(pgrep -f 'agent-proxy worker' | head -1)/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[kind], 16) == 0, kind
    assert "0" not in fields["Uid"].split()


def _a_second_start_changes_nothing(machine: Machine, lab: Lab) -> None:
    before = _identity(machine)
    machine.kill()
    machine.boot()
    machine.until("it is ready again", lambda: machine.ready()["ready"])
    assert _identity(machine) == before
    lab.shake_and_call("agent-1")


def _identity(machine: Machine) -> dict[str, str]:
    paths = (
        "/etc/machine-id",
        "/opt/agent-proxy/var/secret",
        "/opt/agent-proxy/var/tls/proxy.key",
        "/opt/agent-proxy/var/tls/proxy.crt",
        "/opt/agent-proxy/conf/proxy.ini",
        "/etc/ssh/ssh_host_ed25519_key",
    )
    return {path: machine.read(path) for path in paths}


def test_two_machines_from_one_image_have_nothing_in_common(boot: Boot) -> None:
    one = _identity(boot("a", answers=answers(proxy__id="")))
    two = _identity(boot("b", netns="other", answers=answers(proxy__id="")))
    assert [path for path in one if one[path] == two[path]] == []


def test_the_image_itself_has_no_identity(installed: list[object]) -> None:
    """Nothing that identifies a machine, opens one, or is secret may be there before it starts."""
    layer = installed[0]
    assert not list(layer.rglob("ssh_host_*"))  # type: ignore[attr-defined]
    for path in ("opt/agent-proxy/var/secret", "var/lib/agent-proxy/console.json"):
        assert not (layer / path).exists()  # type: ignore[operator]
    assert not list((layer / "opt/agent-proxy/var/tls").iterdir())  # type: ignore[operator]


def test_without_answers_it_waits_and_nothing_listens(boot: Boot) -> None:
    machine = boot("silent")
    assert machine.is_active("agent-proxy-first-boot.service")
    assert not machine.is_active("agent-proxy.service")
    assert machine.run("ss", "-Hltn", "sport = :2002") == ""
    said = machine.try_run(_APPLIANCE, "first-boot", "status")
    assert said.returncode == 1
    assert "3 answers    waits" in said.stdout
    assert "none were found" in said.stdout

    machine.write("/var/lib/agent-proxy/a.yaml", answers(), 0o600)
    machine.appliance("first-boot", "run", "/var/lib/agent-proxy/a.yaml")
    machine.until("it is ready", lambda: "workers" in machine.ready(), 60)
    assert "10.1.2.3/24" in machine.run("ip", "-br", "addr", "show", "eth0")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {
                "network__eth0__address": "10.1.2.300/24",
                "console__password": "short",
                "proxy__idd": "x",
                "platform__networks": "",
            },
            (
                "10.1.2.300/24",
                "console.password: has 5 characters",
                "proxy.idd: there is no such key",
                "platform.networks: is missing",
            ),
        ),
        ({"upstream__endpoint": "not a host:99999"}, ("[upstream] endpoint",)),
    ],
    ids=["of the appliance", "of proxy.ini"],
)
def test_wrong_answers_are_all_reported_and_change_nothing(
    boot: Boot, wrong: dict[str, str], said: tuple[str, ...]
) -> None:
    machine = boot("wrong", answers=answers(**wrong))
    shown = machine.try_run(_APPLIANCE, "first-boot", "status").stdout
    assert [one for one in said if one not in shown] == []
    assert not machine.is_active("agent-proxy.service")
    for path in ("/etc/agent-proxy/appliance.json", "/var/lib/agent-proxy/console.json"):
        assert not machine.path(path).exists()
    ini = machine.read("/opt/agent-proxy/conf/proxy.ini")
    assert ini == machine.read(f"/opt/agent-proxy/releases/{__version__}/conf/proxy.ini")
