"""What a diagnosis says of the collector that log lines are sent to, over real sockets."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance import diagnose_logs, model
from appliance.model import Appliance, Syslog
from appliance.system import Completed
from proxy.outcome import Outcome
from tests.unit.appliance.machines import Machine
from tests.unit.appliance.test_diagnose import case
from tests.unit.authority import Issued, issue

NAME = "log.example.com"


class Collector:
    """One listener; `took` is every byte that it was sent as lines."""

    def __init__(self, folder: Path, issued: Issued | None) -> None:
        self.took = b""
        self.ended = threading.Event()
        self._context: ssl.SSLContext | None = None
        if issued is not None:
            (folder / "c.pem").write_bytes(issued.pem + issued.key_pem)
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(folder / "c.pem")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        try:
            raw, _ = self._listener.accept()
            with raw:
                raw.settimeout(30)
                sock = self._context.wrap_socket(raw, server_side=True) if self._context else raw
                with sock:
                    while piece := sock.recv(4096):
                        self.took += piece
        except OSError:
            pass  # it did not like us, which is what some of the tests are about
        finally:
            self.ended.set()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def collect(tmp_path: Path) -> Iterator[Callable[[Issued | None], Collector]]:
    made: list[Collector] = []

    def start(issued: Issued | None) -> Collector:
        made.append(Collector(tmp_path, issued))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def authority() -> Issued:
    return issue("log authority", ca=True)


def asked(folder: Path, wanted: Syslog, **answers: str) -> list[Outcome]:
    made = case(folder / "machine")
    machine = made.system
    assert isinstance(machine, Machine)
    machine.time = time.time()
    machine.answers["systemctl is-active rsyslog.service"] = Completed(
        0, answers.get("rsyslog", "active\n"), ""
    )
    machine.write(model.PATH, model.to_json(Appliance(syslog=wanted)))
    machine.write("/var/spool/rsyslog/agent-proxy-files.00000001", b"x" * (3 << 20))
    found = list(diagnose_logs.outcomes(made))
    assert all(one.remedy for one in found if one.verdict == "FAIL"), found
    return found


def test_without_a_collector_it_says_so(tmp_path: Path) -> None:
    [one] = asked(tmp_path, Syslog())
    assert one.verdict == "SKIP" and "kept here only" in one.detail


def test_one_that_proves_its_name_and_for_how_long(
    tmp_path: Path, authority: Issued, collect: Callable[[Issued | None], Collector]
) -> None:
    collector = collect(issue(NAME, authority, names=(NAME,), ends_in_days=90))
    wanted = Syslog(collector.target, "tls", authority.pem.decode(), NAME)
    [one] = asked(tmp_path, wanted)
    assert one.verdict == "PASS", one
    assert f"TLSv1.3 with {NAME}, certificate ends in 90 days" in one.detail
    assert "3 MB of lines wait here" in one.detail
    assert collector.ended.wait(30) and collector.took == b"", "every byte would be a line"


@pytest.mark.parametrize(
    ("made", "server_name", "detail", "remedy"),
    [
        ({"names": ("other.example.com",)}, NAME, "mismatch", "server name"),
        ({"names": (NAME,), "ends_in_days": -0.1}, NAME, "expired", "must be renewed"),
        ({"names": (NAME,), "ends_in_days": 9}, NAME, "ends in 9 days", "Have it renewed"),
    ],
)
def test_one_whose_certificate_will_not_do(
    tmp_path: Path,
    authority: Issued,
    collect: Callable[[Issued | None], Collector],
    made: dict[str, object],
    server_name: str,
    detail: str,
    remedy: str,
) -> None:
    collector = collect(issue("log", authority, **made))  # type: ignore[arg-type]
    wanted = Syslog(collector.target, "tls", authority.pem.decode(), server_name)
    [one] = asked(tmp_path, wanted)
    assert one.verdict == "FAIL" and detail in one.detail and remedy in one.remedy, one


def test_one_of_another_authority(
    tmp_path: Path, authority: Issued, collect: Callable[[Issued | None], Collector]
) -> None:
    stranger = issue("another authority", ca=True)
    collector = collect(issue(NAME, stranger, names=(NAME,)))
    [one] = asked(tmp_path, Syslog(collector.target, "tls", authority.pem.decode(), NAME))
    assert one.verdict == "FAIL" and "unable to get local issuer" in one.detail, one
    assert "the authority that signed" in one.remedy


def test_one_that_speaks_no_tls_and_one_that_need_not(
    tmp_path: Path, authority: Issued, collect: Callable[[Issued | None], Collector]
) -> None:
    deaf = socket.create_server(("127.0.0.1", 0))

    def hang_up() -> None:
        raw, _ = deaf.accept()
        raw.sendall(b"hello\n")
        raw.close()

    threading.Thread(target=hang_up, daemon=True).start()
    target = f"127.0.0.1:{deaf.getsockname()[1]}"
    [one] = asked(tmp_path, Syslog(target, "tls", authority.pem.decode(), NAME))
    deaf.close()
    assert one.verdict == "FAIL" and "no TLS" in one.detail and "protocol tcp" in one.remedy, one
    [one] = asked(tmp_path, Syslog(collect(None).target, "tcp"))
    assert one.verdict == "PASS" and "not encrypted" in one.detail


def test_one_that_is_not_there_is_a_firewall_ticket(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    [one] = asked(tmp_path, Syslog(f"127.0.0.1:{port}", "tcp"))
    assert one.verdict == "FAIL"
    assert f"to 127.0.0.1, port {port}/tcp: connection refused" in one.detail
    assert f"TCP to 127.0.0.1, port {port}" in one.remedy


def test_rsyslog_that_does_not_run(
    tmp_path: Path, collect: Callable[[Issued | None], Collector]
) -> None:
    wanted = Syslog(collect(None).target, "tcp")
    first, second = asked(tmp_path, wanted, rsyslog="failed\n")
    assert first.verdict == "FAIL" and "rsyslog, which sends the lines, is failed" in first.detail
    assert second.verdict == "PASS"
