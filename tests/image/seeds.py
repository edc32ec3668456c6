"""Volumes that tell a machine at its first start who it is, as clouds and vSphere attach them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import quoteattr


def nocloud(path: Path, answers: Mapping[str, object], instance: str = "i-1") -> Path:
    """Make a NoCloud volume (label CIDATA, FAT) whose user data are `answers`."""
    user = path.with_suffix(".user-data")
    meta = path.with_suffix(".meta-data")
    user.write_text("#cloud-config\n" + json.dumps({"agent-proxy": answers}, indent=2))
    meta.write_text(f"instance-id: {instance}\n")
    return volume(path, "CIDATA", {"user-data": user, "meta-data": meta})


def volume(path: Path, label: str, files: Mapping[str, Path], size_mib: int = 2) -> Path:
    """Make a FAT volume with these files, by the names they shall have."""
    with open(path, "wb") as disk:
        disk.truncate(size_mib << 20)
    subprocess.run(["mkfs.vfat", "-n", label, str(path)], check=True, stdout=subprocess.DEVNULL)
    for name, file in files.items():
        subprocess.run(["mcopy", "-i", str(path), str(file), f"::{name}"], check=True)
    return path


def ovf(path: Path, answers: Mapping[str, str]) -> Path:
    """Make the CD (.iso) by which vSphere hands over what was typed into the OVF's form."""
    rows = "\n".join(
        f"<Property oe:key={quoteattr(f'agent-proxy.{key}')} oe:value={quoteattr(value)}/>"
        for key, value in answers.items()
    )
    folder = path.with_suffix(".cd")
    folder.mkdir()
    (folder / "ovf-env.xml").write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1"\n'
        '  xmlns:oe="http://schemas.dmtf.org/ovf/environment/1" oe:id="agent-proxy">\n'
        f"<PropertySection>\n{rows}\n</PropertySection></Environment>\n"
    )
    words = ["xorriso", "-as", "mkisofs", "-quiet", "-r", "-J", "-V", "OVF ENV", "-o", str(path)]
    subprocess.run([*words, str(folder)], check=True)
    return path
