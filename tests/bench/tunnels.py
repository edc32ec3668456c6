"""Many tunnels open at once, held by several client processes."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from .programs import BenchError
from .proxies import HOST, REPOSITORY

_STEP_TIMEOUT_S = 180.0
_PER_CLIENT = 2500


class Tunnels:
    """Client processes that together hold `count` tunnels to a port."""

    def __init__(self, clients: list[subprocess.Popen[str]], count: int) -> None:
        self._clients = clients
        self._count = count

    def open(self) -> float:
        """Open all and send a message through each; return the seconds it took.

        Raises: BenchError if a single one failed.
        """
        begin = time.monotonic()
        self._step("open")
        return time.monotonic() - begin

    def check(self) -> None:
        """Send a message through each and compare what comes back.

        Raises: BenchError if a single one failed.
        """
        self._step("check")

    def _step(self, step: str) -> None:
        for client in self._clients:
            assert client.stdin
            client.stdin.write(step + "\n")
            client.stdin.flush()
        deadline = time.monotonic() + _STEP_TIMEOUT_S
        answers = [_answer(client, deadline) for client in self._clients]
        held = sum(answer["open"] for answer in answers)
        errors = sum(answer["errors"] for answer in answers)
        if errors or held != self._count:
            first = [text for answer in answers for text in answer["first"]][:3]
            raise BenchError(f"{step}: {held} of {self._count} tunnels, {errors} errors: {first}")


@contextmanager
def tunnels_to(port: int, count: int) -> Iterator[Tunnels]:
    """Start the client processes; the tunnels close when the block ends."""
    with ExitStack() as stack:
        shares = [min(_PER_CLIENT, count - first) for first in range(0, count, _PER_CLIENT)]
        yield Tunnels([stack.enter_context(_client(port, share)) for share in shares], count)


@contextmanager
def _client(port: int, count: int) -> Iterator[subprocess.Popen[str]]:
    client = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.tunnel_client", HOST, str(port), str(count)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield client
    finally:
        assert client.stdin and client.stdout
        client.stdin.close()  # the end of its input ends it
        try:
            client.wait(timeout=10)
        except subprocess.TimeoutExpired:
            client.kill()
            client.wait(timeout=10)
        client.stdout.close()


def _answer(client: subprocess.Popen[str], deadline: float) -> dict:
    assert client.stdout
    readable, _, _ = select.select([client.stdout], [], [], max(0, deadline - time.monotonic()))
    line = client.stdout.readline() if readable else ""
    if not line:
        raise BenchError("a tunnel client ended or did not answer in time")
    return json.loads(line)
