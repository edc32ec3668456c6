"""The three proxies and the two backends, configured for the same job.

The job: TLS from the agent (ECDSA P-256), TLS with a verified certificate and name to the platform
over at most 64 idle connections kept open, the agent's identity put into the fields of PROTOCOL.md,
WebSocket upgrades relayed. Where they still differ:
- agent proxy: also seals the return route (HMAC); access log on, one line per exchange
- nginx: access log on, in blocks of 64 KiB; TLS 1.3 allowed, as Debian's nginx.conf does and
  nginx 1.22 alone does not: the others speak it, and its handshake costs more than that of 1.2
- HAProxy: no log (it writes to a syslog server only, which would be another process)
- nginx, HAProxy: two session tickets after each handshake, OpenSSL's default; the agent proxy gives
  none (docs/decisions/013)
All use the same cipher suite on both legs, which is checked on the agents'.
One process does the work: nginx worker_processes 1, HAProxy nbthread 1, one agent proxy worker.
"""

from __future__ import annotations

import itertools
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .certificates import Certificate, self_signed
from .programs import BenchError, Memory, Program, running, wait_listening

AGENT_PROXY, NGINX, HAPROXY = "agent proxy", "nginx", "HAProxy"
NAMES = (AGENT_PROXY, NGINX, HAPROXY)
HOST = "127.0.0.1"
ANSWER_BYTES = 128
REPOSITORY = Path(__file__).parents[2]

SUITE = "TLS_AES_128_GCM_SHA256"
"""What the agent proxy chooses with its own openssl.cnf. The others are told to use it too."""

_PLATFORM = "platform.bench.test"
_IDLE_CONNECTIONS = 64
_DESCRIPTORS = 19900  # the proxies' own limit; the hard limit here is often 20,000


@dataclass
class Running:
    """A proxy at work: the port it listens on and its processes."""

    name: str
    port: int
    programs: list[Program]

    def cpu_seconds(self) -> float:
        return sum(program.cpu_seconds() for program in self.programs)

    def memory(self) -> Memory:
        parts = [program.memory() for program in self.programs]
        return Memory(rss=sum(part.rss for part in parts), pss=sum(part.pss for part in parts))

    def complaint(self) -> str:
        return "\n".join(program.complaint() for program in self.programs)


