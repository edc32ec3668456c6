"""The same on Debian 12: another systemd, another Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.appliance.conftest import Boot, answers, install
from tests.lab.cast import Lab

pytestmark = pytest.mark.deadline(400)


def test_debian_12_is_installed_and_serves(boot: Boot, lab: Lab, home: Path) -> None:
    lab.platform("platform", "10.1.2.9:3302", "10.1.2.3:2002")
    machine = boot(
        "twelve", answers=answers(upstream__verify="no"), layers=install("bookworm", home)
    )
    assert 'VERSION_ID="12"' in machine.read("/etc/os-release")
    machine.until("it is ready", lambda: machine.ready()["ready"])
    assert machine.failed() == []
    lab.net.machine("vm")
    lab.net.attach("vm", "eth0", "lan", "10.1.2.21/24")
    lab.agent("vm", "first", "10.1.2.21", "10.1.2.3:2002", "agent-1")
    lab.shake_and_call("agent-1")
