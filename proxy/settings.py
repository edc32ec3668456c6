"""The lines of a proxy.ini as frozen Settings, or every problem in them at once.

Layer 0 (pure): whoever calls reads the file, and gives `read` for the files that secrets are in.
Neighbours: `inifile` splits lines, `values` reads texts, `declarations` says which settings there
are, `consistency` compares them with each other, `shapes` is the result.

Where a secret comes from: the environment variable AGENT_PROXY_<SECTION>_<KEY> if set and not
empty, otherwise `key_file` or `key` (one of the two). A secret never enters a problem's text.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from proxy import consistency, inifile
from proxy.declaration import Declaration
from proxy.declarations import DECLARATIONS, SECTIONS, declaration
from proxy.errors import ConfigurationProblems, Problem
from proxy.gathering import Gathered, gather
from proxy.shapes import (
    Admin,
    Agents,
    Drain,
    Endpoint,
    Health,
    Limits,
    Listen,
    Log,
    Network,
    Peer,
    Platform,
    Proxy,
    Settings,
    Timeouts,
    TlsVersion,
    Upstream,
    Zone,
)
from proxy.values import Value, as_text

__all__ = [
    "DECLARATIONS",
    "SECTIONS",
    "Admin",
    "Agents",
    "Declaration",
    "Drain",
    "Endpoint",
    "Health",
    "Limits",
    "Listen",
    "Log",
    "Network",
    "Peer",
    "Platform",
    "Proxy",
    "Settings",
    "Timeouts",
    "TlsVersion",
    "Upstream",
    "Zone",
    "declaration",
    "digest",
    "parse",
    "show",
]

_NO_ENVIRONMENT: Final[Mapping[str, str]] = {}
_DIGEST_LABEL: Final = b"agent-proxy settings digest 1"
# What may differ between the nodes of one group.
_OF_ONE_NODE: Final = frozenset(
    {
        ("proxy", "node"),
        ("listen", "addresses"),
        ("listen", "port"),
        ("listen", "certificate"),
        ("listen", "key"),
        ("listen", "balancers"),
        ("zones.*", "interface"),
        ("zones.*", "listen"),
        ("zones.*", "source"),
        ("peers.*", "certificate_file"),
    }
)


def parse(
    lines: Iterable[str],
    *,
    base: str = "",
    file: str = "proxy.ini",
    environ: Mapping[str, str] = _NO_ENVIRONMENT,
    read: Callable[[str], str] | None = None,
    node: str = "",
) -> Settings:
    """Return the settings that `lines` and `environ` give, defaults filled in.

    `base` is put before relative paths, `file` is only named in problems, `read` returns the text
    of a file that a secret is kept in (OSError and UnicodeDecodeError become problems), `node` is
    the name of this machine where the file gives none.

    Raises ConfigurationProblems, with all of them.
    """
    ini = inifile.read(lines, file)
    gathered = gather(ini, file=file, base=base, environ=environ, read=read)
    settings = _settings(gathered, node)
    problems = gathered.problems
    if not problems:  # what is missing or misspelt would only cause false comparisons
        problems = [_located(one, gathered, file) for one in consistency.problems(settings)]
    if problems:
        raise ConfigurationProblems(problems)
    return settings


def _located(found: consistency.Contradiction, gathered: Gathered, file: str) -> Problem:
    section, key, message, remedy = found
    path = tuple(section.split("/"))
    line = gathered.lines.get((path, key)) or gathered.sections.get(path, 0)
    return Problem(file, line, f"[{section}] {key}", "", message, remedy)


def _settings(gathered: Gathered, node: str) -> Settings:
    def fields(section: str) -> dict[str, Any]:  # Any: each field is of its declaration's kind
        return gathered.values[section]

    proxy = fields("proxy")
    agents = Agents(**fields("agents"))
    return Settings(
        proxy=Proxy(**{**proxy, "node": proxy["node"] or node}),
        listen=Listen(**fields("listen")),
        upstream=Upstream(**fields("upstream")),
        platform=Platform(**fields("platform")),
        agents=agents,
        zones=_zones(gathered, agents),
        peers=tuple(Peer(id=name, **fields(f"peers/{name}")) for name in gathered.peers),
        timeouts=Timeouts(**fields("timeouts")),
        limits=Limits(**fields("limits")),
        drain=Drain(**fields("drain")),
        health=Health(**fields("health")),
        admin=Admin(**fields("admin")),
        log=Log(**fields("log")),
    )


def _zones(gathered: Gathered, agents: Agents) -> tuple[Zone, ...]:
    if not gathered.zones:
        return (Zone("default", "", "", "", agents.networks, agents.ports[0], ""),)
    zones = []
    for name in gathered.zones:
        fields: dict[str, Any] = dict(gathered.values[f"zones/{name}"])  # Any: as above
        fields["networks"] = fields["networks"] or agents.networks
        if ((("zones", name), "port")) not in gathered.lines:
            fields["port"] = agents.ports[0]
        zones.append(Zone(name=name, **fields))
    return tuple(zones)


def show(settings: Settings) -> list[str]:
    """Return the effective settings as the lines of a proxy.ini; secrets are masked.

    `parse` reads the lines back to the same settings, but for the secrets.
    """
    lines: list[str] = []
    for section in SECTIONS:
        if not section.endswith(".*"):
            lines += [f"[{section}]", *_shown(section, getattr(settings, section)), ""]
        elif section == "zones.*":
            lines.append("[zones]")
            for zone in settings.zones:
                lines += [f"[[{zone.name}]]", *_shown(section, zone), ""]
        else:
            lines.append("[peers]")
            for peer in settings.peers:
                lines += [f"[[{peer.id}]]", *_shown(section, peer), ""]
    return lines


def _shown(section: str, values: object) -> list[str]:
    lines = []
    for one in DECLARATIONS:
        if one.section == section:
            text = as_text(getattr(values, one.field), one)
            mark = "# " if one.is_secret else ""
            lines.append(f"{mark}{one.key} = {_quoted(text)}".rstrip())
    return lines


def _quoted(text: str) -> str:
    """Quote what the file format would read differently."""
    if "#" not in text and text[:1] not in ("'", '"') and text == text.strip():
        return text
    return f"'{text}'" if '"' in text else f'"{text}"'


def digest(settings: Settings) -> str:
    """Return 64 hex digits that are equal exactly where a group's nodes are set alike.

    Keyed with the secret, so that it shows whether secrets are the same without helping anybody
    to guess one. Of paths only counts whether they are set.
    """
    lines: list[str] = []
    for one in DECLARATIONS:
        if one.section in ("health", "admin", "log") or (one.section, one.key) in _OF_ONE_NODE:
            continue
        for name, values in _named(settings, one.section):
            value: Value = getattr(values, one.field)
            lines.append(f"{name} {one.key} {_counted(value, one, settings.proxy.secret)}")
    text = "\n".join(lines).encode()
    return hmac.new(settings.proxy.secret, _DIGEST_LABEL + text, hashlib.sha256).hexdigest()


def _named(settings: Settings, section: str) -> list[tuple[str, object]]:
    if section == "zones.*":
        return [(f"zones/{zone.name}", zone) for zone in settings.zones]
    if section == "peers.*":
        return [(f"peers/{peer.id}", peer) for peer in settings.peers]
    return [(section, getattr(settings, section))]


def _counted(value: Value, one: Declaration, secret: bytes) -> str:
    if one.kind == "path":
        return "set" if value else ""
    if not one.is_secret or not value:
        return as_text(value, one)
    if not secret:  # without a key a weak password could be guessed from the digest
        return "set"
    plain = value if isinstance(value, bytes) else str(value).encode()
    return hmac.new(secret, one.key.encode() + b"\0" + plain, hashlib.sha256).hexdigest()
