"""The admin listener's handler, without a worker: what pywsgi must not do in its own way."""

from __future__ import annotations

from typing import Any

import gevent
import pytest
from gevent import pywsgi, socket

from proxy.admin import Handler


def test_want_of_memory_while_a_request_is_read_goes_to_the_hub(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def starve(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(pywsgi, "headers_factory", starve)
    seen: list[type[BaseException]] = []
    hub: Any = gevent.get_hub()
    monkeypatch.setattr(hub, "print_exception", lambda context, kind, *_: seen.append(kind))
    server = pywsgi.WSGIServer(
        ("127.0.0.1", 0), lambda *_: [], log=None, error_log=None, handler_class=Handler
    )
    server.start()
    try:
        with gevent.Timeout(10), socket.create_connection(server.address) as client:
            client.sendall(b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(1) == b""
    finally:
        server.stop()
    assert seen == [MemoryError]
    assert capfd.readouterr().err == ""
