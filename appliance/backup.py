"""What a backup holds, and how it is put in force again.

Values. Neighbours: `sealed` is the outer form, `backup_verbs` reads and writes. The settings of
proxy and appliance with the secrets and certificates they name; not the console's password, not
the machine's identity, no log.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from appliance import access, model, network, proxy_setup, syslog, timekeeping, updates
from appliance.errors import Problem, Problems
from appliance.model import Appliance
from appliance.places import SERVICE_OWNER, Places
from appliance.plan import Plan, Write, joined
from appliance.readings import Interface
from proxy.settings import Settings

__all__ = ["Held", "collect", "judge", "plan", "read"]

_VERSION: Final = 1


class Held(NamedTuple):
    """What is in a backup: files below the proxy's folder, by relative path, and the settings."""

    ini: str
    appliance: Appliance
    files: dict[str, bytes]


def collect(
    places: Places, settings: Settings, appliance: Appliance, read: Callable[[str], bytes | None]
) -> bytes:
    """Return the content of a backup. Files outside the proxy's folder are not taken."""
    files = {}
    for path in _named(settings, places, read):
        content = read(path)
        if content is not None:
            files[path.removeprefix(f"{places.base}/")] = base64.b64encode(content).decode()
    document = {
        "version": _VERSION,
        "proxyIni": (read(places.conf) or b"").decode(),
        "appliance": json.loads(model.to_json(appliance)),
        "files": files,
    }
    return json.dumps(document).encode()


def _named(settings: Settings, places: Places, read: Callable[[str], bytes | None]) -> list[str]:
    """Return the files that proxy.ini names, and those that secrets are in."""
    named = [
        settings.listen.certificate,
        settings.listen.key,
        settings.upstream.ca_file,
        settings.platform.client_ca,
        settings.agents.ca_file,
        *(peer.certificate_file for peer in settings.peers),
    ]
    for line in (read(places.conf) or b"").decode().splitlines():
        key, equals, value = line.partition("=")
        if equals and key.strip().endswith("_file") and not key.strip().startswith("#"):
            value = value.strip().strip("\"'")
            if value:
                named.append(value if value.startswith("/") else f"{places.base}/{value}")
    inside = (path for path in named if path.startswith(f"{places.base}/") and ".." not in path)
    return list(dict.fromkeys(inside))


def read(content: bytes) -> Held:
    """Return what a backup holds. Raises: Problems."""
    try:
        document: dict[str, Any] = json.loads(content)
        if document["version"] != _VERSION:
            raise ValueError(f"only version {_VERSION} is known here")
        files = {
            str(path): base64.b64decode(text, validate=True)
            for path, text in document["files"].items()
        }
        ini, settings = str(document["proxyIni"]), document["appliance"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        remedy = "Use the backup of another day."
        raise Problems([Problem("backup", "", f"cannot be read: {error}", remedy)]) from error
    for path in files:
        if path.startswith("/") or ".." in path.split("/") or not path.startswith("var/"):
            remedy = "It was not made by this program."
            raise Problems([Problem("backup", path, "lies outside var/", remedy)])
    return Held(ini, model.from_json(json.dumps(settings).encode()), files)


def judge(held: Held, places: Places, there: tuple[Interface, ...], node: str) -> Settings:
    """Return the settings it would put in force. Raises: Problems, all of them."""
    base = places.base

    def read_held(path: str) -> str:
        name = path.removeprefix(f"{base}/")
        if name not in held.files:
            raise FileNotFoundError(2, "it is not in the backup")
        return held.files[name].decode().strip("\r\n")

    problems: list[Problem] = []
    settings: Settings | None = None
    try:
        settings = proxy_setup.judge(held.ini, places.conf, read_held, node)
    except Problems as found:
        problems += found.problems
    problems += network.validate(held.appliance.network, there)
    problems += access.validate(held.appliance.access)
    problems += timekeeping.validate(held.appliance.time, frozenset())
    problems += syslog.validate(held.appliance.syslog)
    problems += updates.validate(held.appliance.updates)
    if problems or settings is None:
        raise Problems(problems)
    return settings


def plan(
    held: Held,
    places: Places,
    now: Appliance,
    hostname: str,
    timezone: str,
    before: Settings | None,
    after: Settings,
    running: tuple[str, ...],
) -> Plan:
    """Return the plan that puts it all in force."""
    secrets = tuple(
        Write(
            f"{places.base}/{name}",
            content,
            0o644 if name.endswith((".crt", ".pem")) else 0o600,
            SERVICE_OWNER,
            secret=True,
        )
        for name, content in held.files.items()
    )
    wanted = held.appliance
    title = "restored backup"
    return joined(
        title,
        Plan(title, (Write(model.PATH, model.to_json(wanted)),)),
        network.plan(now.network, wanted.network, hostname),
        timekeeping.plan(now.time, wanted.time, timezone),
        access.plan(now.access, wanted.access),
        *([syslog.plan(now.syslog, wanted.syslog, places)] if now.syslog != wanted.syslog else []),
        *([updates.plan(wanted.updates)] if now.updates != wanted.updates else []),
        proxy_setup.plan(title, places, held.ini, before, after, running, extra=secrets),
    )
