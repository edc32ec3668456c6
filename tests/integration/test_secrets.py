"""No byte of a secret anywhere: not in a log at any level, an error, a metric, a status, a crash.

Canaries are planted wherever a secret can be, every path is driven, refusals and defects too, and
what comes out is searched for each canary in every spelling that a program could give it.
"""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.integration.conftest import Dial
from tests.integration.nodes import AGENT, PLATFORM, ROOT, ROUTED_AGENT, SECRET, Node
from tests.integration.peers import Origin, dial_raw, echo, eventually, forward_proxy
from tests.integration.test_records import CANARIES, ask, provoke

Start = Callable[..., Node]
PASSWORD = "canary-forward-proxy-password-7f3a"
FORMER = "canary-former-secret-0123456789abcdef0123"
BROKEN = "canary-in-a-line-that-is-no-setting-55aa"
DEFECT = "canary-defect-91c4"
ALL = [*CANARIES, PASSWORD, FORMER, BROKEN, DEFECT]
BALANCER = "127.0.5.1"

# Loaded by the worker's Python: defects where a canary is at hand, as only a defect can make them.
SABOTAGE = """
import importlib.abc, importlib.util, sys

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name not in ("proxy.policy", "proxy.introduction"):
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        sys.meta_path.insert(0, self)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            if name == "proxy.policy":
                decide = module.decide
                def broken(settings, caller, head, *rest):
                    if b"/defect" in head.target:
                        try:
                            int(head.target)
                        except ValueError as error:
                            raise KeyError(repr(head), head.headers) from error
                    return decide(settings, caller, head, *rest)
                module.decide = broken
            else:
                def read(sock, *rest):
                    sock.setblocking(True)
                    raise RuntimeError(sock.recv(1000))
                module.read = read
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
"""


