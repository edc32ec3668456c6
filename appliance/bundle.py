"""The support bundle: what somebody else may see in order to help. By allow-list.

Shell. Neighbours: `facts`, `diagnosis` and `scrub`; the verb `bundle` above. Only what is named
here gets in: never a folder, never "all but". Settings are those that were understood, secrets
masked, not the file; access lines are made anew of known fields. What others wrote (logs, journal)
is scrubbed as well. Every file is listed with its size in about.json.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import tarfile
from collections.abc import Callable, Iterable
from typing import Any, Final

from appliance import access, access_log, facts, model, overview, scrub
from appliance.errors import Problems
from appliance.facts import Facts
from appliance.model import Appliance
from appliance.places import Places
from appliance.system import System
from proxy import __version__
from proxy.declarations import DECLARATIONS
from proxy.outcome import Outcome
from proxy.settings import Settings, show

__all__ = ["collect", "packed"]

_SECRET_KEYS: Final = frozenset(one.key for one in DECLARATIONS if one.is_secret)
_LOG_BYTES: Final = 1 << 20
_UNITS: Final = ("agent-proxy*", "systemd-networkd", "systemd-resolved", "systemd-timesyncd")
_COMMANDS: Final = {
    "addresses.json": ("ip", "-j", "-d", "addr"),
    "routes.json": ("ip", "-j", "route", "show", "table", "all"),
    "routes6.json": ("ip", "-j", "-6", "route", "show", "table", "all"),
    "neighbours.json": ("ip", "-j", "neigh"),
    "listeners.txt": ("ss", "-H", "-ltnp"),
    "failed-units.txt": ("systemctl", "--failed", "--no-legend", "--plain"),
    "networkd.txt": ("networkctl", "status", "--all", "--no-pager", "-n", "0"),
    "clock.txt": ("timedatectl", "show"),
    "kernel.txt": ("journalctl", "-k", "-p", "warning", "-n", "500", "--no-pager"),
    "journal.txt": (
        "journalctl", "-n", "3000", "--no-pager", *(f"--unit={unit}" for unit in _UNITS),
    ),
    "audit.txt": ("journalctl", "-t", "agent-proxy-audit", "-n", "500", "--no-pager"),
}  # fmt: skip
_FILES: Final = {
    "os-release": "/etc/os-release",
    "meminfo": "/proc/meminfo",
    "loadavg": "/proc/loadavg",
    "firewall.nft": "/etc/agent-proxy/firewall.nft",
    "resolv.conf": "/etc/resolv.conf",
}


def collect(
    system: System,
    conf: str,
    outcomes: Iterable[Outcome],
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, bytes]:
    """Return the files of a bundle by name."""
    found = facts.gather(system, conf)
    known = _secrets(system, conf)
    documents: dict[str, Any] = {
        "overview.json": overview.data(found),
        "appliance.json": _appliance(system),
        "facts.json": _facts(found),
        "diagnosis.json": [one._asdict() for one in outcomes],
        "status.json": found.status,
    }
    texts: dict[str, str] = {"settings.ini": _settings(found)}
    if found.settings is not None:
        admin = found.settings.admin
        page = system.fetch(admin.address, admin.port, "/metrics")
        texts["metrics.txt"] = page.body.decode(errors="replace") if page else "no answer\n"
    for name, path in _FILES.items():
        texts[name] = (system.read(path) or b"").decode(errors="replace")
    for name, argv in _COMMANDS.items():
        progress(f"asking {' '.join(argv[:3])}")
        done = system.ask(argv)
        texts[name] = done.out if done.code == 0 else f"{done.said or 'failed'}\n{done.out}"
    texts |= _logs(system, Places(conf))
    files = {name: scrub.scrubbed(text, known).encode() for name, text in texts.items()}
    for name, document in documents.items():
        files[name] = _json(_scrubbed(document, known)).encode()
    about = {
        "product": f"agent proxy {__version__}",
        "node": found.hostname,
        "files": {name: len(content) for name, content in sorted(files.items())},
    }
    return {"about.json": _json(about).encode(), **files}


def packed(files: dict[str, bytes], name: str, when: float) -> bytes:
    """Return a .tar.gz with everything in one folder."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for file, content in sorted(files.items()):
            entry = tarfile.TarInfo(f"{name}/{file}")
            entry.size, entry.mtime, entry.mode = len(content), int(when), 0o600
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=int(when))


