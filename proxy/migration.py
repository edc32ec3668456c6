"""The settings of the old Java proxy as a proxy.ini, and what did not come along.

Layer 0 (pure): text in, text out. Neighbour: `settings`, which must be able to read what this
writes. agentproxy.properties is a Java properties file: `key = value`, `key: value` or `key value`,
comments with # or !, a backslash at the end of a line goes on in the next, escapes such as \\u0041.
Notes never contain the value of a key whose name speaks of a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from proxy.declarations import declaration
from proxy.values import as_text, from_text

__all__ = ["Migration", "migrate"]

_OLD_UPSTREAM: Final = "provisioning.enstratus.com:3302"
_ADMIN_PORT: Final = declaration("admin", "port").default
_NEXT_PORT: Final = "2005"
_SECRET_NAME = re.compile(r"passw|secret|token|credential|private|keystore|pwd|key$", re.I)
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\(.)")
_ESCAPED: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_SEPARATOR = re.compile(r"((?:\\.|[^\\\s=:])*)\s*[=:]?\s*(.*)", re.DOTALL)
_FLAGS: Final = {"true": True, "false": False, "": False}
_DURATION = re.compile(r"([0-9]+)\s*(ms|msec|millis|milliseconds|s|sec|seconds|m|min|minutes)?")
_UNITS: Final = {"s": 1.0, "m": 60.0}


class Migration(NamedTuple):
    """`ini` is a whole proxy.ini; `notes` are sentences for the operator, in file order."""

    ini: str
    notes: list[str]


class _Carried(NamedTuple):
    section: str
    key: str
    value: str


def migrate(text: str) -> Migration:
    """Return what `text`, an agentproxy.properties, means for this proxy."""
    notes: list[str] = []
    properties: dict[str, str] = {}
    for key, value in _properties(text):
        if key in properties:
            notes.append(
                f"{_short(key)} was set more than once; the last one counted, as it did in Java."
            )
        properties[key] = value
    carried: dict[tuple[str, str], str] = {}
    for key, value in properties.items():
        for one in _carry(key, value, notes):
            if (one.section, one.key) in carried:
                notes.append(f"{key} was not used: another key set [{one.section}] {one.key}.")
                continue
            carried[one.section, one.key] = one.value
    if ("upstream", "endpoint") not in carried and "upstreamhostport" not in _lowered(properties):
        carried["upstream", "endpoint"] = _OLD_UPSTREAM
        notes.append(
            f"upstreamHostPort was not set; the old proxy's default {_OLD_UPSTREAM} was taken. "
            "Check that this platform is still the one you use."
        )
    notes += _afterwards(carried)
    return Migration(_ini(carried), notes)


def _lowered(properties: dict[str, str]) -> set[str]:
    return {key.lower() for key in properties}


def _properties(text: str) -> list[tuple[str, str]]:
    """Read lines as java.util.Properties does."""
    matches = (_SEPARATOR.fullmatch(line) for line in _logical_lines(text))
    return [(_unescaped(one[1]), _unescaped(one[2]).strip()) for one in matches if one]


def _logical_lines(text: str) -> list[str]:
    lines: list[str] = []
    pending = ""
    for raw in re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff")):
        line = raw.lstrip(" \t\f")
        if not pending and (not line or line[0] in "#!"):
            continue
        trailing = len(line) - len(line.rstrip("\\"))
        if trailing % 2:
            pending += line[:-1]
            continue
        lines.append(pending + line)
        pending = ""
    return [*lines, pending] if pending else lines


def _unescaped(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1]:
            return chr(int(match[1], 16))
        return _ESCAPED.get(match[2], match[2])

    return _ESCAPE.sub(one, text)


def _carry(key: str, value: str, notes: list[str]) -> list[_Carried]:
    known = _KNOWN.get(key.lower())
    if known is not None:
        return known(key, value, notes)
    shown = "" if _SECRET_NAME.search(key) else f" ({_short(value)})"
    notes.append(f"{_short(key)}{shown} was not carried over: {_reason(key)}")
    return []


def _reason(key: str) -> str:
    name = key.lower()
    if _SECRET_NAME.search(key) or "cert" in name or "truststore" in name:
        return (
            "keys and certificates are PEM files here. Make one with "
            "`agent-proxy certificate self-signed` or `request`, or install yours with `install`."
        )
    if "timeout" in name or "idle" in name:
        return "its meaning here is unclear. See [timeouts] in conf/proxy.ini and set it there."
    if "log" in name:
        return "see [log] in conf/proxy.ini."
    return "there is nothing like it here. See conf/proxy.ini for what there is."


def _short(text: str) -> str:
    """Fit for a terminal: printable, and no longer than 80."""
    return "".join(one if one.isprintable() else "?" for one in text)[:80]


def _checked(section: str, key: str, value: str, old: str, notes: list[str]) -> list[_Carried]:
    """Carry the value over if the new proxy takes it, say so if not."""
    one = declaration(section, key)
    try:
        value = as_text(from_text(value, one), one)
    except ValueError as error:
        shown = _short(value)
        notes.append(
            f"{old} ({shown}) was not carried over: {_short(str(error))}. "
            f"Set [{section}] {key} to {one.range}."
        )
        return []
    return [_Carried(section, key, value)]


def _upstream(key: str, value: str, notes: list[str]) -> list[_Carried]:
    host = value.removeprefix("https://").rstrip("/")
    if host and ":" not in host:
        host = f"{host}:3302"
        notes.append(f"{key} had no port; the platform's own, 3302, was added.")
    return _checked("upstream", "endpoint", host, key, notes)


def _proxy_id(key: str, value: str, notes: list[str]) -> list[_Carried]:
    return _checked("proxy", "id", value, key, notes)


def _validation(key: str, value: str, notes: list[str]) -> list[_Carried]:
    disabled = _FLAGS.get(value.lower())
    if disabled is None:
        notes.append(
            f"{key} ({_short(value)}) is neither true nor false; the platform's certificate is "
            "checked."
        )
        return [_Carried("upstream", "verify", "yes")]
    if disabled:
        notes.append(
            f"{key} = true became [upstream] verify = no: the platform's certificate is not "
            "checked. Better set ca_file and verify = yes."
        )
    return [_Carried("upstream", "verify", "no" if disabled else "yes")]


def _port(key: str, value: str, notes: list[str]) -> list[_Carried]:
    carried = _checked("listen", "port", value, key, notes)
    if value == _ADMIN_PORT:
        notes.append(f"{key} is the port of [admin] here; that one was set to {_NEXT_PORT}.")
        carried.append(_Carried("admin", "port", _NEXT_PORT))
    return carried


def _address(key: str, value: str, notes: list[str]) -> list[_Carried]:
    # Empty and * were every address, which is the default.
    return _checked("listen", "addresses", value, key, notes) if value.strip("*") else []


def _time(setting: str) -> Callable[[str, str, list[str]], list[_Carried]]:
    def carry(key: str, value: str, notes: list[str]) -> list[_Carried]:
        match = _DURATION.fullmatch(value.lower())
        if match is None:
            notes.append(
                f"{key} ({_short(value)}) was not carried over: it is no time. "
                f"Set [timeouts] {setting} to seconds."
            )
            return []
        unit = match[2] or "ms"
        factor = 0.001 if unit.startswith(("ms", "mil")) else _UNITS[unit[0]]
        seconds = f"{int(match[1]) * factor:.3f}".rstrip("0").rstrip(".")
        carried = _checked("timeouts", setting, seconds, key, notes)
        if carried and not match[2]:
            notes.append(f"{key} was read as milliseconds: [timeouts] {setting} = {seconds} s.")
        return carried

    return carry


# By key in lower case. The names of the port and the times varied between releases.
_KNOWN: Final[dict[str, Callable[[str, str, list[str]], list[_Carried]]]] = {
    "upstreamhostport": _upstream,
    "agentproxyid": _proxy_id,
    "disableupstreamvalidation": _validation,
    **dict.fromkeys(("port", "listenport", "proxyport", "serverport", "httpsport"), _port),
    **dict.fromkeys(("host", "bindaddress", "listenaddress"), _address),
    **dict.fromkeys(
        ("connecttimeout", "connectiontimeout", "upstreamconnecttimeout"), _time("connect")
    ),
    **dict.fromkeys(
        ("upstreamtimeout", "upstreamreadtimeout", "readtimeout", "sockettimeout"),
        _time("upstream_answer"),
    ),
    **dict.fromkeys(("agenttimeout", "agentreadtimeout"), _time("agent_answer")),
    **dict.fromkeys(("idletimeout", "keepalivetimeout", "maxidletime"), _time("keepalive_in")),
}


def _afterwards(carried: dict[tuple[str, str], str]) -> list[str]:
    notes = []
    if ("proxy", "id") not in carried:
        notes.append(
            "No usable agentProxyId: set [proxy] id, and register the proxy with the platform."
        )
    notes.append(
        "[platform] networks must be set by hand: the old proxy did not ask who calls, this one "
        "serves the platform's calls from these networks only."
    )
    notes.append(
        "[proxy] secret_file must be set by hand: the old proxy had no secret. It is the same on "
        "all nodes of a group."
    )
    notes.append(
        "The Java proxy accepted TLS 1.0. Where agents on Java 6 or 7 are left, set min_tls = 1.0 "
        "in [listen] and [agents]; Java 6 also needs `certificate self-signed --rsa`."
    )
    return notes


def _ini(carried: dict[tuple[str, str], str]) -> str:
    lines = [
        "# Written by `agent-proxy migrate` from the old proxy's agentproxy.properties.",
        "# What is not here has its default; conf/proxy.ini as shipped explains every setting.",
    ]
    for section in ("proxy", "listen", "upstream", "platform", "timeouts", "admin"):
        own = [(key, value) for (where, key), value in carried.items() if where == section]
        extra = _TO_DO.get(section, ())
        if own or extra:
            lines += ["", f"[{section}]", *(f"{key} = {value}" for key, value in own), *extra]
    return "\n".join(lines) + "\n"


_TO_DO: Final[dict[str, tuple[str, ...]]] = {
    "proxy": (
        "# 32 random characters or more, the same on all nodes of the group:",
        "# secret_file = var/secret",
    ),
    "platform": ("# From where the platform calls; nobody else may:", "# networks = 192.0.2.0/24"),
}
