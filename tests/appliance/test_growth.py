"""A root file system on a partition of a disk that became larger: grown while it is mounted.

The disk is a loop device with a GPT and ext4; the program runs with the partition as its root.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance import base

pytestmark = pytest.mark.deadline(120)

_TABLE = """label: gpt
size=8M, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B
type=0FC63DAF-8483-4772-8E79-3D69D8477DE4
"""
_MIB = 1 << 20
# What / needs to be a machine on which the program finds what it asks.
_ROOT = """set -eu
mount {partition} {root}
cd {root}
mkdir -p usr etc dev proc sys run tmp tree var/lib/agent-proxy
mount --bind var/lib/agent-proxy var/lib/agent-proxy  # as ReadWritePaths= of the unit makes it
mount --rbind /usr usr
mount --rbind /etc etc
mount --rbind /dev dev
mount --bind {tree} tree
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs run run
mount -t tmpfs tmp tmp
for name in lib lib64 bin sbin; do [ -e $name ] || ln -s usr/$name $name; done
exec chroot . sh -c 'cd /tree && PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m appliance.disk &&
    stat -f -c "%b %S" /'
"""


def run(*words: str, stdin: str = "") -> str:
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    try:
        base.require()
    except base.Unavailable as reason:
        pytest.skip(f"no disks here: {reason}")
    if not Path("/dev/loop-control").exists():
        pytest.skip("no loop devices here")
    image = tmp_path / "disk"
    image.touch()
    os.truncate(image, 96 * _MIB)
    run("sfdisk", "--quiet", str(image), stdin=_TABLE)
    device = run("losetup", "--find", "--show", str(image)).strip()
    try:
        # By hand: not every kernel reads a GPT itself, and no udev makes nodes here.
        run("partx", "--add", device)
        yield Path(device)
    finally:
        subprocess.run(["partx", "--delete", device], check=False, capture_output=True)
        run("losetup", "--detach", device)


def _may_grow_a_mounted_file_system() -> bool:
    status = Path("/proc/self/status").read_text()
    held = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff"))
    return bool(int(held, 16) >> 24 & 1)


def grow(disk: Path, root: Path) -> tuple[list[str], int]:
    """Return what the program said and the size of / afterwards, in bytes."""
    script = _ROOT.format(partition=f"{disk}p2", root=root, tree=base.ROOT)
    out = run("unshare", "--mount", "--fork", "sh", "-c", script)
    *said, sizes = out.splitlines()
    blocks, size = map(int, sizes.split())
    return said, blocks * size


def test_the_partition_and_its_file_system_are_grown_and_nothing_is_lost(
    disk: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    run("mkfs.ext4", "-q", f"{disk}p2")
    before = grow(disk, root)
    assert before[1] < 88 * _MIB and before[0][0] == "the partition fills the disk", before

    os.truncate(tmp_path / "disk", 200 * _MIB)
    run("losetup", "--set-capacity", str(disk))
    said, size = grow(disk, root)
    assert "CHANGED" in said[0], said
    if not _may_grow_a_mounted_file_system():
        assert "Operation not permitted" in said[1], said
        print("SKIPPED growing it while mounted: this machine has no CAP_SYS_RESOURCE")
        run("e2fsck", "-f", "-p", f"{disk}p2")
        run("resize2fs", f"{disk}p2")  # the partition is large enough all the same
        _, size = grow(disk, root)
    else:
        assert said[1] == "the file system fills it", said
    assert size > 170 * _MIB
    run("e2fsck", "-f", "-n", f"{disk}p2")

    again, size_again = grow(disk, root)
    assert again[0] == "the partition fills the disk" and size_again == size
