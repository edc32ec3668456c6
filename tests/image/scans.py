"""What tools that we did not write say of the image: `python -m tests.image.scans [HOW] IMAGE`.

The image is copied, a unit that runs judge.sh is written into the copy, and the copy is started
beside the tools: as a virtual machine (HOW --machine, the default: minutes, and the whole truth) or
as a container of the copy's file system (--container: a minute, with the host's kernel, which is
shown to the tools with the values that the image's sysctl.d has). Nothing else is different.
Exit 1: a figure misses its target.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.image import figures, tools
from tests.image.machine import Machine, until
from tests.image.seeds import nocloud
from tests.lab.network import Network

_HERE = Path(__file__).parent
_REASONS = _HERE.parents[1] / "docs" / "image.md"
# Under emulation, beside others, OpenSCAP alone may take an hour.
_PATIENCE_S = 7200.0
_ANSWERS = {
    "network.1.address": "10.1.2.3/24",
    "console.password": "seven quiet horses",
    "upstream.endpoint": "10.1.2.9:3302",
    "upstream.verify": "no",
    "platform.networks": "10.1.2.9",
}
_UNIT = """\
[Unit]
Description=Judge the image
[Service]
ExecStart=/bin/sh /etc/judge.sh
"""
# What a machine makes for itself; a log or a list that is there must be empty.
_MADE = (
    "etc/ssh/ssh_host_*", "var/lib/systemd/random-seed", "var/lib/systemd/credential.secret",
    "var/lib/dbus/machine-id", "opt/agent-proxy/var/secret", "opt/agent-proxy/var/tls/*",
    "opt/agent-proxy/conf/console.json", "var/lib/agent-proxy/console.json",
    "home/*", "root/.ssh/*", "var/log/journal/*",
)  # fmt: skip
_EMPTY = ("etc/machine-id", "var/log/**/*")


@contextlib.contextmanager
def mounted(disk: Path, root: Path) -> Iterator[None]:
    """Mount the last partition of a raw disk, packer/base.sh's root file system."""
    table = subprocess.run(
        ["sfdisk", "-d", str(disk)], capture_output=True, check=True, text=True
    ).stdout
    start = int(re.findall(r"start=\s*(\d+)", table)[-1])
    subprocess.run(["mount", "-o", f"loop,offset={start * 512}", str(disk), str(root)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(root)], check=True)


def _add_unit(root: Path) -> None:
    (root / "etc/judge.sh").write_text((_HERE / "judge.sh").read_text())
    units = root / "etc/systemd/system"
    (units / "judge.service").write_text(_UNIT)
    (units / "multi-user.target.wants").mkdir(exist_ok=True)
    (units / "multi-user.target.wants/judge.service").symlink_to("../judge.service")


def made_before(root: Path) -> list[str]:
    """Return what is in an image and should only be on a machine."""
    found = [path for pattern in _MADE for path in root.glob(pattern)]
    found += [
        path
        for pattern in _EMPTY
        for path in root.glob(pattern)
        if path.is_file() and not path.is_symlink() and path.stat().st_size > 0
    ]
    names = [str(path.relative_to(root)) for path in found]
    for line in (root / "etc/shadow").read_text().splitlines():
        user, password = line.split(":")[:2]
        if password.startswith("$"):
            names.append(f"etc/shadow: a password of {user}")
    return names


def in_machine(disk: Path, accelerator: str) -> str:
    """Return what judge.sh said in a virtual machine that was set up; nothing mounts its disk."""
    said = disk.with_name("said")
    machine = Machine(disk.parent, "judged", disk, accelerator=accelerator)
    net = Network()
    try:
        net.switch("lan")
        extra = ["-drive", f"file={tools.volume()},format=raw,if=none,id=tools,readonly=on"]
        extra += ["-device", "virtio-blk-pci,drive=tools", "-serial", f"file:{said}"]
        # Each of two scans holds its rules in memory; what the image needs is measured elsewhere.
        extra += ["-m", "3072"]
        seed = nocloud(disk.with_name("seed.img"), _ANSWERS)
        machine.start(net, "lan", seed=seed, extra=extra)
        until("the tools are through", lambda: _ended(machine, said), _PATIENCE_S)
    except AssertionError as error:
        # What was said so far is of use to a person; figures.sections() refuses to judge by it.
        print(error)
    finally:
        machine.cut()
        net.close()
    return _text(said)


