"""Writes a copy of /proc/sys with the values that sysctl.d gives: `kernel.py FOLDER`.

Runs in a container made of the image, whose kernel is the host's and must not be changed. Settings
that only the image's kernel has are made too; that they hold there is asserted in the build.
"""

from __future__ import annotations

import fnmatch
import subprocess
import sys
from pathlib import Path

_REAL = Path("/proc/sys")


def settings(text: str) -> list[tuple[str, str]]:
    """Return (path, value) of what `systemd-sysctl --cat-config` prints; the last one counts."""
    found = []
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        key = key.strip()
        if equals and not key.startswith(("#", ";")):
            found.append((_path(key.removeprefix("-").strip()), value.strip()))
    return found


def _path(key: str) -> str:
    """Return the file of a key (sysctl.d(5)): the first separator says which of the two it is."""
    dot, slash = key.find("."), key.find("/")
    if slash == -1 or -1 < dot < slash:
        return key.translate(str.maketrans("./", "/."))
    return key


def copy(real: Path, folder: Path) -> None:
    for path in real.rglob("*"):
        target = folder / path.relative_to(real)
        try:
            if path.is_file():
                text = path.read_bytes()
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(text)
        except OSError:
            continue  # some can only be written to, some need a device


def place(folder: Path, found: list[tuple[str, str]]) -> None:
    """Write the values; a pattern yields to a key that is named (sysctl.d(5))."""
    named = {key for key, _ in found if not _is_pattern(key)}
    for key, value in found:
        if _is_pattern(key):
            paths = [str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()]
            keys = [one for one in paths if fnmatch.fnmatch(one, key) and one not in named]
        else:
            keys = [key]
        for one in keys:
            target = folder / one
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(value + "\n")


def _is_pattern(key: str) -> bool:
    return any(letter in key for letter in "*?[")


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    copy(_REAL, folder)
    words = ["/usr/lib/systemd/systemd-sysctl", "--cat-config", "--no-pager"]
    done = subprocess.run(words, capture_output=True, check=True, text=True)
    place(folder, settings(done.stdout))


if __name__ == "__main__":
    main()
