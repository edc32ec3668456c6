"""The verb check: one line per thing, with a remedy, within the deadline.

The upstream is a socket on loopback that answers as each test says; the files are real.
"""

from __future__ import annotations

import contextlib
import email.utils
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy import check, check_upstream, probe
from proxy.outcome import Outcome
from proxy.probe import Deadline, OutOfTime, ProbeError, Shake
from proxy.settings import Endpoint
from tests.unit.authority import Issued, issue

LISTEN = "addresses = 127.0.0.1\ncertificate = tls/proxy.crt\nkey = tls/proxy.key"
SECRET = "0123456789abcdef0123456789abcdef"
Serve = Callable[[socket.socket], None]


@pytest.fixture(scope="module")
def root() -> Issued:
    return issue("Root", ca=True)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A machine with a good certificate and the folders of a configuration."""
    own = issue("proxy")
    (tmp_path / "conf").mkdir()
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls/proxy.crt").write_bytes(own.pem)
    (tmp_path / "tls/proxy.key").write_bytes(own.key_pem)
    (tmp_path / "tls/proxy.key").chmod(0o600)
    return tmp_path


def _configured(home: Path, **sections: str) -> str:
    """Write a configuration; each section's text is taken instead of a good one."""
    texts = {
        "proxy": f"id = 45BCEBB32AA9\nsecret = {SECRET}",
        "listen": f"port = 20021\n{LISTEN}",
        "platform": "networks = 127.0.2.1/32",
        "limits": "connections = 256",
        "upstream": "",
        **sections,
    }
    path = home / "conf/proxy.ini"
    path.touch(0o600)
    path.write_text("\n".join(f"[{name}]\n{text}" for name, text in texts.items()))
    return str(path)


def _outcomes(conf: str, deadline_s: float = 5.0) -> dict[str, Outcome]:
    """Return the outcomes by name; a later one of the same name wins, as does a failure."""
    found: dict[str, Outcome] = {}
    for outcome in check.run(conf, deadline_s):
        if outcome.name not in found or found[outcome.name].verdict != "FAIL":
            found[outcome.name] = outcome
    return found


