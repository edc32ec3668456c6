"""What this machine and its proxy are like now. Looks only; changes nothing.

Shell. Neighbours: `readings` understands the texts, `system` fetches them; topics and verbs above
get a frozen Facts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from appliance import readings
from appliance.places import Places
from appliance.readings import Interface, Memory, Route, Worker
from appliance.system import Space, System
from proxy import certificates, settings
from proxy.certificates import CertificateFacts
from proxy.errors import ConfigurationProblems
from proxy.settings import Settings

__all__ = [
    "Facts",
    "affected",
    "configured",
    "gather",
    "logs_wrong",
    "secret_reader",
    "status",
    "workers",
]

_SETTLE_S: Final = 20.0
_PAUSE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Facts:
    """None and empty mean: not known, or not there."""

    hostname: str
    interfaces: tuple[Interface, ...]
    routes: tuple[Route, ...]
    dns: tuple[str, ...]
    search: tuple[str, ...]
    timezone: str
    synchronised: bool | None
    disk: Space | None  # where the proxy's var/ is
    memory: Memory | None
    up_s: float
    system_name: str
    kernel: str
    workers: tuple[Worker, ...]
    status: dict[str, Any] | None  # /status of the proxy; Any: JSON
    settings: Settings | None
    problems: tuple[str, ...]  # of proxy.ini
    certificate: CertificateFacts | None
    logs_wrong: str  # what is wrong with the folder of logs; "" if nothing

    def interface(self, name: str) -> Interface | None:
        return next((one for one in self.interfaces if one.name == name), None)


def gather(system: System, conf: str) -> Facts:
    """Return everything; takes about a second."""
    places = Places(conf)
    resolv = system.read("/run/systemd/resolve/resolv.conf") or system.read("/etc/resolv.conf")
    dns, search = readings.resolvers(_text(resolv))
    clock = readings.properties(system.ask(("timedatectl", "show")).out)
    found, problems = configured(system, conf)
    return Facts(
        hostname=_text(system.read("/proc/sys/kernel/hostname")).strip(),
        interfaces=_interfaces(system),
        routes=readings.routes(
            system.ask(("ip", "-j", "route", "show", "table", "main")).out,
            system.ask(("ip", "-j", "-6", "route", "show", "table", "main")).out,
        ),
        dns=dns,
        search=search,
        timezone=clock.get("Timezone", ""),
        synchronised={"yes": True, "no": False}.get(clock.get("NTPSynchronized", "")),
        disk=_space(system, places),
        memory=readings.memory(_text(system.read("/proc/meminfo"))),
        up_s=system.uptime(),
        system_name=readings.properties(_text(system.read("/etc/os-release"))).get(
            "PRETTY_NAME", ""
        ),
        kernel=_text(system.read("/proc/sys/kernel/osrelease")).strip(),
        workers=workers(system, places),
        status=status(system, found),
        settings=found,
        problems=problems,
        certificate=_certificate(system, found),
        logs_wrong=logs_wrong(system, places),
    )


def _text(content: bytes | None) -> str:
    return (content or b"").decode(errors="replace")


def _interfaces(system: System) -> tuple[Interface, ...]:
    found = readings.interfaces(system.ask(("ip", "-j", "-d", "addr")).out)
    return tuple(one._replace(driver=_driver(system, one.name)) for one in found)


def _driver(system: System, name: str) -> str:
    entry = system.entry(f"/sys/class/net/{name}/device/driver")
    return entry.target.rpartition("/")[2] if entry is not None else ""


def _space(system: System, places: Places) -> Space | None:
    try:
        return system.space(places.var)
    except OSError:
        return None


def logs_wrong(system: System, places: Places) -> str:
    """Say why no log could be begun there: without one, supervisor starts no process."""
    above, entry = system.entry(places.var), system.entry(places.logs)
    if above is None or entry is None or entry.kind != "folder":
        return f"the folder of logs, {places.logs}, is not there"
    if entry.owner != above.owner or entry.mode & 0o700 != 0o700:
        return f"the proxy may not write into {places.logs}: {entry.owner}, mode {entry.mode:o}"
    return ""


def workers(system: System, places: Places) -> tuple[Worker, ...]:
    """Return supervisor's processes; none while it does not run."""
    return system.processes(places.supervisor_socket)


def affected(system: System, places: Places) -> tuple[str, ...]:
    """Return the names of the processes that must be told of a change.

    One that just starts has read its settings, or will, nobody knows: it is waited for, 20 s at
    most, and told as well.
    """
    end = system.uptime() + _SETTLE_S
    found = workers(system, places)
    while any(one.is_changing for one in found) and not system.dry and system.uptime() < end:
        system.pause(_PAUSE_S)
        found = workers(system, places)
    return tuple(one.name for one in found if one.is_running or one.state == "STARTING")


def secret_reader(system: System) -> Callable[[str], str]:
    """Return what `settings.parse` reads secrets with."""

    def read(path: str) -> str:
        content = system.read(path)
        if content is None:
            raise FileNotFoundError(2, "there is no such file")
        return content.decode().strip("\r\n")

    return read


def configured(system: System, conf: str) -> tuple[Settings | None, tuple[str, ...]]:
    """Return what proxy.ini says, or None and what is wrong with it."""
    content = system.read(conf)
    if content is None:
        return None, (f"{conf} is not there",)
    try:
        text = content.decode()
        found = settings.parse(
            text.splitlines(),
            base=Places(conf).base,
            file=conf,
            read=secret_reader(system),
            node=_text(system.read("/proc/sys/kernel/hostname")).strip(),
        )
    except ConfigurationProblems as problems:
        return None, tuple(map(str, problems.problems))
    except UnicodeDecodeError:
        return None, (f"{conf} is not UTF-8 text",)
    return found, ()


def status(system: System, found: Settings | None) -> dict[str, Any] | None:
    """Return the proxy's own /status; None while no worker answers."""
    if found is None:
        return None
    page = system.fetch(found.admin.address, found.admin.port, "/status")
    if page is None or page.status != 200:
        return None
    try:
        document = json.loads(page.body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _certificate(system: System, found: Settings | None) -> CertificateFacts | None:
    content = system.read(found.listen.certificate) if found is not None else None
    try:
        return None if content is None else certificates.facts(content)
    except ValueError:
        return None
