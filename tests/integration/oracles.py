"""nginx and HAProxy as second opinions: each in front of several recording peers, its lanes.

Both pass bodies on as they come, as the proxy does, and wait one second at most for a head, a body
or another request. They listen on UNIX sockets: no port can be taken in between.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.peers import Origin, eventually

NAMES = ("nginx", "HAProxy")
WAIT_S = 1
ANSWER_S = 4
TIMEOUT_S = 15.0


class Lane:
    """One way through an oracle: where it listens, and the peer that it leads to."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self.peer = Origin("127.0.0.1", None)

    def dial(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(TIMEOUT_S)
        try:
            sock.connect(self._path)
        except OSError:
            sock.close()
            raise
        return sock


def missing() -> str:
    """Return which of the two is not installed; "" for none."""
    return " and ".join(name for name in NAMES if _program(name) is None)


def versions() -> dict[str, str]:
    found = {}
    for name in NAMES:
        done = subprocess.run([str(_program(name)), "-v"], capture_output=True, text=True)
        match = re.search(r"(?:nginx/|version )(\d+\.\d+\.\d+)", done.stdout + done.stderr)
        assert match is not None, done
        found[name] = match[1]
    return found


@contextmanager
def running(name: str, home: Path, count: int) -> Iterator[list[Lane]]:
    """Run one of NAMES below `home` until the block ends; yield its `count` lanes."""
    home.mkdir()
    lanes = [Lane(home / f"lane-{number}") for number in range(count)]
    configuration = home / "conf"
    if name == "HAProxy":
        text, argv = _haproxy(home, lanes), ["-db", "-f"]
    else:
        text, argv = _nginx(home, lanes), ["-e", "stderr", "-p", str(home), "-c"]
    configuration.write_text(text)
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(_program(name)), *argv, str(configuration)],
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            for lane in lanes:
                eventually(lambda lane=lane: _listens(lane), f"{name} listens", 30)
            yield lanes
        finally:
            process.terminate()
            process.wait(30)
            for lane in lanes:
                lane.peer.stop()


def _program(name: str) -> str | None:
    return shutil.which(name.lower()) or shutil.which(name.lower(), path="/usr/sbin")


def _listens(lane: Lane) -> bool:
    try:
        lane.dial().close()
    except OSError:
        return False
    return True


def _nginx(home: Path, lanes: list[Lane]) -> str:
    temporary = "".join(
        f"{kind}_temp_path {home}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    servers = "".join(
        f"""server {{
        listen unix:{home}/lane-{number};
        location / {{ proxy_pass http://127.0.0.1:{lane.peer.port}; }}
    }}
    """
        for number, lane in enumerate(lanes)
    )
    return f"""daemon off;
master_process off;
pid {home}/pid;
error_log stderr crit;
events {{ worker_connections 512; }}
http {{
    {temporary}
    access_log off;
    client_header_timeout {WAIT_S}s;
    client_body_timeout {WAIT_S}s;
    keepalive_timeout {WAIT_S}s;
    lingering_close off;
    merge_slashes off;
    map $http_upgrade $connection_field {{ default upgrade; '' ''; }}
    proxy_http_version 1.1;
    proxy_request_buffering off;
    proxy_read_timeout {ANSWER_S}s;
    proxy_next_upstream off;
    proxy_set_header Host $http_host;
    proxy_set_header Connection $connection_field;
    proxy_set_header Upgrade $http_upgrade;
    {servers}
}}
"""


def _haproxy(home: Path, lanes: list[Lane]) -> str:
    fronts = "".join(
        f"""listen lane-{number}
    bind unix@{home}/lane-{number}
    server peer 127.0.0.1:{lane.peer.port}
"""
        for number, lane in enumerate(lanes)
    )
    return f"""global
    nbthread 1
    maxconn 512
defaults
    mode http
    timeout connect 5s
    timeout client {WAIT_S}s
    timeout http-request {WAIT_S}s
    timeout http-keep-alive {WAIT_S}s
    timeout server {ANSWER_S}s
    timeout tunnel {WAIT_S}s
    http-reuse never
    retries 0
{fronts}"""