@contextlib.contextmanager
def _listening(serve: Serve) -> Iterator[int]:
    """Accept on loopback, one connection at a time, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        ended = threading.Event()

        def accept() -> None:
            while not ended.is_set():
                with contextlib.suppress(OSError):
                    sock, _ = listener.accept()
                    with sock, contextlib.suppress(OSError):
                        sock.settimeout(5)
                        serve(sock)

        thread = threading.Thread(target=accept)
        thread.start()
        port = listener.getsockname()[1]
        try:
            yield port
        finally:
            ended.set()
            with contextlib.suppress(OSError), socket.socket() as last:
                last.connect(("127.0.0.1", port))
            thread.join(5)
            assert not thread.is_alive()


def _read_head(sock: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head and (piece := sock.recv(4096)):
        head += piece
    return head


def _tls(files: Path, issued: Issued, answer: bytes) -> Serve:
    """Serve TLS and give `answer` to the one request."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (files / "up.crt").write_bytes(issued.pem)
    (files / "up.key").write_bytes(issued.key_pem)
    context.load_cert_chain(files / "up.crt", files / "up.key")

    def serve(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as tls:
            if _read_head(tls):
                tls.sendall(answer)

    return serve


def _dated(seconds_ago: float) -> bytes:
    date = email.utils.formatdate(time.time() - seconds_ago, usegmt=True)
    return f"HTTP/1.1 404 Not Found\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n".encode()


def _upstream(home: Path, root: Issued, port: int, more: str = "") -> str:
    (home / "ca.pem").write_bytes(root.pem)
    name = "" if "server_name" in more else "server_name = proxy.example.com"
    return _configured(
        home, upstream=f"endpoint = 127.0.0.1:{port}\nca_file = ca.pem\n{name}\n{more}"
    )


def test_all_is_well(home: Path, root: Issued) -> None:
    with _listening(_tls(home, issue("up", root), _dated(0))) as port:
        lines = [str(outcome) for outcome in check.run(_upstream(home, root, port), 5.0)]
    assert [line[:4] for line in lines] == ["PASS"] * len(lines), "\n".join(lines)
    assert len(lines) == 12


def test_errors_of_the_configuration_are_all_listed_and_end_it(home: Path) -> None:
    conf = _configured(home, listen="port = 99999\nprot = 1")
    outcomes = list(check.run(conf, 5.0))
    assert [(o.verdict, o.name) for o in outcomes] == [
        ("FAIL", "configuration"),
        ("FAIL", "configuration"),
        ("SKIP", "everything else"),
    ]
    assert "proxy.ini:5: [listen] port = '99999'" in outcomes[0].detail
    assert outcomes[1].remedy == "Did you mean port?"


def test_missing_configuration(home: Path) -> None:
    first = next(check.run(str(home / "nowhere.ini"), 5.0))
    assert first.verdict == "FAIL"
    assert "No such file" in first.detail
    assert "AGENT_PROXY_CONF" in first.remedy


def test_nothing_set(home: Path) -> None:
    outcomes = _outcomes(_configured(home, proxy="", platform=""))
    failed = {name for name, outcome in outcomes.items() if outcome.verdict == "FAIL"}
    assert failed == {"proxy ID", "secret", "platform", "upstream"}
    assert all(outcomes[name].remedy for name in failed)
    assert outcomes["clock"].verdict == "SKIP"


def test_certificate_missing_is_said_once_and_tls_skipped(home: Path) -> None:
    (home / "tls/proxy.crt").unlink()
    with _listening(lambda sock: None) as port:
        conf = _configured(home, upstream=f"endpoint = 127.0.0.1:{port}")
        outcomes = list(check.run(conf, 5.0))
    failed = [outcome for outcome in outcomes if outcome.verdict == "FAIL"]
    assert [outcome.name for outcome in failed] == ["certificate"]
    assert "certificate self-signed" in failed[0].remedy
    assert [o.verdict for o in outcomes if o.name == "upstream TLS"] == ["SKIP"]


def test_certificate_that_ends_soon(home: Path) -> None:
    soon = issue("proxy", ends_in_days=3)
    (home / "tls/proxy.crt").write_bytes(soon.pem)
    (home / "tls/proxy.key").write_bytes(soon.key_pem)
    outcome = _outcomes(_configured(home))["certificate"]
    assert outcome.verdict == "FAIL"
    assert "valid for 2 days only" in outcome.detail


def test_key_of_another_certificate(home: Path) -> None:
    (home / "tls/proxy.key").write_bytes(issue("other").key_pem)
    outcome = _outcomes(_configured(home))["certificate"]
    assert outcome.verdict == "FAIL"
    assert "does not belong to CN=proxy" in outcome.detail


def test_key_that_everybody_may_read(home: Path) -> None:
    (home / "tls/proxy.key").chmod(0o644)
    outcome = _outcomes(_configured(home))["key"]
    assert outcome.verdict == "FAIL"
    assert outcome.remedy.startswith("chmod 600 ")


def test_address_of_another_machine(home: Path) -> None:
    listen = "addresses = 192.0.2.77\ncertificate = tls/proxy.crt\nkey = tls/proxy.key"
    outcome = _outcomes(_configured(home, listen=listen))["listener"]
    assert outcome.verdict == "FAIL"
    assert "ip address" in outcome.remedy


def test_port_of_another_program(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        conf = _configured(home, listen=f"port = {port}\n{LISTEN}")
        outcome = _outcomes(conf)["listener"]
    assert outcome.verdict == "FAIL"
    assert "ss -ltnp" in outcome.remedy


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_port_that_another_program_shares(home: Path, address: str) -> None:
    """It can be bound, and the kernel would give part of the connections to that program."""
    with socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        foreign.bind((address, 0))
        foreign.listen()
        conf = _configured(home, listen=f"port = {foreign.getsockname()[1]}\n{LISTEN}")
        outcome = _outcomes(conf)["listener"]
    assert outcome.verdict == "FAIL"
    assert f"(process {os.getpid()}) takes part of the connections" in outcome.detail


def test_port_that_is_free_or_somebody_elses(home: Path) -> None:
    with socket.socket() as bound, socket.create_server(("127.0.0.2", 0)) as elsewhere:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(("127.0.0.1", elsewhere.getsockname()[1]))  # and not listening
        conf = _configured(home, listen=f"port = {elsewhere.getsockname()[1]}\n{LISTEN}")
        outcome = _outcomes(conf)["listener"]
    assert (outcome.verdict, outcome.detail.endswith("can be used")) == ("PASS", True)


def test_too_few_descriptors(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda which: (1024, 1024))
    assert _outcomes(_configured(home))["file descriptors"].verdict == "PASS"
    outcome = _outcomes(_configured(home, limits="connections = 4000"))["file descriptors"]
    assert outcome.verdict == "FAIL"
    assert "LimitNOFILE=8512" in outcome.remedy


def test_run_directory_that_is_a_file(home: Path) -> None:
    (home / "run").touch()
    outcome = _outcomes(_configured(home, admin="run_dir = run/here"))["run directory"]
    assert outcome.verdict == "FAIL"


def test_files_of_other_sections(home: Path) -> None:
    conf = _configured(home, upstream="endpoint = 127.0.0.1:1\nca_file = nowhere.pem")
    outcome = _outcomes(conf)["files"]
    assert outcome.verdict == "FAIL"
    assert "[upstream] ca_file" in outcome.detail


def test_upstream_refuses(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    outcome = _outcomes(_configured(home, upstream=f"endpoint = 127.0.0.1:{port}"))["upstream TCP"]
    assert outcome.verdict == "FAIL"
    assert "connection refused" in outcome.detail
    assert outcome.remedy.startswith("The machine is there")


def test_upstream_of_an_unknown_ca(home: Path, root: Issued) -> None:
    with _listening(_tls(home, issue("up"), b"")) as port:
        outcome = _outcomes(_upstream(home, root, port))["upstream TLS"]
    assert outcome.verdict == "FAIL"
    assert "[upstream] ca_file" in outcome.remedy


def test_upstream_of_another_name(home: Path, root: Issued) -> None:
    with _listening(_tls(home, issue("up", root), b"")) as port:
        conf = _upstream(home, root, port, "server_name = other.example.com")
        outcome = _outcomes(conf)["upstream TLS"]
    assert outcome.verdict == "FAIL"
    assert "server_name" in outcome.remedy


def test_upstream_certificate_expired(home: Path, root: Issued) -> None:
    old = issue("up", root, begins_in_days=-30, ends_in_days=-3)
    with _listening(_tls(home, old, b"")) as port:
        outcome = _outcomes(_upstream(home, root, port))["upstream TLS"]
    assert outcome.verdict == "FAIL"
    assert "clock" in outcome.remedy


def test_upstream_that_is_not_tls(home: Path, root: Issued) -> None:
    with _listening(lambda sock: sock.sendall(b"SSH-2.0-OpenSSH\r\n")) as port:
        outcome = _outcomes(_upstream(home, root, port))["upstream TLS"]
    assert outcome.verdict == "FAIL"
    assert "TLS port" in outcome.remedy


def test_verification_off_is_said_loudly_and_passes(home: Path, root: Issued) -> None:
    with _listening(_tls(home, issue("up"), _dated(0))) as port:
        outcomes = _outcomes(_upstream(home, root, port, "verify = no"))
    assert outcomes["upstream verification"].verdict == "SKIP"
    assert "OFF" in outcomes["upstream verification"].detail
    assert outcomes["upstream TLS"].verdict == "PASS"
    assert "NOT verified" in outcomes["upstream TLS"].detail


@pytest.mark.parametrize(
    ("seconds_ago", "verdict", "word"), [(-4000, "FAIL", "behind"), (4000, "FAIL", "ahead of")]
)
def test_clock_against_the_upstream(
    home: Path, root: Issued, seconds_ago: int, verdict: str, word: str
) -> None:
    with _listening(_tls(home, issue("up", root), _dated(seconds_ago))) as port:
        outcome = _outcomes(_upstream(home, root, port))["clock"]
    assert outcome.verdict == verdict
    assert word in outcome.detail


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nDate: today\r\n\r\n"]
)
def test_no_time_from_the_upstream(home: Path, root: Issued, answer: bytes) -> None:
    with _listening(_tls(home, issue("up", root), answer)) as port:
        outcomes = _outcomes(_upstream(home, root, port))
    assert outcomes["upstream TLS"].verdict == "PASS"
    assert outcomes["clock"].verdict == "SKIP"


def test_clock_before_the_program_was_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: os.stat(check_upstream.__file__).st_mtime - 1e6)
    assert check_upstream.clock([]).verdict == "FAIL"


def test_clock_takes_the_closest_upstream() -> None:
    shakes = [Shake("TLSv1.3", None, 4000.0), Shake("TLSv1.3", None, -2.0)]
    assert check_upstream.clock(shakes).verdict == "PASS"


def test_through_a_forward_proxy_with_credentials(home: Path, root: Issued) -> None:
    asked: list[bytes] = []
    answer = _tls(home, issue("up", root), _dated(0))

    def forward(sock: socket.socket) -> None:
        asked.append(_read_head(sock))
        if asked[-1]:
            sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            answer(sock)

    with _listening(forward) as port:
        more = f"http_proxy = http://127.0.0.1:{port}\nhttp_proxy_user = me\n"
        more += "http_proxy_password = pass"
        outcome = _outcomes(_upstream(home, root, 3302, more))["upstream TLS"]
    assert outcome.verdict == "PASS", outcome
    assert asked[0] == (
        b"CONNECT 127.0.0.1:3302 HTTP/1.1\r\nHost: 127.0.0.1:3302\r\n"
        b"Proxy-Authorization: Basic bWU6cGFzcw==\r\n\r\n"
    )


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", b"SSH-2.0\r\n\r\n", b"", b"x" * 20000],
)
def test_forward_proxy_that_refuses(home: Path, root: Issued, answer: bytes) -> None:
    def forward(sock: socket.socket) -> None:
        _read_head(sock)
        sock.sendall(answer)

    with _listening(forward) as port:
        more = f"http_proxy = http://127.0.0.1:{port}"
        outcome = _outcomes(_upstream(home, root, 3302, more))["upstream TLS"]
    assert outcome.verdict == "FAIL"


