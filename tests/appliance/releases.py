"""Releases of this tree under other version numbers, whole or broken on purpose."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from proxy import __version__
from tests.appliance import base

_PARTS = ("appliance", "proxy", "conf", "setup.py", "pyproject.toml")


class Publisher:
    """Somebody with a key who builds releases by the same script as `make release`."""

    def __init__(self, home: Path, wheels: Path) -> None:
        self._home = home
        self._wheels = wheels
        self._made: dict[str, bytes] = {}
        self._key = Ed25519PrivateKey.generate()
        home.mkdir(parents=True)
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (home / "key.pem").write_bytes(pem)

    @property
    def public_key(self) -> bytes:
        kind = PublicFormat.SubjectPublicKeyInfo
        return self._key.public_key().public_bytes(Encoding.PEM, kind)

    def release(self, version: str, *changes: tuple[str, str, str]) -> bytes:
        """Return a release; each change is a file of the tree, what is in it, and what shall be.

        What a version has is settled the first time.
        """
        if version not in self._made:
            self._made[version] = self._build(version, changes)
        return self._made[version]

    def _build(self, version: str, changes: tuple[tuple[str, str, str], ...]) -> bytes:
        tree = self._home / f"tree-{version}"
        for name in _PARTS:
            source = base.ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, tree / name, symlinks=True, ignore=ignored)
            else:
                shutil.copy(source, tree / name)
        for name in ("requirements.in", "requirements.txt", "requirements-dev.txt"):
            shutil.copy(base.ROOT / name, tree / name)
        own = ("proxy/__init__.py", f'__version__ = "{__version__}"', f'__version__ = "{version}"')
        for file, old, new in (own, *changes):
            text = (tree / file).read_text()
            assert old in text, f"{file} has no {old!r}"
            (tree / file).write_text(text.replace(old, new))
        script = [str(tree / "appliance" / "release.sh"), str(self._home / "key.pem")]
        out = self._home / f"out-{version}"
        environment = {"OUT": str(out), "BUILDER": sys.executable, "PYTHON": sys.executable}
        done = subprocess.run(
            ["sh", *script, str(self._wheels)],
            capture_output=True,
            text=True,
            check=False,
            cwd=tree,
            env={**os.environ, **environment},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return (out / f"agent-proxy-{version}.release").read_bytes()
