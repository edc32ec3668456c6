"""Changes on a real machine: taken back in time, at once, and after a power cut; or kept."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from typing import Any  # documents of JSON

import pytest

from tests.appliance.conftest import Boot, answers
from tests.appliance.container import Machine
from tests.lab.cast import Lab

pytestmark = pytest.mark.deadline(600)

_PYTHON = "/opt/agent-proxy/venv/bin/python"
_JOURNAL = "/var/lib/agent-proxy/transaction/journal.json"
_CONF = "/opt/agent-proxy/conf/proxy.ini"
# The command line as it is, but for the 120 s in which a change may be confirmed.
_SOON = (
    "import sys; from appliance import keeping, settings_verbs; from appliance.cli import main; "
    "keeping.CONFIRM_S = settings_verbs.CONFIRM_S = {seconds}; sys.exit(main(sys.argv[1:]))"
)


def _change(machine: Machine, *words: str, seconds: int) -> subprocess.CompletedProcess[str]:
    return machine.try_run(_PYTHON, "-c", _SOON.format(seconds=seconds), *words)


def _address(machine: Machine) -> str:
    return machine.run("ip", "-4", "-br", "addr", "show", "eth0").split()[2]


def _connect_timeout(machine: Machine) -> str:
    shown: dict[str, dict[str, str]] = json.loads(machine.appliance("settings", "show", "--json"))
    return shown["timeouts"]["connect"]


def _status(machine: Machine) -> dict[str, Any]:
    page = machine.run("curl", "-sS", "-m", "5", "http://127.0.0.1:2004/status")
    found: dict[str, Any] = json.loads(page)
    return found


def test_changes(boot: Boot, lab: Lab) -> None:
    lab.platform("platform", "10.1.2.9:3302", "10.1.2.3:2002")
    machine = boot("changed", answers=answers(upstream__verify="no"))
    machine.until("it is ready", lambda: machine.ready()["ready"])
    lab.net.machine("vm")
    lab.net.attach("vm", "eth0", "lan", "10.1.2.21/24")
    lab.agent("vm", "first", "10.1.2.21", "10.1.2.3:2002", "agent-1")
    lab.shake_and_call("agent-1")

    _one_that_cuts_the_operator_off_is_taken_back_in_time(machine)
    lab.shake_and_call("agent-1")
    _one_that_loses_the_platform_is_taken_back_at_once(machine)
    _one_that_is_confirmed_stays(machine)
    _one_just_after_the_start_is_not_taken_back(machine)
    _more_connections_need_no_restart(machine)
    _a_power_cut_leaves_the_old_state(machine)
    lab.shake_and_call("agent-1")
    _each_is_in_the_journal(machine)


def _one_that_cuts_the_operator_off_is_taken_back_in_time(machine: Machine) -> None:
    """The platform is still reached, so nothing fails; only nobody can confirm it."""
    done = _change(machine, "network", "set", "eth0", "--address", "10.1.2.33/24", seconds=6)
    assert done.returncode == 0, done.stdout + done.stderr
    assert _address(machine) == "10.1.2.33/24"
    machine.until("the old address is back", lambda: _address(machine) == "10.1.2.3/24")
    machine.until("nothing waits", lambda: not machine.path(_JOURNAL).exists())
    machine.until("the timer rests", lambda: not machine.is_active("agent-proxy-rollback.timer"))


def _one_that_loses_the_platform_is_taken_back_at_once(machine: Machine) -> None:
    done = _change(machine, "network", "set", "eth0", "--address", "10.7.7.7/24", seconds=120)
    assert done.returncode == 1
    assert "ROLLED BACK" in done.stdout
    assert _address(machine) == "10.1.2.3/24"
    assert not machine.path(_JOURNAL).exists()


def _one_that_is_confirmed_stays(machine: Machine) -> None:
    done = _change(machine, "settings", "set", "timeouts.connect", "7", seconds=60)
    assert done.returncode == 0, done.stdout + done.stderr
    machine.appliance("confirm")
    machine.kill()
    machine.boot()
    machine.until("it is ready", lambda: machine.ready()["ready"])
    assert _connect_timeout(machine) == "7"


def _one_just_after_the_start_is_not_taken_back(machine: Machine) -> None:
    """One worker is enough to be ready; the other one is still reading the file then."""
    machine.run("systemctl", "restart", "agent-proxy.service")
    machine.until("it is ready", lambda: machine.ready()["ready"])
    done = _change(machine, "settings", "set", "timeouts.connect", "8", seconds=60)
    assert done.returncode == 0, done.stdout + done.stderr
    machine.appliance("confirm")
    assert _connect_timeout(machine) == "8"
    digests = {one["configDigest"] for one in _status(machine)["workers"]}
    assert len(digests) == 1 and len(_status(machine)["workers"]) >= 2


def _more_connections_need_no_restart(machine: Machine) -> None:
    """Workers raise their own limit, as far as they may; what does not fit is taken back."""
    pids = {one["pid"] for one in _status(machine)["workers"]}
    limits = machine.run("cat", f"/proc/{min(pids)}/limits")
    most = next(int(one.split()[4]) for one in limits.splitlines() if one.startswith("Max open"))
    fitting = min(500_000, (most - 64) // 2)
    assert fitting > 8192, limits
    done = _change(machine, "settings", "set", "limits.connections", str(fitting), seconds=60)
    assert done.returncode == 0, done.stdout + done.stderr
    machine.appliance("confirm")
    workers = _status(machine)["workers"]
    assert {one["pid"] for one in workers} == pids
    assert {one["connectionsLimit"] for one in workers} == {fitting - fitting * 10 // 100}
    if most < 2_000_064:  # else every limit there is fits
        done = _change(machine, "settings", "set", "limits.connections", "1000000", seconds=60)
        assert done.returncode == 1
        assert "ROLLED BACK: connection limit" in done.stdout, done.stdout
        limits_now = {one["connectionsLimit"] for one in _status(machine)["workers"]}
        assert limits_now == {one["connectionsLimit"] for one in workers}


def _a_power_cut_leaves_the_old_state(machine: Machine) -> None:
    """Cut as soon as the change is under way, and once more while it waits to be confirmed."""
    for moment in ("applying", "unconfirmed"):
        before = machine.read(_CONF)
        change = _caught(machine, moment)
        machine.kill()
        change.join()
        machine.boot()
        machine.until("it is ready", lambda: machine.ready()["ready"], 240)
        assert machine.read(_CONF) == before
        assert not machine.path(_JOURNAL).exists()


def _caught(machine: Machine, moment: str) -> threading.Thread:
    """Change a setting, and return while the change is in this state."""
    ended: list[subprocess.CompletedProcess[str]] = []
    words = ("settings", "set", "timeouts.connect", "9")
    change = threading.Thread(target=lambda: ended.append(_change(machine, *words, seconds=99)))
    change.start()

    def is_there() -> bool:
        with contextlib.suppress(OSError, ValueError):
            return _state(machine) == moment
        return False

    while not is_there():
        # A change that has ended waits to be confirmed: nothing but that can be seen any more.
        assert change.is_alive() or (moment == "unconfirmed" and is_there()), (moment, ended)
        time.sleep(0.005)  # noqa: TID251
    return change


def _state(machine: Machine) -> str:
    return str(machine.document(_JOURNAL)["state"])


def _each_is_in_the_journal(machine: Machine) -> None:
    lines = machine.journal("-t", "agent-proxy-audit")
    for verb in ('verb="first-boot run"', 'verb="network set"', 'verb="settings set"'):
        assert verb in lines
    assert "correct horse" not in machine.journal()