def spellings(secret: str) -> set[str]:
    """Return how `secret` could be written, in lower case; part of a base64 text included."""
    raw = secret.encode()
    found = {secret, raw.hex(), raw.hex(" "), raw.hex(":"), quote(secret, safe="")}
    found.add("".join(f"%{byte:02x}" for byte in raw))
    found.add("".join(f"\\x{byte:02x}" for byte in raw))
    found.add("".join(f"\\u{byte:04x}" for byte in raw))
    found.add(", ".join(str(byte) for byte in raw))  # list(b"...")
    found.add(secret[::-1])
    for before in range(3):  # where it begins inside a longer base64 text
        coded = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        inner = coded[(8 * before + 5) // 6 : len(raw + b"\0" * before) * 8 // 6]
        found |= {inner, inner.replace("+", "-").replace("/", "_")}
    return {one.lower() for one in found}


def leaks(text: str) -> list[str]:
    """Return the canaries that are in `text`, however spelled. Parts do not count."""
    lowered = text.lower()
    return [one for one in ALL if any(form in lowered for form in spellings(one))]


@pytest.mark.parametrize("canary", [PASSWORD, SECRET, "canary-body"])
def test_search_finds_what_is_planted(canary: str) -> None:
    raw = canary.encode()
    for planted in (
        canary.upper(),
        f"x{raw.hex()}x",
        "".join(f"%{byte:02X}" for byte in raw),
        json.dumps({"a": f"<{canary}>"}),
        repr(list(raw)),
        *(base64.b64encode(b"user:"[:n] + raw + b"tail").decode() for n in range(6)),
        *(base64.urlsafe_b64encode(b"\xff" * n + raw).decode() for n in range(4)),
    ):
        assert canary in leaks(f"time=1 detail={planted} end=x"), planted
    assert leaks("time=2026 end=complete method=POST status=200 detail=canary") == []


def verbs(node: Node, *commands: tuple[str, ...]) -> str:
    """Return all that the command line says, errors included."""
    said = []
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "proxy", "--conf", str(node.conf), *command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        said.append(f"{command} {done.returncode}\n{done.stdout}{done.stderr}")
    return "\n".join(said)


def kill(node: Node) -> None:
    """End a node whose log is meant to have defects, which `Node.stop` would mind."""
    for worker in node.workers:
        worker.process.kill()
        worker.process.wait()
    node.workers.clear()
    node.stop()  # what is left: its ports


@pytest.fixture(params=["plain", "json"])
def driven(
    request: pytest.FixtureRequest,
    started: Start,
    build: Callable[..., Node],
    tmp_path: Path,
    platform: Origin,
) -> Node:
    """Return a node at level debug, behind a forward proxy with a password, with sabotage."""
    (tmp_path / "sitecustomize.py").write_text(SABOTAGE)
    credentials = base64.b64encode(f"someone:{PASSWORD}".encode())
    onward = Origin("127.0.6.1", None, forward_proxy(credentials))
    request.addfinalizer(onward.stop)
    node = build(
        {
            "proxy": {"id": "45BCEBB32AA9", "secret": SECRET, "previous_secret": FORMER},
            "upstream": {
                "http_proxy": f"http://127.0.6.1:{onward.port}",
                "http_proxy_user": "someone",
                "http_proxy_password": PASSWORD,
            },
            "listen": {"balancers": BALANCER},
            "log": {"level": "debug", "format": request.param},
            "timeouts": {"upstream_answer": 1, "agent_answer": 1},
        }
    )
    node.environment["PYTHONPATH"] = str(tmp_path)
    node.start()
    request.addfinalizer(lambda: kill(node))
    node.wait_until_ready()
    return node


def wreck(node: Node, platform: Origin, dial: Dial) -> None:
    """Make defects, refused forward proxies and reloads with errors."""
    for source in (AGENT, PLATFORM):
        ask(
            dial(node, source),
            b"GET /defect?%b HTTP/1.1\r\nHost: a\r\nAuthorization: %b\r\n\r\n"
            % (DEFECT.encode(), DEFECT.encode()),
        )
    ask_raw(node, DEFECT.encode())
    good = node.conf.read_text()
    for bad in (f"{BROKEN}\n", f"[proxy\nsecret {BROKEN}\n", f"[proxy]\nsecret = '{BROKEN}\n"):
        before = node.worker.log.count("reload changed nothing")
        node.conf.write_text(good + bad)
        node.worker.signal(signal.SIGHUP)
        eventually(
            lambda before=before: node.worker.log.count("reload changed nothing") > before,
            "it is refused",
        )
    node.conf.write_text(good.replace(PASSWORD, "another-password"))
    node.worker.signal(signal.SIGHUP)
    eventually(lambda: node.worker.snapshot()["events"].get("reloaded"), "a reload")
    ask(dial(node), b"GET /?canary-query HTTP/1.1\r\nHost: a\r\nCookie: canary-cookie\r\n\r\n")
    node.conf.write_text(good)


def ask_raw(node: Node, data: bytes) -> None:
    with dial_raw(node.address, BALANCER) as raw:
        raw.sendall(data)
        eventually(lambda: "ended a greenlet" in node.worker.log, "the defect of a greenlet")


def test_no_secret_comes_out_anywhere_however_spelled(
    driven: Node, platform: Origin, agent: Origin, dial: Dial
) -> None:
    node = driven
    provoke(node, platform, agent, dial)
    platform.use(echo)
    wreck(node, platform, dial)
    route = node.route(ROUTED_AGENT, agent.port).decode()
    pages = {
        path: node.get(path)[1].decode() for path in ("/status", "/metrics", "/ready", "/live")
    }
    pages["snapshot"] = json.dumps(node.worker.snapshot())
    pages["verbs"] = verbs(
        node, ("check",), ("show",), ("show", "--json"), ("register-info",), ("status",),
        ("explain", route),
    )  # fmt: skip
    good = node.conf.read_text()
    node.conf.write_text(f"{good}{BROKEN}\n[proxy\n secret {BROKEN}\n")
    pages["verbs of a broken file"] = verbs(node, ("check",), ("show",), ("register-info",))
    node.conf.write_text(good)
    pages["command line"] = Path(f"/proc/{node.worker.process.pid}/cmdline").read_text()
    pages["environment"] = Path(f"/proc/{node.worker.process.pid}/environ").read_text()
    pages["event log"] = node.worker.log
    pages["access log"] = (node.home / "out-0").read_text()
    # It was driven indeed: defects, their frames, levels, refusals are all there.
    assert "KeyError" in node.worker.log and "ValueError" in node.worker.log
    assert "RuntimeError" in node.worker.log and "reload changed nothing" in node.worker.log
    assert node.worker.snapshot()["events"]["defect"] >= 2
    assert pages["access log"].count("\n") > 30 and "internal" in pages["access log"]
    for name, text in pages.items():
        assert text, name
        assert leaks(text) == [], name
    key = Path(str(node.settings["listen"]["key"])).read_text().splitlines()[1]
    assert not [name for name, text in pages.items() if key in text]


def test_crash_says_where_and_no_more(driven: Node) -> None:
    """SIGABRT is what a C library does: no core file, nothing in the log but the end."""
    node = driven
    before = set(ROOT.glob("core*"))
    node.worker.signal(signal.SIGABRT)
    assert node.worker.process.wait(20) == -signal.SIGABRT
    assert set(ROOT.glob("core*")) == before
    assert leaks(node.worker.log) == []
