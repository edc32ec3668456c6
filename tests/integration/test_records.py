"""What is written down: one line per exchange from a closed list of words, and no secret ever."""

from __future__ import annotations

import json
from collections.abc import Callable

from proxy.telemetry import END_WORDS
from tests.integration.conftest import Dial
from tests.integration.nodes import AGENT, PLATFORM, ROUTED_AGENT, SECRET, Node
from tests.integration.peers import Aborted, Origin, Wire

KEYS = (
    *("time", "id", "caller", "source", "zone", "target", "address", "method", "status"),
    *("bytes_in", "bytes_out", "ms", "reused", "end"),
)
CANARIES = [
    "canary-query", "canary-body", "canary-answer", "canary-authorization", "canary-cookie",
    "canary-field", "canary-chunk", "canary-tunnel", "canary-path-query", SECRET,
]  # fmt: skip
SETTINGS = {"log": {"level": "debug"}, "timeouts": {"upstream_answer": 1, "agent_answer": 1}}
Start = Callable[..., Node]


def test_every_exchange_has_one_line(
    node: Node, platform: Origin, agent: Origin, dial: Dial
) -> None:
    since = node.written()
    wire = dial(node)
    for _ in range(3):
        wire.ask(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
    wire.close()
    lines = [node.next_line(since + number) for number in range(3)]
    for line in lines:
        assert tuple(line) == KEYS
        assert (line["caller"], line["source"], line["zone"]) == ("agent", AGENT, "default")
        assert (line["target"], line["address"]) == ("platform", PLATFORM)
        assert (line["method"], line["status"], line["end"]) == ("PUT", "200", "complete")
        assert (line["bytes_in"], line["bytes_out"]) == ("5", "5")
        assert 0 < float(line["ms"]) < 5000
    assert [line["reused"] for line in lines] == ["no", "yes", "yes"]
    assert len({line["id"] for line in lines}) == 3
    assert node.written() == since + 3


def provoke(node: Node, platform: Origin, agent: Origin, dial: Dial) -> None:
    """Make every kind of trouble there is, with a canary wherever a secret could be."""
    fields = (
        b"Host: a\r\nAuthorization: Bearer canary-authorization\r\nCookie: s=canary-cookie\r\n"
        b"X-Token: canary-field\r\n"
    )
    post = b"POST /a?token=canary-query HTTP/1.1\r\n" + fields
    body = b"Content-Length: 11\r\n\r\ncanary-body"

    def answer(wire: Wire) -> None:
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\ncanary-answer")

    def garbage(wire: Wire) -> None:
        wire.request()
        wire.send(b"canary-answer\r\nX: canary-answer\r\n\r\n")

    def half(wire: Wire) -> None:
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ncanary-answer")

    def silent(wire: Wire) -> None:
        wire.request()
        wire.to_end()

    def bad_chunk(wire: Wire) -> None:
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ncanary-chunk\r\n")

    def tunnel(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\ncanary-tunnel")

    for script in (answer, garbage, half, silent, bad_chunk):
        platform.use(script)
        agent.use(script)
        for source in (AGENT, PLATFORM):
            route = node.route(ROUTED_AGENT, agent.port)
            routed = b"Agent-Route: %b\r\n" % route if source == PLATFORM else b""
            ask(dial(node, source), post + routed + body)
    platform.use(tunnel)
    ask(
        dial(node),
        b"GET /t?canary-query HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n" + fields + b"\r\n",
    )
    for bad in (
        b"canary-field canary-query\r\n\r\n",
        b"GET /canary path?canary-path-query HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /?canary-query HTTP/1.1\r\nHost: a\r\nX-A : canary-field\r\n\r\n",
        b"GET /?canary-query HTTP/1.1\r\nHost: canary-field/x\r\n\r\n",
        b"GET /?canary-query HTTP/1.1\r\nHost: a\r\nContent-Length: canary-body\r\n\r\n",
        b"GET /?canary-query HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: canary-field\r\n\r\n",
        b"GET /?canary-query HTTP/1.1\r\nHost: a\r\nExpect: canary-field\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\ncanary-chunk\r\n",
        b"GET /?canary-query HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET /?canary-query HTTP/1.1\r\nHost: a\r\nX: canary-field\x01\r\n\r\n",
        b"GET /" + b"canary-query" * 4000 + b" HTTP/1.1\r\n\r\n",
    ):
        for source in (AGENT, PLATFORM):
            ask(dial(node, source), bad)


def ask(wire: Wire, data: bytes) -> None:
    try:
        wire.send(data)
        wire.sock.settimeout(3)
        while wire.some():
            pass
    except (OSError, Aborted):
        pass
    wire.close()


def test_no_canary_is_ever_written(node: Node, platform: Origin, agent: Origin, dial: Dial) -> None:
    since = node.written()
    provoke(node, platform, agent, dial)
    assert node.written() - since >= 30
    shown = {
        "access log": (node.home / "out-0").read_text(),
        "event log": node.worker.log,
        "/status": node.get("/status")[1].decode(),
        "/metrics": node.get("/metrics")[1].decode(),
        "/ready": node.get("/ready")[1].decode(),
        "snapshot": json.dumps(node.worker.snapshot()),
    }
    for where, text in shown.items():
        found = [canary for canary in CANARIES if canary in text]
        assert not found, (where, found)
    for line in node.access_lines(node.written() - since):
        assert line["end"] in END_WORDS
        assert "?" not in line["target"]


def test_answers_of_our_own_carry_no_canary(node: Node, platform: Origin, dial: Dial) -> None:
    bad = b"GET /?canary-query HTTP/1.1\r\nHost: a\r\nAuthorization : canary-authorization\r\n\r\n"
    for source in (AGENT, PLATFORM):
        got = dial(node, source).ask(bad)
        assert got.status == 400
        text = got.body + b"".join(value for _, value in got.fields)
        assert b"canary" not in text


def test_json_lines(started: Start, platform: Origin, dial: Dial) -> None:
    node = started({"log": {"format": "json"}})
    dial(node).ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    node.written()
    line = json.loads((node.home / "out-0").read_text())
    assert tuple(line) == KEYS
    assert (line["status"], line["end"], line["reused"]) == (200, "complete", False)
    assert all(json.loads(event)["message"] for event in node.worker.log.splitlines())


def test_access_log_can_be_turned_off(started: Start, platform: Origin, dial: Dial) -> None:
    node = started({"log": {"access": "no"}})
    assert dial(node).ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 200
    node.stop()
    assert (node.home / "out-0").read_text() == ""


def test_control_characters_cannot_forge_a_line(node: Node, platform: Origin, dial: Dial) -> None:
    since = node.written()
    ask(dial(node), b"GE\x1bT / HTTP/1.1\r\nHost: a\r\n\r\n")
    ask(dial(node), b"A-B.C / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    lines = [node.next_line(since), node.next_line(since + 1)]
    assert [line["method"] for line in lines] == ["-", "A-B.C"]


def test_counters_say_what_the_lines_say(node: Node, platform: Origin, dial: Dial) -> None:
    before = node.status()["requests"].get("agent_to_platform", {}).get("complete", 0)
    wire = dial(node)
    for _ in range(5):
        wire.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    node.written()
    assert node.status()["requests"]["agent_to_platform"]["complete"] == before + 5
    metrics = node.get("/metrics")[1].decode()
    line = 'agent_proxy_exchanges_total{direction="agent_to_platform",end="complete",worker="0"}'
    assert f"{line} {before + 5}.0" in metrics


def test_admin_answers_nothing_else(node: Node) -> None:
    assert node.get("/live")[0] == 200
    assert node.get("/")[0] == 404
    assert node.get("/status?x=1")[0] == 200
