"""The image's bill of materials: what Debian's and Python's packages say of themselves."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from tests.image.conftest import ROOT, built

_PYTHON = ROOT / ".venv-audit" / "bin" / "python"
_FACTS = """
import json, sys
sys.path.insert(0, "tests/audit")
import image_bill
text = sys.stdin.read()
print(json.dumps([image_bill.licences(text), [p["Package"] for p in image_bill.packages(text)]]))
"""
pytestmark = pytest.mark.skipif(not _PYTHON.exists(), reason="no .venv-audit (make sbom)")


def _facts(text: str) -> list[list[str]]:
    done = subprocess.run(
        [str(_PYTHON), "-c", _FACTS],
        input=text,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n"
            "Files: *\nLicense: GPL-2+ or Expat\n\nFiles: x\nLicense: BSD-3-clause\n text\n",
            ["BSD-3-Clause", "GPL-2.0-or-later", "MIT"],
        ),
        ("Free words, see /usr/share/common-licenses/LGPL-2.1.\n", ["LGPL-2.1-only"]),
        ("Free words alone.\n", []),
    ],
)
def test_licences_are_read_in_spdx_s_spelling(text: str, expected: list[str]) -> None:
    assert _facts(text)[0] == expected


def test_only_installed_packages_count() -> None:
    status = (
        "Package: a\nStatus: install ok installed\nVersion: 1\n\n"
        "Package: b\nStatus: deinstall ok config-files\nVersion: 2\n"
    )
    assert _facts(status)[1] == ["a"]


def test_the_bill_beside_the_image_lists_every_package(tmp_path: Path) -> None:
    image = built("*.qcow2")
    bill = image.with_suffix(".cdx.json")
    document = json.loads(bill.read_text())
    listed = {(one["name"], one["version"]) for one in document["components"]}
    for line in image.with_suffix(".packages.txt").read_text().splitlines():
        name, version, *_ = line.split()
        assert (name, version) in listed, line
    assert {name for name, _ in listed} >= {"gevent", "urllib3", "supervisor", "configobj"}
    assert all(one["licenses"] for one in document["components"])
    digest = hashlib.sha256(bill.read_bytes()).hexdigest()
    assert f"{digest}  {bill.name}" in (image.parent / "SHA256SUMS").read_text().splitlines()


def test_the_same_image_gives_the_same_bytes(tmp_path: Path) -> None:
    image = built("*.qcow2")
    again = tmp_path / "again.json"
    script = ROOT / "packer" / "bill.sh"
    subprocess.run(["sh", str(script), str(image), str(again)], check=True)
    assert again.read_bytes() == image.with_suffix(".cdx.json").read_bytes()
