"""`make run` end to end: supervisord, workers, stand-ins, and nothing left afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo.belongings import prepare
from tests.demo.places import Places, Taken, require_free

ROOT = Path(__file__).resolve().parents[2]
OFFSET = 20000
START_TIMEOUT_S = 120.0


def _processes_of(var: Path) -> list[str]:
    """Command lines of everything that runs with this var directory, or was started for it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                environment = (entry / "environ").read_bytes().split(b"\0")
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if f"AGENT_PROXY_VAR={var}".encode() in environment:
                    found.append(command)
    return found


def _wait_for_none(var: Path, timeout_s: float = 60.0) -> list[str]:
    deadline = time.monotonic() + timeout_s
    while (left := _processes_of(var)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


class _Demo:
    def __init__(self, var: Path, *arguments: str) -> None:
        self.var = var
        command = [sys.executable, "-m", "tests.demo", "--var", str(var)]
        command += ["--offset", str(OFFSET), "--workers", "2", *arguments]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def read_until(self, text: str) -> str:
        assert self.process.stdout is not None
        seen = ""
        for line in self.process.stdout:
            seen += line
            if text in line:
                return seen
        pytest.fail(f"ended before {text!r}:\n{seen}")

    def end(self) -> str:
        if self.process.poll() is None:
            self.process.terminate()
        said, _ = self.process.communicate(timeout=START_TIMEOUT_S)
        return str(said)


@contextlib.contextmanager
def _demo(var: Path, *arguments: str) -> Iterator[_Demo]:
    demo = _Demo(var, *arguments)
    try:
        yield demo
    finally:
        demo.end()


@pytest.mark.e2e
def test_all_steps_succeed_and_no_process_is_left(tmp_path: Path) -> None:
    with _demo(tmp_path / "var", "--once") as demo:
        said, _ = demo.process.communicate(timeout=START_TIMEOUT_S)
    assert demo.process.returncode == 0, said
    for shown in ("registration", "handshake of agent-3", "routed call to agent-2", "command to"):
        assert shown in said
    assert "All steps succeeded" in said
    assert _processes_of(demo.var) == []
    journal = (demo.var / "log" / "journal.log").read_text()
    assert "registration" in journal
    assert journal.count(" call ") == 2
    assert (demo.var / "proxy.secret").stat().st_mode & 0o777 == 0o600


@pytest.mark.e2e
@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_everything(tmp_path: Path, ends: signal.Signals) -> None:
    with _demo(tmp_path / "var") as demo:
        demo.read_until("agents it knows")
        assert len(_processes_of(demo.var)) == 7  # supervisord, 2 workers, platform, 3 agents
        demo.process.send_signal(ends)
        said, _ = demo.process.communicate(timeout=START_TIMEOUT_S)
    assert demo.process.returncode == 0
    assert "Every process has ended." in said
    assert _processes_of(demo.var) == []


@pytest.mark.e2e
def test_no_process_outlives_a_killed_demonstration(tmp_path: Path) -> None:
    with _demo(tmp_path / "var") as demo:
        demo.read_until("agents it knows")
        demo.process.kill()
        assert _wait_for_none(demo.var) == []


@pytest.mark.e2e
def test_step_that_fails_is_named_with_the_last_log_lines(tmp_path: Path) -> None:
    """A certificate that cannot be read: the workers are given up."""
    own = prepare(tmp_path / "var")
    own.certificate.write_text("not a certificate\n")
    with _demo(tmp_path / "var", "--once") as demo:
        said, _ = demo.process.communicate(timeout=START_TIMEOUT_S)
    assert demo.process.returncode == 1
    assert "FAILED  step 1" in said
    assert "worker-0.log, last lines:" in said
    assert _processes_of(demo.var) == []


def test_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Taken, match=f"127.0.0.1:{port} for the proxy: in use"):
            require_free([("proxy", ("127.0.0.1", port))])


def test_taken_port_ends_make_run_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(Places(OFFSET).admin):
        with _demo(tmp_path / "var", "--once") as demo:
            said, _ = demo.process.communicate(timeout=START_TIMEOUT_S)
    assert demo.process.returncode == 1
    assert f"127.0.0.1:{OFFSET + 2004} for the proxy's admin listener: in use" in said


def test_belongings_are_made_once(tmp_path: Path) -> None:
    first = prepare(tmp_path)
    again = prepare(tmp_path)
    assert first.made == ("ID", "secret", "certificate")
    assert again.made == ()
    assert again.proxy_id == first.proxy_id
    assert first.key.stat().st_mode & 0o777 == 0o600
