"""SIGHUP: the new configuration whole, or nothing of it; no connection is lost."""

from __future__ import annotations

import os
import re
import shutil
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.certificates import KeyPair
from tests.integration.conftest import Dial
from tests.integration.nodes import AGENT, PLATFORM, Node
from tests.integration.peers import Origin, eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
REGISTRATION = b"GET /agent-proxy/v1/registration HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(autouse=True)
def restored(node: Node) -> Iterator[None]:
    """Every test begins with the configuration of the first one."""
    before = node.conf.read_text()
    yield
    node.conf.write_text(before)
    hang_up(node)
    assert node.status()["warnings"] == LOUD


LOUD = ["[agents] allow_loopback = yes: for demonstrations on one machine only"]


def hang_up(node: Node, *, well: bool = True) -> None:
    """Send SIGHUP and wait until it was heeded, or refused."""
    before = node.worker.snapshot()["events"].get("reloaded", 0)
    log = node.worker.log.count("reload changed nothing")
    node.worker.signal(signal.SIGHUP)
    if well:
        eventually(
            lambda: node.worker.snapshot()["events"].get("reloaded", 0) > before,
            "the configuration is read again",
        )
    else:
        eventually(lambda: node.worker.log.count("reload changed nothing") > log, "it is refused")


def test_a_hang_up_during_the_start_ends_nothing_and_is_heeded(node: Node) -> None:
    """The file may have been read before it was changed; the signal's own way is to kill.

    The secret comes from a pipe: the worker is still reading its configuration when it is told.
    """
    pipe = node.home / "var" / "pipe"
    os.mkfifo(pipe)
    text = node.conf.read_text()
    secret = re.search(r"^secret = (.*)$", text, re.M)
    assert secret is not None
    node.conf.write_text(text.replace(secret[0], f"secret_file = {pipe}"))
    starting = threading.Thread(target=node.start, args=(1,))
    starting.start()
    try:
        with open(pipe, "w") as end:  # returns once the worker reads
            (pid,) = _workers("1")
            os.kill(pid, signal.SIGHUP)
            pipe.unlink()
            pipe.write_text(secret[1])  # for the second time that it reads
            end.write(secret[1])
    finally:
        starting.join()
    worker = next(one for one in node.workers if one.number == 1)
    assert worker.process.pid == pid
    eventually(
        lambda: worker.snapshot()["events"].get("reloaded") == 1, "it has read the file again"
    )
    worker.end()
    node.workers.remove(worker)


def _workers(number: str) -> list[int]:
    """Return the processes that this one started as worker `number`."""
    children = [
        pid
        for task in os.listdir("/proc/self/task")
        for pid in Path(f"/proc/self/task/{task}/children").read_text().split()
    ]
    words = {pid: Path(f"/proc/{pid}/cmdline").read_text().split("\0") for pid in children}
    return [int(pid) for pid in children if words[pid][-3:-1] == ["--number", number]]


def test_good_reload_counts_for_new_connections_and_loses_no_kept_one(
    node: Node, platform: Origin, dial: Dial
) -> None:
    kept = dial(node)
    assert kept.ask(GET).status == 200
    node.conf.write_text(node.conf.read_text().replace("id = 45BCEBB32AA9", "id = ANOTHERPROXY"))
    hang_up(node)
    assert kept.ask(GET).status == 200
    assert dial(node).ask(GET).status == 200
    ids = [request.one(b"agent-proxy-id") for request in platform.received]
    assert ids == [b"45BCEBB32AA9", b"45BCEBB32AA9", b"ANOTHERPROXY"]
    assert b"ANOTHERPROXY" in dial(node, PLATFORM).ask(REGISTRATION).body


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("[drain]", "[dran]"),
        lambda text: text + "nonsense = 1\n",
        lambda text: text.replace("proxy.crt", "absent.crt"),
        lambda text: text.replace("networks = 127.0.2.1/32", "networks = everybody"),
        lambda text: text.replace("addresses = 127.0.0.1", "addresses = 192.0.2.77"),
    ],
    ids=["section", "key", "certificate", "value", "listen"],
)
def test_bad_reload_changes_nothing_and_is_reported(
    node: Node, platform: Origin, dial: Dial, spoil: Callable[[str], str]
) -> None:
    kept = dial(node)
    assert kept.ask(GET).status == 200
    digest = node.status()["configDigest"]
    node.conf.write_text(spoil(node.conf.read_text()))
    hang_up(node, well=False)
    status = node.status()
    assert status["configDigest"] == digest
    assert any(text.startswith("reload changed nothing: ") for text in status["warnings"])
    assert status["workers"][0]["reloadProblems"]
    assert kept.ask(GET).status == 200
    assert dial(node).ask(GET).status == 200


def test_file_that_vanished_changes_nothing(node: Node, platform: Origin, dial: Dial) -> None:
    content = node.conf.read_text()
    node.conf.unlink()
    try:
        hang_up(node, well=False)
        assert dial(node).ask(GET).status == 200
    finally:
        node.conf.write_text(content)


def test_new_certificate_is_shown_to_new_connections(
    node: Node, platform: Origin, dial: Dial, pairs: dict[str, KeyPair]
) -> None:
    home = node.home / "tls"
    home.mkdir()
    own = KeyPair(home / "own.crt", home / "own.key")
    shutil.copy(pairs["proxy"].certificate, own.certificate)
    shutil.copy(pairs["proxy"].key, own.key)
    text = node.conf.read_text()
    text = text.replace(str(pairs["proxy"].certificate), str(own.certificate))
    node.conf.write_text(text.replace(str(pairs["proxy"].key), str(own.key)))
    hang_up(node)
    kept = dial(node)
    old = kept.sock.getpeercert(binary_form=True)
    shutil.copy(pairs["other"].certificate, own.certificate)
    hang_up(node, well=False)  # the key does not fit yet
    assert dial(node).sock.getpeercert(binary_form=True) == old
    shutil.copy(pairs["other"].key, own.key)
    hang_up(node)
    new = dial(node).sock.getpeercert(binary_form=True)
    assert new == ssl.PEM_cert_to_DER_cert(pairs["other"].certificate.read_text())
    assert kept.ask(GET).status == 200


def test_networks_count_at_once(node: Node, platform: Origin, dial: Dial) -> None:
    assert dial(node, AGENT).ask(GET).status == 200
    text = node.conf.read_text()
    node.conf.write_text(text.replace("networks = 127.0.1.0/24", "networks = 127.0.5.0/24"))
    hang_up(node)
    with pytest.raises(OSError):
        dial(node, AGENT)
    assert dial(node, "127.0.5.1").ask(GET).status == 200


def test_twenty_reloads_leave_nothing_behind(node: Node, platform: Origin, dial: Dial) -> None:
    """Neither descriptors of kept connections nor memory of former contexts."""
    before = node.worker.descriptors()
    for _ in range(20):
        wire = dial(node)
        assert wire.ask(GET).status == 200
        wire.close()
        hang_up(node)
    eventually(lambda: node.worker.descriptors() <= before + 2, "descriptors are closed", 15)
    eventually(lambda: platform.open <= 2, "the platform's side as well")
