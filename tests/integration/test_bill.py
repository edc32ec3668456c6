"""What is built: the bill of materials says what is pinned, the wheel holds what is needed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.integration.nodes import ROOT

AUDIT = ROOT / ".venv-audit" / "bin" / "python"
PINNED = (ROOT / "requirements.txt").read_text()


def write(output: Path, requirements: Path = ROOT / "requirements.txt") -> Any:
    """Run bill.py, which validates what it writes against the schema of CycloneDX 1.6."""
    site = sysconfig.get_path("platlib")
    return subprocess.run(
        [str(AUDIT), str(ROOT / "tests/audit/bill.py"), str(requirements), site, str(output)],
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(not AUDIT.exists(), reason="no .venv-audit: make sbom")
def test_bill_names_every_pinned_package_with_its_hashes_and_licence(tmp_path: Path) -> None:
    for name in ("one", "two"):
        done = write(tmp_path / name)
        assert done.returncode == 0 and "CycloneDX 1.6, valid" in done.stdout, done.stderr
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes(), "deterministic"
    content = json.loads((tmp_path / "one").read_text())
    listed = {f"{one['name']}=={one['version']}": one for one in content["components"]}
    assert set(listed) == set(re.findall(r"^([\w.-]+==[^\s\\]+)", PINNED, re.MULTILINE))
    hashes = [
        digest["content"]
        for one in listed.values()
        for reference in one["externalReferences"]
        for digest in reference["hashes"]
    ]
    assert sorted(hashes) == sorted(re.findall(r"sha256:([0-9a-f]{64})", PINNED))
    for name, one in listed.items():
        assert one["licenses"], name


@pytest.mark.skipif(not AUDIT.exists(), reason="no .venv-audit: make sbom")
def test_bill_is_refused_for_what_is_not_installed(tmp_path: Path) -> None:
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("urllib3==0.0.1 \\\n    --hash=sha256:" + "0" * 64 + "\n")
    done = write(tmp_path / "bill", wanted)
    assert done.returncode != 0 and "urllib3 0.0.1 is pinned" in done.stderr


def test_wheel_holds_the_limits_of_key_exchange(tmp_path: Path) -> None:
    """OpenSSL says nothing about a file that is missing."""
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(tmp_path)]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        assert b"Groups = X25519" in content.read("proxy/openssl.cnf")