def test_silent_upstream_ends_with_the_deadline(home: Path, root: Issued) -> None:
    ended = threading.Event()
    with _listening(lambda sock: ended.wait(5) and None) as port:
        conf = _upstream(home, root, port)
        began = time.monotonic()
        outcome = _outcomes(conf, 0.5)["upstream TLS"]
        took = time.monotonic() - began
        ended.set()
    assert outcome.verdict == "FAIL"
    assert "no answer in time" in outcome.detail
    assert took < 2


def test_what_the_deadline_leaves_out_is_skipped(home: Path) -> None:
    outcomes = _outcomes(_configured(home, upstream="endpoint = 127.0.0.1:1"), 0.0)
    assert outcomes["upstream name"].verdict == "SKIP"
    assert "--deadline" in outcomes["upstream name"].remedy


def test_name_servers_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def look_up(*arguments: object, **named: object) -> list[object]:
        ended.wait(5)
        return []

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    with pytest.raises(ProbeError, match="do not answer"):
        probe.resolve(Endpoint("platform.example.com", 1), Deadline(0.1), 5.0)
    ended.set()


def test_name_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*arguments: object, **named: object) -> list[object]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    with pytest.raises(ProbeError, match="not known"):
        probe.resolve(Endpoint("platform.example.com", 1), Deadline(1.0), 5.0)


def test_one_address_of_two_is_enough(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, 1, 6, "", (address, 0)) for address in ("127.0.0.9", "127.0.0.1")]
    ask = socket.getaddrinfo
    monkeypatch.setattr(
        "socket.getaddrinfo",
        lambda host, *rest, **named: found if host == "up.example.com" else ask(host, *rest),
    )
    real = probe.connect

    def connect(address: str, *rest: object) -> socket.socket:
        if address == "127.0.0.9":
            raise ProbeError("network is unreachable")
        return real(address, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(probe, "connect", connect)
    with _listening(lambda sock: None) as port:
        outcomes = _outcomes(_configured(home, upstream=f"endpoint = up.example.com:{port}"))
    assert outcomes["upstream name"].detail == "up.example.com is 127.0.0.9, 127.0.0.1"
    assert outcomes["upstream TCP"].verdict == "PASS"
    assert "but not by 127.0.0.9: network is unreachable" in outcomes["upstream TCP"].detail


def test_deadline_is_a_total() -> None:
    assert Deadline(10).left(3) == 3
    assert 9 < Deadline(10).left() <= 10
    with pytest.raises(OutOfTime):
        Deadline(0).left()
