"""What the answers of the first boot mean: settings of the appliance and of the proxy, or problems.

Values. Neighbours: `answers_file` brings all forms into KEY -> text, `first_boot` puts the result
in force. A setting of proxy.ini has its own name as key ("upstream.endpoint",
"zones.NAME.interface"); KEYS are the others. Everything is judged together before anything is
done: an unknown key, a value that cannot be, a value that is missing. docs/appliance.md has the
table; a test keeps it equal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from appliance import access, network, passwords, proxy_setup, syslog, timekeeping, updates
from appliance.answers_file import Values
from appliance.errors import Problem, Problems
from appliance.ini_edit import Change
from appliance.model import Access, Appliance, Interface, Network, Syslog, Time, Updates
from appliance.readings import Interface as Card
from proxy.declaration import SECRET_MINIMUM
from proxy.settings import Settings

__all__ = ["KEYS", "REQUIRED", "Answers", "Key", "Surroundings", "judge"]


class Key(NamedTuple):
    """One key that is not a setting of proxy.ini. NAME in it stands for an interface."""

    name: str
    sense: str
    range: str
    default: str
    example: str


KEYS: Final = (
    Key("hostname", "what the machine is called", "a host name", "as it is", "proxy-1"),
    Key(
        "network.NAME.address",
        "addresses of an interface; NAME is eth0 or alike, or 1 for the first, 2 for the second …",
        "dhcp, or addresses with prefix, IPv4 and IPv6",
        "dhcp for 1",
        "10.1.2.3/24",
    ),
    Key("network.NAME.gateway4", "its router", "an IPv4 address", "none", "10.1.2.1"),
    Key("network.NAME.gateway6", "its router", "an IPv6 address", "none", "2001:db8::1"),
    Key("network.NAME.dns", "name servers behind it", "addresses", "none", "10.1.2.53"),
    Key("network.NAME.mtu", "its MTU", "576 to what the card can", "the card's", "1400"),
    Key("network.dns", "name servers of the machine", "addresses", "those of DHCP", "10.1.2.53"),
    Key("network.search", "domains to look names up in", "domains", "none", "example.com"),
    Key("time.servers", "time servers", "names or addresses", "those of DHCP", "10.1.2.123"),
    Key("time.timezone", "time zone of logs and windows", "a name", "Etc/UTC", "Europe/Berlin"),
    Key(
        "console.password",
        "the console's password; needed",
        "12 to 256 characters",
        "asked for at the console",
        "correct horse battery",
    ),
    Key("ssh.keys", "public keys: SSH is switched on", "one or more keys", "SSH is off", "…"),
    Key("ssh.networks", "from where", "networks", "everywhere", "10.1.0.0/16"),
    Key("syslog.target", "where log lines go as well", "host:port, by TLS", "nowhere", "log:6514"),
    Key("updates.mode", "security updates by themselves", "security or off", "security", "off"),
    Key(
        "certificate.names",
        "what agents dial: names in the certificate made here",
        "names and addresses",
        "host name and addresses",
        "proxy.example.com, 10.1.2.3",
    ),
    Key(
        "proxy.secret",
        "what seals routes; the same on all nodes of a group",
        "32 characters or more",
        "made here",
        "…",
    ),
)
REQUIRED: Final = ("console.password", "platform.networks", "upstream.endpoint")
_OF_CARD: Final = ("address", "gateway4", "gateway6", "dns", "mtu")
_PLAIN: Final = {key.name for key in KEYS if "NAME" not in key.name}
_SECRET_FILE: Final = "var/secret"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the answers are judged against: this machine, and proxy.ini as it is there."""

    cards: tuple[Card, ...]
    timezones: frozenset[str]
    hostname: str
    conf: str
    text: str
    read: Callable[[str], str] = field(repr=False)
    has_password: bool = False


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers without problems."""

    appliance: Appliance
    text: str = field(repr=False)  # of proxy.ini
    settings: Settings
    secret: str = field(repr=False)
    password: str = field(repr=False)  # "": is set already
    certificate_names: tuple[str, ...] = ()


def judge(values: Values, around: Surroundings, made: Callable[[str], str]) -> Answers:
    """Return what the answers mean. `made` gives a new "id" or "secret" where none is given.

    Raises: Problems, all of them.
    """
    problems = [*_unknown(values, around), *_missing(values, around)]
    appliance = _appliance(values, around, problems)
    password = values.get("console.password", "")
    if password:
        problems += passwords.problems(password)
    secret = values.get("proxy.secret", "") or made("secret")
    if len(secret) < SECRET_MINIMUM:
        message = f"has {len(secret)} characters"
        remedy = f"Give {SECRET_MINIMUM} or more, or leave it out."
        problems.append(Problem("proxy.secret", "", message, remedy))
    text, settings = around.text, None
    if not problems:  # what is missing would only be complained of twice
        try:
            text, settings = _proxy(values, around, made, secret)
        except Problems as found:
            problems += found.problems
    if problems or settings is None:
        raise Problems(problems)
    names = _list(values.get("certificate.names", ""))
    return Answers(appliance, text, settings, secret, password, names)


def _unknown(values: Values, around: Surroundings) -> list[Problem]:
    problems = []
    for key in values:
        if key in _PLAIN or (key.startswith("network.") and _card_key(key)):
            continue
        try:
            proxy_setup.place(key)
        except Problems:
            remedy = "docs/appliance.md has all keys; those of proxy.ini are named SECTION.KEY."
            problems.append(Problem(key, "", "there is no such key", remedy))
    return problems


def _missing(values: Values, around: Surroundings) -> list[Problem]:
    problems = []
    for key in REQUIRED:
        if key not in values and not (key == "console.password" and around.has_password):
            remedy = "Give it, or answer at the console."
            problems.append(Problem(key, "", "is missing", remedy))
    return problems


def _card_key(key: str) -> tuple[str, str] | None:
    """Return interface and field of "network.eth0.address"; names may have dots: eth0.12."""
    name, _, last = key.removeprefix("network.").rpartition(".")
    return (name, last) if name and last in _OF_CARD else None


def _appliance(values: Values, around: Surroundings, problems: list[Problem]) -> Appliance:
    wanted = Appliance(
        network=Network(
            hostname=values.get("hostname", ""),
            interfaces=_interfaces(values, around, problems),
            dns=_list(values.get("network.dns", "")),
            search=_list(values.get("network.search", "")),
        ),
        time=Time(
            servers=_list(values.get("time.servers", "")),
            timezone=values.get("time.timezone", Time().timezone),
        ),
        access=Access(
            ssh="ssh.keys" in values,
            keys=_list(values.get("ssh.keys", "")),
            networks=_list(values.get("ssh.networks", "")),
        ),
        syslog=Syslog(target=values.get("syslog.target", "")),
    )
    mode = values.get("updates.mode", "security")
    if mode == "off":
        wanted = dataclasses.replace(wanted, updates=Updates(mode="off"))
    elif mode != "security":
        problems.append(Problem("updates.mode", mode, "is neither", "Give security or off."))
    problems += network.validate(wanted.network, around.cards)
    problems += timekeeping.validate(wanted.time, around.timezones)
    problems += access.validate(wanted.access)
    problems += syslog.validate(wanted.syslog)
    problems += updates.validate(wanted.updates)
    return wanted


def _interfaces(
    values: Values, around: Surroundings, problems: list[Problem]
) -> tuple[Interface, ...]:
    """Return the interfaces that are named; the first one asks DHCP where none is."""
    fields: dict[str, dict[str, str]] = {}
    for key, value in values.items():
        found = _card_key(key) if key.startswith("network.") else None
        if found is not None:
            name = _card(found[0], key, around.cards, problems)
            fields.setdefault(name, {})[found[1]] = value
    if not fields and around.cards:
        fields[around.cards[0].name] = {}
    return tuple(_interface(name, one, problems) for name, one in fields.items() if name)


def _card(name: str, key: str, cards: Sequence[Card], problems: list[Problem]) -> str:
    if not name.isdigit():
        return name
    if not 1 <= int(name) <= len(cards):
        message = f"this machine has {len(cards)} interfaces"
        problems.append(Problem(key, "", message, "Give a name, or a number from 1."))
        return ""
    return cards[int(name) - 1].name


def _interface(name: str, given: dict[str, str], problems: list[Problem]) -> Interface:
    addresses = _list(given.get("address", "dhcp"))
    mtu = given.get("mtu", "0")
    if not mtu.isdigit():
        place = f"network.{name}.mtu"
        problems.append(Problem(place, mtu, "this is no number", "Give 1500, or leave it out."))
        mtu = "0"
    static = tuple(one for one in addresses if one != "dhcp")
    return Interface(
        name=name,
        dhcp4="dhcp" in addresses,
        ipv6="static" if any(":" in one for one in static) else "auto",
        addresses=static,
        gateway4=given.get("gateway4", ""),
        gateway6=given.get("gateway6", ""),
        dns=_list(given.get("dns", "")),
        mtu=int(mtu),
    )


def _proxy(
    values: Values, around: Surroundings, made: Callable[[str], str], secret: str
) -> tuple[str, Settings]:
    """Return proxy.ini with the answers in it, and what it means. Raises: Problems."""
    changes = [
        Change(*proxy_setup.place(key), value)
        for key, value in values.items()
        if key not in _PLAIN and not (key.startswith("network.") and _card_key(key))
    ]
    if "proxy.id" not in values:
        changes.append(Change(("proxy",), "id", made("id")))
    changes.append(Change(("proxy",), "secret_file", _SECRET_FILE))
    text = proxy_setup.edited(around.text, changes)
    own = f"/{_SECRET_FILE}"

    def read(path: str) -> str:
        return secret if path.endswith(own) else around.read(path)

    return text, proxy_setup.judge(text, around.conf, read, around.hostname)


def _list(text: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in text.split(",") if one.strip())