def _secrets(system: System, conf: str) -> list[str]:
    """Return every secret this node has, so as to find it where it should not be.

    Of the lines themselves: a proxy.ini that is wrong somewhere holds its secrets all the same.
    """
    base = Places(conf).base
    held: list[str] = []
    keys = [f"{base}/var/tls/proxy.key", f"{base}/var/tls/proxy.key.new"]
    for text in (system.read(conf) or b"").decode(errors="replace").splitlines():
        key, equals, value = text.strip().lstrip("# ").partition("=")
        key, value = key.strip(), value.strip().strip("\"'")
        if not equals or not value:
            continue
        path = value if value.startswith("/") else f"{base}/{value}"
        if key in _SECRET_KEYS:
            held.append(value)
        elif key.removesuffix("_file") in _SECRET_KEYS:
            held += (system.read(path) or b"").decode(errors="replace").split("\n")
        elif key == "key":
            keys += [path, f"{path}.new"]
    for path in keys:
        lines = (system.read(path) or b"").decode(errors="replace").splitlines()
        held += [line for line in lines if not line.startswith("-----")]
    return [one.strip() for one in held if one.strip()]


def _scrubbed(content: Any, known: list[str]) -> Any:
    """Scrub the texts inside a document, before it becomes one text with escapes."""
    if isinstance(content, str):
        return scrub.scrubbed(content, known)
    if isinstance(content, dict):
        return {key: _scrubbed(value, known) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_scrubbed(value, known) for value in content]
    return content


def _json(content: Any) -> str:
    # Any: whatever JSON can hold.
    return json.dumps(content, indent=1, default=str) + "\n"


def _settings(found: Facts) -> str:
    lines = show(found.settings) if found.settings else ["# cannot be read:", *found.problems]
    return "\n".join(lines) + "\n"


def _appliance(system: System) -> dict[str, Any]:
    """Return the appliance's own settings; of keys their kind and size only, not whose they are."""
    try:
        kept = model.from_json(system.read(model.PATH))
    except Problems as problems:
        return {"problems": [one.place for one in problems.problems]}
    return {**dataclasses.asdict(kept), "access": _access(kept)}


def _access(kept: Appliance) -> dict[str, Any]:
    kinds = [access.fingerprint_of(line)[0] for line in kept.access.keys]
    return {"ssh": kept.access.ssh, "networks": kept.access.networks, "keys": kinds}


def _facts(found: Facts) -> dict[str, Any]:
    certificate = found.certificate
    return {
        "interfaces": [one._asdict() for one in found.interfaces],
        "routes": [one._asdict() for one in found.routes],
        "dns": found.dns,
        "search": found.search,
        "memory": found.memory._asdict() if found.memory else None,
        "disk": found.disk._asdict() if found.disk else None,
        "upSeconds": round(found.up_s),
        "kernel": found.kernel,
        "system": found.system_name,
        "workers": [one._asdict() for one in found.workers],
        "certificate": dataclasses.asdict(certificate) if certificate else None,
        "configured": _set_or_not(found.settings),
    }


def _set_or_not(settings: Settings | None) -> dict[str, bool]:
    """Return of each secret whether there is one."""
    if settings is None:
        return {}
    return {
        "secret": bool(settings.proxy.secret),
        "previousSecret": bool(settings.proxy.previous_secret),
        "httpProxyPassword": bool(settings.upstream.http_proxy_password),
    }


def _logs(system: System, places: Places) -> dict[str, str]:
    """Return the ends of the proxy's logs: of access logs the known fields, made anew."""
    texts = {}
    for name in system.list(places.logs):
        kind, dot, rest = name.partition(".")
        if not dot or rest != "log":
            continue
        if kind.startswith("access-"):
            text = _tail(system, f"{places.logs}/{name}")
            seen = access_log.parse(text)
            texts[f"log/{name}"] = "".join(access_log.line(one) for one in seen)
        elif kind.startswith("worker-") or kind == "supervisord":
            texts[f"log/{name}"] = _tail(system, f"{places.logs}/{name}")
    return texts


def _tail(system: System, path: str) -> str:
    return system.tail(path, _LOG_BYTES)[0].decode(errors="replace")
