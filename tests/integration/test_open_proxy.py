"""The proxy is no open proxy: redirects are passed on, CONNECT and foreign targets refused.

What was dialled is written down by a witness inside of the worker (tests/fakes/witness).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.conftest import Dial
from tests.integration.dialled import Dialled, witness
from tests.integration.nodes import AGENT, PLATFORM, ROUTED_AGENT, Node, serving
from tests.integration.peers import Origin, answering


@pytest.fixture(scope="module")
def node(build: Callable[[Any], Node]) -> Iterator[Node]:
    node = build({})
    node.environment = witness(node)
    with serving(node):
        yield node


def test_the_witness_sees_what_is_dialled(
    node: Node, platform: Origin, agent: Origin, dial: Dial
) -> None:
    """Or its silence would say nothing: a call that may be made is in its record."""
    dialled = Dialled(node, platform)
    route = node.route(ROUTED_AGENT, agent.port)
    ask = (b"GET / HTTP/1.1\r\nHost: a\r\nAgent-Route: ", route, b"\r\n\r\n")
    assert dial(node, PLATFORM).ask(*ask).status == 200
    assert ["socket.connect", ROUTED_AGENT, agent.port] in dialled.others()
    assert dial(node, AGENT).ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 200
    assert dialled.hosts() == {PLATFORM, ROUTED_AGENT}


@pytest.mark.parametrize("status", [b"301", b"302", b"303", b"307", b"308", b"300"])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_redirect_is_passed_on_and_nobody_follows_it(
    node: Node,
    platform: Origin,
    agent: Origin,
    dial: Dial,
    status: bytes,
    direction: str,
) -> None:
    origin, source = (platform, AGENT) if direction == "up" else (agent, PLATFORM)
    location = b"https://127.0.9.9:2003/latest"
    origin.use(
        answering(
            b"HTTP/1.1 %b Moved\r\nLocation: %b\r\nRefresh: 0;url=%b\r\nContent-Length: 0\r\n\r\n"
            % (status, location, location)
        )
    )
    route = b""
    if direction == "down":
        route = b"Agent-Route: %b\r\n" % node.route(ROUTED_AGENT, agent.port)
    dialled = Dialled(node, platform)
    got = dial(node, source).ask(b"GET / HTTP/1.1\r\nHost: a\r\n", route, b"\r\n")
    assert (got.status, got.one(b"location")) == (int(status), location)
    assert origin.used == 1
    assert "127.0.9.9" not in dialled.hosts()


@pytest.mark.parametrize(
    "line",
    [
        *(b"CONNECT 127.0.0.1:22 HTTP/1.1", b"CONNECT metadata:80 HTTP/1.1", b"TRACE / HTTP/1.1"),
        *(b"GET http://169.254.169.254/ HTTP/1.1", b"GET https://127.0.0.1:2004/status HTTP/1.1"),
        *(b"GET //169.254.169.254/ HTTP/1.1", b"GET 169.254.169.254:80 HTTP/1.1"),
        *(b"POST http://localhost/ HTTP/1.0", b"GET ftp://127.0.0.1/ HTTP/1.1"),
    ],
)
@pytest.mark.parametrize("source", [AGENT, PLATFORM])
def test_open_proxy_probe_is_refused_or_stays_a_path(
    node: Node, platform: Origin, dial: Dial, line: bytes, source: str
) -> None:
    """`//host/` is a path like any other (RFC 9110 4.2): it goes to the platform, whole."""
    dialled = Dialled(node, platform)
    got = dial(node, source).ask(line, b"\r\nHost: 169.254.169.254\r\n\r\n")
    if source == AGENT and line.startswith(b"GET //"):
        (request,) = platform.received
        assert (got.status, request.line) == (200, line)
    else:
        assert got.status in (400, 405)
        assert not platform.received
    assert dialled.others() == []


def test_proxy_status_of_an_agent_is_not_passed_on(
    node: Node, platform: Origin, agent: Origin, dial: Dial
) -> None:
    """No origin may say it (RFC 9209 2): a compromised agent could put its faults on the proxy."""
    forged = b'HTTP/1.1 503 No\r\nProxy-Status: "45BCEBB32AA9"; error=dns_error\r\n'
    forged += b"proxy_status: x\r\nX-A: 1\r\nContent-Length: 0\r\n\r\n"
    agent.use(answering(forged))
    route = node.route(ROUTED_AGENT, agent.port)
    ask = (b"GET / HTTP/1.1\r\nHost: a\r\nAgent-Route: ", route, b"\r\n\r\n")
    got = dial(node, PLATFORM).ask(*ask)
    assert got == (b"HTTP/1.1 503 No", [(b"X-A", b"1"), (b"Content-Length", b"0")], b"")
