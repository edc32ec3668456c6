"""A volume with OpenSCAP, its Debian 13 rules, Lynis and debsecan: the image has none of them.

They are unpacked from Debian's packages and run from the volume, so that judging an image does not
change what is judged. The rules for Debian 13 come with the newest ssg-debian, which Debian 13
itself does not have.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agent-proxy" / "tools"
RULES = "usr/share/xml/scap/ssg/content/ssg-debian13-ds.xml"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_PREFERENCES = """\
Package: *
Pin: release n=forky
Pin-Priority: 100

Package: ssg-debian ssg-base
Pin: release n=forky
Pin-Priority: 990
"""
# The image's own, of the same version: a second C library beside it would only confuse.
_LEFT_OUT = ("libc6_", "libc-bin_", "dpkg_", "perl-base_", "bash_", "coreutils_")
_SIZE_MIB = 400


def tree() -> Path:
    """Return a folder with the tools as Debian's packages have them, made once and kept."""
    path = CACHE / "tree"
    if path.exists():
        return path
    shutil.rmtree(CACHE, ignore_errors=True)
    apt = _apt(CACHE / "apt", _SUITES)
    part = CACHE / "part"
    part.mkdir()
    for package in _download(apt):
        subprocess.run(["dpkg", "-x", str(package), str(part)], check=True)
    assert (part / RULES).exists(), f"ssg-debian has no {RULES}"
    shutil.rmtree(CACHE / "apt")
    part.rename(path)
    return path


def volume() -> Path:
    """Return the tools as a volume (ext4, label TOOLS), made once and kept."""
    folder = tree()
    path = CACHE / "tools.ext4"
    if not path.exists():
        part = CACHE / "tools.part"
        words = ["mke2fs", "-q", "-t", "ext4", "-L", "TOOLS", "-d", str(folder), str(part)]
        subprocess.run([*words, f"{_SIZE_MIB}M"], check=True)
        part.rename(path)
    return path


def pending(status: Path) -> list[str]:
    """Return the updates that packages of a dpkg's `status` lack, by Debian's lists of now.

    All of them: what was fixed by a security update comes from the release itself a while later.
    Raises: CalledProcessError if there are no lists to be had.
    """
    with tempfile.TemporaryDirectory(prefix="apt-") as folder:
        options = _apt(Path(folder), _SECURITY)
        words = ["apt-get", *options, "-o", f"Dir::State::status={status}"]
        done = subprocess.run(
            [*words, "--simulate", "dist-upgrade"], capture_output=True, check=True, text=True
        )
    return re.findall(r"^Inst (\S+ \[\S+\] \(.*)$", done.stdout, re.MULTILINE)


def _apt(root: Path, suites: Sequence[str]) -> list[str]:
    """Make a folder in which apt knows some suites of Debian; return how to call apt with it."""
    for folder in ("etc/apt/preferences.d", "etc/apt/apt.conf.d", "var/lib/dpkg"):
        (root / folder).mkdir(parents=True)
    for folder in ("var/lib/apt/lists/partial", "var/cache/apt/archives/partial"):
        (root / folder).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    (root / "etc/apt/preferences.d/rules").write_text(_PREFERENCES)
    lines = [
        f"deb [signed-by={_KEYRING}] {_mirror()}{'-security' * suite.endswith('-security')} "
        f"{suite} main\n"
        for suite in suites
    ]
    (root / "etc/apt/sources.list").write_text("".join(lines))
    status = f"Dir::State::status={root}/var/lib/dpkg/status"
    options = ["-qq", "-o", f"Dir={root}", "-o", status, "-o", "APT::Sandbox::User=root"]
    # Without lists apt would know of no update, and be content.
    subprocess.run(["apt-get", *options, "-o", "APT::Update::Error-Mode=any", "update"], check=True)
    return options


_SUITES = ("trixie", "forky")
_SECURITY = ("trixie", "trixie-updates", "trixie-security")


def _mirror() -> str:
    """Return where this machine has its Debian packages from."""
    texts = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    for path in texts:
        if path.is_file():
            found = re.search(
                r"^(?:URIs:|deb)\s+.*?(https?://\S+/debian)\b", path.read_text(), re.M
            )
            if found:
                return found[1]
    raise AssertionError("apt of this machine names no mirror of Debian")


def _download(options: list[str]) -> list[Path]:
    words = ["apt-get", *options, "install", "--no-install-recommends", "--download-only", "-y"]
    subprocess.run(
        [*words, "openscap-scanner", "ssg-debian", "lynis", "debsecan"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    folder = CACHE / "apt" / "var/cache/apt/archives"
    found = sorted(folder.glob("*.deb"))
    return [package for package in found if not package.name.startswith(_LEFT_OUT)]
