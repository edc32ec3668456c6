"""`make run` end to end: supervisord, workers, stand-ins, and nothing left afterwards."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path

import pytest

from tests.demo.belongings import derive_configuration, prepare
from tests.demo.places import Places, Taken, require_free
from tests.demo.running import (
    OFFSET,
    ROOT,
    START_TIMEOUT_S,
    demonstration,
    processes_of,
    wait_for_none,
)
from tests.fakes.certificates import self_signed


@pytest.mark.e2e
def test_all_steps_succeed_and_no_process_is_left(tmp_path: Path) -> None:
    with demonstration(tmp_path / "var", "--once") as demo:
        said, _ = demo.process.communicate(timeout=START_TIMEOUT_S)
    assert demo.process.returncode == 0, said
    for shown in ("registration", "handshake of agent-3", "routed call to agent-2", "command to"):
        assert shown in said
    assert "All steps succeeded" in said
    assert processes_of(demo.var) == []
    journal = (demo.var / "log" / "journal.log").read_text()
    assert "registration" in journal
    assert journal.count(" call ") == 2
    assert (demo.var / "proxy.secret").stat().st_mode & 0o777 == 0o600


@pytest.mark.e2e
@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_everything(tmp_path: Path, ends: signal.Signals) -> None:
    with demonstration(tmp_path / "var") as demo:
        demo.read_until("agents it knows")
        assert (
            len(processes_of(demo.var)) == 8
        )  # supervisord, 2 workers, watchdog, platform, 3 agents
        demo.process.send_signal(ends)
        said, _ = demo.process.communicate(timeout=START_TIMEOUT_S)
    assert demo.process.returncode == 0
    assert "Every process has ended." in said
    assert processes_of(demo.var) == []


@pytest.mark.e2e
def test_no_process_outlives_a_killed_demonstration(tmp_path: Path) -> None:
    with demonstration(tmp_path / "var") as demo:
        demo.read_until("agents it knows")
        demo.process.kill()
        assert wait_for_none(demo.var) == []


@pytest.mark.e2e
def test_step_that_fails_is_named_with_the_last_log_lines(tmp_path: Path) -> None:
    """A key that cannot be read: the workers are given up."""
    own = prepare(tmp_path / "var")
    own.key.write_text("not a key\n")
    with demonstration(tmp_path / "var", "--once") as demo:
        said, _ = demo.process.communicate(timeout=START_TIMEOUT_S)
    assert demo.process.returncode == 1
    assert "FAILED  step 1" in said
    assert re.search(r"worker-[01]\.log, last lines:\n +\S", said)
    assert processes_of(demo.var) == []


@pytest.mark.e2e
def test_conf_starts_the_proxy_alone(tmp_path: Path) -> None:
    var = tmp_path / "var"
    own = prepare(var)
    platform = self_signed(var, "platform", ("127.0.2.1",))
    conf = tmp_path / "conf" / "proxy.ini"
    derive_configuration(
        ROOT / "conf" / "proxy.ini", conf, own, Places(OFFSET), platform.certificate, 20000
    )
    with demonstration(var, "--conf", str(conf)) as demo:
        demo.read_until("logs")
        assert len(processes_of(demo.var)) == 4  # supervisord, 2 workers, watchdog
        demo.process.send_signal(signal.SIGINT)
        said, _ = demo.process.communicate(timeout=START_TIMEOUT_S)
    assert demo.process.returncode == 0, said
    assert processes_of(demo.var) == []


def test_bad_conf_shows_every_problem_and_starts_nothing(tmp_path: Path) -> None:
    conf = tmp_path / "proxy.ini"
    conf.write_text("[listen]\nport = many\n[upstraem]\n")
    with demonstration(tmp_path / "var", "--conf", str(conf)) as demo:
        said, _ = demo.process.communicate(timeout=START_TIMEOUT_S)
    assert demo.process.returncode == 1
    assert "proxy.ini:2" in said
    assert "proxy.ini:3" in said
    assert "upstream" in said


def test_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Taken, match=f"127.0.0.1:{port} for the proxy: in use"):
            require_free([("proxy", ("127.0.0.1", port))])


def test_taken_port_ends_make_run_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(Places(OFFSET).admin):
        with demonstration(tmp_path / "var", "--once") as demo:
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
