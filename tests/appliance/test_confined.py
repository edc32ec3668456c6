"""The AppArmor profile allows all that the service does: start, calls, reload, stop, renewal.

Compared with a trace of the real thing, since not every kernel has AppArmor.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance import apparmor, base
from tests.appliance.apparmor import Deed
from tests.appliance.conftest import Boot, answers
from tests.appliance.container import Machine
from tests.lab.cast import Lab

pytestmark = pytest.mark.deadline(600)

_APPLIANCE = "/opt/agent-proxy/venv/bin/agent-proxy-appliance"
_PROFILE = base.ROOT / "appliance" / "files" / "etc" / "apparmor.d" / "agent-proxy"
_PROGRAMS = re.compile(r"/opt/agent-proxy/.*/bin/(supervisord|supervisorctl|agent-proxy)")
_PARSER = shutil.which("apparmor_parser", path="/usr/sbin:/sbin") or ""


@contextlib.contextmanager
def traced(machine: Machine, out: Path) -> Iterator[None]:
    """Write down what process 1 of a machine, and all that it starts, does."""
    words = ["strace", "--follow-forks", "--decode-fds=path", "--decode-pids=pidns", "-qq"]
    words += ["-s", "300", "--trace", apparmor.CALLS, "--output", str(out)]
    tracer = subprocess.Popen([*words, "--attach", str(machine.leader)])
    try:
        machine.until("it is traced", lambda: _tracer(machine.leader) != 0)
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(30)


def _tracer(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if "TracerPid" in line))


@pytest.mark.skipif(not _PARSER or not shutil.which("strace"), reason="apparmor, strace missing")
def test_nothing_that_the_service_does_is_forbidden(boot: Boot, lab: Lab, tmp_path: Path) -> None:
    lab.platform("platform", "10.1.2.9:3302", "10.1.2.3:2002")
    machine = boot("confined", answers=answers(upstream__verify="no"))
    machine.until("it is ready", lambda: machine.ready()["ready"])
    lab.net.machine("vm")
    lab.net.attach("vm", "eth0", "lan", "10.1.2.21/24")
    lab.agent("vm", "first", "10.1.2.21", "10.1.2.3:2002", "agent-1")
    trace = tmp_path / "trace"
    with traced(machine, trace):
        machine.run("systemctl", "restart", "agent-proxy.service")
        machine.until("it is ready", lambda: len(machine.ready()["workers"]) >= 2)
        lab.shake_and_call("agent-1")
        machine.run("systemctl", "reload", "agent-proxy.service")
        # Everything drains, hands over and starts anew; traced, that takes its time.
        machine.run(_APPLIANCE, "services", "renew", timeout_s=300)
        lab.shake_and_call("agent-1")
    with open(trace, errors="replace") as lines:
        done = apparmor.deeds(lines, lambda path: _PROGRAMS.fullmatch(path) is not None)
    found = apparmor.profile(_PARSER, _PROFILE)
    _it_was_traced(done)
    real = _resolved(machine, done)
    refused = sorted({f"{found.lacks(one)} {one.what}" for one in real if found.lacks(one)})
    assert refused == []
    bound = machine.run("systemctl", "show", "-P", "CapabilityBoundingSet", "agent-proxy.service")
    wanted = {one.removeprefix("cap_") for one in bound.split()}
    assert wanted <= found.capabilities
    _what_it_must_not_do_is_forbidden(found)


def _it_was_traced(done: set[Deed]) -> None:
    """Or the comparison would say nothing."""
    what = {one.what for one in done}
    for path in (
        "/opt/agent-proxy/conf/proxy.ini",
        "/opt/agent-proxy/var/secret",
        "/opt/agent-proxy/var/log/access-0.log",
        "network inet stream",
    ):
        assert path in what, sorted(what)[:200]
    assert any(one.what.endswith("handover-900.sock") for one in done)
    assert any(one.perms == "m" and "gevent" in one.what for one in done)
    assert any(one.perms == "x" and one.what.endswith("agent-proxy") for one in done)


def _resolved(machine: Machine, done: set[Deed]) -> list[Deed]:
    """AppArmor judges the file that a name leads to."""
    paths = sorted({one.what for one in done if one.what.startswith("/")})
    real = {}
    for begin in range(0, len(paths), 500):
        part = paths[begin : begin + 500]
        lines = machine.run("realpath", "-m", "--", *part).splitlines()
        real.update(zip(part, lines, strict=True))
    return [
        one
        if one.what not in real
        else Deed(one.perms, real[one.what] + ("/" if one.what.endswith("/") else ""))
        for one in done
    ]


def _what_it_must_not_do_is_forbidden(found: apparmor.Profile) -> None:
    """The comparison refuses as well as it allows."""
    for deed in (
        Deed("w", "/opt/agent-proxy/conf/proxy.ini"),
        Deed("r", "/etc/shadow"),
        Deed("r", "/etc/ssh/ssh_host_ed25519_key"),
        Deed("w", "/opt/agent-proxy/releases/0.1.0/venv/bin/agent-proxy"),
        Deed("x", "/usr/bin/curl"),
        Deed("r", "/var/lib/agent-proxy/console.json"),
        Deed("c", "network packet raw"),
    ):
        assert found.lacks(deed), deed
