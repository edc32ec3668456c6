"""An older proxy.ini becomes one that this version reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from appliance.migrations import Moved, migrated

_ROOT = Path(__file__).parents[3]
_OLD = """# the manual
[upstream]
# where the platform is
server = platform.example.com:3302

[listen]
port = 2002
speed = 9
"""
_MOVES = (
    Moved("0.2.0", ("upstream",), "server", (("upstream",), "endpoint")),
    Moved("0.2.0", ("listen",), "speed", None),
    Moved("0.3.0", ("upstream",), "never", (("upstream",), "was")),
)


def test_a_setting_is_moved_with_its_value_and_the_manual_stays() -> None:
    text, said = migrated(_OLD, _MOVES)
    assert "endpoint = platform.example.com:3302" in text.splitlines()
    assert "server" not in text
    assert "speed" not in text
    kept = ["# the manual", "# where the platform is", "port = 2002"]
    assert [line for line in kept if line not in text.splitlines()] == []
    assert said == [
        "[upstream] server is [upstream] endpoint since 0.2.0",
        "[listen] speed has gone with 0.2.0; its value was '9'",
    ]


def test_it_can_be_repeated() -> None:
    once, _ = migrated(_OLD, _MOVES)
    assert migrated(once, _MOVES) == (once, [])


def test_a_successor_that_is_set_already_wins() -> None:
    text, said = migrated(_OLD.replace("[listen]", "endpoint = other:1\n\n[listen]"), _MOVES)
    assert "endpoint = other:1" in text.splitlines()
    assert "platform.example.com" not in text
    assert "its successor was set already" in said[0]


def test_this_version_s_own_file_needs_nothing() -> None:
    content = (_ROOT / "conf" / "proxy.ini").read_bytes()
    command = [sys.executable, "-m", "appliance.migrations"]
    done = subprocess.run(command, input=content, capture_output=True, check=True, cwd=_ROOT)
    assert (done.stdout, done.stderr) == (content, b"")
