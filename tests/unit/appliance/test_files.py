"""The files that the appliance places: units that systemd finds nothing to say about."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]
_FILES = _ROOT / "appliance" / "files"
_UNITS = [
    _ROOT / "conf" / "agent-proxy.service",
    *sorted(
        path
        for path in (_FILES / "etc/systemd/system").glob("agent-proxy*.service")
        if path.is_file()
    ),
]
_WORKERS = [_UNITS[0], _FILES / "etc/systemd/system/agent-proxy-trial.service"]
_EXPOSURE_LIMIT = 2.5


@pytest.mark.parametrize("unit", _UNITS, ids=lambda path: path.name)
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_a_unit_exposes_little(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    if found is None and "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze looks at running units only")
    assert found is not None, done.stderr
    assert float(found[1]) <= _EXPOSURE_LIMIT


@pytest.mark.parametrize("unit", _UNITS, ids=lambda path: path.name)
def test_a_unit_can_gain_no_privilege_and_says_what_it_may_write(unit: Path) -> None:
    text = unit.read_text()
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "RestrictNamespaces=yes"):
        assert line in text.splitlines()
    assert "CapabilityBoundingSet=" in text
    writable = re.findall(r"^ReadWritePaths=(.*)$", text, re.M)
    assert not [one for line in writable for one in line.split() if one in ("/", "/usr", "/home")]


@pytest.mark.parametrize("unit", _WORKERS, ids=lambda path: path.name)
def test_the_proxy_has_no_capability(unit: Path) -> None:
    text = unit.read_text()
    assert re.findall(r"^CapabilityBoundingSet=(.*)$", text, re.M) == [""]
    assert "AmbientCapabilities" not in text
    assert "User=agent-proxy" in text


_PARSER = shutil.which("apparmor_parser") or shutil.which("apparmor_parser", path="/usr/sbin")


@pytest.mark.skipif(_PARSER is None, reason="apparmor_parser is not installed")
def test_the_apparmor_profile_is_one() -> None:
    """Only that it can be loaded: whether it is enforced shows where the kernel has AppArmor."""
    profile = _FILES / "etc/apparmor.d/agent-proxy"
    command = [str(_PARSER), "--skip-kernel-load", "--skip-cache", str(profile)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("processors", "workers"), [(1, 2), (2, 2), (8, 8)])
def test_a_worker_for_each_processor_and_two_at_least(
    tmp_path: Path, processors: int, workers: int
) -> None:
    text = (_FILES / "etc/systemd/system/agent-proxy.service.d/appliance.conf").read_text()
    found = re.search(r"^ExecStartPre=\+/bin/sh -c '(.*)'$", text, re.M)
    assert found is not None
    script = found[1].replace("$$", "$").replace("/run/agent-proxy", str(tmp_path))
    (tmp_path / "nproc").write_text(f"#!/bin/sh\necho {processors}\n")
    (tmp_path / "nproc").chmod(0o755)
    subprocess.run(["/bin/sh", "-c", script], env={"PATH": str(tmp_path)}, check=True)
    assert (tmp_path / "size.env").read_text() == f"AGENT_PROXY_WORKERS={workers}\n"


def test_getty_gives_way_to_the_console() -> None:
    for name in ("getty@.service", "serial-getty@.service"):
        link = _FILES / "etc/systemd/system" / name
        assert link.readlink() == Path("agent-proxy-console@.service")
