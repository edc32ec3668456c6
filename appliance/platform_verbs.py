"""The verbs of the two neighbours: the platform that calls, and the upstream that is called.

Shell. Neighbours: `settings_verbs.change` does the work.
"""

from __future__ import annotations

from typing import Final

from appliance import fields, overview, proxy_setup, settings_verbs
from appliance.errors import Problem, Problems, Refusal
from appliance.facts import Facts
from appliance.ini_edit import Change
from appliance.keeping import settled
from appliance.places import SERVICE_OWNER, Places
from appliance.plan import Write
from appliance.verb import Argument, Context, Result, Values, Verb
from proxy import __version__, chain
from proxy.settings import Settings, digest

__all__ = ["VERBS", "registration"]

_COMMIT: Final = "It is taken back after 120 s unless confirmed."
_PLATFORM_CA: Final = "var/tls/platform-ca.pem"
_UPSTREAM_CA: Final = "var/tls/upstream-ca.pem"
_PASSWORD: Final = "var/http_proxy_password"
_USER_LIMIT, _PASSWORD_LIMIT = 64, 1024


def _show_platform(context: Context, values: Values) -> Result:
    _, settings = settled(context)
    data = settings_verbs.values_of(settings)["platform"]
    return Result(tuple(f"{key:<12} {value or '-'}" for key, value in data.items()), data)


def _networks(context: Context, values: Values) -> Result:
    text = ", ".join(values["networks"])
    return settings_verbs.change(
        context, "platform networks", [Change(("platform",), "networks", text)]
    )


def _client_ca(context: Context, values: Values) -> Result:
    if values.get("off"):
        change = Change(("platform",), "client_ca", "")
        return settings_verbs.change(context, "platform client_ca: off", [change])
    write = _authorities(context, values.get("ca"), _PLATFORM_CA)
    change = Change(("platform",), "client_ca", _PLATFORM_CA)
    return settings_verbs.change(context, "platform client_ca", [change], extra=(write,))


def _authorities(context: Context, pem: str | None, kept: str) -> Write:
    """Return the file that CA certificates are kept in. Raises: Problems."""
    remedy = "Give a PEM file: it begins with -----BEGIN CERTIFICATE-----."
    if not pem:
        raise Problems([Problem("--ca-file", "", "no certificate was given", remedy)])
    try:
        chain.certificates(pem.encode())
    except ValueError as error:
        raise Problems([Problem("--ca-file", "", str(error), remedy)]) from None
    return Write(f"{Places(context.conf).base}/{kept}", pem.encode(), 0o644, SERVICE_OWNER)


def registration(found: Facts, settings: Settings) -> dict[str, object]:
    """Return what is compared when the platform registers this proxy. Raises: Refusal."""
    if not settings.proxy.id:
        raise Refusal("no proxy ID is set. agent-proxy-appliance settings set proxy.id ...")
    port = settings.listen.port
    own = [text.partition("/")[0] for one in found.interfaces for text in one.addresses]
    listening = settings.listen.addresses
    wild = {4: "0.0.0.0" in listening, 6: "::" in listening}
    named = [one for one in own if one in listening or wild[6 if ":" in one else 4]]
    return {
        "agentProxyId": settings.proxy.id,
        "node": settings.proxy.node,
        "version": __version__,
        "zones": [zone.name for zone in settings.zones],
        "configDigest": digest(settings),
        "certificateSha256": found.certificate.sha256 if found.certificate else None,
        "addresses": [f"[{one}]:{port}" if ":" in one else f"{one}:{port}" for one in named],
    }


def _register_info(context: Context, values: Values) -> Result:
    data = registration(*settled(context))
    rows = (
        ("agent proxy ID", data["agentProxyId"]),
        ("node", data["node"]),
        ("version", data["version"]),
        ("zones", _joined(data["zones"])),
        ("settings digest", data["configDigest"]),
        ("certificate SHA-256", data["certificateSha256"] or "no certificate"),
        ("IP:port to name", _joined(data["addresses"]) or "no address"),
    )
    lines = [f"{name:<20} {value}" for name, value in rows]
    lines += [
        "",
        "Name IP:port to the platform (behind a firewall or balancer: its public side).",
        "It then asks this proxy for its ID: confirm only if it is the one above.",
    ]
    return Result(tuple(lines), data)


