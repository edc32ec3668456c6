"""A worker that gets no more memory: exchanges are refused, it is replaced, others go on.

The limit is that of the process (RLIMIT_AS), set on one of two workers while it runs; and that of
a control group, where the kernel kills.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration import peers
from tests.integration.nodes import AGENT, Node
from tests.integration.peers import Aborted, Origin, Wire, eventually
from tests.integration.supervised import Supervised

pytestmark = pytest.mark.deadline(180)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LEFT_BYTES = 1 << 20


@pytest.fixture
def served(build: Callable[[Any], Node], platform: Origin) -> Iterator[Supervised]:
    node = build(
        {"drain": {"delay": 0.3, "timeout": 4}, "limits": {"connections_per_source": 5000}}
    )
    supervised = Supervised(node)
    supervised.start()
    yield supervised
    try:
        supervised.end()
    finally:
        node.stop()


def ask(node: Supervised) -> tuple[str, Wire | None]:
    """Return what became of one request, and its connection if that is open still."""
    try:
        wire = peers.dial(node.node.address, AGENT)
    except OSError:
        return "closed", None
    try:
        return str(wire.ask(GET).status), wire
    except (Aborted, EOFError, OSError):
        wire.sock.close()
        return "closed", None


def replaced(node: Supervised, before: int) -> bool:
    return node.pid("worker-0") not in (0, before) and node.is_complete()


def grow_until(node: Supervised, condition: Callable[[], bool]) -> Counter[str]:
    """Open connections, each of which holds memory, until `condition`; count what came."""
    held: list[Wire] = []
    came: Counter[str] = Counter()
    deadline = time.monotonic() + 60
    try:
        while not condition():
            assert time.monotonic() < deadline, f"{came} with {len(held)} connections"
            what, wire = ask(node)
            came[what] += 1
            if wire is not None:
                held.append(wire)
    finally:
        for wire in held:
            wire.sock.close()
    return came


def test_worker_without_memory_refuses_and_is_replaced(served: Supervised) -> None:
    before, other = served.pid("worker-0"), served.pid("worker-1")
    status = Path(f"/proc/{before}/status").read_text()
    match = re.search(r"VmSize:\s+(\d+) kB", status)
    assert match is not None
    began = time.monotonic()
    limit = int(match[1]) * 1024 + LEFT_BYTES
    resource.prlimit(before, resource.RLIMIT_AS, (limit, limit))
    came = grow_until(served, lambda: served.pid("worker-0") != before)
    eventually(lambda: replaced(served, before), "it is replaced", 60)
    took_s = time.monotonic() - began
    print(f"{dict(came)}; replaced after {took_s:.1f} s")
    # What it can still do depends on what it got no memory for: say so and drain; say nothing more
    # and be killed; or end where a library in C did not look at what malloc gave it.
    watchdog = served.log()
    gone = "worker 0 (process 0) is not there: its process is gone"
    if gone not in watchdog:
        said = "no memory is left: exchanges are refused until this worker is replaced"
        assert f"ERROR worker=0 {said}" in served.log("worker-0")
        drained = "drains, to be started again: it got no memory from the system, at "
        killed = "is killed: it has not answered for"
        assert drained in watchdog or killed in watchdog
    assert served.pid("worker-1") == other
    assert came["200"] > 10
    for _ in range(10):
        what, wire = ask(served)
        assert what == "200"
        assert wire is not None
        wire.close()


def test_worker_killed_for_its_control_group_is_replaced(served: Supervised) -> None:
    with control_group(3 << 20) as group:
        before = served.pid("worker-0")
        (group / "cgroup.procs").write_text(str(before))
        came = grow_until(served, lambda: served.pid("worker-0") != before)
        eventually(lambda: replaced(served, before), "it is replaced", 60)
        print(dict(came))
        assert served.rescues()["0"]["lent"] >= 1
        assert came["200"] > 10


@contextlib.contextmanager
def control_group(memory_bytes: int) -> Iterator[Path]:
    """Yield a control group of version 1 or 2 with that limit, or skip."""
    for root, name in (
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ("/sys/fs/cgroup", "memory.max"),
    ):
        group = Path(root) / f"agent-proxy-test-{os.getpid()}"
        try:
            group.mkdir()
            (group / name).write_text(str(memory_bytes))
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        try:
            yield group
        finally:
            eventually(lambda group=group: _removed(group), "the group is empty", 30)
        return
    pytest.skip("SKIPPED: no control group for memory can be made here")


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except OSError:
        return False
    return True
