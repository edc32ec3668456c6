"""`make run` as a child of a test, and what is left of it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OFFSET = 20000
START_TIMEOUT_S = 120.0


def processes_of(var: Path) -> list[str]:
    """Command lines of everything that runs with this var directory, or was started for it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                environment = (entry / "environ").read_bytes().split(b"\0")
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if f"AGENT_PROXY_VAR={var}".encode() in environment:
                    found.append(command)
    return found


def wait_for_none(var: Path, timeout_s: float = 60.0) -> list[str]:
    deadline = time.monotonic() + timeout_s
    while (left := processes_of(var)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


class Demo:
    def __init__(self, var: Path, *arguments: str) -> None:
        self.var = var
        command = [sys.executable, "-m", "tests.demo", "--var", str(var)]
        command += ["--offset", str(OFFSET), "--workers", "2", *arguments]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def read_until(self, text: str) -> str:
        assert self.process.stdout is not None
        seen = ""
        for line in self.process.stdout:
            seen += line
            if text in line:
                return seen
        pytest.fail(f"ended before {text!r}:\n{seen}")

    def end(self) -> str:
        if self.process.poll() is None:
            self.process.terminate()
        said, _ = self.process.communicate(timeout=START_TIMEOUT_S)
        return str(said)


@contextlib.contextmanager
def demonstration(var: Path, *arguments: str) -> Iterator[Demo]:
    demo = Demo(var, *arguments)
    try:
        yield demo
    finally:
        demo.end()