def _joined(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else ""


def _judged_user(text: str) -> None:
    """Raises: ValueError."""
    if ":" in text or len(text) > _USER_LIMIT or not text.isprintable():
        raise ValueError("has a colon in it, or is too long")


def _judged_password(text: str) -> None:
    """Raises: ValueError."""
    if len(text) > _PASSWORD_LIMIT or not text.isprintable():
        raise ValueError("is too long, or has characters that cannot be typed")


def _show_upstream(context: Context, values: Values) -> Result:
    found, settings = settled(context)
    data = settings_verbs.values_of(settings)["upstream"]
    health = (found.status or {}).get("upstream")
    lines = [f"{key:<20} {value or '-'}" for key, value in data.items()]
    lines += [f"{name} is {text}" for name, text in overview.health(found.status or {})]
    return Result(tuple(lines), {"settings": data, "health": health})


def _set_upstream(context: Context, values: Values) -> Result:
    section = ("upstream",)
    changes = []
    for name in ("endpoint", "verify", "server_name", "min_tls"):
        value = values.get(name)
        if value is not None:
            text = ", ".join(value) if isinstance(value, tuple) else str(value)
            changes.append(Change(section, name, text))
    extra: tuple[Write, ...] = ()
    if values.get("system_ca"):
        changes.append(Change(section, "ca_file", ""))
    elif values.get("ca"):
        extra = (_authorities(context, values["ca"], _UPSTREAM_CA),)
        changes.append(Change(section, "ca_file", _UPSTREAM_CA))
    if not changes:
        remedy = "Give --endpoint HOST:PORT, for example."
        raise Problems([Problem("upstream set", "", "nothing to change was given", remedy)])
    return settings_verbs.change(context, "upstream", changes, extra=extra)


def _forward_proxy(context: Context, values: Values) -> Result:
    """Set, or take away, the forward proxy; its password is kept in a file of its own."""
    section, url = ("upstream",), str(values["url"])
    off = url == "off"
    user, password = values.get("user") or "", values.get("password") or ""
    changes = [
        Change(section, "http_proxy", "" if off else url),
        Change(section, "http_proxy_user", "" if off else user),
        Change(section, "http_proxy_password", None),
        Change(section, "http_proxy_password_file", None if off or not password else _PASSWORD),
    ]
    extra: tuple[Write, ...] = ()
    if password and not off:
        path = f"{Places(context.conf).base}/{_PASSWORD}"
        extra = (Write(path, f"{password}\n".encode(), 0o600, SERVICE_OWNER, secret=True),)
    title = "forward proxy: off" if off else "forward proxy"
    return settings_verbs.change(context, title, changes, extra=extra)


_PLATFORM: Final = (
    Verb(
        "platform show",
        "show from where the platform may call",
        _show_platform,
        examples=("agent-proxy-appliance platform show --json",),
    ),
    Verb(
        "platform networks",
        "say from where the platform calls",
        _networks,
        (
            Argument(
                "networks",
                "list",
                "addresses or networks; '' for none: then nobody may call",
                "such as 8.7.6.5 or 8.7.6.0/28",
                required=True,
                positional=True,
                check=proxy_setup.check("platform", "networks"),
            ),
        ),
        ("agent-proxy-appliance platform networks 8.7.6.5 8.7.6.6",),
        _COMMIT,
        changes=True,
        confirm=True,
    ),
    Verb(
        "platform client-ca",
        "demand a client certificate of the platform, or no longer",
        _client_ca,
        (
            Argument(
                "ca",
                "lines",
                "the authorities' certificates, PEM",
                check=fields.authorities,
            ),
            Argument("off", "flag", "demand none"),
        ),
        (
            "agent-proxy-appliance platform client-ca --ca-file platform-ca.pem",
            "agent-proxy-appliance platform client-ca --off",
        ),
        _COMMIT,
        changes=True,
        confirm=True,
    ),
    Verb(
        "platform register-info",
        "show what is compared when the platform registers this proxy",
        _register_info,
        examples=("agent-proxy-appliance platform register-info",),
    ),
)
_UPSTREAM: Final = (
    Verb(
        "upstream show",
        "show the platform's endpoint and whether it answers",
        _show_upstream,
        examples=("agent-proxy-appliance upstream show --json",),
    ),
    Verb(
        "upstream set",
        "say where the platform is and how its certificate is checked",
        _set_upstream,
        (
            Argument(
                "endpoint",
                "list",
                "where agents' requests go",
                "host:port",
                check=proxy_setup.check("upstream", "endpoint"),
            ),
            Argument(
                "verify", "choice", "whether its certificate is checked", choices=("yes", "no")
            ),
            Argument(
                "ca",
                "lines",
                "the authorities that signed its certificate, PEM",
                check=fields.authorities,
            ),
            Argument("system_ca", "flag", "check against the system's authorities again"),
            Argument(
                "server_name",
                "text",
                "the name in its certificate; '' for the host's",
                check=proxy_setup.check("upstream", "server_name"),
            ),
            Argument("min_tls", "choice", "the oldest TLS", choices=("1.0", "1.1", "1.2", "1.3")),
        ),
        (
            "agent-proxy-appliance upstream set --endpoint provisioning.example.com:3302",
            "agent-proxy-appliance upstream set --ca-file platform-ca.pem --dry-run",
        ),
        _COMMIT,
        changes=True,
        confirm=True,
    ),
    Verb(
        "upstream proxy",
        "go to the platform through a forward proxy of your network, or directly",
        _forward_proxy,
        (
            Argument(
                "url",
                "text",
                "the forward proxy, or off",
                "http://host:port, or off",
                required=True,
                positional=True,
                check=fields.or_off(proxy_setup.check("upstream", "http_proxy")),
            ),
            Argument(
                "user",
                "text",
                "its user name",
                "up to 64 characters, no colon",
                check=_judged_user,
            ),
            Argument(
                "password",
                "secret",
                "its password",
                "up to 1024 characters",
                check=_judged_password,
            ),
        ),
        (
            "agent-proxy-appliance upstream proxy http://10.1.2.9:3128",
            "agent-proxy-appliance upstream proxy http://10.1.2.9:3128 --user ap "
            "--password-file - < password.txt",
            "agent-proxy-appliance upstream proxy off",
        ),
        _COMMIT,
        changes=True,
        confirm=True,
    ),
)
VERBS: Final = (*_PLATFORM, *_UPSTREAM)
