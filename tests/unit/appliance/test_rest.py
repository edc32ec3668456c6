"""What waits for a key in the console's place: the real shell, on a real terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import rest

_BASH = Path("/bin/bash")
# Says why it was started, and ends.
_CONSOLE = (
    sys.executable,
    "-c",
    "from appliance import rest as r; w = r.woken(); print('began', w.by_time, *w.keys, r.woken())",
)

pytestmark = pytest.mark.skipif(not _BASH.exists(), reason="bash is not installed")


def told(seconds: int, typed: bytes | None) -> str:
    """Return what the terminal shows until the console has begun; None: it is hung up."""
    main, side = pty.openpty()
    process = subprocess.Popen(
        rest.command(seconds, *_CONSOLE),
        cwd=Path(__file__).parents[3],
        stdin=side, stdout=side, stderr=side,
        start_new_session=True,
    )  # fmt: skip
    os.close(side)
    try:
        if typed is None:
            os.close(main)
            main = -1
            assert process.wait(30) in (0, -signal.SIGHUP)
            return ""
        os.write(main, typed)
        said = b""
        try:
            while piece := os.read(main, 4096):
                said += piece
        except OSError:
            pass  # it has ended, and nobody else has the terminal
        assert process.wait(30) == 0
        return said.decode()
    finally:
        process.kill()
        process.wait()
        if main >= 0:
            os.close(main)


@pytest.mark.parametrize(
    ("typed", "code"), [(b"\r", 10), (b"\n", 10), (b"x", 120), (b"\x0c", 12), (b"\x1b[A", 27)]
)
def test_a_key_starts_the_console_and_is_not_lost(typed: bytes, code: int) -> None:
    """Enter is a line feed where the terminal makes it one, as the console leaves it or not."""
    said = told(600, typed)
    assert "one moment" in said
    assert f"began False {code} Woken(by_time=False, keys=())" in said


def test_it_is_started_for_a_look_from_time_to_time() -> None:
    said = told(1, b"")
    assert "began True Woken(" in said and "one moment" not in said


def test_a_terminal_that_is_gone_is_left() -> None:
    assert told(600, None) == ""


def test_what_is_no_key_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for said in ("", "0", "127", "8364", "-1", "rm"):
        monkeypatch.setenv("AGENT_PROXY_CONSOLE_WOKEN", said)
        assert rest.woken() == rest.Woken()