def _ended(machine: Machine, said: Path) -> bool:
    machine.runs()
    return "==== end" in _text(said)


def in_container(root: Path) -> str:
    """Return what judge.sh said in a container, which ends by itself."""
    folder = root.with_name("said")
    folder.mkdir()
    words = ["systemd-nspawn", "-q", "--register=no", "--keep-unit", "--private-network"]
    words += ["--link-journal=no", "-D", str(root), f"--bind-ro={tools.tree()}:/mnt/tools"]
    words += [f"--bind-ro={_HERE / 'kernel.py'}:/mnt/kernel.py", f"--bind={folder}:/mnt/judged"]
    with open(folder / "console", "wb") as console:
        subprocess.run(
            [*words, "-b"],
            stdin=subprocess.DEVNULL, stdout=console, stderr=console,
            timeout=_PATIENCE_S, check=False,
        )  # fmt: skip
    return _text(folder / "said")


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def vulnerabilities(root: Path) -> figures.Figure:
    """Ask debsecan of the image's packages; its data come from the network."""
    words = ["/usr/bin/python3", str(tools.tree() / "usr/bin/debsecan"), "--suite", "trixie"]
    words += ["--only-fixed", "--format", "detail", "--status", str(root / "var/lib/dpkg/status")]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return figures.vulnerabilities(None, "no answer in 60 s from where its data are")
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return figures.vulnerabilities(None, last)
    return figures.vulnerabilities(done.stdout)


def updates(root: Path) -> figures.Figure:
    """Ask apt, with Debian's lists of now, which of the image's packages have updates."""
    try:
        return figures.updates(tools.pending(root / "var/lib/dpkg/status"))
    except subprocess.CalledProcessError as error:
        return figures.updates(None, f"no lists of packages: {error}")


def explained() -> set[str]:
    """Return every rule that docs/image.md gives a reason for: a name in backquotes in a table."""
    rows = [line for line in _REASONS.read_text().splitlines() if line.startswith("|")]
    return {name for row in rows for name in re.findall(r"`([a-z0-9_-]+)`", row)}


def judge(image: Path, home: Path, *, container: bool) -> tuple[list[figures.Figure], str]:
    """Return what the image's files alone show, and what judge.sh said in a copy of it."""
    disk, root = home / "image.raw", home / "root"
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(image), str(disk)], check=True)
    root.mkdir()
    with mounted(disk, root):
        rows = [figures.identities(made_before(root)), vulnerabilities(root), updates(root)]
        _add_unit(root)
        if container:
            return rows, in_container(root)
    return rows, in_machine(disk, os.environ.get("ACCELERATOR", "tcg"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--container", action="store_true")
    parser.add_argument("--machine", dest="container", action="store_false")
    parser.add_argument("--said", type=Path, help="a file that gets what the tools printed")
    parser.add_argument("image", type=Path)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="judge-") as folder:
        rows, text = judge(wanted.image, Path(folder), container=wanted.container)
    if wanted.said:
        wanted.said.write_text(text)
    found = figures.sections(text)
    rows += figures.judge(found, explained=explained(), container=wanted.container)
    print("\n".join(str(row) for row in rows))
    for name in ("failed", "times", "points"):
        print(f"{name}:\n{found[name].strip()}")
    missed = sum(row.good is False for row in rows)
    print(f"{missed} of {len(rows)} figures miss their target")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
