"""The verb check beside running workers."""

from __future__ import annotations

import socket
import subprocess
import sys

from tests.integration.nodes import ROOT, Node
from tests.integration.peers import Origin


def check(node: Node) -> str:
    words = [sys.executable, "-m", "proxy", "--conf", str(node.conf), "check"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=50)
    return next(line for line in done.stdout.splitlines() if "listener" in line)


def test_our_own_workers_are_told_from_others(node: Node, platform: Origin) -> None:
    host, port = node.address
    assert (
        check(node)
        == f"PASS  listener                {host} port {port} is used by 1 of our workers"
    )
    with socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        foreign.bind((host, port))
        foreign.listen()
        line = check(node)
    assert line.startswith("FAIL") and "takes part of the connections" in line
    assert str(node.worker.process.pid) not in line
