"""A worker that runs out of descriptors: it waits without spinning, says so, and goes on after."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration import peers
from tests.integration.nodes import AGENT, Node, Worker
from tests.integration.peers import Origin, eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SAID = "no descriptor is left for new connections"


def cpu_s(worker: Worker) -> float:
    fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def limit(worker: Worker, soft: int) -> None:
    _, hard = resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.deadline(90)
def test_without_descriptors_it_waits_says_so_and_recovers(
    started: Callable[[Any], Node], platform: Origin
) -> None:
    node = started({})
    worker = node.worker
    before, _ = resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        kept = peers.dial(node.address, AGENT)
        stack.callback(kept.close)
        assert kept.ask(GET).status == 200
        limit(worker, 3)  # open ones stay; no new one gets a number below this
        waiting = [socket.create_connection(node.address, source_address=(AGENT, 0), timeout=20)]
        waiting += [socket.create_connection(node.address, source_address=(AGENT, 0), timeout=20)]
        for sock in waiting:
            stack.callback(sock.close)
        eventually(lambda: SAID in worker.log, "it says so", 20)
        used, began = cpu_s(worker), time.monotonic()
        time.sleep(2)
        share = (cpu_s(worker) - used) / (time.monotonic() - began)
        print(f"{share:.1%} of a core while connections wait")
        assert share < 0.5
        assert worker.log.count(SAID) <= 2, "once in a while, not each time"
        limit(worker, before)
        fresh = peers.dial(node.address, AGENT)
        stack.callback(fresh.close)
        assert fresh.ask(GET).status == 200
        assert kept.ask(GET).status == 200
