"""What is made once, where absent, and then kept under var/."""

from __future__ import annotations

import os
import secrets
import shlex
import socket
import sys
from pathlib import Path
from typing import NamedTuple

from configobj import ConfigObj

from proxy.certificates import self_signed
from tests.demo.places import Places, show

DAYS = 825


class Belongings(NamedTuple):
    """Paths are absolute. `made` names what was not there before."""

    proxy_id: str
    secret: Path
    certificate: Path
    key: Path
    made: tuple[str, ...]


def prepare(var: Path) -> Belongings:
    """Make what is absent: directories, proxy ID, secret (0600), self-signed EC certificate."""
    made = []
    for directory in ("log", "run", "tls"):
        (var / directory).mkdir(parents=True, exist_ok=True)
    proxy_id, secret = var / "proxy.id", var / "proxy.secret"
    if not proxy_id.exists():
        proxy_id.write_text(secrets.token_hex(6).upper() + "\n")
        made.append("ID")
    if not secret.exists():
        _write_private(secret, secrets.token_urlsafe(48).encode() + b"\n")
        made.append("secret")
    certificate, key = var / "tls" / "proxy.crt", var / "tls" / "proxy.key"
    if not (certificate.exists() and key.exists()):
        _make_certificate(certificate, key)
        made.append("certificate")
    return Belongings(proxy_id.read_text().strip(), secret, certificate, key, tuple(made))


def _make_certificate(certificate: Path, key: Path) -> None:
    names = ["127.0.0.1", "localhost", socket.gethostname()]
    certificate_pem, key_pem = self_signed(names, DAYS)
    _write_private(key, key_pem)
    certificate.write_bytes(certificate_pem)


def _write_private(path: Path, content: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)


def derive_configuration(
    manual: Path, target: Path, own: Belongings, places: Places, platform_ca: Path, most_fds: int
) -> None:
    """Write proxy.ini of the demonstration: the manual's settings, but for the ones below."""
    derived = ConfigObj(
        str(manual) if manual.exists() else None, interpolation=False, encoding="utf-8"
    )
    differing: dict[str, dict[str, object]] = {
        "proxy": {"id": own.proxy_id, "secret_file": str(own.secret)},
        "listen": {
            "addresses": places.proxy[0],
            "port": places.proxy[1],
            "certificate": str(own.certificate),
            "key": str(own.key),
        },
        "upstream": {"endpoint": show(places.platform), "ca_file": str(platform_ca)},
        "platform": {"networks": f"{places.platform[0]}/32"},
        "agents": {
            "networks": "127.0.1.0/24",
            "ports": places.agent_port,
            "allow_loopback": "yes",
        },
        "drain": {"delay": 0, "timeout": 5},  # the agents end first: nothing is under way
        "admin": {
            "address": places.admin[0],
            "port": places.admin[1],
            "run_dir": str(own.secret.parent / "run"),
        },
    }
    most_connections = (most_fds - 512) // 2
    if most_connections < int(derived.get("limits", {}).get("connections", 8192)):
        differing["limits"] = {"connections": most_connections}
    for section, settings in differing.items():
        derived.setdefault(section, {}).update(settings)
    derived.initial_comment = [
        f"# Derived from {manual.name} by the demonstration: changes here are overwritten."
    ]
    derived.filename = str(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    derived.write()


def write_programs(
    target: Path, root: Path, var: Path, own: Belongings, places: Places, control: Path
) -> list[str]:
    """Write the stand-ins as programs of supervisord; returns their names."""
    pair = var / "demo" / "platform"
    proxy = show(places.proxy)
    common = ["--proxy", proxy]
    programs = {
        "platform": [
            *("tests.fakes.platform", "--listen", show(places.platform), *common),
            *("--certificate", f"{pair}.crt", "--key", f"{pair}.key"),
            *("--proxy-ca", str(own.certificate), "--control", str(control)),
            *("--journal", str(var / "log" / "journal.log")),
        ]
    }
    common += ["--ca", str(own.certificate)]
    for number, host in enumerate(places.first_agents, 1):
        programs[f"agent-{number}"] = [
            *("tests.fakes.agents", "first", "--address", host, "--name", f"agent-{number}"),
            *("--port", str(places.agent_port), "--retry", "1", "--period", "30", *common),
        ]
    name = f"agent-{len(places.first_agents) + 1}"
    programs[name] = [
        *("tests.fakes.agents", "last", "--address", places.last_agent, "--name", name, *common)
    ]
    blocks = []
    for program, arguments in programs.items():
        command = shlex.join([sys.executable, "-m", *arguments]).replace("%", "%%")
        log = str(var / "log" / f"{program}.log").replace("%", "%%")
        blocks.append(
            f"[program:{program}]\n"
            f"command = {command}\n"
            f"directory = {str(root).replace('%', '%%')}\n"
            f"priority = {50 if program == 'platform' else 200}\n"
            "startsecs = 1\n"
            "startretries = 3\n"
            "autorestart = true\n"
            "stopwaitsecs = 15\n"
            "redirect_stderr = true\n"
            f"stdout_logfile = {log}\n"
            "stdout_logfile_maxbytes = 10MB\n"
            "stdout_logfile_backups = 1\n"
        )
    agents = ",".join(program for program in programs if program != "platform")
    blocks.append(f"[group:agents]\nprograms = {agents}\npriority = 200\n")
    target.write_text("; The stand-ins of the demonstration\n" + "\n".join(blocks))
    for log in ("journal", *programs):
        (var / "log" / f"{log}.log").unlink(missing_ok=True)
    return list(programs)
