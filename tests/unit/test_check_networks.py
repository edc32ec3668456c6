"""The verb check on zones, peers and balancers: one line each, with a remedy."""

from __future__ import annotations

import errno
import hashlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy import check_listeners, check_networks, interfaces
from proxy.outcome import Outcome
from proxy.probe import Deadline
from proxy.settings import Settings, parse
from tests.unit.authority import Issued, issue

ZONES = """
[zones]
[[one]]
interface = {one}
networks = 10.0.0.0/8
[[two]]
interface = {two}
networks = 10.0.1.0/24
"""


def zones(settings: Settings) -> dict[str, Outcome]:
    return {outcome.name: outcome for outcome in check_networks.zones(settings)}


def settings_of(text: str) -> Settings:
    return parse(text.splitlines())


def test_interface_that_is_there_and_one_that_is_not() -> None:
    found = zones(settings_of(ZONES.format(one="lo", two="nowhere0")))
    one, two = found["zone one"], found["zone two"]
    assert one.verdict == "PASS"
    assert one.detail.startswith("lo is up with 127.0.0.1")
    assert one.detail.endswith("agents in 10.0.0.0/8, told apart by interface from two")
    assert (two.verdict, two.detail) == ("FAIL", "interface nowhere0 is missing")
    assert "ip link" in two.remedy and "[zones/two]" in two.remedy


@pytest.mark.parametrize(
    ("state", "addresses", "detail", "remedy"),
    [
        ("down", ("10.0.0.1",), "interface e1 is down", "ip link set e1 up"),
        ("up", (), "interface e1 has no address", "ip address add ADDRESS/LENGTH dev e1"),
    ],
)
def test_interface_that_is_of_no_use(
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    addresses: tuple[str, ...],
    detail: str,
    remedy: str,
) -> None:
    """Real ones are set down in the lab."""
    monkeypatch.setattr(interfaces, "state", lambda _: state)
    monkeypatch.setattr(interfaces, "addresses", lambda _: addresses)
    outcome = zones(settings_of(ZONES.format(one="e1", two="e2")))["zone one"]
    assert (outcome.verdict, outcome.detail) == ("FAIL", detail)
    assert remedy in outcome.remedy


@pytest.mark.parametrize(
    ("everywhere", "here", "verdict"),
    [("0", "0", "PASS"), ("0", "2", "PASS"), ("1", "2", "PASS"), ("0", "1", "FAIL"),
     ("1", "0", "FAIL"), ("", "0", "SKIP")],
)  # fmt: skip
def test_reverse_path_filter(
    monkeypatch: pytest.MonkeyPatch, everywhere: str, here: str, verdict: str
) -> None:
    read = Path.read_text

    def pretend(path: Path, *args: str) -> str:
        if path.name == "rp_filter":
            return everywhere if path.parent.name == "all" else here
        return read(path, *args)

    monkeypatch.setattr(Path, "read_text", pretend)
    outcome = zones(settings_of(ZONES.format(one="lo", two="e2")))["zone one rp_filter"]
    assert outcome.verdict == verdict
    if verdict == "FAIL":
        assert "sysctl -w net.ipv4.conf.lo.rp_filter=2" in outcome.remedy


def test_addresses_that_a_zone_names() -> None:
    text = "[zones]\n[[one]]\nlisten = 192.0.2.77\nsource = 192.0.2.78\nnetworks = 10.1.0.0/16\n"
    text += "[[two]]\nlisten = 127.0.0.2\nnetworks = 10.2.0.0/16\n"
    text += "[[three]]\nnetworks = 10.3.0.0/16\nnetwork_id = netns:blue\n"
    found = zones(settings_of(text))
    assert {name: outcome.verdict for name, outcome in found.items()} == {
        "zone one": "PASS",
        "zone one listen": "FAIL",
        "zone one source": "FAIL",
        "zone two": "PASS",
        "zone three": "SKIP",
    }
    assert "[zones/one] listen" in found["zone one listen"].remedy


def test_one_zone_without_an_interface_needs_no_line() -> None:
    assert zones(settings_of("[agents]\nnetworks = 10.0.0.0/8")) == {}


def test_balancers_cannot_be_asked() -> None:
    (outcome,) = check_networks.balancers(settings_of("[listen]\nbalancers = 10.1.2.2/32"))
    assert (outcome.verdict, outcome.name) == ("SKIP", "balancer 10.1.2.2/32")
    assert outcome.remedy


@pytest.fixture(scope="module")
def peer() -> Issued:
    return issue("peer")


