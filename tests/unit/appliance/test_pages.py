"""What supervisord says over its socket: read as it is written, and whatever else answers there."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.readings import Worker
from appliance.system import System

# As supervisord 4.3 writes it, shortened by members that nobody reads.
_PROCESS = """<value><struct>
<member><name>name</name><value><string>{}</string></value></member>
<member><name>group</name><value><string>{}</string></value></member>
<member><name>statename</name><value><string>{}</string></value></member>
<member><name>description</name><value><string>{}</string></value></member>
</struct></value>"""
_ANSWER = """<?xml version='1.0'?>
<methodResponse><params><param><value><array><data>
{}
</data></array></value></param></params></methodResponse>"""
_FAULT = """<?xml version='1.0'?><methodResponse><fault><value><struct>
<member><name>faultCode</name><value><int>6</int></value></member>
<member><name>faultString</name><value><string>SHUTDOWN_STATE</string></value></member>
</struct></value></fault></methodResponse>"""


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[list[bytes]]:
    """Serve one request at a UNIX socket; yields what was asked."""
    asked: list[bytes] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += self.rfile.readline()
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            asked.append(head + self.rfile.read(length))
            self.wfile.write(answer)

    with socketserver.UnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        yield asked
        thread.join(10)


def http(body: str, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def test_each_process_by_the_name_that_supervisorctl_takes(tmp_path: Path) -> None:
    rows = [
        _PROCESS.format("worker-0", "agent-proxy", "RUNNING", "pid 611, uptime 3 days, 1:02:03"),
        _PROCESS.format("alone", "alone", "FATAL", "Exited too quickly"),
        _PROCESS.format("worker-1", "agent-proxy", "STARTING", ""),
    ]
    with answering(tmp_path / "s", http(_ANSWER.format("".join(rows)))) as asked:
        assert System().processes(str(tmp_path / "s")) == (
            Worker("agent-proxy:worker-0", "RUNNING", "pid 611, uptime 3 days, 1:02:03"),
            Worker("alone", "FATAL", "Exited too quickly"),
            Worker("agent-proxy:worker-1", "STARTING", ""),
        )
    assert asked[0].startswith(b"POST /RPC2 HTTP/1.1\r\n")
    assert b"<methodName>supervisor.getAllProcessInfo</methodName>" in asked[0]


@pytest.mark.parametrize(
    "answer",
    [
        http(_FAULT),
        http("no XML"),
        http(_ANSWER.format("<value><int>1</int></value>")),
        http(_ANSWER.format("<value><struct></struct></value>")),
        http("", "500 Internal Server Error"),
        b"",
        b"nonsense\r\n\r\n",
    ],
)
def test_what_is_no_list_of_processes_is_none(tmp_path: Path, answer: bytes) -> None:
    with answering(tmp_path / "s", answer):
        assert System().processes(str(tmp_path / "s")) == ()


def test_no_supervisord(tmp_path: Path) -> None:
    assert System().processes(str(tmp_path / "none")) == ()
