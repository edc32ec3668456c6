"""What an operator wants to know at first sight, and what there is to do about it.

Values. Neighbours: `facts` has gathered everything; the verb `status` and the console's first
screen show this.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from appliance.facts import Facts
from proxy import __version__

__all__ = ["Warning", "data", "health", "lines", "size", "warnings"]

_RENEW_DAYS: Final = 15
_DISK_SHARE: Final = 0.10
_MEMORY_SHARE: Final = 0.05


class Warning(NamedTuple):
    """Something that wants attention, and what to do."""

    text: str
    remedy: str


def warnings(found: Facts) -> list[Warning]:
    """Return everything that wants attention, the gravest first."""
    return [*_of_settings(found), *_of_service(found), *_of_machine(found)]


def _of_settings(found: Facts) -> list[Warning]:
    listed = [Warning(text, "agent-proxy-appliance settings edit") for text in found.problems]
    settings = found.settings
    if settings is None:
        return listed
    if not settings.proxy.id:
        listed.append(Warning("no proxy ID is set", "settings set proxy.id"))
    if not settings.proxy.secret:
        listed.append(Warning("no secret is set", "settings secret proxy.secret --generate"))
    if not settings.upstream.endpoints:
        listed.append(Warning("no upstream is set", "upstream set --endpoint"))
    if not settings.platform.networks:
        listed.append(Warning("the platform may not call from anywhere", "platform networks"))
    if not settings.upstream.verify:
        text = "the platform's certificate is not checked"
        listed.append(Warning(text, "upstream set --verify yes"))
    return [*listed, *_of_certificate(found)]


def _of_certificate(found: Facts) -> list[Warning]:
    known = found.certificate
    if known is None:
        return [Warning("there is no certificate", "certificate self-signed")]
    if known.days_left < 0:
        text = f"the certificate expired {-known.days_left} days ago"
        return [Warning(text, "certificate request")]
    if known.days_left < _RENEW_DAYS:
        text = f"the certificate expires in {known.days_left} days"
        return [Warning(text, "certificate request")]
    return []


def _of_service(found: Facts) -> list[Warning]:
    listed = [Warning(found.logs_wrong, "services start")] if found.logs_wrong else []
    if not found.workers:
        return [*listed, Warning("the proxy's processes do not run", "services start")]
    listed += [
        Warning(f"{one.name} is {one.state}", "services start" if one.is_down else "services logs")
        for one in found.workers
        if not one.is_running
    ]
    status = found.status
    if status is None:
        return [*listed, Warning("no worker answers", "services logs")]
    if not status.get("ready"):
        listed.append(Warning("the node takes no traffic", "diagnose"))
    listed += [Warning(str(text), "diagnose") for text in status.get("warnings", ())]
    return listed


def _of_machine(found: Facts) -> list[Warning]:
    listed = []
    if found.synchronised is False:
        listed.append(Warning("the clock is not synchronised", "time set --server"))
    disk, memory = found.disk, found.memory
    if disk is not None and disk.free_bytes < _DISK_SHARE * disk.total_bytes:
        listed.append(Warning(f"the disk is full but for {size(disk.free_bytes)}", "diagnose"))
    if memory is not None and memory.available_bytes < _MEMORY_SHARE * memory.total_bytes:
        text = f"memory is used up but for {size(memory.available_bytes)}"
        listed.append(Warning(text, "diagnose"))
    if not any(one.addresses for one in found.interfaces):
        listed.append(Warning("no interface has an address", "network set"))
    return listed


def size(count: int) -> str:
    """Return bytes as people say them: 512 MB, 1.5 GB."""
    if count < 1 << 30:
        return f"{count / (1 << 20):.0f} MB"
    return f"{count / (1 << 30):.1f} GB"


def data(found: Facts) -> dict[str, Any]:
    """Return it all as JSON has it. Any: text, numbers, lists."""
    settings, known, status = found.settings, found.certificate, found.status or {}
    return {
        "product": f"agent proxy {__version__}",
        "system": found.system_name,
        "hostname": found.hostname,
        "addresses": {one.name: list(one.addresses) for one in found.interfaces},
        "agentProxyId": settings.proxy.id if settings else None,
        "certificateSha256": known.sha256 if known else None,
        "certificateDaysLeft": known.days_left if known else None,
        "ready": status.get("ready"),
        "workers": [one._asdict() for one in found.workers],
        "upstream": status.get("upstream"),
        "zones": status.get("zones"),
        "connections": status.get("connections"),
        "tunnels": status.get("tunnels"),
        "clockSynchronised": found.synchronised,
        "timezone": found.timezone,
        "warnings": [one._asdict() for one in warnings(found)],
    }


def lines(found: Facts) -> list[str]:
    """Return it all for a screen of 80 columns."""
    settings, known, status = found.settings, found.certificate, found.status or {}
    rows: list[tuple[str, str]] = [
        ("product", f"agent proxy {__version__} on {found.system_name or 'this system'}"),
        ("host name", found.hostname),
    ]
    for one in found.interfaces:
        rows.append((one.name, ", ".join(one.addresses) or one.state))
    rows.append(("proxy ID", (settings.proxy.id if settings else "") or "not set"))
    rows.append(("SHA-256", known.sha256 if known else "no certificate"))
    if known:
        rows.append(("valid", f"{known.days_left} days, for {', '.join(known.names)}"))
    for worker in found.workers:
        rows.append((worker.name.partition(":")[2] or worker.name, worker.state))
    rows.append(("ready", {True: "yes", False: "NO"}.get(bool(status.get("ready")), "NO")))
    # Its address beside the name would make the first column too wide for the SHA-256.
    rows += [("upstream", f"{name} is {text}") for name, text in health(status)]
    if status:
        rows.append(
            ("open", f"{status.get('connections')} connections, {status.get('tunnels')} tunnels")
        )
    sense = {True: "synchronised", False: "NOT synchronised", None: "not known"}
    rows.append(("clock", f"{sense[found.synchronised]}, {found.timezone}"))
    width = max(len(name) for name, _ in rows)
    listed = [f"{name:<{width}}  {value}" for name, value in rows]
    return [*listed, *(f"WARNING  {one.text}: {one.remedy}" for one in warnings(found))]


def health(status: dict[str, Any]) -> list[tuple[str, str]]:
    """Return each address of the upstream, and whether its last connection worked."""
    return [
        (
            f"{one.get('endpoint')} ({one.get('address')})",
            "healthy" if one.get("healthy") else f"NOT healthy: {one.get('lastError') or '-'}",
        )
        for one in status.get("upstream") or ()
    ]
