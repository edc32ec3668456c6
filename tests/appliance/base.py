"""What a container is made from: a Debian without the appliance, and wheels for its Python.

Both are made from the ordinary archives, kept outside the repository and made anew when what
they are made of changes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agent-proxy"
PYTHONS = {"trixie": "3.13", "bookworm": "3.11"}
_PACKAGES = ROOT / "appliance" / "packages.txt"
# Of the test only: to run the Makefile, and to be an operator on the machine.
_EXTRA = ("make", "curl", "openssh-client")


class Unavailable(Exception):
    """Why no container can be had here."""


def require() -> None:
    """Raises: Unavailable without root, nspawn, mmdebstrap or overlay mounts."""
    if os.geteuid() != 0:
        raise Unavailable("containers need root")
    for program in ("systemd-nspawn", "mmdebstrap", "nsenter", "ip"):
        if shutil.which(program) is None:
            raise Unavailable(f"{program} is not installed (sh tests/packages.sh)")
    if "overlay" not in Path("/proc/filesystems").read_text():
        raise Unavailable("this kernel has no overlay file system")


def debian(suite: str) -> Path:
    """Return the root of a Debian with the appliance's packages. Raises: Unavailable."""
    packages = [one for one in _PACKAGES.read_text().split("\n") if one and one[0] != "#"]
    packages += _EXTRA
    name = f"{suite}-{_digest(','.join(packages).encode())}"

    def make(folder: Path) -> None:
        # Debian's own list, with its security updates; it asks the archive apt is set up for.
        words = ["mmdebstrap", "--variant=minbase", "--mode=root", "--quiet"]
        words += ['--aptopt=Acquire::Retries "3"', f"--include={','.join(packages)}"]
        _run(*words, suite, str(folder))

    return _kept(name, make)


def wheels(suite: str) -> Path:
    """Return a folder of the pinned wheels for the Python of `suite`. Raises: Unavailable."""
    pinned = (ROOT / "requirements.txt").read_bytes()
    development = (ROOT / "requirements-dev.txt").read_bytes()
    name = f"wheels-{PYTHONS[suite]}-{_digest(pinned + development)}"
    return _kept(name, lambda folder: download(suite, folder))


def download(suite: str, folder: Path) -> None:
    """Fill a folder as `make wheels` does."""
    words = ["sh", str(ROOT / "appliance" / "wheels.sh"), str(folder), PYTHONS[suite]]
    _run(*words, env={**os.environ, "PYTHON": sys.executable})


def _kept(name: str, make: Callable[[Path], None]) -> Path:
    place = CACHE / name
    CACHE.mkdir(parents=True, exist_ok=True)
    with _lock(CACHE / f"{name}.lock"):
        if not place.exists():
            fresh = CACHE / f"{name}.new"
            shutil.rmtree(fresh, ignore_errors=True)
            make(fresh)
            fresh.rename(place)
    return place


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _run(*words: str, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        raise Unavailable(f"{words[0]} failed: {done.stderr.strip()[-500:]}")
