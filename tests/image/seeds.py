"""Volumes that answer a machine's questions at its first start, as clouds attach them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path


def nocloud(path: Path, answers: dict[str, object], instance: str = "i-1") -> Path:
    """Make a NoCloud volume (label CIDATA, FAT) whose user data are `answers`."""
    user = path.with_suffix(".user-data")
    meta = path.with_suffix(".meta-data")
    user.write_text("#cloud-config\n" + json.dumps({"agent-proxy": answers}, indent=2))
    meta.write_text(f"instance-id: {instance}\n")
    with open(path, "wb") as disk:
        disk.truncate(2 << 20)
    volume = ["-i", str(path)]
    subprocess.run(["mformat", *volume, "-v", "CIDATA", "::"], check=True)
    subprocess.run(["mcopy", *volume, str(user), "::user-data"], check=True)
    subprocess.run(["mcopy", *volume, str(meta), "::meta-data"], check=True)
    return path
