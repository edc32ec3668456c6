"""What the appliance renders, given to the programs that read it: rsyslog, sshd, apt, systemd."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import access, syslog, updates
from appliance.model import Access, Syslog, Updates
from appliance.places import Places
from tests.unit.authority import Issued, issue

_KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO7Cq1WnW1fM0S0m2o1u0y5r0Q1f5H0b8w4mJ8m3X0aB a@example.com"
)
_ARRIVES_S = 90.0


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def written(folder: Path, writes: tuple[object, ...]) -> dict[str, Path]:
    """Write rendered files below a folder; return them by their last name."""
    files = {}
    for write in writes:
        path = folder / write.path.lstrip("/")  # type: ignore[attr-defined]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(write.content)  # type: ignore[attr-defined]
        files[path.name] = path
    return files


# -- rsyslog


@pytest.fixture
def collector() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        sock.settimeout(_ARRIVES_S)
        yield sock


def configuration(folder: Path, wanted: Syslog) -> Path:
    """Return a whole rsyslog.conf around what is rendered, its paths moved below the folder."""
    places = Places(f"{folder}/conf/proxy.ini")
    files = written(folder, syslog.render(wanted, places))
    text = files["60-agent-proxy.conf"].read_text()
    text = text.replace("/etc/agent-proxy/", f"{folder}/etc/agent-proxy/")
    spool = folder / "spool"
    spool.mkdir(exist_ok=True)
    whole = folder / "rsyslog.conf"
    whole.write_text(f'global(workDirectory="{spool}")\n{text}')
    return whole


@pytest.mark.parametrize("protocol", ["tls", "tcp"])
def test_rsyslog_accepts_it(tmp_path: Path, protocol: str) -> None:
    rsyslogd = program("rsyslogd")
    ca = issue("A CA", ca=True).pem.decode() if protocol == "tls" else ""
    wanted = Syslog("log.example.com:6514", protocol, ca)  # type: ignore[arg-type]
    whole = configuration(tmp_path, wanted)
    done = subprocess.run([rsyslogd, "-N1", "-f", whole], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr.lower() and "warning" not in done.stderr.lower(), done.stderr


def received(collector: socket.socket, issued: Issued, folder: Path, until: bytes) -> bytes:
    """Accept one TLS connection and return what arrives, up to `until`."""
    pem = folder / "collector.pem"
    pem.write_bytes(issued.pem + issued.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    content = b""
    plain, _ = collector.accept()
    plain.settimeout(_ARRIVES_S)
    with context.wrap_socket(plain, server_side=True) as sock:
        while until not in content:
            piece = sock.recv(4096)
            if not piece:
                break
            content += piece
    return content


@pytest.fixture
def sending(tmp_path: Path, collector: socket.socket) -> Iterator[tuple[Issued, Path]]:
    """Run rsyslogd as rendered; yield the CA and the log file that it reads."""
    rsyslogd = program("rsyslogd")
    ca = issue("A CA", ca=True)
    target = f"127.0.0.1:{collector.getsockname()[1]}"
    wanted = Syslog(target, "tls", ca.pem.decode(), "log.example.com")
    whole = configuration(tmp_path, wanted)
    log = tmp_path / "var" / "log" / "worker-0.log"
    log.parent.mkdir(parents=True)
    log.write_text("")
    argv = [rsyslogd, "-n", "-f", str(whole), "-i", str(tmp_path / "pid")]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE)
    try:
        yield ca, log
    finally:
        process.kill()
        process.communicate()


def append(log: Path) -> None:
    with log.open("a") as file:
        file.write("INFO proxy.worker a line of the proxy\n")


def test_lines_of_the_proxy_reach_the_collector_over_tls(
    tmp_path: Path, collector: socket.socket, sending: tuple[Issued, Path]
) -> None:
    ca, log = sending
    append(log)
    issued = issue("log.example.com", ca, names=("log.example.com",))
    content = received(collector, issued, tmp_path, b"a line of the proxy")
    assert b"agent-proxy" in content and b"a line of the proxy" in content
    length, _, _ = content.partition(b" <")
    assert length.isdigit(), content[:80]  # octet-counted, RFC 6587


def test_a_collector_with_another_name_gets_nothing(
    tmp_path: Path, collector: socket.socket, sending: tuple[Issued, Path]
) -> None:
    ca, log = sending
    append(log)
    issued = issue("other.example.com", ca, names=("other.example.com",))
    try:
        content = received(collector, issued, tmp_path, b"a line")
    except (ssl.SSLError, ConnectionError):
        content = b""
    assert b"a line" not in content


# -- sshd, apt, systemd


def test_sshd_accepts_it_and_lets_in_by_keys_only(tmp_path: Path) -> None:
    sshd = program("sshd")
    host_key = tmp_path / "host_key"
    keygen = program("ssh-keygen")
    subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", host_key], check=True)
    wanted = Access(True, (_KEY,), ("10.1.0.0/16",))
    files = written(tmp_path, access.render(wanted))
    whole = tmp_path / "sshd_config"
    whole.write_text(f"HostKey {host_key}\nInclude {files['10-agent-proxy.conf']}\n")
    where = "user=operator,host=h,addr=10.1.2.3"
    Path("/run/sshd").mkdir(exist_ok=True) if os.geteuid() == 0 else None
    done = subprocess.run([sshd, "-T", "-f", whole, "-C", where], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stdout.lower().splitlines()
    for line in (
        "passwordauthentication no",
        "permitrootlogin no",
        "authenticationmethods publickey",
        "allowusers operator@10.1.0.0/16",
        "allowtcpforwarding no",
        "authorizedkeysfile /etc/agent-proxy/operator.keys",
    ):
        assert line in said


@pytest.mark.parametrize("mode", ["security", "off"])
def test_apt_and_systemd_accept_the_window(tmp_path: Path, mode: str) -> None:
    apt = program("apt-config")
    wanted = Updates(mode, "23:30", 90, reboot=mode != "off")  # type: ignore[arg-type]
    files = written(tmp_path, updates.render(wanted))
    environ = {**os.environ, "APT_CONFIG": str(files["52agent-proxy-updates"])}
    done = subprocess.run([apt, "dump"], capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr
    on = "1" if mode == "security" else "0"
    assert f'APT::Periodic::Unattended-Upgrade "{on}";' in done.stdout
    assert "codename=${distro_codename}-security" in done.stdout
    analyze = program("systemd-analyze")
    calendar = next(
        line.partition("=")[2]
        for line in files["50-agent-proxy.conf"].read_text().splitlines()
        if line.startswith("OnCalendar=*")
    )
    done = subprocess.run([analyze, "calendar", calendar], capture_output=True, text=True)
    assert done.returncode == 0 and "23:30:00" in done.stdout, done.stderr