@pytest.fixture
def listening(tmp_path: Path, peer: Issued) -> Iterator[Callable[[], int]]:
    """Return what starts a TLS server with the peer's certificate and gives its port."""
    (tmp_path / "peer.crt").write_bytes(peer.pem)
    (tmp_path / "peer.key").write_bytes(peer.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "peer.crt", tmp_path / "peer.key")
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def serve() -> None:
        sock, _ = listener.accept()
        with context.wrap_socket(sock, server_side=True) as tls:
            tls.recv(1)

    thread = threading.Thread(target=serve)

    def start() -> int:
        thread.start()
        return int(listener.getsockname()[1])

    yield start
    if thread.ident is not None:
        thread.join(10)
    listener.close()


def anybody() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def ask(
    port: int, sha256: str, *, more: str = "certificate_file = x", left_s: float = 5
) -> Outcome:
    text = f"[peers]\n[[NEARER0001]]\nendpoint = 127.0.0.1:{port}\nnetworks = 127.0.0.1\n"
    text += f"certificate = {sha256}\n{more}\n" if sha256 else ""
    (outcome,) = check_networks.peers(settings_of(text), anybody(), Deadline(left_s))
    assert outcome.name == "peer NEARER0001"
    return outcome


def sha256_of(issued: Issued) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(issued.pem.decode())).hexdigest()


def test_peer_that_is_there(listening: Callable[[], int], peer: Issued) -> None:
    outcome = ask(listening(), sha256_of(peer))
    assert (outcome.verdict, outcome.remedy) == ("PASS", "")


def test_peer_with_another_certificate(listening: Callable[[], int], peer: Issued) -> None:
    outcome = ask(listening(), "ab" * 32)
    assert outcome.verdict == "FAIL"
    assert sha256_of(peer) in outcome.detail and "register-info" in outcome.remedy


def test_peer_that_is_not_there_or_not_asked() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        outcome = ask(port, "ab" * 32)
        assert (outcome.verdict, "connection refused" in outcome.detail) == ("FAIL", True)
        assert "firewall" in outcome.remedy
        assert ask(port, "").verdict == "FAIL", "nobody could be told from that proxy"
        assert ask(port, "ab" * 32, more="").verdict == "FAIL"
        assert ask(port, "ab" * 32, left_s=0).verdict == "SKIP"


def test_peers_that_cannot_be_tested() -> None:
    text = "[peers]\n[[FARTHER001]]\nrole = farther\nnetworks = 127.0.0.1\n"
    text += f"certificate = {'ab' * 32}\ncertificate_file = x\n"
    (farther,) = check_networks.peers(settings_of(text), anybody(), Deadline(5))
    assert farther.verdict == "SKIP"
    nearer = text.replace("role = farther", "endpoint = 127.0.0.1:1")
    (unready,) = check_networks.peers(settings_of(nearer), None, Deadline(5))
    assert (unready.verdict, "files" in unready.detail) == ("SKIP", True)


@pytest.mark.parametrize(("own", "verdict"), [({5}, "PASS"), ({6}, "FAIL"), (set(), "FAIL")])
def test_root_cannot_share_the_workers_port_and_knows_why(
    monkeypatch: pytest.MonkeyPatch, own: set[int], verdict: str
) -> None:
    """SO_REUSEPORT is for sockets of one user: the console runs as root, the workers do not."""

    def taken(*_: object) -> None:
        raise OSError(errno.EADDRINUSE, "Address already in use")

    monkeypatch.setattr(check_listeners, "can_bind", taken)
    monkeypatch.setattr(check_listeners, "_holders", lambda *_: {check_listeners.Holder(5, "w")})
    monkeypatch.setattr(check_listeners, "_own_pids", lambda *_: own)
    (found,) = check_listeners.listeners(parse([]))
    assert found.verdict == verdict


@pytest.mark.parametrize(("user", "verdict"), [(0, "PASS"), (77, "FAIL")])
def test_where_a_sandbox_hides_whose_port_it_is_the_user_tells(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, user: int, verdict: str
) -> None:
    """The console's unit sees no other user's descriptors: it said "another program"."""

    def taken(*_: object) -> None:
        raise OSError(errno.EADDRINUSE, "Address already in use")

    monkeypatch.setattr(check_listeners, "can_bind", taken)
    monkeypatch.setattr(check_listeners, "_holders", lambda *_: {check_listeners.Holder(-1, "")})
    monkeypatch.setattr(check_listeners, "_own_pids", lambda *_: {5, 6})
    mine = tmp_path.stat().st_uid
    monkeypatch.setattr(check_listeners, "_listening", lambda *_: iter([("1", mine + user)]))
    (found,) = check_listeners.listeners(parse(["[admin]", f"run_dir = {tmp_path}"]))
    assert found.verdict == verdict
