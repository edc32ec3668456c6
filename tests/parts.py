"""`make test`'s long tests: parts of them side by side, because most of what they do is wait.

`python -m tests.parts`. Each part is a pytest of its own. As root it may have a loopback of its
own, so that no part takes a port that another has just found free; without root the parts run one
after the other. Each line begins with its part's name. All parts are run; exit 1 if one failed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Final, NamedTuple

_OWN_LOOPBACK: Final = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "part")


class Part(NamedTuple):
    """`isolated`: its network has nothing but a loopback. Machines fetch Debian if it is new."""

    name: str
    arguments: tuple[str, ...]
    isolated: bool


_ELSEWHERE: Final = tuple(f"--ignore=tests/{part}" for part in ("unit", "appliance", "image"))
PARTS: Final = (
    Part("machines", ("-v", "tests/appliance"), isolated=False),
    Part("wires", ("tests", *_ELSEWHERE), isolated=True),
)


class Run:
    """One part while it runs; `join`, then look at `failed`."""

    def __init__(self, part: Part, *, apart: bool) -> None:
        pytest = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", "--durations=5")
        self._name = part.name
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            [*(_OWN_LOOPBACK if apart and part.isolated else ()), *pytest, *part.arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        self._teller = threading.Thread(target=self._tell)
        self._teller.start()

    def _tell(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            print(f"{self._name:<8} | {line.rstrip()}", flush=True)

    def join(self) -> None:
        self._process.wait()
        self._teller.join()
        self._took_s = time.monotonic() - self._began

    @property
    def failed(self) -> bool:
        return self._process.returncode != 0

    def __str__(self) -> str:
        outcome = f"FAILED (exit {self._process.returncode})" if self.failed else "passed"
        return f"{self._name:<8} | {outcome} after {self._took_s:.0f} s"


def main() -> int:
    signal.signal(signal.SIGINT, lambda *_: None)  # the parts got it as well, and end by it
    apart = os.geteuid() == 0
    if not apart:
        print("One part after the other: only root can give each a loopback of its own.")
    runs: list[Run] = []
    for part in PARTS:
        runs.append(Run(part, apart=apart))
        if not apart:
            runs[-1].join()
    for run in runs:
        run.join()
    for run in runs:
        print(run)
    return int(any(run.failed for run in runs))


if __name__ == "__main__":
    sys.exit(main())