@dataclass
class Bench:
    """Where things are: scratch folder, certificates, free ports."""

    folder: Path
    ports: Iterator[int]
    front: Certificate = field(init=False)
    back: Certificate = field(init=False)
    _starts: Iterator[int] = field(init=False, default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.front = self_signed(self.folder, "proxy.bench.test")
        self.back = self_signed(self.folder, _PLATFORM)

    def scratch(self, name: str) -> Path:
        """Make and return a fresh folder for one start of a program."""
        folder = self.folder / f"{next(self._starts):03d}-{name.replace(' ', '-').lower()}"
        folder.mkdir()
        return folder


def free_ports(first: int) -> Iterator[int]:
    """Yield ports nobody listens on, from `first` up, each once.

    Below the range of outgoing connections, so that none of ours can take one in between.
    """
    for port in range(first, 32768):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        yield port
    raise BenchError("no free port left below 32768; choose a lower --first-port")


@contextmanager
def request_backend(bench: Bench) -> Iterator[int]:
    """Run the platform for requests, nginx that answers at once; yield its port."""
    folder, port = bench.scratch("platform"), next(bench.ports)
    body = "x" * ANSWER_BYTES
    site = f"""
    access_log off;
    server {{
        listen {HOST}:{port} ssl backlog=4096;
        ssl_certificate {bench.back.certificate};
        ssl_certificate_key {bench.back.key};
        location / {{ default_type text/plain; return 200 "{body}"; }}
    }}"""
    with _nginx(folder, "request backend", site) as program:
        wait_listening(port, program)
        yield port


@contextmanager
def tunnel_backend(bench: Bench) -> Iterator[int]:
    """Run the platform for tunnels, which upgrades and echoes; yield its port."""
    folder, port = bench.scratch("tunnel-platform"), next(bench.ports)
    argv = [sys.executable, "-m", "tests.bench.tunnel_backend", HOST, str(port)]
    argv += [str(bench.back.certificate), str(bench.back.key)]
    log = folder / "error.log"
    with running("tunnel backend", argv, log, cwd=REPOSITORY) as program:
        wait_listening(port, program)
        yield port


@contextmanager
def proxy(bench: Bench, name: str, backend: int, *, workers: int = 1) -> Iterator[Running]:
    """Run one of the three proxies in front of the backend's port until the block ends."""
    start = {AGENT_PROXY: _agent_proxy, NGINX: _nginx_proxy, HAPROXY: _haproxy}[name]
    port = next(bench.ports)
    with ExitStack() as stack:
        programs = start(bench, stack, port, backend, workers)
        for program in programs:
            wait_listening(port, program, listeners=workers if name == AGENT_PROXY else 1)
        yield Running(name, port, programs)


def _agent_proxy(
    bench: Bench, stack: ExitStack, port: int, backend: int, workers: int
) -> list[Program]:
    folder = bench.scratch(AGENT_PROXY)
    configuration = folder / "proxy.ini"
    configuration.write_text(f"""
[proxy]
id = BENCH0000001
node = bench
secret = only-for-the-benchmark-0123456789abcdef
[listen]
addresses = {HOST}
port = {port}
certificate = {bench.front.certificate}
key = {bench.front.key}
backlog = 4096
[upstream]
endpoint = {HOST}:{backend}
server_name = {_PLATFORM}
ca_file = {bench.back.certificate}
connections = {_IDLE_CONNECTIONS}
[platform]
networks = 127.0.2.1/32
[agents]
networks = 127.0.0.0/24
allow_loopback = yes
[limits]
connections = 9900
connections_per_source = 9900
[drain]
delay = 0
timeout = 1
[admin]
port = {next(bench.ports)}
run_dir = {folder}
[log]
access = yes
""")
    configuration.chmod(0o600)
    executable = str(REPOSITORY / ".venv" / "bin" / "agent-proxy")
    argv = [executable, "worker", "--conf", str(configuration), "--number"]
    return [
        stack.enter_context(
            running(
                f"agent proxy worker {number}",
                [*argv, str(number)],
                folder / f"worker-{number}.log",
                cwd=REPOSITORY,
            )
        )
        for number in range(workers)
    ]


def _nginx_proxy(
    bench: Bench, stack: ExitStack, port: int, backend: int, workers: int
) -> list[Program]:
    folder = bench.scratch(NGINX)
    site = f"""
    access_log {folder}/access.log combined buffer=64k flush=1s;
    map $http_upgrade $connection_field {{ default upgrade; '' ''; }}
    upstream platform {{
        server {HOST}:{backend};
        keepalive {_IDLE_CONNECTIONS};
        keepalive_requests 100000000;
    }}
    server {{
        listen {HOST}:{port} ssl backlog=4096;
        ssl_certificate {bench.front.certificate};
        ssl_certificate_key {bench.front.key};
        location / {{
            proxy_pass https://platform;
            proxy_http_version 1.1;
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate {bench.back.certificate};
            proxy_ssl_name {_PLATFORM};
            proxy_ssl_server_name on;
            proxy_ssl_protocols TLSv1.2 TLSv1.3;
            proxy_ssl_conf_command Ciphersuites {SUITE};
            proxy_read_timeout 3600s;
            proxy_send_timeout 3600s;
            proxy_set_header Host {HOST}:{backend};
            proxy_set_header Connection $connection_field;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Agent-Proxy-Id BENCH0000001;
            proxy_set_header Agent-Proxy-Zone default;
            proxy_set_header Agent-Proxy-Source $remote_addr;
            proxy_set_header Agent-Route '"BENCH0000001", agent;host="$remote_addr";port=2003';
            proxy_set_header Forwarded 'for=$remote_addr;host="$http_host";proto=https';
            proxy_set_header Via '1.1 BENCH0000001';
            proxy_set_header X-Forwarded-For '';
            proxy_set_header X-Real-IP '';
        }}
    }}"""
    return [stack.enter_context(_nginx(folder, NGINX, site, workers))]


@contextmanager
def _nginx(folder: Path, name: str, site: str, workers: int = 1) -> Iterator[Program]:
    configuration = folder / "nginx.conf"
    temporary = "\n".join(
        f"    {kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration.write_text(f"""
daemon off;
user root;
pid {folder}/nginx.pid;
error_log stderr warn;
worker_processes {workers};
worker_rlimit_nofile {_DESCRIPTORS};
events {{ worker_connections {_DESCRIPTORS}; }}
http {{
{temporary}
    keepalive_timeout 75s;
    keepalive_requests 100000000;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_conf_command Ciphersuites {SUITE};
{site}
}}
""")
    argv = ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(configuration)]
    with running(name, argv, folder / "error.log", cwd=folder) as program:
        yield program


def _haproxy(
    bench: Bench, stack: ExitStack, port: int, backend: int, workers: int
) -> list[Program]:
    folder = bench.scratch(HAPROXY)
    configuration = folder / "haproxy.cfg"
    route = r"\"BENCH0000001\", agent;host=\"%[src]\";port=2003"
    forwarded = r"for=%[src];host=\"%[var(txn.host)]\";proto=https"
    configuration.write_text(f"""
global
    nbthread {workers}
    maxconn 9000
    ca-base /
defaults
    mode http
    timeout connect 5s
    timeout client 75s
    timeout server 600s
    timeout tunnel 1h
    timeout http-keep-alive 75s
    http-reuse always
frontend agents
    bind {HOST}:{port} ssl crt {bench.front.both} ciphersuites {SUITE} alpn http/1.1 backlog 4096
    http-request set-var(txn.host) req.hdr(host)
    http-request del-header Agent-Proxy- -m beg
    http-request del-header X-Forwarded- -m beg
    http-request set-header Host {HOST}:{backend}
    http-request set-header Agent-Proxy-Id BENCH0000001
    http-request set-header Agent-Proxy-Zone default
    http-request set-header Agent-Proxy-Source %[src]
    http-request set-header Agent-Route "{route}"
    http-request set-header Forwarded "{forwarded}"
    http-request set-header Via "1.1 BENCH0000001"
    default_backend platform
backend platform
    server platform {HOST}:{backend} ssl verify required ca-file {bench.back.certificate} \
sni str({_PLATFORM}) alpn http/1.1 pool-max-conn {_IDLE_CONNECTIONS}
""")
    argv = ["haproxy", "-db", "-f", str(configuration)]
    return [stack.enter_context(running(HAPROXY, argv, folder / "error.log", cwd=folder))]
